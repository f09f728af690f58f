"""Opening the database: one code path for SQLite and Postgres.

On SQLite exactly one connection writes and checkpoints, every other one is
read-only: the library's WAL bug (3.7.0 to 3.51.2) needs two writers. Commits are
full-sync: a commit that returned survives a power cut.
"""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import Connection as Connection  # for whoever passes one on
from sqlalchemy import Engine, Table, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from syncd import metrics
from syncd.errors import StoreRefused, StoreUnavailable
from syncd.store.codec import Codec
from syncd.store.damage import damage_of
from syncd.store.direct import run
from syncd.store.in_order import InOrder

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs"}
)
_OCTAL = re.compile(r"\\([0-7]{3})")
"""How /proc/self/mounts writes blanks and backslashes."""
BUSY_TIMEOUT_MS = 5_000
WRITER_PATIENCE_S = 300
"""How long a writer queues behind another one (a large plan takes seconds)."""
FREED = timedelta(seconds=90)
"""What a transaction on Postgres has locked is freed when nothing happened in it for so
long: its process stands still, or its network is gone. The others would wait for it
until the server noticed, which takes hours where a network swallows everything."""
AT_LEAST = timedelta(seconds=5)
"""More than anything that we do between two statements takes."""
READ_AT_LEAST = timedelta(seconds=15)
"""The same where a list is compared in between, and spilled to disk."""
_FREED = "SET LOCAL idle_in_transaction_session_timeout"
"""For each transaction, as PgBouncer keeps no setting of a session."""
PAGES = 1_000
"""Free pages of SQLite given back at once: others write in between."""

# Looked up once: it takes longer than to count.
_WAIT = metrics.STORE_SECONDS.labels("wait")
_READ = metrics.STORE_SECONDS.labels("read")
_WRITE = metrics.STORE_SECONDS.labels("write")
_REWRITE = metrics.STORE_SECONDS.labels("rewrite")


