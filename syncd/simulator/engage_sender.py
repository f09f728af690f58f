"""Engage as a sender: it tells a webhook who enters and leaves an audience.

The first push tells of everybody who is in (unless `historical` is off), every later
one of the changes since: each change is told, so someone who left and came back is
told of twice. What could not be delivered is lost, as it is at Segment; it is kept
here so that a test can have it sent once more.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import orjson

from syncd.simulator.engage_events import OTHERS, Event, Writer, whole
from syncd.simulator.engage_posts import disordered, policy, posts_of, request
from syncd.simulator.engage_world import Audience
from syncd.simulator.sender import Engine, Post, Report
from syncd.simulator.sender_settings import EngageSettings, changed, shown
from syncd.simulator.signing import stringify
from syncd.simulator.state import Simulator


class EngageSender:
    """One destination of one audience."""

    kind = "engage"

    def __init__(self, simulator: Simulator, key: str, values: dict[str, Any]) -> None:
        """Raises ValueError for wrong settings."""
        self.id = key
        self._sim = simulator
        self.settings = changed(EngageSettings(), values)
        self.engine = Engine(simulator.moment)
        self._dice = random.Random(self.settings.seed)  # noqa: S311 - repeatable
        self._busy = asyncio.Lock()
        self._told: int | None = None
        """How much of the audience's journal was told; None: nothing yet."""
        self._pushes = self._others = 0
        self.totals = Report()
        self._result: dict[str, Any] | None = None
        if self.settings.audience and not self.settings.historical:
            self._told = len(self.audience().journal)

    def audience(self) -> Audience:
        """The audience it is about. Raises ValueError when there is none."""
        wanted = self.settings.audience
        for one in self._sim.engage.audiences.values():
            if wanted in (one.id, one.key):
                return one
        raise ValueError(f"no audience {wanted!r}")

    def change(self, values: dict[str, Any]) -> None:
        """New settings, from the next push on. Raises ValueError."""
        self.settings = changed(self.settings, values)

    def due(self) -> bool:
        """A live one has something to tell and is not at it."""
        if not self.settings.live or self._busy.locked():
            return False
        return self._told is None or self._told < len(self.audience().journal)

    async def push(self, *, full: bool = False, failed: bool = False) -> dict[str, Any]:
        """Tell what is new; `full` tells of everybody again (a resync), `failed`
        sends once more, as they were, the requests that were given up."""
        async with self._busy:
            if failed:
                posts, self.totals.given_up = self.totals.given_up, []
            else:
                posts = await self._posts(full=full)
            return await self._deliver(posts)

    async def _posts(self, *, full: bool) -> list[Post]:
        audience, writer = self.audience(), Writer(self.settings, self.audience())
        if full or self._told is None:
            moment = int(self._sim.clock.moment() * 1000)
            first = audience.journal[-1].at if audience.journal else 0
            changes = list(whole(sorted(audience.members), max(moment, first)))
            same = self._sim.switches.engage_resync_repeats_ids
            # A resync is a run of its own: negative, as no change has that number.
            numbers = [-1 if same else -self._pushes - 1] * len(changes)
        else:
            changes = audience.journal[self._told :]
            numbers = list(range(self._told, len(audience.journal)))
        self._told = len(audience.journal)
        self._pushes += 1
        world, numbered = self._sim.engage, list(zip(numbers, changes, strict=True))
        return await asyncio.to_thread(
            lambda: self._requests(list(writer.of_changes(world, numbered)))
        )

    def _requests(self, events: Sequence[Event]) -> list[Post]:
        settings = self.settings
        made = disordered(
            events,
            duplicates=settings.duplicates,
            shuffle=settings.shuffle,
            dice=self._dice,
        )
        return list(posts_of(settings, made))

    async def others(self, kind: str, user_ids: Sequence[str]) -> dict[str, Any]:
        """Send events of another kind about some users, one each."""
        if kind not in OTHERS:
            raise ValueError(f"kind must be one of {', '.join(OTHERS)}")
        writer, at = Writer(self.settings, self.audience()), self._sim.clock.moment()
        events = []
        for one in user_ids:
            self._others += 1
            made = writer.other_event(kind, one, self._others, int(at * 1000))
            events.append(made)
        return await self._deliver(list(posts_of(self.settings, events)))

    async def raw(
        self,
        body: bytes,
        *,
        signed: bytes | None,
        headers: dict[str, str],
        retries: int,
    ) -> dict[str, Any]:
        """Send exactly these bytes, with a signature of `signed`."""
        post = request(self.settings, body, signed=signed, items=1, headers=headers)
        settings = changed(self.settings, {"retries": retries})
        return await self._deliver([post], settings)

    async def hook(
        self, url: str, name: str, body: Event, *, sign: bool
    ) -> dict[str, Any]:
        """Webhook Audiences: ask the receiver to make or find the audience (H11).

        What it answers as `externalId` goes into every later event. Whether Segment
        signs a hook, which has no event, is not confirmed.
        """
        settings = changed(self.settings, {"url": url, "method": "POST"})
        content = stringify(body)
        post = request(settings, content, signed=content if sign else None, items=1)
        async with self._busy:
            result = await self._deliver([post], settings)
        external = _external_id(result)
        if external is None:
            return result | {"outcome": "failed", "error": f"{name}: no externalId"}
        self.settings = changed(self.settings, {"external_audience_id": external})
        return result | {"external_id": external}

    async def _deliver(
        self, posts: Sequence[Post], settings: EngageSettings | None = None
    ) -> dict[str, Any]:
        honours = self._sim.switches.senders_honour_retry_after
        how = policy(settings or self.settings, honours_retry_after=honours)
        report = await self.engine.deliver(posts, how)
        self.totals.add(report)
        outcome = "failed" if report.failed else "success"
        self._result = {"outcome": outcome} | report.shown()
        return self._result

    def state(self) -> dict[str, Any]:
        """For the control origin."""
        return {
            "id": self.id,
            "kind": self.kind,
            "settings": shown(self.settings),
            "busy": self._busy.locked(),
            "pushes": self._pushes,
            "told": self._told,
            "given_up": len(self.totals.given_up),
            "totals": self.totals.shown(),
            "last_push": self._result,
        }


def _external_id(result: dict[str, Any]) -> str | None:
    """The `externalId` of a 2xx answer."""
    if result["failed"] or result["last"] is None:
        return None
    try:
        answered = orjson.loads(result["last"]["text"])
    except orjson.JSONDecodeError:
        return None
    found = answered.get("externalId") if isinstance(answered, dict) else None
    return found if isinstance(found, str) and found else None
