"""Procrastinate's own tables, made and brought up to date by us.

It ships them whole, for an empty database, and as steps whose names sort by version.
A step is a transaction of its own, one process at a time.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from procrastinate.schema import SchemaManager

from syncd.errors import StoreRefused
from syncd.store import engine_tables
from syncd.store.database import Connection, Database

JOBS = "procrastinate_jobs"


@cache
def steps() -> Mapping[str, Path]:
    """Every step of this installation's Procrastinate by its name, oldest first."""
    folder = Path(SchemaManager.get_migrations_path())
    return {path.stem: path for path in sorted(folder.glob("*.sql"))}


def newest() -> str:
    """The step that this installation works with."""
    return list(steps())[-1]


def migrate(database: Database) -> tuple[str | None, str]:
    """Carry out what the store lacks; returns (step before, step after).

    Raises `StoreRefused` for tables of a newer Procrastinate, or of somebody else.
    """
    with database.read() as connection:
        before = _known_step(connection)
    at = before
    while at != newest():
        with database.begin() as connection:
            engine_tables.alone(connection)
            at = _advance(connection)
    return before, newest()


def require_current(database: Database) -> None:
    """Raise `StoreRefused` unless the store has exactly this Procrastinate's tables."""
    with database.read() as connection:
        found = _known_step(connection)
    if found != newest():
        raise StoreRefused(
            f"the job queue's tables are at {found or 'none'}, this program needs "
            f"{newest()}",
            hint="syncd db migrate, or store.migrate: auto",
        )


def _advance(connection: Connection) -> str:
    """One step further, or from nothing to the newest; returns where that leads."""
    at = _known_step(connection)
    if at is None:
        script, to = SchemaManager.get_schema(), newest()
    else:
        # Another process may have been here before us: then nothing is left.
        to = next((name for name in steps() if name > at), at)
        if to == at:
            return at
        script = steps()[to].read_text(encoding="utf-8")
    engine_tables.carry_out(connection, script, to)
    return to


def _known_step(connection: Connection) -> str | None:
    found = engine_tables.step(connection)
    if found is None and engine_tables.has_table(connection, JOBS):
        raise StoreRefused(
            "another program's Procrastinate has its tables in this database",
            hint="give syncd a database of its own: store.url",
        )
    if found is not None and found > newest():
        raise StoreRefused(
            f"the job queue's tables are at {found}, which is newer than this "
            f"program's {newest()}",
            hint="run the newer syncd again, or restore the backup made before it",
        )
    return found
