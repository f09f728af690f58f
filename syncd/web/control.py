"""The daemon's control socket: commands of people on the same machine.

A Unix socket that only the daemon's own user may open (0600) beside the store. `run`,
`approve` and `reject` go through it while a daemon works on a SQLite store, since
one process writes to it. Whoever may open the socket could also write to the store.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd import events
from syncd.clock import Clock
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.web.admin import Endpoint, admin_app
from syncd.web.answers import error_body
from syncd.web.control_address import REFUSED
from syncd.web.deadlines import Limits
from syncd.web.refusals import Denied
from syncd.web.server import WebServer
from syncd.web.threads import Busy, Threads

Command = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Carries out one command; JSON in, JSON out; raises `SyncdError` to refuse."""

_GRACE = 1
"""Seconds; a run that is not through by then is gone on with at the next start."""
_COMMANDS = 16
"""Commands at one time; a run takes as long as it takes."""
_LIMITS = Limits(connections=128)
LONGEST_COMMAND = 4 * 1024 * 1024
"""Bytes of a command: a thousand people are forgotten by one, however long their ids.
Only who owns the socket can send it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    """What the body of a command holds: texts under these names and no others."""

    needed: frozenset[str]
    optional: frozenset[str] = frozenset()
    """May be null as well."""


_ASKED = _Fields(needed=frozenset({"sync", "actor", "via"}))
_DECIDED = _Fields(
    needed=frozenset({"run", "actor", "via"}), optional=frozenset({"reason"})
)
_READ_BACK = _Fields(needed=_ASKED.needed, optional=frozenset({"ids"}))
_PAUSED = _Fields(
    needed=frozenset({"sync", "actor", "via", "reason"}),
    optional=frozenset({"span", "until"}),
)
_FIELDS = {
    "run": _ASKED,
    "fetch": _ASKED,
    "approve": _DECIDED,
    "reject": _DECIDED,
    "pause": _PAUSED,
    "resume": _ASKED,
}
_FIELDS["verify"] = _READ_BACK
_FIELDS["repair"] = _Fields(
    needed=_ASKED.needed | {"evidence"}, optional=frozenset({"reason"})
)
_STEERED = _Fields(
    needed=frozenset({"sync", "actor", "via", "reason"}),
    optional=frozenset({"batches"}),
)
_FIELDS |= {"outbox-retry": _STEERED, "outbox-drop": _STEERED}
_FIELDS["resync"] = _Fields(
    needed=frozenset({"sync", "how", "actor", "via", "reason"}),
    optional=frozenset({"strangers"}),
)
_FIELDS["detach"] = _Fields(
    needed=frozenset({"sync", "actor", "via", "reason"}),
    optional=frozenset({"empty"}),
)
_FIELDS["forget"] = _Fields(needed=frozenset({"ids", "match", "actor", "via"}))
_FIELDS["reload"] = _Fields(needed=frozenset({"actor", "via"}))
_FIELDS["note_backup"] = _Fields(
    needed=frozenset({"file", "actor", "via"}), optional=frozenset({"bytes", "error"})
)


class Malformed(SyncdError):
    """What was asked for is no command of ours."""

    code = "request"


def _always() -> bool:
    return True


class ControlServer:
    """Serves commands, health and metrics in a thread of its own."""

    def __init__(
        self,
        path: Path,
        commands: Mapping[str, Command],
        *,
        healthy: Callable[[], bool] = _always,
        ready: Callable[[], bool] = _always,
        clock: Clock | None = None,
    ) -> None:
        """`commands` by their names: run, fetch, approve, reject."""
        self._threads = Threads("command", size=_COMMANDS)
        routes = [
            Route(
                f"/v1/{name}",
                _endpoint(command, _FIELDS[name], self._threads),
                methods=["POST"],
            )
            for name, command in commands.items()
        ]
        app = admin_app(
            healthy=healthy,
            ready=ready,
            denied=Denied(clock or Clock()),
            routes=routes,
            longest_body=LONGEST_COMMAND,
        )
        self._server = WebServer("control", path, app, _LIMITS, grace=_GRACE)

    def start(self) -> None:
        """Listen. Raises `DaemonError` if the socket cannot be made."""
        self._server.start()

    def stop(self) -> None:
        """Stop listening; commands in progress get a second."""
        self._server.stop()
        self._threads.stop()


def _endpoint(command: Command, fields: _Fields, threads: Threads) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            body = _parsed(await request.body(), fields)
            carried_out = threads.submit(_carry_out, command, body)
        except Malformed as error:
            return _refusal(error, 400)
        except Busy as error:
            return _refusal(error, 503)
        try:
            return await asyncio.wrap_future(carried_out)
        except asyncio.CancelledError:
            stopping = (
                "the daemon is stopping; what was begun resumes at its next start"
            )
            return _json(error_body("daemon.stopping", stopping), 503)

    return answer


def _parsed(content: bytes, fields: _Fields) -> Mapping[str, Any]:
    """The body of a command; raises `Malformed` and names what is wrong with it."""
    try:
        body = orjson.loads(content or b"{}")
    except orjson.JSONDecodeError:
        raise Malformed("not JSON") from None
    if not isinstance(body, dict):
        raise Malformed("not an object")
    for name in sorted(fields.needed - body.keys()):
        raise Malformed(f"the field {name} is missing")
    for name, value in body.items():
        if name not in fields.needed | fields.optional:
            raise Malformed(f"there is no field {name[:40]}")
        if not isinstance(value, str) and (value is not None or name in fields.needed):
            raise Malformed(f"the field {name} is no text")
    return {**dict.fromkeys(fields.optional), **body}


def _carry_out(command: Command, body: Mapping[str, Any]) -> Response:
    try:
        return _json(command(body), 200)
    except SyncdError as error:
        return _refusal(error, REFUSED)
    except Exception as error:  # noqa: BLE001  # one bug must not leave a person puzzled
        name = type(error).__name__
        emit(events.DAEMON_CRASHED, error=name, thread="control", exc_info=True)
        return _json(error_body(SyncdError.code, f"a bug: {name}"), 500)


def _refusal(error: SyncdError, status: int) -> Response:
    return _json(error_body(error.code, str(error), error.hint), status)


def _json(content: Mapping[str, Any], status: int) -> Response:
    return Response(
        orjson.dumps(content, default=str), status, media_type="application/json"
    )
