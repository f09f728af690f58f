"""Hourly cycles of a daemon with many syncs on a fast clock, and what each costs."""

import os
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.many import Many
from tests.benchmarks.servers import cpu_of
from tests.installed import Running, log_lines
from tests.months import HOUR, FastClock, clock_that_shows

LOOK = 0.25
"""Real seconds between two looks at the log: it is long."""
LEAD, EACH = 10.0, 0.1
"""Real seconds from the start of the daemon to its first hour, and more for each sync:
a busy machine reads the configuration for long."""


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """Every sync once, from the full hour on. Times are real."""

    what: str
    wall: float
    """Seconds from the hour to the end of the last run."""
    cpu: float
    """Seconds of the daemon."""
    lags: tuple[float, ...]
    """Seconds from the hour to the begin of each run."""
    outcomes: Counter[str]
    moved: tuple[int, int]
    """People who entered and who exited, over all syncs."""
    rss: float
    """MB afterwards."""
    threads: int
    descriptors: int
    database: int
    wal: int
    """Bytes."""

    @property
    def lag(self) -> tuple[float, float]:
        """Median and worst."""
        return median(self.lags), max(self.lags)


class Daemon:
    """`syncd serve` of these syncs, whose hour takes so many real seconds.

    Its clock begins later than `after`: what an earlier one wrote is in the past.
    """

    def __init__(self, many: Many, hour: float, *, after: datetime) -> None:
        self._many = many
        speed = round(HOUR.total_seconds() / hour)
        # No hour before the first one: it would be the first sync.
        lead = min(LEAD + EACH * len(many.names), 0.9 * hour)
        later = after + 2 * HOUR + lead * timedelta(seconds=speed)
        first = later.replace(minute=0, second=0, microsecond=0)
        self.clock: FastClock = clock_that_shows(first, within=lead, speed=speed)
        self._next = first
        self._read = 0
        self._lines: list[dict[str, Any]] = []
        options = self.clock.options
        self.running: Running = many.installation.start("serve", *options)
        assert self.running.reached("daemon.started"), self.running.text[-4000:]
        assert self.clock.now() < first, "the daemon took too long to start"

    def cycle(self, what: str) -> Cycle:
        """Wait for the next hour, and until every sync has run for it."""
        due, pid = self._next, self.running.process.pid
        self._next = due + HOUR
        self.clock.reach(due - self.clock.virtual(0.2))
        before = cpu_of(pid)
        ends = self._ends(due)
        cpu = cpu_of(pid) - before
        begins = self._of("run.started", due)
        store = self._many.installation.database
        last = max(datetime.fromisoformat(each["ts"]) for each in ends)
        return Cycle(
            what=what,
            wall=self.clock.real(last - due),
            cpu=cpu,
            lags=tuple(
                self.clock.real(timedelta(milliseconds=each["lag_ms"]))
                for each in begins
            ),
            outcomes=Counter(each["outcome"] for each in ends),
            moved=(
                sum(each["entered"] for each in ends),
                sum(each["exited"] for each in ends),
            ),
            rss=_status(pid, "VmRSS") * 1024 / 1e6,
            threads=_status(pid, "Threads"),
            descriptors=len(os.listdir(f"/proc/{pid}/fd")),
            database=store.stat().st_size,
            wal=store.with_name(f"{store.name}-wal").stat().st_size,
        )

    def stop(self) -> datetime:
        """End it; returns what its clock shows."""
        assert self.running.stop() == 0
        return self.clock.now()

    def _ends(self, due: datetime) -> list[dict[str, Any]]:
        """The end of each sync's run for this hour."""
        wanted, never = len(self._many.names), threading.Event()
        while len(found := self._of("run.finished", due)) < wanted:
            assert self.clock.now() < due + HOUR, (
                f"{len(found)} of {wanted} within the hour"
            )
            never.wait(LOOK)
        return found

    def _of(self, event: str, due: datetime) -> list[dict[str, Any]]:
        new = self.running.lines[self._read :]
        self._read += len(new)
        wanted = ('"event":"run.started"', '"event":"run.finished"')
        # Whole lines alone: the last may still be on its way.
        self._lines += log_lines(
            line for line in new if any(word in line for word in wanted)
        )
        return [
            each for each in self._lines if each["event"] == event and _due(each) == due
        ]


def _due(line: dict[str, Any]) -> datetime | None:
    text = line.get("due_at")
    return datetime.fromisoformat(text) if text else None


def _status(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(value)
