"""What a worker tells probes and Prometheus: a port with health and metrics, no more.

The page, its buttons and the API belong to daemons; so do the doors for senders.
"""

from contextlib import ExitStack

from syncd import events, metrics
from syncd.app.engine import Engine
from syncd.app.gauges import StoreGauges
from syncd.app.health import Health
from syncd.app.vendors import secret_of
from syncd.config.settings import Listen, Settings
from syncd.events import emit
from syncd.web.admin import admin_app
from syncd.web.deadlines import Limits
from syncd.web.refusals import Denied
from syncd.web.server import WebServer
from syncd.web.sockets import Tcp

LAST_ANSWERS = 1.0
"""Real seconds for answers under way when the worker ends."""


class Probed:
    """The port of one worker."""

    def __init__(self, engine: Engine, health: Health, where: Listen) -> None:
        self._engine = engine
        self._health = health
        self._where = where
        self._denied = Denied(engine.clock)

    def open(self, stack: ExitStack) -> None:
        """From now on, until the `stack` ends. Raises `DaemonError`."""
        database, clock = self._engine.database, self._engine.clock
        gauges = StoreGauges(database, self._settings, clock)
        metrics.REGISTRY.register(gauges)
        stack.callback(metrics.REGISTRY.unregister, gauges)
        token = self._settings().web.admin_token
        app = admin_app(
            alive=self._health.alive,
            healthy=self._health.healthy,
            ready=self._health.ready,
            denied=self._denied,
            token=secret_of(token) if token is not None else None,
        )
        tcp = Tcp(host=self._where.host, port=self._where.port)
        server = WebServer("admin", tcp, app, Limits())
        server.start()
        stack.callback(server.stop, LAST_ANSWERS)
        emit(events.WEB_LISTENING, server="admin", address=server.address)

    def say_refused(self) -> None:
        """Log who was not let in since the last time. To be called now and then."""
        self._denied.flush()

    def _settings(self) -> Settings:
        return self._engine.blueprint.settings
