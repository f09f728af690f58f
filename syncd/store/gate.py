"""Whether a store may be worked on at all: not one that was moved, nor half a copy.

The word stands where the schema's revision does. A program that knows nothing of copies
takes it for the revision of a newer one, and refuses it as well.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from sqlalchemy import Connection, column, delete, select, table, text, update

from syncd.errors import StoreRefused
from syncd.store.database import insert_into
from syncd.store.tables import lease, meta

VERSION = table("alembic_version", column("version_num"))
MOVED = "moved"
COPYING = "copying-"
"""And what tells this copy from every other one: `copying-5d41402abc4b`."""
MOVED_TO = "moved"
"""The row of `meta` that says where a store was moved."""
COPY = "copy"
"""The row of `meta` that says which copy this store was made by."""
NEVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where a store was moved."""

    to: str
    """The place, without credentials."""
    copy: str
    """The copy that took its place."""
    schema: str
    """The revision that it had, and whose place the word takes."""


def refuse(connection: Connection, revision: str | None) -> None:
    """Raise `StoreRefused` for a store that was moved, or a copy without its end."""
    if revision == MOVED:
        moved = move(connection)
        place = moved.to if moved else "another place"
        raise StoreRefused(
            f"this store was moved to {place}, and is worked on there",
            code="store.moved",
            hint="set store.url to that place; syncd explain store.moved",
        )
    if is_unfinished(revision):
        raise StoreRefused(
            "this store is a copy that did not come to its end",
            code="store.unfinished",
            hint="the same `syncd db copy` again; syncd explain store.unfinished",
        )


def is_unfinished(revision: str | None) -> bool:
    """Whether a copy was begun here and did not come to its end."""
    return revision is not None and revision.startswith(COPYING)


def move(connection: Connection) -> Move | None:
    """Where this store was moved; None: nowhere."""
    found = _known(connection, MOVED_TO)
    return None if found is None else Move(**orjson.loads(found))


def copy(connection: Connection) -> str | None:
    """The copy that this store was made by; None: it is no copy."""
    return _known(connection, COPY)


def begin_copy(connection: Connection, token: str) -> None:
    """From now on this empty store is half a copy."""
    connection.execute(
        text(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    )
    stand_at(connection, COPYING + token)


def stand_at(connection: Connection, revision: str | None) -> None:
    """Whatever stood there before; None: no schema at all yet."""
    connection.execute(delete(VERSION))
    if revision is not None:
        connection.execute(VERSION.insert().values(version_num=revision))


def end_copy(connection: Connection, token: str, revision: str) -> bool:
    """The copy is a store; False where it is another copy by now."""
    opened = connection.execute(
        update(VERSION)
        .where(VERSION.c.version_num == COPYING + token)
        .values(version_num=revision)
    )
    if opened.rowcount != 1:
        return False
    _know(connection, COPY, token)
    return True


def retire(connection: Connection, to: Move) -> None:
    """Nobody works on this store any more, in the transaction that copied it.

    Not even a daemon that was away so long that it was taken for dead: its leases are
    somebody else's, with a fence above its own, and no new one is given.
    """
    stand_at(connection, MOVED)
    _know(connection, MOVED_TO, orjson.dumps(to).decode())
    connection.execute(
        update(lease).values(
            holder=MOVED, fence=lease.c.fence + 1, expires_at=NEVER, released=False
        )
    )


def _known(connection: Connection, key: str) -> str | None:
    query = select(meta.c.value).where(meta.c.key == key)
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def _know(connection: Connection, key: str, value: str) -> None:
    connection.execute(
        insert_into(connection, meta)
        .values(key=key, value=value)
        .on_conflict_do_update(index_elements=[meta.c.key], set_={"value": value})
    )
