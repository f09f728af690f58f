"""What a daemon listens to: the doors for senders, and the port for those who run it.

Between a sender and the store stands the intake: a request is answered once what it
brought is durable. Doors follow the configuration, addresses stay until a restart.
"""

from collections.abc import Callable, Sequence

from syncd import events
from syncd.app.directory import Directory
from syncd.app.doors import doors_of
from syncd.app.engine import Engine
from syncd.app.front import Front
from syncd.app.health import Health
from syncd.app.pausing import Again
from syncd.app.vendors import secret_of
from syncd.clock import Clock
from syncd.config.feeds import fed
from syncd.config.settings import Listen, Settings, WebSettings
from syncd.events import emit
from syncd.sources.door import Door
from syncd.store import inbox
from syncd.store.intake import Intake
from syncd.web.admin import admin_app
from syncd.web.deadlines import Limits
from syncd.web.receiver import Receiver
from syncd.web.refusals import Denied, Refusals
from syncd.web.server import WebServer
from syncd.web.sockets import Tcp, allow_connections
from syncd.web.threads import Threads

READERS = 4
"""Threads that read long bodies: as many as a sender sends at once."""
WAITING = 64
"""Long bodies that may wait for one of them."""
PATIENCE = 5.0
"""Seconds in which what was taken is stored, where nobody says how long."""


class Listening:
    """The servers of one daemon, and what they hand on to."""

    def __init__(
        self, engine: Engine, clock: Clock, health: Health, again: Again
    ) -> None:
        """`again` is called with a sync that somebody resumed on a page."""
        self._engine = engine
        self._again = again
        self._front: Front | None = None
        self._clock = clock
        self._health = health
        self._intake = Intake(engine.writer, clock)
        self._directory = Directory(engine.database, engine.writer, clock)
        self._threads = Threads("receiver", size=READERS, waiting=WAITING)
        self._refusals = Refusals(clock)
        self._denied = Denied(clock)
        self._doors: tuple[Door, ...] = ()
        self._servers: list[WebServer] = []
        self._accepting = False
        self._stopped = False
        self._rested = True

    @property
    def is_accepting(self) -> bool:
        """Whether what is pushed is taken now."""
        return self._accepting

    def start(self) -> None:
        """Open the configured ports. Raises `SecretUnavailable`, `DaemonError`."""
        web = self._engine.blueprint.settings.web
        if web.inbound is not None:
            allow_connections(web.max_connections)
        self._intake.start()
        self.follow(self._engine.blueprint.settings)
        # What is listened to is taken: whoever reads the log may send at once.
        self._accepting = True
        if web.inbound is not None:
            self._open("inbound", web.inbound, self._receiver(), self._limits(web))
        if web.admin is not None:
            self._front = Front(self._engine, self._denied, web.admin, self._again)
            self._open("admin", web.admin, self._admin(web, self._front), Limits())

    def follow(self, settings: Settings) -> None:
        """Have the doors of this configuration. Raises `SecretUnavailable`, and keeps
        those that were, where a secret cannot be read."""
        doors = doors_of(
            settings, self._directory, self._clock, self._engine.remembered.accept
        )
        feeds = [feed for _, feed in fed(settings)]
        with self._engine.database.begin() as connection:
            inbox.ensure(connection, feeds, self._clock.now())
        self._doors = doors

    def stop(self, patience: float = PATIENCE) -> bool:
        """Take nothing more; what was taken is stored and answered.

        False where that was not done after `patience` seconds, as while the store
        hangs: who waits for an answer gets none, and sends again. Once is enough.
        """
        if not self._stopped:
            self._stopped = True
            self._rested = self._stop(self._clock.monotonic() + patience)
        return self._rested

    def _stop(self, deadline: float) -> bool:
        self._accepting = False
        while self._servers:
            self._servers.pop().stop(self._left(deadline))
        self._threads.stop()
        if self._front is not None:
            self._front.stop()
        rested = self._intake.stop(self._left(deadline))
        self.say_refused(last=True)
        return rested

    def _left(self, deadline: float) -> float:
        return max(0.0, deadline - self._clock.monotonic())

    def say_refused(self, *, last: bool = False) -> None:
        """Log what was not taken since the last time. To be called now and then."""
        self._refusals.flush(last=last)
        self._denied.flush(last=last)

    def _open(
        self,
        name: str,
        where: Listen,
        app: Callable[..., object],
        limits: Limits,
    ) -> None:
        gate = self._refusals.turned_away if name == "inbound" else None
        tcp = Tcp(host=where.host, port=where.port)
        server = WebServer(name, tcp, app, limits, gate=gate)
        server.start()
        self._servers.append(server)
        emit(events.WEB_LISTENING, server=name, address=server.address)

    def _receiver(self) -> Receiver:
        return Receiver(
            self._present_doors,
            self._intake,
            self._clock,
            refusals=self._refusals,
            threads=self._threads,
            accepting=lambda: self._accepting,
        )

    def _present_doors(self) -> Sequence[Door]:
        return self._doors

    def _limits(self, web: WebSettings) -> Limits:
        return Limits(connections=web.max_connections)

    def _admin(self, web: WebSettings, front: Front) -> Callable[..., object]:
        token = web.admin_token
        return admin_app(
            alive=self._health.alive,
            healthy=self._health.healthy,
            ready=self._health.ready,
            denied=self._denied,
            token=secret_of(token) if token is not None else None,
            routes=front.routes,
        )
