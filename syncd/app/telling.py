"""Everybody outside who is told something, each from a thread that no run waits for."""

from syncd.app.engine import Engine
from syncd.app.health import Health
from syncd.app.heartbeats import Heartbeats
from syncd.app.notifying import Notifying, Refusal
from syncd.app.run_pings import RunPings
from syncd.clock import Clock


class Telling:
    """Notifications, the dead man's switch and the pings of runs of one daemon."""

    def __init__(
        self, engine: Engine, clock: Clock, health: Health, refusal: Refusal
    ) -> None:
        self._notifying = Notifying(engine, clock, refusal)
        self._heartbeats = Heartbeats(engine, clock, health)
        self._run_pings = RunPings(engine, clock)

    def start(self) -> None:
        """From now on, until the engine is asked to stop."""
        self._notifying.start()
        self._heartbeats.start()
        self._run_pings.start()

    def stop(self) -> None:
        """Nothing is written any more; a request under way is left alone."""
        self._notifying.stop()
