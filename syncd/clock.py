"""Time, read in one place only.

Everything else gets `now` as an argument or a `Clock` as a part. The clock may run
fast (`serve --speed N --origin T`, against loopback vendors only): then `now`,
`wait`, schedules, `retry_at` and log stamps are virtual, while request deadlines,
the shutdown grace and lease trust stay real (`monotonic`).

Processes that share a Postgres live by its clock, not by their machines': whoever opens
the store tells the clock what that one showed (`follow`), again and again.
"""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

CLOSE = timedelta(milliseconds=10)
"""What is told of the shared clock is believed to differ only where it does by more:
an estimate that trembles would let a due time seem early now and then."""


class Reference:
    """The clock that several machines share; this machine's own where there is none.

    Between two tellings it goes on by the time since boot, which nobody sets and which
    goes on while the machine is suspended.
    """

    def __init__(self) -> None:
        self._told: tuple[datetime, float] | None = None

    def follow(self, at: datetime, since: float, until: float) -> None:
        """It showed `at` between two readings of `elapsed`."""
        when, grain = (since + until) / 2, timedelta(seconds=(until - since) / 2)
        if self._told is not None:
            expected = self._told[0] + timedelta(seconds=when - self._told[1])
            if abs(expected - at) <= grain + CLOSE:
                return
        self._told = at, when

    @property
    def is_told(self) -> bool:
        """Whether there is a shared clock."""
        return self._told is not None

    def now(self) -> datetime:
        """The instant it shows, UTC."""
        told = self._told
        if told is None:
            return datetime.now(UTC)
        return told[0] + timedelta(seconds=elapsed() - told[1])


def elapsed() -> float:
    """Real seconds since this machine was started, those of its sleep included."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """virtual = origin + (wall - origin) * speed. With speed 1 virtual is wall."""

    speed: float = 1.0
    """Virtual seconds per real second."""
    origin: datetime | None = None
    """The instant at which virtual and wall agree; needed when speed is not 1."""
    reference: Reference = field(default_factory=Reference, compare=False, repr=False)

    def now(self) -> datetime:
        """The current instant, UTC, on this clock."""
        return self._shown_at(self.wall())

    def wall(self) -> datetime:
        """The real instant, UTC, whatever the speed: for leases and deadlines."""
        return self.reference.now()

    def machine(self) -> datetime:
        """The instant this machine's own clock shows, which timers go by."""
        return datetime.now(UTC)

    def to_virtual(self, machine: datetime) -> datetime:
        """The instant on this clock when the machine's clock shows `machine`."""
        return self._shown_at(machine + self._ahead())

    def to_machine(self, virtual: datetime) -> datetime:
        """What the machine's clock shows when this clock shows `virtual`."""
        wall = virtual
        if self.origin is not None:
            wall = self.origin + (virtual - self.origin) / self.speed
        return wall - self._ahead()

    def _shown_at(self, wall: datetime) -> datetime:
        if self.origin is None:
            return wall
        return self.origin + (wall - self.origin) * self.speed

    def _ahead(self) -> timedelta:
        """How far the shared clock is ahead of the machine's."""
        if not self.reference.is_told:
            return timedelta(0)
        return self.wall() - self.machine()

    def monotonic(self) -> float:
        """Real seconds that never step back; for deadlines and durations.

        Those of the machine's sleep count: the world went on, and a lease ran out.
        """
        return elapsed()

    def awake(self) -> float:
        """The same without those of the machine's sleep, as timers and waits go by."""
        return time.monotonic()

    def wait(self, event: threading.Event, delay: timedelta) -> bool:
        """Wait `delay` of this clock's time, or less if `event` is set; True if set."""
        return event.wait(max(0.0, delay.total_seconds() / self.speed))
