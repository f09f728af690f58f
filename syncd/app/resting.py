"""The end of a long-lived process: its runs come to rest within the grace.

A second signal, or the end of the grace, leaves the requests in flight alone: their ids
are uncertain, and whoever goes on asserts them again.
"""

from syncd import events
from syncd.app.engine import Engine
from syncd.app.signals import STOP, next_signal
from syncd.clock import Clock
from syncd.events import emit

LAST_WORDS = 1.0
"""Real seconds of the grace in which abandoned runs write how far they got."""


class Resting:
    """What is left of the grace, and what becomes of the runs in it."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        """The grace begins now."""
        self._engine = engine
        self._clock = clock
        self._started = clock.monotonic()

    @property
    def left(self) -> float:
        """Seconds of the grace, without those for the last words; 0 when it is over."""
        grace = self._engine.blueprint.settings.shutdown_grace.total_seconds()
        passed = self._clock.monotonic() - self._started
        return max(0.0, grace - LAST_WORDS - passed)

    @property
    def elapsed_ms(self) -> int:
        """Since it began."""
        return round((self._clock.monotonic() - self._started) * 1000)

    def wait_for_runs(self) -> bool:
        """Until every run came to rest; True where they had to be abandoned."""
        while self._engine.active():
            left = self.left
            again = next_signal(min(left, 0.05))
            if left <= 0 or again in STOP:
                self.give_up()
                return True
        return False

    def give_up(self) -> None:
        """Leave what is in flight alone; runs write how far they got."""
        emit(events.DAEMON_FORCED_STOP, run_ids=self._engine.active())
        self._engine.abandon()
        next_signal(LAST_WORDS)
