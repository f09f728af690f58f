"""What is pushed to us, as `status` says it: when, what waits, what was left out."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from syncd.config.feeds import INBOX, doors, fed
from syncd.config.settings import Settings, SyncSettings
from syncd.config.settings_connections import EngageConnection
from syncd.report.backlog import backlogs
from syncd.report.words import number, plural, relative
from syncd.store import figures, inbox
from syncd.store.database import Connection
from syncd.store.inbox import FeedRow

LATELY = timedelta(days=7)
"""What was left out longer ago is not told any more."""
NAMED = 3
"""Unread audiences and cohorts that are named."""
_FINE = frozenset(
    {"accepted", "duplicate", "ignored", "test", "from_the_future", "previous_secret"}
)
"""Results that lose nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Events of one connection that were not taken, for one reason."""

    reason: str
    events: int
    """So far, since the store was made."""
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """What one connection pushes to us."""

    connection: str
    door: str
    """`inbox` (Engage) or `push` (Amplitude), as in the configuration."""
    last_at: datetime | None
    """When something last arrived."""
    waiting: int
    """People with news that a sync did not plan with yet."""
    left_out: tuple[LeftOut, ...]
    unread: tuple[FeedRow, ...]
    """What arrives and no sync reads."""
    silent: tuple[FeedRow, ...]
    """Of which nothing arrives although its size moves."""
    awaited: tuple[str, ...]
    """Syncs that wait for the first word about what they read."""
    listed: tuple[str, ...]
    """Syncs without a word as well, which begin with a whole list all the same."""

    @property
    def noun(self) -> str:
        """What its sender calls a feed."""
        return "audience" if self.door == INBOX else "cohort"


def arrivals(
    connection: Connection, settings: Settings, syncs: Sequence[SyncSettings]
) -> list[Arrivals]:
    """Of each connection with a door; of those that `syncs` read where not all are
    asked for."""
    asked = {sync.source.connection for sync in syncs}
    waiting = backlogs(connection, settings)
    return [
        _of(connection, settings, name, door, waiting[name])
        for name, door in doors(settings).items()
        if len(syncs) == len(settings.syncs) or name in asked
    ]


def _of(
    connection: Connection, settings: Settings, name: str, door: str, waiting: int
) -> Arrivals:
    rows = inbox.feeds(connection, name)
    readers = [each for each in fed(settings) if each[1].connection == name]
    enabled = [each for each in readers if each[0].enabled]
    times = [row.last_at for row in rows if row.last_at is not None]
    arrived = {row.feed for row in rows if row.last_at is not None}
    without = [sync for sync, feed in enabled if feed not in arrived]
    begins = {sync.name for sync in without if _begins_with_a_list(settings, sync)}
    return Arrivals(
        connection=name,
        door=door,
        last_at=max(times, default=None),
        waiting=waiting,
        left_out=_left_out(connection, name),
        unread=_unread(rows, {feed.key for _, feed in readers}),
        silent=tuple(row for row in rows if is_silent(row)),
        awaited=tuple(sync.name for sync in without if sync.name not in begins),
        listed=tuple(sync.name for sync in without if sync.name in begins),
    )


def _begins_with_a_list(settings: Settings, sync: SyncSettings) -> bool:
    """Whether its first run needs nothing that is pushed.

    Amplitude begins with everybody, so a sync that it pushes to waits for that.
    """
    connection = settings.connections[sync.source.connection]
    return isinstance(connection, EngageConnection) and connection.snapshot is not None


def _left_out(connection: Connection, name: str) -> tuple[LeftOut, ...]:
    results = inbox.tallies(connection).get(name, {})
    return tuple(
        LeftOut(reason=reason, events=count, last_at=last_at)
        for reason, (count, last_at) in sorted(results.items())
        if reason not in _FINE
    )


def _unread(rows: Sequence[FeedRow], keys: Collection[str]) -> tuple[FeedRow, ...]:
    """Each audience once: it may be told of by both kinds of id."""
    unread = (row for row in rows if row.last_at is not None)
    by_key = {row.feed.key: row for row in unread if row.feed.key not in keys}
    return tuple(by_key.values())


def is_silent(row: FeedRow) -> bool:
    """Whether it was said that nothing arrives, and nothing has since."""
    told = row.silent_at
    return told is not None and (row.last_at is None or row.last_at < told)


# --- in words -------------------------------------------------------------------------


def headline(each: Arrivals, now: datetime) -> str:
    """`inbox engage-main: last event 2 s ago, 4 waiting`."""
    last = relative(each.last_at, now) if each.last_at else "never"
    waiting = number(each.waiting)
    if each.waiting >= figures.COUNTED:
        waiting = f"{waiting} or more"
    return f"{each.door} {each.connection}: last event {last}, {waiting} waiting"


def oddities(each: Arrivals, now: datetime) -> Iterator[str]:
    """A sentence for whatever is odd about it."""
    for sync in each.awaited:
        yield f"{sync} waits for its first events: nothing was pushed for it so far"
    for sync in each.listed:
        yield f"{sync} lives by whole lists: nothing was pushed for it so far"
    lately = [one for one in each.left_out if now - one.last_at < LATELY]
    if lately:
        parts = (f"{number(one.events)} {said(one.reason)}" for one in lately)
        last = relative(max(one.last_at for one in lately), now)
        yield f"left out so far: {', '.join(parts)} (the last {last})"
    if each.unread:
        names = [row.name or row.feed.key for row in each.unread[:NAMED]]
        more = ", …" if len(each.unread) > NAMED else ""
        count = len(each.unread)
        verb = "arrives" if count == 1 else "arrive"
        told = f"{plural(count, each.noun)} {verb} that no sync reads: "
        yield told + ", ".join(names) + more
    for row in each.silent:
        yield f"nothing arrives about {row.feed.key} although its size moves"


def said(reason: str) -> str:
    """A result as words: `unknown value`."""
    return reason.replace("_", " ")


# --- JSON -----------------------------------------------------------------------------


def arrivals_document(each: Arrivals) -> dict[str, Any]:
    """`inboxes` of `status --json`; `left_out` counts since the store was made."""
    return {
        "connection": each.connection,
        "door": each.door,
        "last_event_at": each.last_at,
        "waiting": each.waiting,
        "left_out": [
            {"reason": one.reason, "events": one.events, "last_at": one.last_at}
            for one in each.left_out
        ],
        "unread": [_row_document(row) for row in each.unread],
        "silent": [_row_document(row) for row in each.silent],
        "awaited_by": list(each.awaited),
        "only_listed": list(each.listed),
    }


def _row_document(row: FeedRow) -> dict[str, Any]:
    return {
        "key": row.feed.key,
        "name": row.name or None,
        "last_event_at": row.last_at,
        "reported_members": row.reported,
    }
