"""Is anything lost? The owner's size of an audience moves, and nothing arrives.

Sizes are only hints: they count profiles where we count ids, and they come late.
"""

from datetime import datetime, timedelta
from typing import Protocol

from syncd import events
from syncd.errors import DeliveryError, SourceError
from syncd.events import emit
from syncd.store import inbox
from syncd.store.database import Database
from syncd.store.inbox import FeedRow

QUIET = timedelta(hours=1)
"""So long after a word its size may still follow, and after a size its words."""
SAY_AGAIN = timedelta(days=1)
MOVED_IDS = 10
MOVED_SHARE = 0.01
"""Sizes that differ by less say nothing: they count profiles, we count ids."""


class Sized(Protocol):
    """Asks the owner for the size of the audience or cohort, for free."""

    def __call__(self) -> int | None: ...


def size_now(sized: Sized | None) -> int | None:
    """The owner's size; None where nobody gives one now."""
    try:
        return sized() if sized is not None else None
    except (DeliveryError, SourceError):
        return None


def watch(
    database: Database, sync: str, row: FeedRow, size: int, now: datetime
) -> None:
    """Say so when the size moves and nothing arrives; at most once a day."""
    before, seen_at = row.reported, row.reported_at
    if before is None or seen_at is None or _may_follow(row.last_at, seen_at):
        with database.begin() as connection:
            inbox.note_size(connection, row.id, size, now)
        return
    moved = abs(size - before) >= max(MOVED_IDS, before * MOVED_SHARE)
    said = row.silent_at is not None and now - row.silent_at < SAY_AGAIN
    if not moved or said or now - seen_at < QUIET:
        return
    with database.begin() as connection:
        inbox.note_silence(connection, row.id, now)
    emit(
        events.INBOX_SILENT,
        sync=sync,
        last_event_at=row.last_at,
        reported=size,
        before=before,
    )


def _may_follow(last_at: datetime | None, seen_at: datetime) -> bool:
    """Whether the size that was noted need not have counted the last word yet."""
    return last_at is not None and seen_at < last_at + QUIET
