"""Starts the real command many times from one warm process, and kills it at a point.

As a process (`python -m tests…failpoints SOCKET`) it imports the product once,
without a thread, and then forks a child for each errand that comes over the socket: the
child is the command, its main called with the command's own arguments. A point is where
what is durable, or known to others, changes:

    commit NAME/before      a write transaction is about to be committed
    commit NAME/after       it was, and nobody was told yet
    http NAME/before        no byte of a request has left
    http NAME/sent          all of it has left, no answer was read
    http NAME/answered      the whole answer was read
    migrate NAME/before     a statement of a migration
    file NAME/WHAT          a file is about to be made, locked, renamed or removed
    space NAME/before       SQLite's file is about to be rewritten, or shortened
    space NAME/after        it was

NAME is the function of the product that asked for it. Each passage is written to the
errand's `trace` before anything else happens; at the passage that the errand names the
child sends itself SIGKILL. Nothing of this is in the product: it hooks SQLAlchemy's
events, httpcore's trace extension and Python's audit events from outside.
"""

import gc
import json
import os
import pkgutil
import selectors
import signal
import socket
import sqlite3
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import httpcore
from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import Pool

import syncd
from syncd.__main__ import main
from syncd.cli.main import run
from syncd.store import direct
from syncd.store.database import READS

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
FILES = frozenset(
    {"os.rename", "os.remove", "os.link", "os.truncate", "fcntl.flock", "os.mkdir"}
)
"""Audit events that are points; and `open`, for writing."""
TRACED = {
    "http11.send_request_headers.started": "before",
    "http11.send_request_body.complete": "sent",
    "http11.receive_response_body.complete": "answered",
}
"""httpcore's steps of a request."""
BELOW = ("syncd.clients.http", "syncd.clients.deadline", "syncd.app.turns")
"""Through these everybody talks to others."""
CLIENTS = "syncd.clients."
STORE = "syncd.store."
ENGINE_ROOM = tuple(
    f"syncd.store.{each}" for each in ("database", "postgres", "sqlite", "writer")
)
"""Through these everybody writes."""
SPACE = frozenset({"rewrite", "_give_pages_back"})


# ---- the points ---------------------------------------------------------------------


@dataclass
class Points:
    """Counts the passages of each point in this process, and ends it at one of them."""

    trace: int
    """Descriptor of a file that gets a line for each passage."""
    kill: tuple[str, int] | None
    """A point, and which of its passages, from 1."""
    linger: float = 0
    """Seconds for what other threads do too early to get out, before it dies."""
    counts: Counter[str] = field(default_factory=Counter)
    lock: Any = field(default_factory=threading.RLock)

    def reach(self, point: str) -> None:
        """A passage. It may be the last thing that this process does."""
        with self.lock:
            self.counts[point] += 1
            passage = (point, self.counts[point])
            os.write(self.trace, f"{passage[1]} {point}\n".encode())
        if passage == self.kill:
            threading.Event().wait(self.linger)
            os.kill(os.getpid(), signal.SIGKILL)


def asker(start: FrameType | None) -> str:
    """Who of the product asked: the innermost function outside of the store, or else
    the outermost of the store but for its engine room; empty if nobody did."""
    frame, stored = start, ""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("syncd.") and module not in BELOW:
            if not module.startswith(STORE):
                return _name(module, frame)
            if module not in ENGINE_ROOM:
                stored = _name(module, frame)
        frame = frame.f_back
    return stored


def _name(module: str, frame: FrameType) -> str:
    function = frame.f_code.co_qualname.partition(".<locals>")[0]
    return f"{module.removeprefix('syncd.')}.{function.rpartition('.')[2]}"


def caller(start: FrameType | None) -> str:
    """Which call of a vendor's API it is: the outermost function of its client."""
    frame, found = start, ""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(CLIENTS) and module not in BELOW:
            found = _name(module, frame)
        elif found and module.startswith("syncd."):
            break
        frame = frame.f_back
    return found or asker(start)


def _migration(frame: FrameType | None) -> str:
    """The migration that a statement is of."""
    while frame is not None:
        module: str = frame.f_globals.get("__name__", "")
        # Alembic loads them by their files, under names of its own.
        file = frame.f_code.co_filename
        if "/store/migrations/versions/" in file:
            return Path(file).stem
        if module == "syncd.store.migrate":
            return ""
        frame = frame.f_back
    return ""


