"""The `public` origin: audiences by Segment's Public API (contract segment.md 7).

    GET /spaces/{space}/audiences         pages of 1 to 200, by an opaque cursor
    GET /spaces/{space}/audiences/{id}

It tells what an audience is and how large, never who is in it. `Authorization: Bearer`
with the token of `/_sim/engage`; a token is compared and never logged. Rates are those
of the documents, per minute of the simulator's clock.
"""

import binascii
from base64 import b64decode, b64encode
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from syncd.simulator.answers import Answer, Outcome, Refusal, json_answer
from syncd.simulator.calls import Call
from syncd.simulator.engage_world import Audience
from syncd.simulator.playing import Visit
from syncd.simulator.public_calls import AUDIENCE, AUDIENCES, route
from syncd.simulator.public_rate import Window
from syncd.simulator.stage import Turn, serve
from syncd.simulator.state import Simulator
from syncd.simulator.wire import Line, Receive, Scope, Send

MOST = 200
"""Audiences of a page."""
FEWEST = 10
"""Of a page whose request names no count, so that nobody gets all by luck."""
COUNT_NAMES = ("pagination.count", "pagination[count]")
CURSOR_NAMES = ("pagination.cursor", "pagination[cursor]")


class PublicApi:
    """The ASGI application of the origin."""

    def __init__(self, simulator: Simulator) -> None:
        self._sim = simulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        line = Line(scope, receive, send)
        call = await line.call(endpoint=route(line.path)[0])
        if call is None:
            return
        sim = self._sim
        sim.settle()
        asked = Asked(sim, call)
        known = "public" if asked.authorized else None
        entry = sim.log.open(call, at=sim.clock.now(), key=known, ids=False)
        await serve(sim, asked.turn(), line, Visit(entry))


@dataclass(slots=True)
class Spent:
    """The rate as of this request; told by two headers."""

    left: int
    ends: float
    """Epoch seconds."""


class Asked:
    """One request."""

    def __init__(self, simulator: Simulator, call: Call) -> None:
        self._sim, self._call = simulator, call
        self._endpoint, self._space, self._audience = route(call.path)
        self._spent: Spent | None = None
        self.authorized = call.authorization == f"Bearer {simulator.engage.token}"

    def turn(self) -> Turn:
        """What happens to it."""
        return Turn(
            call=self._call,
            enter=self._enter,
            act=self._act,
            answer=self._answer,
            refuse=self._refuse,
            error_body=lambda status, text: _errors(_type(status), text),
        )

    def _enter(self) -> AbstractContextManager[None]:
        """Token, path, method, rate, in this order. Raises Refusal."""
        if not self.authorized:
            raise Refusal(401, "Unauthorized")
        if self._endpoint not in (AUDIENCES, AUDIENCE):
            raise Refusal(404, "Not found")
        if self._call.method != "GET":
            raise Refusal(405, "Method not allowed")
        self._spend()
        return nullcontext()

    def _spend(self) -> None:
        switches, now = self._sim.switches, self._sim.clock.moment()
        many = self._endpoint == AUDIENCES
        limit = switches.public_list_per_minute if many else switches.public_per_minute
        window = self._sim.engage.rates.setdefault(self._endpoint, Window())
        used = window.take(now)
        self._spent = Spent(max(0, limit - used), window.ends)
        if used > limit:
            said = {"msBeforeNext": round((window.ends - now) * 1000)}
            said |= {"remainingPoints": 0, "consumedPoints": used}
            raise Refusal(429, "Too many requests", metadata=said)

    def _act(self) -> Outcome:
        world = self._sim.engage
        if self._space not in world.spaces:
            raise Refusal(404, "Space not found")
        here = world.in_space(self._space)
        if self._endpoint == AUDIENCE:
            for one in here:
                if one.id == self._audience:
                    return Outcome(body={"data": {"audience": describe(one)}})
            raise Refusal(404, "Audience not found")
        return Outcome(body={"data": self._page(here)})

    def _page(self, audiences: list[Audience]) -> dict[str, Any]:
        first, count = self._cursor(), self._count()
        if not 0 <= first <= len(audiences):
            raise Refusal(400, "pagination.cursor is not valid")
        page = audiences[first : first + count]
        pagination: dict[str, Any] = {
            "current": _cursor_of(first),
            "totalEntries": len(audiences),
        }
        if first + count < len(audiences):
            pagination["next"] = _cursor_of(first + count)
        return {
            "audiences": [describe(one) for one in page],
            "pagination": pagination,
        }

    def _asked(self, names: tuple[str, ...]) -> str | None:
        """A query parameter under one of its names."""
        return next(filter(None, map(self._call.query.get, names)), None)

    def _count(self) -> int:
        text = self._asked(COUNT_NAMES)
        if text is None:
            return FEWEST
        if not text.isdecimal() or not 1 <= int(text) <= MOST:
            raise Refusal(400, f"pagination.count must be 1 to {MOST}")
        return int(text)

    def _cursor(self) -> int:
        text = self._asked(CURSOR_NAMES)
        try:
            return 0 if text is None else int(b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            raise Refusal(400, "pagination.cursor is not valid") from None

    def _answer(self, outcome: Outcome) -> Answer:
        return self._with_rate(json_answer(200, outcome.body))

    def _refuse(self, refusal: Refusal) -> Answer:
        body = _errors(_type(refusal.status), refusal.details)
        if refusal.metadata:
            body["errors"][0]["data"] = refusal.metadata
        return self._with_rate(json_answer(refusal.status, body))

    def _with_rate(self, answer: Answer) -> Answer:
        if self._spent is None:
            return answer
        ends = datetime.fromtimestamp(self._spent.ends, UTC)
        iso = ends.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        http = format_datetime(ends, usegmt=True)
        shown = iso if self._sim.switches.public_reset == "iso" else http
        headers = (
            ("x-ratelimit-remaining", str(self._spent.left)),
            ("x-ratelimit-reset", shown),
        )
        return Answer(answer.status, answer.body, answer.content_type, headers)


def describe(audience: Audience) -> dict[str, Any]:
    """The audience object; its size counts profiles, not user ids."""
    size = audience.shown_size
    return {
        "id": audience.id,
        "spaceId": audience.space,
        "name": audience.name,
        "key": audience.key,
        "enabled": audience.enabled,
        "status": audience.status,
        "audienceType": "USERS",
        "computeCadence": {"type": "REALTIME"},
        "size": {"type": "USERS", "count": size, "uniqueCount": size},
        "definition": {"query": f"trait('{audience.key}') = true"},
        "createdBy": "growth-ops@acme.example",
        "updatedBy": "growth-ops@acme.example",
        "createdAt": _shown(audience.created_at),
        "updatedAt": _shown(audience.updated_at),
    }


def _shown(moment: float) -> str:
    return f"{datetime.fromtimestamp(int(moment), UTC):%Y-%m-%dT%H:%M:%SZ}"


def _cursor_of(place: int) -> str:
    return b64encode(str(place).encode()).decode()


def _errors(kind: str, message: str) -> dict[str, Any]:
    return {"errors": [{"type": kind, "message": message}]}


def _type(status: int) -> str:
    """`RequestError` is documented for 429; the others are unconfirmed."""
    words = {400: "validation", 401: "unauthorized", 404: "not-found"}
    return words.get(status, "RequestError")
