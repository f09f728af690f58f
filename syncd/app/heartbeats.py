"""Telling a dead man's switch outside of syncd that all is well, in an own thread.

Whoever watches it raises the alarm when nothing comes: also when this process, its
machine or its network is gone. So it belongs outside of all three. Every replica pings.
"""

import threading
from datetime import timedelta

from syncd import events, metrics
from syncd.app import posting
from syncd.app.engine import Engine
from syncd.app.health import Health
from syncd.app.observing import Lately, not_fresh
from syncd.app.posting import NotTaken, Request
from syncd.clock import Clock
from syncd.config.settings import Settings
from syncd.config.settings_notifications import HeartbeatSettings
from syncd.errors import StoreError
from syncd.events import emit
from syncd.notify.heartbeat import Beat, why_not

LOOK = timedelta(seconds=5)
"""Between two looks whether a ping is due, on the daemon's clock."""
SHORTEST = timedelta(milliseconds=200)
"""Real time between two looks, however fast that clock runs."""


class Heartbeats:
    """Pings until the daemon stops; `look` is called by one thread at a time."""

    def __init__(self, engine: Engine, clock: Clock, health: Health) -> None:
        self._engine = engine
        self._clock = clock
        self._health = health
        self._lately = Lately()
        self._beat = Beat()
        self._thread = threading.Thread(
            target=self._work, name="heartbeat", daemon=True
        )

    def start(self) -> None:
        """Look from now on. It writes nothing, so nobody need stop it."""
        self._thread.start()

    def _work(self) -> None:
        period = max(LOOK, SHORTEST * self._clock.speed)
        while not self._clock.wait(self._engine.stop_event, period):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001  # one bug must not silence us
                name = type(error).__name__
                emit(
                    events.DAEMON_CRASHED, error=name, thread="heartbeat", exc_info=True
                )

    def look(self) -> None:
        """Ping where one is due and all is well."""
        settings, now = self._engine.blueprint.settings, self._clock.now()
        heartbeat = settings.notifications.heartbeat
        if heartbeat is None or not self._beat.is_due(now):
            return
        why = self._why_not(settings, heartbeat)
        if why:
            metrics.HEARTBEATS.labels("skipped").inc()
            emit(events.HEARTBEAT_SKIPPED, reason=why)
        arrived = bool(why) or self._ping(settings, heartbeat)
        self._beat = self._beat.after(now, heartbeat.every, arrived=arrived)

    def _why_not(self, settings: Settings, heartbeat: HeartbeatSettings) -> str:
        if not self._health.healthy():
            return why_not(healthy=False, stale=None)
        if heartbeat.only_when == "alive":
            return why_not(healthy=True, stale=None)
        try:
            with self._engine.database.read() as connection:
                stale = not_fresh(connection, settings, self._clock, self._lately)
        except StoreError:
            return why_not(healthy=False, stale=None)
        return why_not(healthy=True, stale=stale)

    def _ping(self, settings: Settings, heartbeat: HeartbeatSettings) -> bool:
        body = f"syncd {settings.instance}: {heartbeat.only_when}\n".encode()
        request = Request(
            method=heartbeat.method,
            body=body if heartbeat.method == "POST" else None,
            headers={"accept": "*/*"},
        )
        try:
            posting.send(heartbeat.outward, request, self._clock)
        except NotTaken as error:
            metrics.HEARTBEATS.labels("failed").inc()
            emit(
                events.HEARTBEAT_FAILED,
                reason=str(error),
                error_type=error.error_type,
                tries=self._beat.tries + 1,
            )
            return False
        metrics.HEARTBEATS.labels("sent").inc()
        return True
