"""Commands that change something: carried out by the daemon, or else by ourselves.

One process writes to a SQLite store. While a daemon runs it is asked over its control
socket; otherwise this process takes the store's lock and does the work. On Postgres
the work is done here in any case, under the sync's lease.
"""

import getpass
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

from syncd import __version__, log
from syncd.app.build import blueprint
from syncd.app.engine import Engine
from syncd.app.store import opened
from syncd.cli.frame import Frame
from syncd.clients.http import HttpClient, TransportError
from syncd.clock import Clock
from syncd.config.settings import Loaded
from syncd.errors import DaemonError, StoreInUse
from syncd.events import help_links
from syncd.store.location import is_sqlite, sqlite_path
from syncd.web.control_address import REFUSED, socket_path
from syncd.web.sockets import reachable_path

LONGEST = 24 * 3600.0
"""Seconds a command may take: a run of a large audience is slow, not stuck."""

Ask = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""`ask(verb, body)`: carry out a command; raises `SyncdError` when it is refused."""
Action = Callable[[Engine, Mapping[str, Any]], Mapping[str, Any]]

_ACTIONS = {
    "run": "commands:run",
    "fetch": "commands:fetch",
    "approve": "commands:approve",
    "reject": "commands:reject",
    "outbox-retry": "outbox:retry",
    "outbox-drop": "outbox:drop",
    "pause": "pausing:pause",
    "resume": "pausing:resume",
    "verify": "verifying:verify",
    "forget": "forgetting:forget",
    "repair": "repairing:repair",
    "resync": "resyncing:resync",
    "detach": "detaching:detach",
}
"""Command → `module:function` below `syncd.app`. The daemon's are in `control_socket`.
"""


@contextmanager
def asking(frame: Frame, loaded: Loaded) -> Iterator[Ask]:
    """Whoever carries commands out for this store: the daemon, or this process."""
    url = loaded.settings.store.read_url()
    with asking_daemon(frame, url) as ask:
        if ask is not None:
            yield ask
            return
    log_quietly(frame, loaded)
    with _here(loaded, url, frame.clock) as ask:
        yield ask


def log_quietly(frame: Frame, loaded: Loaded) -> None:
    """What happens here is told on stderr: errors, with `-v` more."""
    quiet = (
        "debug" if frame.verbosity > 1 else "info" if frame.verbosity > 0 else "error"
    )
    log.configure(
        "auto" if sys.stderr.isatty() else loaded.settings.log.format,
        quiet,
        frame.clock,
        sys.stderr,
        loaded.settings.instance,
        __version__,
        further=help_links(loaded.settings.web.page.base_url),
    )


@contextmanager
def asking_daemon(frame: Frame, url: str) -> Iterator[Ask | None]:
    """The daemon that works on this store, where one listens; never on Postgres."""
    if is_sqlite(url) and _listens(socket_path(sqlite_path(url))):
        with _daemon(socket_path(sqlite_path(url)), frame.clock) as ask:
            yield ask
    else:
        yield None


def me() -> dict[str, str]:
    """Who asks, for the audit trail."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"
    return {"actor": name, "via": "cli"}


@contextmanager
def _here(loaded: Loaded, url: str, clock: Clock) -> Iterator[Ask]:
    try:
        how = loaded.settings.store
        store = opened(url, migration=how.migrate, fast=False, codec=how.codec)
        with store as open_store:
            database = open_store.database
            built = blueprint(loaded.settings, loaded.config_hash, clock, database)
            with Engine(built, open_store, clock) as engine:
                engine.close_abandoned()
                yield lambda verb, body: _interruptible(
                    engine, partial(_action(verb), engine, body)
                )
    except StoreInUse as error:
        raise StoreInUse(
            f"{error}, and it does not answer on its control socket",
            hint=error.hint,
        ) from None


def _action(verb: str) -> Action:
    """What carries a command out in this process; loads its module."""
    module, _, name = _ACTIONS[verb].partition(":")
    action: Action = getattr(import_module(f"syncd.app.{module}"), name)
    return action


class Terminated(KeyboardInterrupt):
    """SIGTERM; ends as Ctrl-C does, with another exit code."""


def _interruptible(
    engine: Engine, action: Callable[[], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Work in a thread, so that Ctrl-C and SIGTERM let requests in flight finish."""
    ended = threading.Event()
    result: Future[Mapping[str, Any]] = Future()

    def work() -> None:
        try:
            result.set_result(action())
        except BaseException as error:  # noqa: BLE001  # raised again by result()
            result.set_exception(error)
        ended.set()

    threading.Thread(target=work, name="command", daemon=True).start()
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        ended.wait()
    except KeyboardInterrupt:
        # Not Thread.join: interrupted once, it returns at once the second time.
        engine.stop()
        if not ended.wait(engine.blueprint.settings.shutdown_grace.total_seconds()):
            engine.abandon()
            ended.wait(1)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return result.result()


def _terminate(_number: int, _frame: object) -> None:
    raise Terminated


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(reachable_path(path))
        except OSError:
            return False
    return True


def _content(body: bytes) -> Mapping[str, Any]:
    """The answer as JSON; a daemon that is being stopped cuts a command off."""
    try:
        content: Mapping[str, Any] = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise DaemonError(
            "the daemon stopped before the command was finished", hint="syncd status"
        ) from None
    return content


@contextmanager
def _daemon(path: Path, clock: Clock) -> Iterator[Ask]:
    client = HttpClient.over_unix_socket(
        Path(reachable_path(path)), clock=clock, deadline=LONGEST
    )

    def ask(verb: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            answer = client.request(
                "POST", f"/v1/{verb}", body=orjson.dumps(body), max_bytes=8 << 20
            )
        except TransportError as error:
            raise DaemonError(
                f"the daemon did not finish the command: {error}", hint="syncd status"
            ) from None
        content = _content(answer.body)
        if "error" in content:
            refusal = content["error"]
            code = refusal["code"] if answer.status == REFUSED else "daemon"
            raise DaemonError(
                refusal["message"], code=code, hint=refusal.get("hint", "")
            )
        return content

    with client:
        yield ask
