"""A month of the daemon on a fast clock, from a date of one's choice."""

import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.installed import Installation, Running
from tests.simulated import PATIENCE, Simulator

APP_ID = 187520
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LOOK = 0.02
"""Real seconds between two looks at whether something has happened."""


@dataclass(frozen=True, kw_only=True)
class FastClock:
    """The clock of both processes: virtual = origin + (wall - origin) * speed."""

    speed: int
    origin: datetime

    @property
    def options(self) -> tuple[str, ...]:
        """For `syncd serve` and the simulator alike."""
        return ("--speed", str(self.speed), "--origin", self.origin.isoformat())

    def now(self) -> datetime:
        """The virtual time."""
        return self.origin + (datetime.now(UTC) - self.origin) * self.speed

    def real(self, virtual: timedelta) -> float:
        """Seconds of this machine."""
        return virtual.total_seconds() / self.speed

    def virtual(self, real: float) -> timedelta:
        """What passes on the clock in so many real seconds."""
        return timedelta(seconds=real * self.speed)

    def reach(self, moment: datetime) -> None:
        """Let it become this late."""
        threading.Event().wait(max(0.0, self.real(moment - self.now())))


def clock_that_shows(moment: datetime, *, within: float, speed: int) -> FastClock:
    """A fast clock that shows `moment` in so many real seconds.

    The product takes any origin; this one solves its formula for a calendar date.
    """
    then = datetime.now(UTC) + timedelta(seconds=within)
    return FastClock(speed=speed, origin=then - (moment - then) / (speed - 1))


