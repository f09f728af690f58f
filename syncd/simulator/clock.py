"""The simulator's own clock: every time in an answer comes from here.

`virtual = origin + (wall - origin) * speed`, until it is set, advanced or frozen by
hand. Service times and hangs are real seconds and do not use it.
"""

from datetime import UTC, datetime, timedelta


class VirtualClock:
    """A clock that runs, runs fast or stands still."""

    def __init__(self, *, speed: float = 1.0, origin: datetime | None = None) -> None:
        self._speed = speed
        self._frozen = False
        self._wall = self._virtual = origin or datetime.now(UTC)

    @property
    def speed(self) -> float:
        """Virtual seconds per real second while it runs."""
        return self._speed

    @property
    def frozen(self) -> bool:
        """True while only `set` and `advance` move it."""
        return self._frozen

    def now(self) -> datetime:
        """The current virtual instant, UTC."""
        if self._frozen:
            return self._virtual
        return self._virtual + (datetime.now(UTC) - self._wall) * self._speed

    def moment(self) -> float:
        """The same in epoch seconds."""
        return self.now().timestamp()

    def epoch(self) -> int:
        """The same in whole epoch seconds, as cohort objects hold it."""
        return int(self.now().timestamp())

    def set(self, instant: datetime) -> None:
        """Jump; a running clock goes on from there."""
        self._virtual = instant.astimezone(UTC)
        self._wall = datetime.now(UTC)

    def advance(self, delay: timedelta) -> None:
        """Jump by an amount of virtual time."""
        self.set(self.now() + delay)

    def freeze(self, frozen: bool) -> None:
        """Stop or go on."""
        self.set(self.now())
        self._frozen = frozen

    def run_at(self, speed: float) -> None:
        """Change the speed; the shown time does not jump."""
        self.set(self.now())
        self._speed = speed
