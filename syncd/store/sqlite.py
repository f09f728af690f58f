"""SQLite: how its file is opened.

Exactly one connection writes and checkpoints, every other one is read-only: the
library's WAL bug (3.7.0 to 3.51.2) needs two writers. Commits are full-sync: a commit
that returned survives a power cut.
"""

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import QueuePool

from syncd.store.direct import run
from syncd.store.failures import sqlite_words

WRITER_PATIENCE_S = 300
"""How long a writer queues behind another one (a large plan takes seconds)."""
_BUSY_TIMEOUT_MS = 5_000


def sqlite_engine(path: Path, *, writes: bool, size: int) -> Engine:
    """The engine of the one connection that writes, or of `size` that read."""
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
            raise sqlite3.DatabaseError(sqlite_words(error)) from None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A plain BEGIN that turns into a write fails at once when it must wait.
        run(connection, "BEGIN IMMEDIATE" if writes else "BEGIN", ())

    return engine


def free_pages(raw: sqlite3.Connection) -> int:
    """Pages of the file that hold nothing."""
    return int(raw.execute("PRAGMA freelist_count").fetchone()[0])


_READER_PRAGMAS = (
    f"busy_timeout={_BUSY_TIMEOUT_MS}",
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
    f"busy_timeout={_BUSY_TIMEOUT_MS}",
    "cache_size=-2048",
    # Compactions write tens of MB; checkpoint less often than every 4 MB.
    "wal_autocheckpoint=4000",
    "journal_size_limit=67108864",
)
