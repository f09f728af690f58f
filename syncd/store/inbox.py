"""The inbox: the newest word about each person of what is pushed to us.

Not a log. In and out are states, so the newest word is all that counts, and the same
message twice changes nothing. Newest is by (event time, tie), of equal ones the later
arrival; words without a time of their own are newest by arrival. A word is dropped
after `KEEP`, once every sync that reads its feed has made a plan of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from syncd.model import Feed, Message

KEEP = timedelta(days=7)
"""Of words and of the ids of messages (Segment retries for 4 h, Amplitude for less)."""
KEEP_DELETED = timedelta(days=30)
"""Of the word that a person was deleted: so long may a warehouse still list them."""


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
    """The highest position whose word was dropped before a sync read it; 0: none."""
    reported: int | None
    """Size its owner gave, when words last arrived or it was first asked."""
    reported_at: datetime | None
    silent_at: datetime | None
    """When people were last told that nothing arrives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of storing messages."""

    messages: int
    duplicates: int
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What of a feed was not folded into a plan yet."""

    people: int
    entered: int
    exited: int
    oldest: datetime | None
    """Event time; None where there are none."""
    newest: datetime | None


def take(connection: Connection, messages: Sequence[Message], now: datetime) -> Taken:
    """Store messages, all or none; known ones (by connection and id) change nothing."""
    raise NotImplementedError


def ensure(connection: Connection, feeds: Sequence[Feed], now: datetime) -> None:
    """Have a row for each of these feeds."""
    raise NotImplementedError


def name_list(
    connection: Connection, feed: Feed, name: str, list_id: str, now: datetime
) -> FeedRow:
    """Give a feed a name, and a list id if it has none yet; returns its row."""
    raise NotImplementedError


def find(connection: Connection, feed: Feed) -> FeedRow | None:
    """The feed's row."""
    raise NotImplementedError


def by_list_id(
    connection: Connection, connection_name: str, list_id: str
) -> FeedRow | None:
    """The feed that a sender knows by this id."""
    raise NotImplementedError


def feeds(connection: Connection, connection_name: str | None = None) -> list[FeedRow]:
    """Every feed, or those of one connection, by connection and key."""
    raise NotImplementedError


def position(connection: Connection) -> int:
    """The highest position given so far, over all feeds."""
    raise NotImplementedError


def words(
    connection: Connection,
    feed_id: int,
    *,
    after: int = 0,
    newer_than: datetime | None = None,
) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """(entered, exited) in blocks: rows above the position `after`; with `newer_than`
    only those whose event is newer than that, and those of deleted people."""
    raise NotImplementedError


def backlog(connection: Connection, feed_id: int, *, after: int) -> Backlog:
    """What `words` would read, in numbers."""
    raise NotImplementedError


def note_size(
    connection: Connection, feed_id: int, reported: int, now: datetime
) -> None:
    """The size the owner gives, to be compared with later ones."""
    raise NotImplementedError


def note_silence(connection: Connection, feed_id: int, now: datetime) -> None:
    """People were told that nothing arrives."""
    raise NotImplementedError


def tally(
    connection: Connection,
    connection_name: str,
    results: Mapping[str, int],
    now: datetime,
) -> None:
    """Add to the counts of what became of a connection's events."""
    raise NotImplementedError


def tallies(connection: Connection) -> dict[str, dict[str, tuple[int, datetime]]]:
    """Connection -> result -> (how many, last time)."""
    raise NotImplementedError


def prune(connection: Connection, now: datetime, folded: Mapping[Feed, int]) -> int:
    """Drop old words that every reader has made a plan of; returns how many.

    `folded` says up to which position all syncs that read a feed have come; a feed that
    nobody reads is not in it. Ids of old messages go as well.
    """
    raise NotImplementedError


def word_of(
    connection: Connection, feed_id: int, member_id: bytes
) -> tuple[bool, datetime, datetime] | None:
    """(inside, event time, arrival) of the newest word about one person."""
    raise NotImplementedError
