"""The end of a long-lived process: its runs come to rest within the grace.

A second signal, or the end of the grace, leaves the requests in flight alone: their ids
are uncertain, and whoever goes on asserts them again.
"""

from collections.abc import Callable
from contextlib import suppress
from signal import Signals

from syncd import events
from syncd.app.engine import Engine
from syncd.app.signals import STOP, next_signal
from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.events import emit
from syncd.store import installation

LAST_WORDS = 1.0
"""Real seconds of the grace in which abandoned runs write how far they got."""


class Resting:
    """What is left of the grace, and what becomes of the runs in it."""

    def __init__(self, engine: Engine, clock: Clock, signal: int) -> None:
        """The grace begins now, as `signal` asked for."""
        self._engine = engine
        self._clock = clock
        self._started = clock.monotonic()
        self._forced = False
        emit(
            events.DAEMON_STOPPING,
            signal=Signals(signal).name,
            runs_in_flight=len(engine.active()),
        )

    @property
    def left(self) -> float:
        """Seconds of the grace, without those for the last words; 0 when it is over."""
        grace = self._engine.blueprint.settings.shutdown_grace.total_seconds()
        passed = self._clock.monotonic() - self._started
        return max(0.0, grace - LAST_WORDS - passed)

    def wait_for_runs(self) -> None:
        """Until every run came to rest, or they have to be abandoned."""
        while self._engine.active():
            left = self.left
            again = next_signal(min(left, 0.05))
            if left <= 0 or again in STOP:
                self._give_up()
                return

    def end(self, *, rested: bool, close: Callable[[], None]) -> bool:
        """Say goodbye, and `close` what is left; True where something had to be left
        alone. `rested`: nothing but runs goes on, either."""
        if rested:
            with suppress(StoreError), self._engine.database.begin() as connection:
                installation.leave(connection, self._engine.holder)
        elif not self._forced:
            self._give_up()
        close()
        elapsed = round((self._clock.monotonic() - self._started) * 1000)
        emit(events.DAEMON_STOPPED, duration_ms=elapsed)
        return self._forced

    def _give_up(self) -> None:
        """Leave what is in flight alone; runs write how far they got."""
        self._forced = True
        emit(events.DAEMON_FORCED_STOP, run_ids=self._engine.active())
        self._engine.abandon()
        next_signal(LAST_WORDS)
