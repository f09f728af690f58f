"""The simulator's own clock: every time in an answer comes from here.

`virtual = origin + (wall - origin) * speed`, until it is set, advanced or frozen by
hand. Service times and hangs are real seconds and do not use it.
"""

from datetime import UTC, datetime, timedelta


class VirtualClock:
    """A clock that runs, runs fast or stands still."""

    def __init__(self, *, speed: float = 1.0, origin: datetime | None = None) -> None:
        instant = origin or datetime.now(UTC)
        # One tuple, as the threads of the senders read while the loop's thread sets.
        self._state = (instant, instant, speed, False)
        """Wall and virtual time that belong together, speed, frozen."""

    @property
    def speed(self) -> float:
        """Virtual seconds per real second while it runs."""
        return self._state[2]

    @property
    def frozen(self) -> bool:
        """True while only `set` and `advance` move it."""
        return self._state[3]

    def now(self) -> datetime:
        """The current virtual instant, UTC."""
        wall, virtual, speed, frozen = self._state
        return virtual if frozen else virtual + (datetime.now(UTC) - wall) * speed

    def moment(self) -> float:
        """The same in epoch seconds."""
        return self.now().timestamp()

    def epoch(self) -> int:
        """The same in whole epoch seconds, as cohort objects hold it."""
        return int(self.now().timestamp())

    def set(self, instant: datetime) -> None:
        """Jump; a running clock goes on from there."""
        _, _, speed, frozen = self._state
        self._state = (datetime.now(UTC), instant.astimezone(UTC), speed, frozen)

    def advance(self, delay: timedelta) -> None:
        """Jump by an amount of virtual time."""
        self.set(self.now() + delay)

    def freeze(self, frozen: bool) -> None:
        """Stop or go on."""
        _, _, speed, _ = self._state
        self._state = (datetime.now(UTC), self.now(), speed, frozen)

    def run_at(self, speed: float) -> None:
        """Change the speed; the shown time does not jump."""
        _, _, _, frozen = self._state
        self._state = (datetime.now(UTC), self.now(), speed, frozen)