class Database:
    """Engines for one store; hands out transactions and read-only connections."""

    def __init__(
        self, url: str | URL, *, readers: int = 8, codec: Codec = "text"
    ) -> None:
        """`codec` is how chunks are written; either kind is read."""
        self.url = make_url(url)
        self._turn = InOrder()
        self._takes_writes = True
        self._freed, self._read_freed = _freed_after(FREED), ""
        self._sqlite = self.url.get_backend_name() == "sqlite"
        if self._sqlite:
            writer = _sqlite_engine(self.path, writes=True, size=1)
            self._writer = writer.execution_options(**{_CODEC: codec})
            self._reader = _sqlite_engine(self.path, writes=False, size=readers)
        else:
            engine = _postgres_engine(self.url, size=readers)
            self._writer = engine.execution_options(**{_CODEC: codec})
            self._reader = self._writer

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return "sqlite" if self._sqlite else "postgresql"

    @property
    def library(self) -> str:
        """The database library in use, for the log: it decides which bugs apply."""
        return f"SQLite {sqlite3.sqlite_version}" if self._sqlite else "PostgreSQL"

    @property
    def path(self) -> Path:
        """The database file; only meaningful on SQLite."""
        return Path(self.url.database or "")

    def driver_arguments(self) -> dict[str, Any]:
        """How psycopg by itself connects to this Postgres as we do."""
        url = self.url.set(drivername="postgresql+psycopg")
        _, arguments = url.get_dialect()().create_connect_args(url)
        return {**arguments, **_CONNECTED}

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One write transaction: commits at the end, rolls back on any error."""
        with (
            self._noted(),
            self._in_turn(),
            unavailable_on_database_error(),
            _WRITE.time(),
            self._writer.begin() as connection,
        ):
            if not self._sqlite:
                connection.exec_driver_sql(self._freed)
            yield connection

    def free_after(self, idle: timedelta) -> None:
        """End transactions in which nothing happens for `idle` (on Postgres; for
        `AT_LEAST`, or `READ_AT_LEAST`, where that is less).

        What they have locked nobody else gets; and behind a PgBouncer those that read
        keep one of its few connections.
        """
        self._freed = _freed_after(max(idle, AT_LEAST))
        self._read_freed = _freed_after(max(idle, READ_AT_LEAST))

    @property
    def takes_writes(self) -> bool:
        """Whether the last write was taken: reading goes on where a disk is full."""
        return self._takes_writes

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable:
            self._takes_writes = False
            raise
        self._takes_writes = True

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One read-only transaction that sees a single consistent state."""
        with (
            unavailable_on_database_error(),
            _READ.time(),
            self._reader.connect() as connection,
        ):
            if not self._sqlite:
                connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with connection.begin():
                if self._read_freed and not self._sqlite:
                    connection.exec_driver_sql(self._read_freed)
                yield connection

    def require_whole(self) -> None:
        """Raise `StoreRefused` where a SQLite file is damaged.

        Looks at every page (0.1 s for 370 MB), and whether members belong to anything.
        SQLite has no checksums: of the words in a page this knows nothing. Postgres
        looks after itself.
        """
        if not self._sqlite:
            return
        with unavailable_on_database_error(), self._writer.connect() as connection:
            raw: Any = connection.connection.driver_connection
            try:
                found = damage_of(raw)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                found = _plain(error)
        if found:
            raise damaged(f"{self.path} is damaged: {found}")

    def give_space_back(self) -> None:
        """Return free pages of a SQLite file; Postgres does so by itself."""
        while self._sqlite and self._give_pages_back() >= PAGES:
            pass

    def rewrite(self) -> None:
        """Write a SQLite file anew: what was deleted is in it no more, nor in its log.

        Nothing else is written meanwhile (about a second for 300 MB), and room for a
        second file is needed. Postgres frees what was deleted by its own vacuum.
        """
        if not self._sqlite:
            return
        with (
            self._in_turn(),
            unavailable_on_database_error(),
            _REWRITE.time(),
            self._writer.connect() as connection,
        ):
            raw: Any = connection.connection.driver_connection
            try:
                raw.execute("VACUUM")
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error as error:
                raise StoreUnavailable(
                    f"the store's file cannot be written anew: {error}",
                    hint="leave as much room on the disk as the file takes",
                ) from None

    def _give_pages_back(self) -> int:
        """Return up to `PAGES` free pages; returns how many those were."""
        with (
            self._in_turn(),
            unavailable_on_database_error(),
            self._writer.connect() as connection,
        ):
            raw: Any = connection.connection.driver_connection
            before = _free_pages(raw)
            # A page is freed for each step; only a script is stepped to its end.
            raw.executescript(f"PRAGMA incremental_vacuum({PAGES})")
            return before - _free_pages(raw)

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Wait until all who came before have written; Postgres has many writers."""
        if not self._sqlite:
            yield
            return
        with _WAIT.time():
            taken = self._turn.acquire(WRITER_PATIENCE_S)
        if not taken:
            raise StoreUnavailable("others have been writing to the store for too long")
        try:
            yield
        finally:
            self._turn.release()

    def close(self) -> None:
        """Close every connection; the last one of SQLite folds the WAL."""
        self._reader.dispose()
        self._writer.dispose()


def _freed_after(idle: timedelta) -> str:
    return f"{_FREED} = {round(idle.total_seconds() * 1000)}"


def codec_of(connection: Connection) -> Codec:
    """How chunks are to be written in this transaction."""
    found: Codec = connection.get_execution_options().get(_CODEC, "text")
    return found


_CODEC = "syncd_codec"
"""SQLAlchemy hands such an option of an engine on to its connections."""


def _free_pages(raw: sqlite3.Connection) -> int:
    return int(raw.execute("PRAGMA freelist_count").fetchone()[0])


def damaged(what: str) -> StoreRefused:
    """The refusal of a store whose content cannot be believed."""
    return StoreRefused(
        what, code="store.damaged", hint="syncd explain store.damaged, before anything"
    )


@contextmanager
def unavailable_on_database_error() -> Iterator[None]:
    """Turn driver errors into `StoreUnavailable`, without parameters or data."""
    try:
        yield
    except SQLAlchemyError as error:
        raise as_store_error(error) from None


def as_store_error(error: SQLAlchemyError) -> StoreUnavailable:
    """The error as the rest of the product knows it."""
    return StoreUnavailable(
        f"the store failed: {_cause(error)}",
        hint="check the disk and the database, then: syncd status",
    )


def _cause(error: SQLAlchemyError) -> str:
    if not isinstance(error, DBAPIError):
        return type(error).__name__
    # Postgres' own text quotes key values; its SQLSTATE says enough.
    state = getattr(error.orig, "sqlstate", None)
    if state:
        return f"{type(error.orig).__name__} (SQLSTATE {state})"
    if isinstance(error.orig, sqlite3.Error):
        return _plain(error.orig)
    return type(error.orig).__name__


def _plain(error: Exception) -> str:
    """SQLite's own words, but for those that quote what stands in the file."""
    if isinstance(error, UnicodeDecodeError) or "decode" in str(error):
        return "its text is no UTF-8, so it is damaged"
    return str(error)


