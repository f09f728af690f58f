"""Feeds: the audiences and cohorts that are pushed to us, one row each.

A row exists as soon as a sync reads a feed or somebody pushes it, whichever is first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from sqlalchemy import ColumnElement, Connection, Select, delete, func, select, update
from sqlalchemy.engine import Row

from syncd.model import Feed, IdType
from syncd.store.database import insert_into
from syncd.store.tables import feed, inbox, inbox_position


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRow:
    """What is known of a feed."""

    id: int
    feed: Feed
    name: str
    """What its owner calls it; empty where nobody said."""
    list_id: str | None
    """The id we gave its sender for it."""
    first_at: datetime
    last_at: datetime | None
    """When the last word arrived."""
    pruned_to: int
    """The highest position whose word was dropped; 0: none. Whoever has not read so far
    lacks words."""
    reported: int | None
    """Size its owner gave, when words last arrived or it was first asked."""
    reported_at: datetime | None
    silent_at: datetime | None
    """When people were last told that nothing arrives."""


def lock(connection: Connection) -> None:
    """Have the inbox for this transaction alone, before any row of it is changed: each
    of its writers changes rows in an order of its own. SQLite has one writer anyway."""
    connection.execute(select(inbox_position.c.value).with_for_update())


def ensure(connection: Connection, feeds: Sequence[Feed], now: datetime) -> None:
    """Have a row for each of these feeds."""
    if not feeds:
        return
    rows = [
        {
            "connection": each.connection,
            "key": each.key,
            "id_type": each.id_type,
            "name": "",
            "first_at": now,
            "pruned_to": 0,
        }
        # In one order everywhere: two replicas must not wait for each other.
        for each in sorted(feeds, key=attrgetter("connection", "key", "id_type"))
    ]
    connection.execute(insert_into(connection, feed).on_conflict_do_nothing(), rows)


def name_list(
    connection: Connection, named: Feed, name: str, list_id: str, now: datetime
) -> FeedRow:
    """Give a feed a name, and a list id if it has none yet; returns its row."""
    lock(connection)  # words about it may be stored in the same transaction
    ensure(connection, [named], now)
    connection.execute(
        update(feed)
        .where(*_is(named))
        .values(name=name, list_id=func.coalesce(feed.c.list_id, list_id))
    )
    return _row(connection.execute(select(feed).where(*_is(named))).one())


def find(connection: Connection, wanted: Feed) -> FeedRow | None:
    """The feed's row."""
    return _first(connection, select(feed).where(*_is(wanted)))


def by_list_id(
    connection: Connection, connection_name: str, list_id: str
) -> FeedRow | None:
    """The feed that a sender knows by this id."""
    return _first(
        connection,
        select(feed).where(
            feed.c.connection == connection_name, feed.c.list_id == list_id
        ),
    )


def feeds(connection: Connection, connection_name: str | None = None) -> list[FeedRow]:
    """Every feed, or those of one connection, by connection and key."""
    query = select(feed).order_by(feed.c.connection, feed.c.key, feed.c.id_type)
    if connection_name is not None:
        query = query.where(feed.c.connection == connection_name)
    return [_row(row) for row in connection.execute(query)]


def drop(connection: Connection, feed_id: int) -> None:
    """Delete a feed and all its words. The caller has the inbox for itself (`lock`)."""
    connection.execute(delete(inbox).where(inbox.c.feed_id == feed_id))
    connection.execute(delete(feed).where(feed.c.id == feed_id))


def note_size(
    connection: Connection, feed_id: int, reported: int, now: datetime
) -> None:
    """The size the owner gives, to be compared with later ones."""
    connection.execute(
        update(feed)
        .where(feed.c.id == feed_id)
        .values(reported=reported, reported_at=now)
    )


def note_silence(connection: Connection, feed_id: int, now: datetime) -> None:
    """People were told that nothing arrives."""
    connection.execute(update(feed).where(feed.c.id == feed_id).values(silent_at=now))


def _is(wanted: Feed) -> tuple[ColumnElement[bool], ...]:
    return (
        feed.c.connection == wanted.connection,
        feed.c.key == wanted.key,
        feed.c.id_type == wanted.id_type,
    )


def _first(connection: Connection, query: Select) -> FeedRow | None:  # type: ignore[type-arg]
    row = connection.execute(query).first()
    return None if row is None else _row(row)


def _row(row: Row) -> FeedRow:  # type: ignore[type-arg]
    return FeedRow(
        id=row.id,
        feed=Feed(connection=row.connection, key=row.key, id_type=IdType(row.id_type)),
        name=row.name,
        list_id=row.list_id,
        first_at=row.first_at,
        last_at=row.last_at,
        pruned_to=row.pruned_to,
        reported=row.reported,
        reported_at=row.reported_at,
        silent_at=row.silent_at,
    )
