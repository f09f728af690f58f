"""The daemon's control socket: commands of people on the same machine.

A Unix socket that only the daemon's own user may open (0600) beside the store. `run`,
`approve` and `reject` go through it while a daemon works on a SQLite store, since
one process writes to it. Whoever may open the socket could also write to the store.
"""

import os
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd import events
from syncd.errors import DaemonError, SyncdError
from syncd.events import emit

Command = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Carries out one command; JSON in, JSON out; raises `SyncdError` to refuse."""

REFUSED = 409
_START_PATIENCE = 5.0
_LONGEST_PATH = 100
"""Bytes; the system allows 108 for a socket's path."""


def socket_path(database_file: Path) -> Path:
    """Where the daemon of this SQLite store listens."""
    return database_file.with_name(database_file.name + ".sock")


def reachable_path(path: Path) -> str:
    """The path as the system takes it: a long one through an open folder.

    The folder's descriptor stays open for the life of the process.
    """
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return str(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    return f"/proc/self/fd/{folder}/{path.name}"


class ControlServer:
    """Serves commands in a thread of its own."""

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        self._path = path
        routes = [
            Route(f"/v1/{name}", _endpoint(command), methods=["POST"])
            for name, command in commands.items()
        ]
        self._server = uvicorn.Server(
            uvicorn.Config(
                Starlette(routes=routes, max_body_size=64 * 1024),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
        )
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen. Raises `DaemonError` if the socket cannot be made."""
        try:
            self._socket = _listen(self._path)
        except OSError as error:
            raise DaemonError(
                f"cannot listen on {self._path}: {error.strerror}",
                hint="make the store's folder writable for the daemon",
            ) from None
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [self._socket]},
            name="control",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; commands in progress get a second."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_START_PATIENCE)
        if self._socket is not None:
            self._socket.close()
        self._path.unlink(missing_ok=True)


def _listen(path: Path) -> socket.socket:
    # The store's lock is ours, so a socket that is there belongs to nobody any more.
    path.unlink(missing_ok=True)
    with ExitStack() as on_error:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        on_error.enter_context(listener)
        before = os.umask(0o177)
        try:
            listener.bind(reachable_path(path))
        finally:
            os.umask(before)
        listener.listen(16)
        on_error.pop_all()
    return listener


def _endpoint(command: Command) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            body = orjson.loads(await request.body() or b"{}")
        except orjson.JSONDecodeError:
            return _json({"error": {"code": "json", "message": "not JSON"}}, 400)
        # A run takes as long as it takes: not on the event loop.
        return await run_in_threadpool(_carry_out, command, body)

    return answer


def _carry_out(command: Command, body: Mapping[str, Any]) -> Response:
    try:
        return _json(command(body), 200)
    except SyncdError as error:
        refusal = {"code": error.code, "message": str(error), "hint": error.hint}
        return _json({"error": refusal}, REFUSED)
    except (KeyError, TypeError, ValueError) as error:
        refusal = {"code": "request", "message": f"{type(error).__name__} in request"}
        return _json({"error": refusal}, 400)
    except Exception as error:  # noqa: BLE001  # one bug must not leave a person puzzled
        name = type(error).__name__
        emit(events.DAEMON_CRASHED, error=name, thread="control", exc_info=True)
        return _json({"error": {"code": "internal", "message": f"a bug: {name}"}}, 500)


def _json(content: Mapping[str, Any], status: int) -> Response:
    return Response(
        orjson.dumps(content, default=str), status, media_type="application/json"
    )