def eventually(true: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Look until it is true, or the time is over."""
    never = threading.Event()
    for _ in range(round(seconds / LOOK)):
        if true():
            return True
        never.wait(LOOK)
    return False


# ---- what happens to cohorts, and what became of it ---------------------------------


@dataclass(frozen=True, kw_only=True)
class Change:
    """People who enter a cohort and people who leave it at one moment."""

    cohort: str
    at: datetime
    entering: tuple[str, ...]
    leaving: tuple[str, ...]

    @property
    def step(self) -> dict[str, Any]:
        """As the simulator's behaviour has it."""
        people = {"add": list(self.entering), "remove": list(self.leaving)}
        return {"at": self.at.isoformat(), "recompute": True} | people


def changes_of(
    cohort: str, first: datetime, days: int, times: int, size: int
) -> list[Change]:
    """So many changes on as many days: six come, four of the first members go."""
    dice = random.Random(cohort)  # noqa: S311  # repeatable, guards nothing
    drawn = sorted(dice.sample(range(1, days), times))
    assert 4 * times <= size
    return [
        Change(
            cohort=cohort,
            at=first + day * DAY + timedelta(minutes=dice.randrange(24 * 60)),
            entering=tuple(f"{cohort}-day-{day:02d}-{n}" for n in range(6)),
            leaving=tuple(f"{cohort}-{n}" for n in range(4 * number, 4 * number + 4)),
        )
        for number, day in enumerate(drawn)
    ]


@dataclass(frozen=True, kw_only=True)
class Spender:
    """Another tool on the same project; it begins when it is let loose."""

    since: datetime
    every: timedelta
    count: int

    def spent(self, moment: datetime) -> int:
        """How much it wanted until then."""
        return max(0, (moment - self.since) // self.every) * self.count


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """One request for a download, as the store remembers it."""

    cohort_id: str
    state: str
    request_id: str | None
    asked_at: datetime
    ended_at: datetime | None


def _stored(text: str) -> datetime:
    """A time as SQLite keeps it: UTC, without saying so."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(kw_only=True)
class Month:
    """One installation beside one simulator on one clock."""

    clock: FastClock
    simulator: Simulator
    installation: Installation
    changes: list[Change] = field(default_factory=list)
    daemons: list[Running] = field(default_factory=list)
    started_at: datetime = field(init=False)
    """When the present daemon was started."""

    # ---- doing -----------------------------------------------------------------------

    def cohort(self, name: str, size: int, **behaviour: Any) -> None:
        """A dynamic cohort that is read every hour, with at most one download a day."""
        crowd = {"prefix": f"{name}-", "count": size}
        self.simulator.cohort(name, generate=crowd)
        self.simulator.post(f"/_sim/cohorts/{name}/behaviour", behaviour)
        self.installation.cohort_sync(
            name,
            name,
            schedule="every 1h",
            budget="1/day",
            max_runtime="30d",
            from_={"max_staleness": "7d"},
        )
        # Deadlines are real: by default a killed daemon's sync rests for a week here.
        connections = self.installation.config["connections"]
        connections["segment"]["request_deadline"] = "1s"
        connections["amplitude"]["download_deadline"] = "6h"

    def start(self) -> Running:
        """The daemon, ready to work."""
        self.started_at = self.clock.now()
        daemon = self.installation.start("serve", *self.clock.options)
        assert daemon.reached("daemon.started"), daemon.text
        self.daemons.append(daemon)
        return daemon

    def spend(self, count: int, every: timedelta) -> Spender:
        """Let another tool spend from the same budget from now on."""
        wish = {"count": count, "every": every.total_seconds()}
        self.project(spend=wish)
        return Spender(since=self.clock.now(), every=every, count=count)

    def project(self, **more: Any) -> dict[str, Any]:
        """Change the project; returns it."""
        path = f"/_sim/projects/{APP_ID}"
        answer = self.simulator.control.patch(path, json=more)
        return dict(answer.raise_for_status().json())

    # ---- looking ---------------------------------------------------------------------

    def fetches(self, where: str) -> list[Fetched]:
        """Requests in the store, in order; never takes part in the store's recovery."""
        path = f"file:{self.installation.database}?mode=ro"
        columns = "cohort_id, state, request_id, asked_at, ended_at"
        query = f"SELECT {columns} FROM fetch WHERE {where} ORDER BY id"
        with closing(sqlite3.connect(path, uri=True)) as connection:
            rows = connection.execute(query).fetchall()
        return [
            Fetched(
                cohort_id=cohort_id,
                state=state,
                request_id=request_id,
                asked_at=_stored(asked_at),
                ended_at=_stored(ended_at) if ended_at else None,
            )
            for cohort_id, state, request_id, asked_at, ended_at in rows
        ]

    def requests(self) -> list[datetime]:
        """When each counted download was asked for, in order."""
        return sorted(datetime.fromisoformat(each["at"]) for each in self._counted())

    def request_ids(self) -> set[str]:
        """The ids that Amplitude gave to the counted downloads."""
        return {each["request_id"] for each in self._counted()}

    def _counted(self) -> list[dict[str, Any]]:
        return [each for each in self.simulator.log("request") if each["counted"]]

    def events(self, name: str, **values: Any) -> list[dict[str, Any]]:
        """The log lines of one event, of all daemons, in order."""
        return [line for each in self.daemons for line in each.events(name, **values)]

    def equal(self, cohort: str) -> bool:
        """Whether the trait is the cohort as it was last computed."""
        members = self.simulator.get(f"/_sim/cohorts/{cohort}/members?computed=1")
        return self.simulator.with_trait(cohort) == set(members["ids"])

    def arrival(self, change: Change) -> datetime | None:
        """When the last of a change was at Segment; None: not yet."""
        seen = [
            self._said(change, name, value)
            for names, value in ((change.entering, True), (change.leaving, False))
            for name in names
        ]
        times = [each for each in seen if each is not None]
        return max(times) if len(times) == len(seen) else None

    def _said(self, change: Change, name: str, value: bool) -> datetime | None:
        path = f"/_sim/segment/events?user_id={name}"
        for event in self.simulator.get(path)["events"]:
            at = datetime.fromisoformat(event["received_at"])
            if at > change.at and event["traits"].get(change.cohort) is value:
                return at
        return None