def _space(frame: FrameType | None) -> str:
    """The function of the store that shortens or rewrites its file."""
    while frame is not None:
        is_store = frame.f_globals.get("__name__") == "syncd.store.database"
        if is_store and frame.f_code.co_name in SPACE:
            return f"store.database.{frame.f_code.co_name}"
        frame = frame.f_back
    return ""


@dataclass(frozen=True)
class StorePoints:
    """Points of every engine that writes, by SQLAlchemy's events."""

    points: Points

    def watch(self) -> None:
        """From now on, also of engines that are made later."""
        event.listen(Engine, "before_cursor_execute", self._executes)
        event.listen(Engine, "commit", self._commits)
        event.listen(Pool, "checkout", self._checks_out)
        event.listen(Pool, "checkin", self._checks_in)
        self._watch_direct()

    def _watch_direct(self) -> None:
        """Who asked for statements that SQLAlchemy is not told of."""
        driver_of = direct._driver  # noqa: SLF001  # both of its ways lead through it

        def noted(connection: Connection) -> sqlite3.Connection:
            if name := asker(sys._getframe(1)):  # noqa: SLF001  # as above
                connection.info["asker"] = name
            return driver_of(connection)

        direct._driver = noted  # noqa: SLF001

    def _executes(
        self,
        connection: Connection,
        _cursor: object,
        _statement: str,
        _parameters: object,
        _context: object,
        _many: bool,
    ) -> None:
        frame = sys._getframe(1)  # noqa: SLF001  # who asked is only in the stack
        if name := _migration(frame):
            self.points.reach(f"migrate {name}/before")
        if name := asker(frame):
            connection.info["asker"] = name

    def _commits(self, connection: Connection) -> None:
        if _only_reads(connection):
            return
        # In the writer's thread nobody asks any more: who wrote the last statement did.
        frame = sys._getframe(1)  # noqa: SLF001  # as above
        name = asker(frame) or connection.info.get("asker", "unknown")
        self.points.reach(f"commit {name}/before")
        connection.info["committed"] = name

    def _checks_out(self, _raw: object, record: Any, _proxy: object) -> None:
        record.info.pop("asker", None)
        if name := _space(sys._getframe(1)):  # noqa: SLF001  # as above
            self.points.reach(f"space {name}/before")
            record.info["space"] = name

    def _checks_in(self, _raw: object, record: Any) -> None:
        if name := record.info.pop("committed", ""):
            self.points.reach(f"commit {name}/after")
        if name := record.info.pop("space", ""):
            self.points.reach(f"space {name}/after")


def _only_reads(connection: Connection) -> bool:
    return connection.engine.url.query.get("mode") == "ro" or bool(
        connection.get_execution_options().get(READS)
    )


def watch_requests(points: Points) -> None:
    """Points of every request that the product makes."""
    send = httpcore.ConnectionPool.handle_request

    def traced(
        self: httpcore.ConnectionPool, request: httpcore.Request
    ) -> httpcore.Response:
        name = caller(sys._getframe(1))  # noqa: SLF001  # as above

        def step(kind: str, _info: object) -> None:
            if kind in TRACED:
                points.reach(f"http {name}/{TRACED[kind]}")

        request.extensions = {**request.extensions, "trace": step}
        return send(self, request)

    httpcore.ConnectionPool.handle_request = traced  # type: ignore[method-assign]


def watch_files(points: Points) -> None:
    """Points of every file that the product itself makes, locks, renames, removes."""
    busy = threading.local()

    def hook(name: str, args: tuple[Any, ...]) -> None:
        if name not in FILES and not (name == "open" and _writes(args)):
            return
        if getattr(busy, "now", False):
            return
        busy.now = True
        try:
            if who := _file_asker(sys._getframe(1)):  # noqa: SLF001  # as above
                points.reach(f"file {who}/{name}")
        finally:
            busy.now = False

    sys.addaudithook(hook)


def _writes(args: tuple[Any, ...]) -> bool:
    return len(args) == 3 and isinstance(args[2], int) and bool(args[2] & WRITING)


def _file_asker(frame: FrameType | None) -> str:
    """The product's function, if it or the standard library on its behalf did it."""
    depth = 0
    while frame is not None and depth < 8:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("syncd."):
            return _name(module, frame)
        frame, depth = frame.f_back, depth + 1
    return ""


# ---- the child ----------------------------------------------------------------------


