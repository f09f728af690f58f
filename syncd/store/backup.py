"""A copy of a SQLite store, made while others read and write it.

SQLite's online backup copies one consistent state from a read-only connection: in WAL
mode nobody who writes waits for it. The copy gets its name only once it is proved whole
and on the disk, so a file of that name is always a backup.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from syncd.errors import StoreError, StoreUnavailable


class NotBackedUp(StoreError):
    """There is no copy now that was not there before."""

    code = "backup.failed"


def backup(source: Path, target: Path) -> int:
    """Copy the store into a new file that only its owner reads; returns its bytes.

    Raises `NotBackedUp` where `target` exists, cannot be written or proves damaged,
    `StoreUnavailable` where the store cannot be read.
    """
    partial = target.with_name(f".{target.name}.partial")
    _refuse_existing(target)
    try:
        _create(partial)
        _copy(source, partial)
        _require_whole(partial)
        _keep(partial)
        # A link, as a rename would replace what somebody put there meanwhile.
        os.link(partial, target)
        _keep(target.parent)
        return target.stat().st_size
    except FileExistsError:
        raise _exists(target) from None
    except OSError as error:
        what = f"{target} cannot be written: {error.strerror}"
        raise NotBackedUp(what, hint="choose another FILE, or make room") from None
    finally:
        _remove(partial)


def _refuse_existing(target: Path) -> None:
    if target.is_symlink() or target.exists():
        raise _exists(target)


def _exists(target: Path) -> NotBackedUp:
    return NotBackedUp(
        f"{target} is already there and was left as it is",
        code="backup.exists",
        hint="choose another FILE, or none: then its name has the time in it",
    )


def _create(partial: Path) -> None:
    _remove(partial)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _remove(partial: Path) -> None:
    """And what SQLite lays beside it, and leaves there when the disk is full."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        partial.with_name(partial.name + suffix).unlink(missing_ok=True)


def _copy(source: Path, partial: Path) -> None:
    try:
        with (
            closing(_connect(source, "ro")) as live,
            closing(_connect(partial, "rw")) as copy,
        ):
            live.backup(copy)
            # Alone, without a log beside it: one file is moved more safely than three.
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise StoreUnavailable(
            f"the store cannot be copied: {error}", hint="syncd status; df -h"
        ) from None


def _require_whole(partial: Path) -> None:
    try:
        with closing(_connect(partial, "ro")) as copy:
            (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        raise NotBackedUp(
            f"the copy is damaged, and so the store may be: {found}",
            code="backup.damaged",
            hint="keep the last good backup, then: syncd status",
        )


def _keep(path: Path) -> None:
    """Have it on the disk before anybody relies on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path))}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=5)
