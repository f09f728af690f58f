"""Bringing a store to this program's schema, or refusing it.

Migrations ship inside the package and run in one transaction (on Postgres under a
transaction-level advisory lock, so that several starting replicas queue up). Every
command asks, and nearly always the answer is that nothing is to be done: one SELECT
says so. Alembic is loaded only to carry steps out (`upgrade`).
"""

from sqlalchemy import Connection, inspect, select, text

from syncd.errors import StoreRefused
from syncd.store import gate
from syncd.store.database import Database
from syncd.store.failures import damaged

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
"""Every schema there ever was, newest last; a test holds them against the steps."""

_ADVISORY_KEY = 0x73796E6364  # "syncd"


def head() -> str:
    """The schema revision this program works with."""
    return REVISIONS[-1]


def current(connection: Connection) -> str | None:
    """The schema revision of the store; None when it is empty.

    Raises `StoreRefused` for a store that was moved, and for half a copy.
    """
    revision = standing(connection)
    gate.refuse(connection, revision)
    return revision


def standing(connection: Connection) -> str | None:
    """What stands there, be it a revision or one of the words of `gate`."""
    if not inspect(connection).has_table(gate.VERSION.name):
        return None
    heads = connection.scalars(select(gate.VERSION.c.version_num)).all()
    if len(heads) > 1:
        raise damaged("the store names several schemas: it is damaged")
    return str(heads[0]) if heads else None


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
            # Not at the top: it loads Alembic.
            from syncd.store.upgrade import upgrade

            upgrade(connection)
        return before, head()


def require_current(database: Database) -> None:
    """Raise `StoreRefused` unless the store has exactly this program's schema."""
    with database.read() as connection:
        found = current(connection)
    refuse_newer(found)
    if found is None:
        raise StoreRefused(
            "the store has no tables yet",
            hint="syncd db migrate, or syncd serve, which makes them",
        )
    if found != head():
        raise StoreRefused(
            f"the store has schema {found}, this program needs {head()}",
            hint="syncd db migrate, or store.migrate: auto",
        )


def require_in_place(connection: Connection) -> None:
    """Raise `StoreRefused` for a store that was moved since it was opened."""
    query = select(gate.VERSION.c.version_num)
    gate.refuse(connection, connection.execute(query).scalar_one())


def refuse_newer(revision: str | None) -> None:
    """Raise `StoreRefused` for a revision this program does not know."""
    if revision is None or revision in REVISIONS:
        return
    raise StoreRefused(
        f"the store has schema {revision}, which is newer than this program's {head()}",
        hint="run the newer syncd again, or restore the backup made before it",
    )