def become(errand: dict[str, Any]) -> NoReturn:
    """Be the command in this forked process, to its end."""
    try:
        _look_like_a_command(errand)
        kill = errand["kill"]
        trace = os.open(errand["trace"], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        at = (kill[0], kill[1]) if kill else None
        points = Points(trace, at, errand["linger"])
        StorePoints(points).watch()
        watch_requests(points)
        watch_files(points)
        sys.argv = ["syncd", *errand["argv"]]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # noqa: BLE001  # the parent's loop is not ours
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = 70
    else:
        code = 0
    _leave(code)


def _look_like_a_command(errand: dict[str, Any]) -> None:
    os.chdir(errand["cwd"])
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
    for number, name in ((1, "out"), (2, "err")):
        opened = os.open(errand[name], flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    given = os.open(errand["stdin"], os.O_RDONLY)
    os.dup2(given, 0)
    os.close(given)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    signal.set_wakeup_fd(-1)


def _leave(code: int) -> NoReturn:
    """End as the interpreter would, without what the parent registered."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


# ---- the parent ---------------------------------------------------------------------


def warm() -> None:
    """Import all that a command may need, and nothing that starts a thread."""
    for found in pkgutil.walk_packages(syncd.__path__, "syncd."):
        if not found.name.startswith(("syncd.simulator", "syncd.store.migrations")):
            if not found.name.endswith("__main__"):
                import_module(found.name)
    for name in (
        *("alembic.command", "alembic.runtime.migration", "psycopg", "h11"),
        *("sqlalchemy.dialects.sqlite.pysqlite", "httptools", "logging.config"),
        *("sqlalchemy.dialects.postgresql.psycopg", "uvicorn.loops.auto"),
        *("uvicorn.protocols.http.auto", "uvicorn.lifespan.off", "rich.console"),
    ):
        import_module(name)
    _rehearse()
    gc.collect()
    gc.freeze()


def _rehearse() -> None:
    """Carry out a command that starts no thread: much is made when it is first used."""
    with tempfile.TemporaryDirectory(prefix="fp-") as folder:
        config = Path(folder) / "syncd.json"
        to = {"connection": "amplitude", "cohort": "c"}
        source = {"connection": "engage", "audience": "a"}
        sync = {"name": "a", "owner": "o", "from": source, "to": to}
        snapshot = {"type": "files", "path": f"{folder}/{{audience}}.csv"}
        amplitude = {"type": "amplitude", "region": "us", "app_id": 1, "owner": "o@x.y"}
        keys = {"api_key_file": "k", "secret_key_file": "k"}
        content = {
            "version": 1,
            "secrets_dir": folder,
            "store": {"url": f"sqlite:///{folder}/syncd.db"},
            "connections": {
                "engage": {"type": "engage", "snapshot": snapshot},
                "amplitude": amplitude | keys,
            },
            "syncs": [sync | {"schedule": "manual"}],
        }
        config.write_text(json.dumps(content), encoding="utf-8")
        for verb in (["db", "migrate"], ["status"]):
            with redirect_stdout(StringIO()):
                code = run([*verb, "-q", "-c", str(config)], dict)
            assert code == 0, f"{verb} ended with {code}"


class Parent:
    """Takes errands over a Unix socket; each connection is one of them.

    Answers two lines: the child's pid, and its wait status once it has ended.
    """

    def __init__(self, path: str) -> None:
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._door.bind(path)
        self._door.listen(64)
        self._selector = selectors.DefaultSelector()
        self._children: set[int] = set()

    def work(self) -> None:
        """Until stdin ends, as it does when the test process does."""
        self._selector.register(self._door, selectors.EVENT_READ, self._accept)
        self._selector.register(sys.stdin.buffer, selectors.EVENT_READ, self._end)
        print("ready", flush=True)
        while True:
            for key, _ in self._selector.select():
                act: Callable[[], None] = key.data
                act()

    def _accept(self) -> None:
        client, _ = self._door.accept()
        with client.makefile("rb") as lines:
            errand = json.loads(lines.readline())
        pid = os.fork()
        if pid == 0:
            client.close()
            self._door.close()
            self._selector.close()
            become(errand)
        self._children.add(pid)
        watched = os.pidfd_open(pid)
        client.sendall(f"{pid}\n".encode())

        def ended() -> None:
            self._selector.unregister(watched)
            os.close(watched)
            self._children.discard(pid)
            _, status = os.waitpid(pid, 0)
            with client:
                client.sendall(f"{status}\n".encode())

        self._selector.register(watched, selectors.EVENT_READ, ended)

    def _end(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


if __name__ == "__main__":
    warm()
    assert threading.active_count() == 1, "forking beside a thread is not safe"
    Parent(sys.argv[1]).work()