def insert_into(
    connection: Connection, table: Table
) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that knows ON CONFLICT, which both stores spell alike.

    Where two replicas may meet on one key, the second must not fail: on Postgres an
    error inside a transaction is the end of that transaction.
    """
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    # Not at the top: it takes longer to load than SQLite's, which most stores are.
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


MOUNTS = Path("/proc/self/mounts")


def create_file(path: Path, mounts: Path = MOUNTS) -> None:
    """Create an empty database file only its owner can read; keep one that is there.

    Raises `StoreRefused` on a network file system, before anything is written: WAL
    needs the shared memory of one host, and its locks do not hold there.
    """
    kind = file_system_of(path, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreRefused(
            f"{path} is on a network file system ({kind}); SQLite would corrupt it",
            hint="use a local disk, or store.url: postgresql://…",
        )
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreUnavailable(
            f"cannot create the store file {path}: {error.strerror}",
            hint="set store.url to a folder the daemon may write to",
        ) from None


def file_system_of(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system `path` lies on; empty where it cannot be told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    resolved = path.resolve()
    best, kind = "", ""
    for line in lines:
        _, point, fs_type, *_ = line.split(" ")
        folder = _OCTAL.sub(lambda found: chr(int(found[1], 8)), point)
        if resolved.is_relative_to(folder) and len(folder) >= len(best):
            best, kind = folder, fs_type
    return kind


def _sqlite_engine(path: Path, *, writes: bool, size: int) -> Engine:
    mode = "rw" if writes else "ro"
    engine = create_engine(
        URL.create(
            "sqlite",
            # A URI, for its mode: neither engine may create the file unprotected.
            database=f"file:{quote(str(path))}",
            query={"mode": mode, "uri": "true"},
        ),
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0 if writes else 16,
        pool_timeout=WRITER_PATIENCE_S,
        hide_parameters=True,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(raw: Any, _record: Any) -> None:
        # Our own BEGIN below, or DDL and SELECTs would run outside transactions.
        raw.isolation_level = None
        try:
            for pragma in _WRITER_PRAGMAS if writes else _READER_PRAGMAS:
                raw.execute(f"PRAGMA {pragma}")
        except UnicodeDecodeError as error:  # of SQLite's own words about a damage
            raise sqlite3.DatabaseError(_plain(error)) from None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A plain BEGIN that turns into a write fails at once when it must wait.
        run(connection, "BEGIN IMMEDIATE" if writes else "BEGIN", ())

    return engine


_READER_PRAGMAS = (
    f"busy_timeout={BUSY_TIMEOUT_MS}",
    # A chunk or a payload is read once: a larger cache is memory, times the readers.
    # Each fills up with the weeks, which looks like a leak (soak: 3 MiB per 100 rounds
    # with 1 MiB here and 16 for the writer, 0.6 so).
    "cache_size=-256",
)
_WRITER_PRAGMAS = (
    # Only takes effect before the first table: first-load pages can be given back.
    "auto_vacuum=INCREMENTAL",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    f"busy_timeout={BUSY_TIMEOUT_MS}",
    "cache_size=-2048",
    # Compactions write tens of MB; checkpoint less often than every 4 MB.
    "wal_autocheckpoint=4000",
    "journal_size_limit=67108864",
)


def _postgres_engine(url: URL, *, size: int) -> Engine:
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=size,
        max_overflow=16,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=_CONNECTED,
    )


_NOTICED = {
    # A machine that is gone says nothing more. By default that is noticed after a
    # quarter of an hour where something was sent to it, after two hours elsewhere.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""Seconds, but for the last, in milliseconds; nothing to a Unix socket."""
_CONNECTED = {
    # PgBouncer in transaction mode keeps no prepared statements.
    "prepare_threshold": None,
    "application_name": "syncd",
    "connect_timeout": 10,
    **_NOTICED,
}
