"""Opening the state for a process that works on it.

On SQLite an operating-system lock keeps a second worker out; it frees itself when
the process ends, however it ends. On Postgres the per-sync leases do that.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from syncd import events
from syncd.errors import StoreInUse, StoreUnavailable
from syncd.events import emit
from syncd.store import installation, leases, migrate
from syncd.store.codec import Codec
from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.location import is_sqlite, sqlite_path


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStore:
    """A store this process may write to."""

    database: Database
    hash_key: bytes
    """Turns member ids into log hashes."""


@contextmanager
def opened(
    url: str,
    *,
    migration: Literal["auto", "manual"],
    fast: bool,
    codec: Codec = "text",
) -> Iterator[OpenStore]:
    """The store, locked, migrated and agreed with about the clock.

    Raises `StoreInUse` while another process works on it, `StoreRefused` for a newer
    schema, a damaged file, a network file system or the other clock.
    """
    with locked(url):
        if is_sqlite(url):
            create_file(sqlite_path(url))
        database = Database(url, codec=codec)
        try:
            database.require_whole()
            _bring_up_to_date(database, migration)
            with database.begin() as connection:
                if database.dialect == "sqlite":
                    leases.expire_all(connection, datetime.now(UTC))
                installation.agree_on_clock(connection, fast=fast)
                # Again: a copy may have kept us from writing until it was over.
                migrate.require_in_place(connection)
                key = installation.hash_key(connection)
            yield OpenStore(database=database, hash_key=key)
        finally:
            database.close()


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold `<file>.lock` exclusively; nothing to do on Postgres."""
    if not is_sqlite(url):
        yield
        return
    path = lock_path(sqlite_path(url))
    lock = _opened_lock(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(lock, 20).decode(errors="replace").strip()
        os.close(lock)
        raise StoreInUse(
            f"another syncd works on {sqlite_path(url)}"
            + (f" (process {owner})" if owner else ""),
            hint="use that one (syncd status), or stop it first",
        ) from None
    try:
        # Whose it is, for people: the lock holds where a full disk takes no word.
        with suppress(OSError):
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(lock)


def _opened_lock(path: Path) -> int:
    """Raises `StoreUnavailable` where the file cannot be made."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(
            f"cannot create {path}: {error.strerror}",
            hint="make room, or set store.url to a folder syncd may write to",
        ) from None


def lock_path(database_file: Path) -> Path:
    """The file whose lock means: somebody works on this store."""
    return database_file.with_name(database_file.name + ".lock")


def spool_folder(url: str, configured: Path | None) -> Path:
    """Where big temporary files go: as configured, else beside the SQLite file."""
    if configured is not None:
        configured.mkdir(mode=0o700, parents=True, exist_ok=True)
        return configured
    if is_sqlite(url):
        return sqlite_path(url).parent
    return Path("/var/tmp")  # noqa: S108  # unlinked files; /tmp may be memory


def _bring_up_to_date(database: Database, migration: Literal["auto", "manual"]) -> None:
    if migration == "manual":
        migrate.require_current(database)
        return
    before, after = migrate.migrate(database)
    if before != after:
        emit(events.STORE_MIGRATED, from_version=before or "none", to_version=after)
