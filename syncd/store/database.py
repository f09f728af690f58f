"""One store: its transactions, by one code path for SQLite and Postgres."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection as Connection  # for whoever passes one on
from sqlalchemy import Engine, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url

from syncd import metrics
from syncd.errors import StoreUnavailable
from syncd.store.codec import Codec
from syncd.store.damage import damage_of
from syncd.store.failures import damaged, sqlite_words, unavailable_on_database_error
from syncd.store.in_order import InOrder
from syncd.store.postgres import (
    CONNECTED,
    READING,
    WRITING,
    beginning,
    postgres_engine,
    transaction,
)
from syncd.store.sqlite import WRITER_PATIENCE_S, free_pages, sqlite_engine

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

FREED = timedelta(seconds=90)
"""What a transaction on Postgres has locked is freed when nothing happened in it for so
long: its process stands still, or its network is gone. The others would wait for it
until the server noticed, which takes hours where a network swallows everything."""
AT_LEAST = timedelta(seconds=5)
"""More than anything that we do between two statements takes."""
READ_AT_LEAST = timedelta(seconds=15)
"""The same where a list is compared in between, and spilled to disk."""
_BRIEFLY = beginning(WRITING, AT_LEAST)
PAGES = 1_000
"""Free pages of SQLite given back at once: others write in between."""
_CODEC = "syncd_codec"
READS = "syncd_reads"
"""SQLAlchemy hands such an option of an engine on to its connections."""

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
        self._writing, self._reading = beginning(WRITING, FREED), READING
        self._sqlite = self.url.get_backend_name() == "sqlite"
        if self._sqlite:
            writer = sqlite_engine(self.path, writes=True, size=1)
            self._writer = writer.execution_options(**{_CODEC: codec})
            self._reader = sqlite_engine(self.path, writes=False, size=readers)
        else:
            engine = postgres_engine(self.url, size=readers)
            self._writer = engine.execution_options(**{_CODEC: codec})
            self._reader = self._writer.execution_options(**{READS: True})

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
        return {**arguments, **CONNECTED}

    @contextmanager
    def begin(self, *, brief: bool = False) -> Iterator[Connection]:
        """One write transaction: commits at the end, rolls back on any error.

        What a `brief` one has locked many wait for: it ends after `AT_LEAST` already in
        which nothing happens (`free_after`).
        """
        with (
            self._noted(),
            self._in_turn(),
            unavailable_on_database_error(),
            _WRITE.time(),
            self._transaction(
                self._writer, _BRIEFLY if brief else self._writing
            ) as connection,
        ):
            yield connection

    def free_after(self, idle: timedelta) -> None:
        """End transactions in which nothing happens for `idle` (on Postgres; for
        `AT_LEAST`, or `READ_AT_LEAST`, where that is less).

        What they have locked nobody else gets; and behind a PgBouncer those that read
        keep one of its few connections.
        """
        self._writing = beginning(WRITING, max(idle, AT_LEAST))
        self._reading = beginning(READING, max(idle, READ_AT_LEAST))

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
            self._transaction(self._reader, self._reading) as connection,
        ):
            yield connection

    def _transaction(
        self, engine: Engine, words: str
    ) -> AbstractContextManager[Connection]:
        """SQLite's engines say their own words."""
        return engine.begin() if self._sqlite else transaction(engine, words)

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
                found = sqlite_words(error)
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
            before = free_pages(raw)
            # A page is freed for each step; only a script is stepped to its end.
            raw.executescript(f"PRAGMA incremental_vacuum({PAGES})")
            return before - free_pages(raw)

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


def codec_of(connection: Connection) -> Codec:
    """How chunks are to be written in this transaction."""
    found: Codec = connection.get_execution_options().get(_CODEC, "text")
    return found


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
