"""Old words and ids of messages are dropped, in steps that keep nobody waiting.

A word goes once it is old and every sync that reads its feed has made a plan of it; of
feeds that nobody reads, once it is old. It is noted up to where a feed lacks words: for
a sync that begins to read it, or to read it again.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    select,
    tuple_,
    update,
)

from syncd.model import Feed
from syncd.store import feeds
from syncd.store.feeds import FeedRow
from syncd.store.tables import feed, inbox, message

KEEP = timedelta(days=7)
"""Of words and of the ids of messages (Segment retries for 4 h, Amplitude for less)."""
KEEP_DELETED = timedelta(days=30)
"""Of the word that a person was deleted: so long may a warehouse still list them."""
STEP = 5_000
"""Rows dropped at most in one transaction: each may be on a page of its own."""
PEEK = 100
"""Words looked at to see whether a feed has old ones at all."""


def prune(connection: Connection, now: datetime, folded: Mapping[Feed, int]) -> int:
    """Drop old words that every reader has made a plan of; returns how many rows.

    `folded` says up to which position all syncs that read a feed have come; a feed that
    nobody reads is not in it. Ids of old messages go as well. At most `STEP` rows in
    one call: call again, in a new transaction, until it returns 0.
    """
    feeds.lock(connection)
    dropped = 0
    for row in feeds.feeds(connection):
        if dropped < STEP:
            read = folded.get(row.feed)
            dropped += _words(connection, row, read, now, STEP - dropped)
    if dropped < STEP:
        dropped += _messages(connection, now, STEP - dropped)
    return dropped


def _words(
    connection: Connection, row: FeedRow, read: int | None, now: datetime, limit: int
) -> int:
    """Drop old words of one feed, the lowest positions first."""
    of_feed = [
        inbox.c.feed_id == row.id,
        ~inbox.c.deleted | (inbox.c.received_at < now - KEEP_DELETED),
    ]
    if read is not None:
        of_feed.append(inbox.c.position <= read)
    if not connection.execute(_old(of_feed, now, PEEK)).first():
        return 0
    old = _old(of_feed, now, limit).subquery()
    gone = connection.execute(
        delete(inbox)
        .where(
            inbox.c.feed_id == row.id, inbox.c.member_id.in_(select(old.c.member_id))
        )
        .returning(inbox.c.position)
    )
    positions = list(gone.scalars())
    if positions:
        highest = max(positions)
        connection.execute(
            update(feed)
            .where(feed.c.id == row.id, feed.c.pruned_to < highest)
            .values(pruned_to=highest)
        )
    return len(positions)


def _old(of_feed: list[ColumnElement[bool]], now: datetime, limit: int) -> Select:  # type: ignore[type-arg]
    """Old ones among the first `limit` words, by position.

    Words arrive in the order of their positions, so the old ones come first; no index
    by arrival is needed, and no feed is read whole.
    """
    first = (
        select(inbox.c.member_id, inbox.c.received_at)
        .where(*of_feed)
        .order_by(inbox.c.position)
        .limit(limit)
        .subquery()
    )
    return select(first.c.member_id).where(first.c.received_at < now - KEEP)


def _messages(connection: Connection, now: datetime, limit: int) -> int:
    key = tuple_(message.c.connection, message.c.message_id)
    old = (
        select(message.c.connection, message.c.message_id)
        .where(message.c.received_at < now - KEEP)
        .limit(limit)
    )
    return connection.execute(delete(message).where(key.in_(old))).rowcount
