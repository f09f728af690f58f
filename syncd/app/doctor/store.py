"""The store as a daemon would find it: there, ours, current, with room to grow.

Only read. Whether somebody works on it is looked up in the kernel's table of locks:
taking the lock, if only for a moment, could keep a daemon from starting.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from syncd.app.doctor.findings import Finding, fail, ok, warn
from syncd.app.store import lock_path
from syncd.config.settings import StoreSettings
from syncd.store import bindings, figures, migrate
from syncd.store.database import Connection, Database
from syncd.store.file import NETWORK_FILE_SYSTEMS, file_system_of
from syncd.store.location import is_sqlite, sqlite_path

STORE = "store"
MB = 1_000_000
TIGHT = 200 * MB
"""Free bytes below which somebody should look."""
FULL = 20 * MB
"""Free bytes below which the next large plan may not fit."""
LONG_LOG = 256 * MB
"""Of SQLite's log: four times what it is cut to when nobody reads."""
LOCKS = Path("/proc/locks")


def look(
    settings: StoreSettings, syncs: Collection[str] | None = None
) -> Iterator[Finding]:
    """`syncs` are those that the files name; None: whatever the store keeps is right.

    Raises `StoreError`, `SecretUnavailable`.
    """
    url = settings.read_url()
    if is_sqlite(url):
        path = sqlite_path(url)
        yield from _place(path)
        if not path.is_file():
            yield ok(STORE, f"none at {path} yet; the first run makes it")
            return
    yield from _content(url, settings, syncs)


def _place(path: Path) -> Iterator[Finding]:
    """The folder: a local disk, writable, with room."""
    kind = file_system_of(path)
    if kind in NETWORK_FILE_SYSTEMS:
        what = f"{path} is on a network file system ({kind}); SQLite would corrupt it"
        yield fail(STORE, what, "use a local disk, or store.url: postgresql://…")
    folder = _existing(path.parent)
    if not os.access(folder, os.W_OK | os.X_OK):
        what = f"{folder} cannot be written to by this user"
        yield fail(STORE, what, "run as the daemon's user, or correct store.url")
    disk = os.statvfs(folder)
    yield from room(folder, disk.f_bavail * disk.f_frsize)


def room(folder: Path, free: int) -> Iterator[Finding]:
    """Whether so many free bytes will do; nothing to say where they do."""
    if free < FULL:
        yield fail(STORE, f"{folder} has {_mb(free)} left", f"df -h {folder}")
    elif free < TIGHT:
        yield warn(STORE, f"{folder} has only {_mb(free)} left", f"df -h {folder}")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(each for each in (folder, *folder.parents) if each.is_dir())


def _content(
    url: str, settings: StoreSettings, syncs: Collection[str] | None
) -> Iterator[Finding]:
    try:
        database = Database(url, readers=1)
    except ModuleNotFoundError as error:
        what = f"the store's driver {error.name} is not installed"
        yield fail(STORE, what, "python -m pip install 'syncd[postgres]'")
        return
    try:
        with database.read() as connection:
            revision = migrate.current(connection)
            file = database.path if database.dialect == "sqlite" else None
            size = figures.size(connection, file)
            mode = figures.journal_mode(connection) if file is not None else ""
            kept = _kept(connection, revision, syncs)
    finally:
        database.close()
    migrate.refuse_newer(revision)
    parts = [database.library, _schema(revision), _mb(size), mode.upper()]
    if file is not None:
        parts.append(_lock(file))
        yield from _file(file)
        if mode not in ("wal", ""):
            yield warn(STORE, f"the journal is {mode}, not WAL", "syncd serve, once")
    line = ", ".join(part for part in parts if part)
    if revision == migrate.head():
        yield ok(STORE, line)
        yield from kept
    elif settings.migrate == "auto":
        yield warn(STORE, f"{line}; the next start changes that", "syncd serve")
    else:
        yield fail(STORE, f"{line}; store.migrate is manual", "syncd db migrate")


def _kept(
    connection: Connection, revision: str | None, syncs: Collection[str] | None
) -> list[Finding]:
    """Syncs that left the files, while what the store keeps of them stayed."""
    if revision != migrate.head() or syncs is None:
        return []
    return [
        warn(
            STORE,
            f"it keeps the members of {name}, which no file names any more",
            f'syncd detach {name} --reason "..."',
        )
        for name in sorted(set(bindings.syncs(connection)) - set(syncs))
    ]


def _schema(revision: str | None) -> str:
    head = migrate.head()
    if revision == head:
        return f"schema {revision} (current)"
    return f"schema {revision or 'none'}, this program has {head}"


def _file(file: Path) -> Iterator[Finding]:
    """The file itself: nobody else's to read, with a short log."""
    yield from _kept_private(file)
    yield from _log_is_short(file)


def _kept_private(file: Path) -> Iterator[Finding]:
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        what = f"{file} holds member ids and others may open it (mode {mode:04o})"
        yield warn(STORE, what, f"chmod 600 {file}")


def _log_is_short(file: Path) -> Iterator[Finding]:
    """What is written cannot be moved into the file while somebody reads on and on."""
    log = file.with_name(f"{file.name}-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > LONG_LOG:
        what = f"{log} is long ({_mb(size)}): somebody has been reading for long"
        yield warn(STORE, what, f"fuser -v {file}, and end what is not syncd")


def _lock(file: Path) -> str:
    """Who works on it; empty where this machine does not tell."""
    lock = lock_path(file)
    if not lock.exists():
        return "nobody works on it"
    try:
        holder = lock_holder(LOCKS.read_text(), lock.stat().st_ino)
    except OSError:
        return ""
    return f"process {holder} works on it" if holder else "nobody works on it"


def lock_holder(locks: str, inode: int) -> int | None:
    """The process that holds a lock on the file with this number (proc(5), locks).

    0 and negative numbers stand for a process of another container.
    """
    for line in locks.splitlines():
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK":
            if words[5].rpartition(":")[2] == str(inode):
                return int(words[4])
    return None


def _mb(size: int) -> str:
    return f"{size / MB:,.1f} MB" if size < 10 * MB else f"{size / MB:,.0f} MB"
