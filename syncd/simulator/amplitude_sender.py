"""Amplitude as a sender: it pushes a cohort, first whole, then what changed.

The difference is made against the last sync that succeeded: one that failed, at
whatever point, is as if it had not been, and the next one sends its changes again. The
id of a list that was created stays known.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from syncd.simulator.amplitude_pushes import (
    TRAITS,
    Wave,
    create_list,
    policy,
    posts_of,
    request,
)
from syncd.simulator.cohorts import Cohort
from syncd.simulator.engage_posts import disordered
from syncd.simulator.sender import Engine, Post, Report
from syncd.simulator.sender_settings import AmplitudeSettings, changed, shown
from syncd.simulator.state import Simulator

NO_LIST = "a required response value was missing"
"""Amplitude's words for a creation whose answer lacks the id."""


class AmplitudeSender:
    """One destination of one cohort."""

    kind = "amplitude"

    def __init__(self, simulator: Simulator, key: str, values: dict[str, Any]) -> None:
        """Raises ValueError for wrong settings."""
        self.id = key
        self._sim = simulator
        self.settings = changed(AmplitudeSettings(), values)
        self.engine = Engine(simulator.moment)
        self._dice = random.Random(self.settings.seed)  # noqa: S311 - repeatable
        self._busy = asyncio.Lock()
        self.synced: set[str] | None = None
        """User ids as of the last sync that succeeded; None: none did."""
        self.list_id: str | None = None
        self._pushes = 0
        self._next = simulator.clock.moment()
        self._disabled = False
        self.totals = Report()
        self._result: dict[str, Any] | None = None

    def change(self, values: dict[str, Any]) -> None:
        """New settings, from the next push on; a schedule starts anew."""
        self.settings = changed(self.settings, values)
        self._next, self._disabled = self._sim.clock.moment(), False

    def due(self) -> bool:
        """Its schedule says now. Times that passed during a sync are one."""
        if not self.settings.every or self._disabled or self._busy.locked():
            return False
        moment = self._sim.clock.moment()
        if moment < self._next:
            return False
        missed = (moment - self._next) // self.settings.every
        self._next += (missed + 1) * self.settings.every
        return True

    def _cohort(self) -> tuple[Cohort, set[str]]:
        """The cohort, computed anew, and the user ids in it: the anonymous are never
        pushed. Raises ValueError."""
        self._sim.settle()
        for project in self._sim.world.projects.values():
            cohort = project.cohorts.get(self.settings.cohort)
            if cohort is not None:
                if cohort.dynamic:
                    cohort.recompute(self._sim.clock.moment(), cohort.members)
                names = project.everybody(cohort.count_group).names(cohort.members)
                return cohort, {name for name in names if name is not None}
        raise ValueError(f"no cohort {self.settings.cohort!r}")

    async def push(self, *, full: bool = False, failed: bool = False) -> dict[str, Any]:
        """One sync; `full` sends everybody."""
        if failed:
            raise ValueError("the next sync sends again what failed")
        async with self._busy:
            cohort, members = self._cohort()
            if cohort.archived:
                self._disabled = True
                return self._end("failed", Report(), "the cohort is archived")
            base = set() if full or self.synced is None else self.synced
            self._pushes += 1
            report = Report()
            error = await self._sync(cohort, members, base, report)
            if error is None:
                self.synced = members
            return self._end("failed" if error else "success", report, error)

    async def _sync(
        self, cohort: Cohort, members: set[str], base: set[str], report: Report
    ) -> str | None:
        """Create, adds, removes; returns why it failed, None when it did not."""
        if self.settings.mode == "list":
            if self.synced is None and self._sim.switches.senders_recreate_list:
                self.list_id = None
            if self.list_id is None:
                await self._create(cohort, report)
            if self.list_id is None:
                return "the list was not created" if report.failed else NO_LIST
        for posts in await asyncio.to_thread(self._phases, cohort, members, base):
            report.add(await self._deliver(posts))
            if report.failed:
                return "requests failed"
        return None

    async def _create(self, cohort: Cohort, report: Report) -> None:
        name = TRAITS["brackets_colon"].format(name=cohort.name, id=cohort.id)
        answered = await self._deliver([create_list(self.settings, name)])
        report.add(answered)
        if not answered.failed and answered.last is not None:
            self.list_id = _list_id(self.settings, answered.last["text"])

    def _phases(
        self, cohort: Cohort, members: set[str], base: set[str]
    ) -> list[list[Post]]:
        """What is sent together: first adds, then removes, or all at once."""
        message = UUID(int=self._dice.getrandbits(128), version=4)
        adds, removes = (
            list(posts_of(self.settings, self._wave(cohort, who, entering, message)))
            for who, entering in ((members - base, True), (base - members, False))
        )
        parts = [adds, removes] if self.settings.removes_wait else [adds + removes]
        return [self._disordered(posts) for posts in parts]

    def _disordered(self, posts: Sequence[Post]) -> list[Post]:
        settings = self.settings
        return disordered(
            posts,
            duplicates=settings.duplicates,
            shuffle=settings.shuffle,
            dice=self._dice,
        )

    def _wave(
        self, cohort: Cohort, who: set[str], entering: bool, message: UUID
    ) -> Wave:
        template = self.settings.trait or TRAITS[self._sim.switches.sender_trait]
        named = template.replace("{name}", cohort.name).replace("{id}", cohort.id)
        return Wave(
            entering=entering,
            user_ids=sorted(who),
            cohort_id=cohort.id,
            cohort_name=cohort.name,
            computed_at=self._sim.clock.epoch(),
            message=message,
            list_id=self.list_id or "",
            trait=named,
        )

    async def raw(
        self,
        body: bytes,
        *,
        signed: bytes | None,
        headers: dict[str, str],
        retries: int,
    ) -> dict[str, Any]:
        """Send exactly these bytes to `url`; Amplitude signs nothing."""
        del signed
        settings = changed(
            self.settings,
            {"retries": retries, "headers": self.settings.headers | headers},
        )
        report = await self._deliver([request(settings, settings.url, body)], settings)
        return self._end("failed" if report.failed else "success", report, None)

    async def _deliver(
        self, posts: Sequence[Post], settings: AmplitudeSettings | None = None
    ) -> Report:
        switches = self._sim.switches
        how = policy(
            settings or self.settings,
            honours_retry_after=switches.senders_honour_retry_after,
            retries_4xx=switches.amplitude_sender_retries_4xx,
        )
        return await self.engine.deliver(posts, how)

    def _end(self, outcome: str, report: Report, error: str | None) -> dict[str, Any]:
        self.totals.add(report)
        self._result = {"outcome": outcome, "error": error} | report.shown()
        return self._result

    def state(self) -> dict[str, Any]:
        """For the control origin."""
        return {
            "id": self.id,
            "kind": self.kind,
            "settings": shown(self.settings),
            "busy": self._busy.locked(),
            "disabled": self._disabled,
            "pushes": self._pushes,
            "synced": None if self.synced is None else len(self.synced),
            "list_id": self.list_id,
            "totals": self.totals.shown(),
            "last_push": self._result,
        }


def _list_id(settings: AmplitudeSettings, text: str) -> str | None:
    """The id of a new list, where the set-up looks for it and nowhere else."""
    try:
        answered = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if settings.list_answer == "production":
        answered = answered.get("response") if isinstance(answered, dict) else None
    found = answered.get(settings.id_key) if isinstance(answered, dict) else None
    return str(found) if isinstance(found, str | int) and found else None
