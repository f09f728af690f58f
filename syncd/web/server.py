"""A web server in a thread of its own, on a socket that we open ourselves.

We open it, so that a taken address is an error of `start` in the words of this product
(uvicorn would end the process), and so that port 0 can be asked for its number.
Signals belong to the daemon: outside the main thread uvicorn leaves them alone.
"""

import socket
import threading
from math import ceil
from pathlib import Path
from typing import Any

import uvicorn

from syncd import events
from syncd.errors import DaemonError
from syncd.events import emit
from syncd.web.deadlines import Gate, LimitedProtocol, Limits, limited
from syncd.web.sockets import BACKLOG, Tcp, listen, shown

App = Any
"""An ASGI application; the libraries name this type differently."""

GRACE = 5
"""Seconds that requests in flight get when the server stops."""
_START_PATIENCE = 10.0
_LAST_WORDS = 2.0
"""Seconds beyond the grace for the thread itself to end."""


class WebServer:
    """Serves one ASGI app at one address."""

    def __init__(
        self,
        name: str,
        where: Tcp | Path,
        app: App,
        limits: Limits | None = None,
        *,
        gate: Gate | None = None,
        grace: int = GRACE,
    ) -> None:
        """`name` is the thread's, and that of the server in the log.

        A path is a Unix socket that only our own user may open; what lies there is
        replaced, so the path must be ours. `gate` is told, on the server's thread, who
        was turned away.
        """
        self._name = name
        self._where = where
        protocol = limited(limits or Limits(), *([gate] if gate else []))
        self._server = _Server(
            uvicorn.Config(
                app,
                http=protocol,
                loop="uvloop",
                ws="none",
                interface="asgi3",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                # Ours is exact; uvicorn's own is at best a second later.
                timeout_keep_alive=ceil((limits or Limits()).idle) + 1,
                timeout_graceful_shutdown=grace,
                backlog=BACKLOG,
            )
        )
        self._patience = grace + _LAST_WORDS
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._address = str(where)
        self._port = 0

    @property
    def address(self) -> str:
        """Where it listens, as people write it: `127.0.0.1:8080`, `[::1]:8080`, a path.

        Real once it is started, whatever was asked for.
        """
        return self._address

    @property
    def port(self) -> int:
        """The real port; 0 for a Unix socket."""
        return self._port

    def start(self) -> None:
        """Listen; returns once requests are answered.

        Raises `DaemonError` where the address cannot be had.
        """
        listener = self._listener = listen(self._where)
        if isinstance(self._where, Tcp):
            self._address, self._port = shown(listener)
        self._thread = threading.Thread(
            target=self._work, args=(listener,), name=self._name, daemon=True
        )
        self._thread.start()
        self._server.settled.wait(_START_PATIENCE)
        if not self._server.started:
            self.stop()
            raise DaemonError(
                f"the {self._name} server did not start on {self._address}",
                hint="the log says why",
            )

    def stop(self, patience: float | None = None) -> None:
        """Take no new requests, finish those in flight, end the thread.

        After `patience` seconds, or its own grace where that is less, requests in
        flight are cut off.
        """
        self._server.should_exit = True
        if self._thread is not None:
            allowed = self._patience if patience is None else patience
            self._thread.join(min(allowed, self._patience))
            if self._thread.is_alive():
                self._server.force_exit = True
                self._thread.join(_LAST_WORDS)
        if self._listener is not None:
            self._listener.close()
            if isinstance(self._where, Path):
                self._where.unlink(missing_ok=True)
        self._listener = None

    def _work(self, listener: socket.socket) -> None:
        try:
            self._server.run(sockets=[listener])
        except Exception as error:  # noqa: BLE001  # the last frame of a thread
            name = type(error).__name__
            emit(events.DAEMON_CRASHED, error=name, thread=self._name, exc_info=True)
        finally:
            self._server.settled.set()


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, and leaves no connection behind."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()
        """It answers, or it never will."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.settled.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets=sockets)
        for connection in list(self.server_state.connections):
            if isinstance(connection, LimitedProtocol):
                connection.abort()
