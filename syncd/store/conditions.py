"""What people are told of: one row for each condition and channel.

A row outlives every process, so that a restart neither repeats a message nor loses one.
Whoever sends a message notes it by comparing: of two replicas one notes it.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, or_, select, update
from sqlalchemy.engine import Row

from syncd.model import Condition
from syncd.store.database import insert_into
from syncd.store.tables import condition as table

KEEP = timedelta(days=30)
"""Of conditions that are over."""


def unclosed(connection: Connection, *, lock: bool = False) -> list[Condition]:
    """Every row that is open, or whose end was not told yet; oldest first.

    `lock` keeps other replicas from changing them until the transaction ends.
    """
    query = (
        select(table)
        .where(
            or_(table.c.resolved_at.is_(None), table.c.told_at < table.c.resolved_at)
        )
        .order_by(table.c.opened_at, table.c.key)
    )
    if lock:
        query = query.with_for_update()
    return [_condition(row) for row in connection.execute(query)]


def put(connection: Connection, rows: Iterable[Condition]) -> None:
    """Write each, in the place of the row with its key."""
    for row in rows:
        values = {
            "kind": row.kind,
            "sync": row.sync,
            "cause": row.cause,
            "text": row.text,
            "opened_at": row.opened_at,
            "told_at": row.told_at,
            "resolved_at": row.resolved_at,
        }
        connection.execute(
            insert_into(connection, table)
            .values(key=row.key, **values)
            .on_conflict_do_update(index_elements=[table.c.key], set_=values)
        )


def drop(connection: Connection, keys: Iterable[str]) -> None:
    """Take rows away of which nobody is to hear again."""
    connection.execute(delete(table).where(table.c.key.in_(list(keys))))


def note_told(connection: Connection, row: Condition, at: datetime) -> bool:
    """The channel took a message about this row; False where it is another row by now,
    or another replica has noted a message since."""
    before = (
        table.c.told_at.is_(None)
        if row.told_at is None
        else table.c.told_at == row.told_at
    )
    noted = connection.execute(
        update(table)
        .where(table.c.key == row.key, table.c.opened_at == row.opened_at, before)
        .values(told_at=at)
    )
    return noted.rowcount == 1


def prune(connection: Connection, now: datetime) -> int:
    """Drop what is long over; returns how many rows."""
    gone = connection.execute(delete(table).where(table.c.resolved_at < now - KEEP))
    return gone.rowcount


def _condition(row: Row) -> Condition:  # type: ignore[type-arg]
    channel, _, name = row.key.partition("/")
    return Condition(
        channel=channel,
        kind=row.kind,
        subject=name.partition("/")[2],
        sync=row.sync,
        cause=row.cause,
        text=row.text,
        opened_at=row.opened_at,
        told_at=row.told_at,
        resolved_at=row.resolved_at,
    )
