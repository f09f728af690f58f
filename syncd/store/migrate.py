"""Bringing a store to this program's schema, or refusing it.

Migrations ship inside the package and run in one transaction (on Postgres under a
transaction-level advisory lock, so that several starting replicas queue up).
"""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from syncd.errors import StoreRefused
from syncd.store.database import Database, damaged

_ADVISORY_KEY = 0x73796E6364  # "syncd"


def head() -> str:
    """The schema revision this program works with."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise StoreRefused("the package carries no migrations; reinstall it")
    return revision


def current(connection: Connection) -> str | None:
    """The schema revision of the store; None when it is empty."""
    heads = MigrationContext.configure(connection).get_current_heads()
    if len(heads) > 1:
        raise damaged("the store names several schemas: it is damaged")
    return heads[0] if heads else None


def migrate(database: Database) -> tuple[str | None, str]:
    """Upgrade to `head`; returns (revision before, revision after).

    Raises `StoreRefused` when the store was written by a newer program.
    """
    with database.begin() as connection:
        if database.dialect == "postgresql":
            connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY}
            )
        before = current(connection)
        refuse_newer(before)
        if before != head():
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return before, head()


def require_current(database: Database) -> None:
    """Raise `StoreRefused` unless the store has exactly this program's schema."""
    with database.read() as connection:
        found = current(connection)
    refuse_newer(found)
    if found != head():
        raise StoreRefused(
            f"the store has schema {found or 'none'}, this program needs {head()}",
            hint="syncd db migrate, or store.migrate: auto",
        )


def refuse_newer(revision: str | None) -> None:
    """Raise `StoreRefused` for a revision this program does not know."""
    if revision is None:
        return
    known = {
        s.revision for s in ScriptDirectory.from_config(_config()).walk_revisions()
    }
    if revision not in known:
        raise StoreRefused(
            f"the store has schema {revision}, which is newer than this program's "
            f"{head()}",
            hint="run the newer syncd again, or restore the backup made before it",
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "syncd:store/migrations")
    config.set_main_option("path_separator", "os")
    return config
