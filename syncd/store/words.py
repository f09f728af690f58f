"""Reading the inbox: the newest words about the people of a feed, and how many."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from syncd.store.tables import inbox, inbox_position

BLOCK = 4_096
"""Words read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What of a feed was not folded into a plan yet."""

    people: int
    entered: int
    exited: int
    oldest: datetime | None
    """Event time; None where there are none."""
    newest: datetime | None


def position(connection: Connection) -> int:
    """The highest position given so far, over all feeds."""
    return int(connection.execute(select(inbox_position.c.value)).scalar_one())


def words(
    connection: Connection,
    feed_id: int,
    *,
    after: int = 0,
    newer_than: datetime | None = None,
) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """(entered, exited) in blocks: rows above the position `after`; with `newer_than`
    only those whose event is newer than that, and those of deleted people."""
    query = select(inbox.c.member_id, inbox.c.inside).where(inbox.c.feed_id == feed_id)
    if after:
        query = query.where(inbox.c.position > after)
    if newer_than is not None:
        query = query.where((inbox.c.at > newer_than) | inbox.c.deleted)
    rows = connection.execute(query.execution_options(yield_per=BLOCK))
    for block in rows.partitions():
        entered: list[bytes] = []
        exited: list[bytes] = []
        for member_id, inside in block:
            (entered if inside else exited).append(member_id.encode())
        yield entered, exited


def newest_position(connection: Connection, feed_id: int) -> int:
    """The highest position of a feed; 0 where it holds no word. Asks an index."""
    query = select(func.max(inbox.c.position)).where(inbox.c.feed_id == feed_id)
    return int(connection.execute(query).scalar_one() or 0)


def backlog(connection: Connection, feed_id: int, *, after: int) -> Backlog:
    """What `words` would read, in numbers."""
    row = connection.execute(
        select(
            func.count(),
            func.count().filter(inbox.c.inside),
            func.min(inbox.c.at),
            func.max(inbox.c.at),
        ).where(inbox.c.feed_id == feed_id, inbox.c.position > after)
    ).one()
    return Backlog(
        people=row[0],
        entered=row[1],
        exited=row[0] - row[1],
        oldest=row[2],
        newest=row[3],
    )


def word_of(
    connection: Connection, feed_id: int, member_id: bytes
) -> tuple[bool, datetime, datetime] | None:
    """(inside, event time, arrival) of the newest word about one person."""
    row = connection.execute(
        select(inbox.c.inside, inbox.c.at, inbox.c.received_at).where(
            inbox.c.feed_id == feed_id, inbox.c.member_id == member_id.decode()
        )
    ).first()
    return None if row is None else (row.inside, row.at, row.received_at)
