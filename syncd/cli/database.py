"""`syncd db`: a backup of the store, its schema brought up to date, another place."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from syncd import events
from syncd.app import backups, jobs
from syncd.app.store import locked
from syncd.cli.configured import load
from syncd.cli.engine import asking_daemon, log_quietly, me
from syncd.cli.frame import Frame, common_flags, verb
from syncd.cli.moving import copy
from syncd.cli.store import NoStore
from syncd.config.settings import Loaded
from syncd.errors import StoreError, SyncdError
from syncd.events import emit
from syncd.report.words import number
from syncd.store import migrate as migrations
from syncd.store.backup import backup as copied
from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.location import is_sqlite, sqlite_path


@click.group("db")
@common_flags
def db() -> None:
    """Back the store up, bring its schema up to date, or move it elsewhere."""


@verb("backup", reads=True)
@click.argument("file", metavar="[FILE]", required=False)
def backup(frame: Frame, file: str | None) -> None:
    """Copy the SQLite store into FILE while the daemon works on it.

    The copy is of one moment, checked, readable by its owner alone, and never replaces
    a file. Without FILE it lies beside the store, with the time in its name.
    """
    loaded = load(frame)
    url = loaded.settings.store.read_url()
    if not is_sqlite(url):
        raise SyncdError(
            "Postgres has its own tools for a copy of one moment",
            code="backup.postgres",
            hint="pg_dump --format=custom --file=syncd.dump DATABASE",
        )
    source, now = sqlite_path(url), datetime.now(UTC)
    if not source.is_file():
        raise NoStore(f"there is no store at {source} yet", hint="syncd run")
    target = Path(file or f"{source}.{now:%Y%m%dT%H%M%SZ}.backup").absolute()
    size = _copied(frame, loaded, source, target)
    noted = _note(frame, loaded, {"file": str(target), "bytes": str(size)})
    if frame.as_json:
        document = {"file": str(target), "bytes": size, "at": now, "noted": noted}
        frame.out.json("backup", document)
        return
    frame.out.line(f"{target}   {number(size)} bytes, checked")
    # What was sent since is not known to the copy.
    frame.out.message(
        "To go back to it: stop the daemon, remove the store's -wal and -shm files, "
        "put the copy in its place, then: syncd resync SYNC --adopt for each sync"
    )


def _copied(frame: Frame, loaded: Loaded, source: Path, target: Path) -> int:
    try:
        return copied(source, target)
    except StoreError as error:
        # Nobody waits for a copy at night: who works on the store says so in its log.
        _note(frame, loaded, {"file": str(target), "error": str(error)})
        raise


def _note(frame: Frame, loaded: Loaded, ended: dict[str, str]) -> bool:
    """Have it kept when the last backup was made; False where that cannot be."""
    url, body = loaded.settings.store.read_url(), me() | ended
    try:
        with asking_daemon(frame, url) as ask:
            if ask is not None:
                ask("note_backup", body)
            elif "error" not in ended:
                log_quietly(frame, loaded)
                backups.note_alone(url, body, frame.clock.wall())
    except SyncdError as error:
        frame.out.error(f"warning: the time of this backup is not noted: {error}")
        return False
    return True


@verb("migrate", reads=True)
def migrate(frame: Frame) -> None:
    """Bring the store's schema to the one this program needs.

    For `store.migrate: manual`; otherwise each start does it. Nothing may work on a
    SQLite store meanwhile; replicas on Postgres are stopped before.
    """
    loaded = load(frame)
    log_quietly(frame, loaded)
    url = loaded.settings.store.read_url()
    before, after = _migrated(url)
    document = _migration(before, after)
    words = [_migration_words("schema", before, after)]
    if loaded.settings.cluster == "procrastinate":
        before, after = _jobs_migrated(url)
        document["jobs"] = _migration(before, after)
        words.append(_migration_words("job queue", before, after))
    if frame.as_json:
        frame.out.json("migrate", document)
        return
    for line in words:
        frame.out.line(line)
    if document["changed"]:
        frame.out.message(f"Next: syncd serve{frame.config_flags()}")


def _jobs_migrated(url: str) -> tuple[str | None, str]:
    database = Database(url, readers=1)
    try:
        return jobs.bring_up_to_date(database, "auto")
    finally:
        database.close()


def _migrated(url: str) -> tuple[str | None, str]:
    with locked(url):
        if is_sqlite(url):
            create_file(sqlite_path(url))
        database = Database(url, readers=1)
        try:
            before, after = migrations.migrate(database)
        finally:
            database.close()
    if before != after:
        emit(events.STORE_MIGRATED, from_version=before or "none", to_version=after)
    return before, after


def _migration(before: str | None, after: str) -> dict[str, Any]:
    return {"from": before, "to": after, "changed": before != after}


def _migration_words(what: str, before: str | None, after: str) -> str:
    if before == after:
        return f"{what} {after}: nothing to do"
    return f"{what} {before or 'none'} → {after}"


db.add_command(backup)
db.add_command(migrate)
db.add_command(copy)
