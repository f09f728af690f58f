"""Feeds that nobody reads any more: what is pushed about them is not kept for ever."""

from datetime import datetime, timedelta

from syncd.app.engine import Engine
from syncd.config.feeds import fed
from syncd.config.settings import Settings
from syncd.sources.feed_mark import position_of
from syncd.store import bindings, feeds
from syncd.store.database import Connection

KEEP = timedelta(days=30)
"""Since somebody last said something in it."""


def prune(engine: Engine) -> int:
    """Drop feeds that no configured sync reads and that were silent for `KEEP`."""
    settings, now = engine.blueprint.settings, engine.clock.now()
    with engine.database.begin() as connection:
        return drop_unread(connection, settings, now)


def drop_unread(connection: Connection, settings: Settings, now: datetime) -> int:
    """The same in a transaction of the caller's; returns how many feeds went.

    One that a plan was ever made of stays: the sync may come back, and must find out
    which words it lacks. A sender that comes back makes its feed anew; where it speaks
    of a list by the id it was given, it is told that there is none (404).
    """
    feeds.lock(connection)
    read = {feed for _, feed in fed(settings)}
    marks = [each.source_mark for each in bindings.all_of(connection)]
    gone = [
        row.id
        for row in feeds.feeds(connection)
        if row.feed not in read
        and (row.last_at or row.first_at) < now - KEEP
        and not any(position_of(mark, row.feed) for mark in marks)
    ]
    for feed_id in gone:
        feeds.drop(connection, feed_id)
    return len(gone)
