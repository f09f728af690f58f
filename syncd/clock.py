"""Time, read in one place only.

Everything else gets `now` as an argument or a `Clock` as a part. The clock may run
fast (`serve --speed N --origin T`, against loopback vendors only): then `now`,
`wait`, schedules, `retry_at` and log stamps are virtual, while request deadlines,
the shutdown grace and lease trust stay real (`monotonic`).
"""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """virtual = origin + (wall - origin) * speed. With speed 1 virtual is wall."""

    speed: float = 1.0
    """Virtual seconds per real second."""
    origin: datetime | None = None
    """The instant at which virtual and wall agree; needed when speed is not 1."""

    def now(self) -> datetime:
        """The current instant, UTC, on this clock."""
        return self.to_virtual(datetime.now(UTC))

    def wall(self) -> datetime:
        """The real instant, UTC, whatever the speed: for leases and deadlines."""
        return datetime.now(UTC)

    def to_virtual(self, wall: datetime) -> datetime:
        """The instant on this clock at the given wall instant."""
        if self.origin is None:
            return wall
        return self.origin + (wall - self.origin) * self.speed

    def to_wall(self, virtual: datetime) -> datetime:
        """The wall instant at which this clock shows `virtual`."""
        if self.origin is None:
            return virtual
        return self.origin + (virtual - self.origin) / self.speed

    def monotonic(self) -> float:
        """Real seconds that never step back; for deadlines and durations."""
        return time.monotonic()

    def wait(self, event: threading.Event, delay: timedelta) -> bool:
        """Wait `delay` of this clock's time, or less if `event` is set; True if set."""
        return event.wait(max(0.0, delay.total_seconds() / self.speed))
