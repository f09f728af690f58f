"""How far the syncs that are fed by events have read, and how much waits for them."""

from dataclasses import replace

from syncd.config.feeds import doors, fed
from syncd.config.settings import Settings
from syncd.model import Feed
from syncd.sources.feed_mark import position_of
from syncd.store import bindings, figures, inbox
from syncd.store.database import Connection


def folded(connection: Connection, settings: Settings) -> dict[Feed, int]:
    """Up to which position every sync that reads a feed has made a plan of it.

    A sync whose plans were made of something else has read nothing of it.
    """
    reached: dict[Feed, int] = {}
    for sync, feed in fed(settings):
        binding = bindings.current(connection, sync.name)
        position = position_of(binding.source_mark, feed) if binding else 0
        reached[feed] = min(position, reached.get(feed, position))
    return reached


def backlogs(connection: Connection, settings: Settings) -> dict[str, int]:
    """Connection with a door -> people with news that a sync did not plan with yet.

    Of several syncs that read one feed the one that is furthest behind counts.
    """
    waiting = dict.fromkeys(doors(settings), 0)
    # One that is switched off lets words wait for ever, and nobody waits for it.
    syncs = tuple(sync for sync in settings.syncs if sync.enabled)
    for feed, after in folded(connection, replace(settings, syncs=syncs)).items():
        row = inbox.find(connection, feed)
        if row is not None and feed.connection in waiting:
            count = figures.waiting(connection, row.id, after=after)
            waiting[feed.connection] += count
    return waiting
