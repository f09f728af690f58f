"""The inbox: the newest word about each person of what is pushed to us.

Not a log. In and out are states, so the newest word is all that counts (`newest` says
which that is), and the same message twice changes nothing. That a person was deleted is
a word, too, about every feed of the connection. A word is dropped after `KEEP`, once
every sync that reads its feed has made a plan of it (`pruning`).

Whoever writes words takes the lock of `inbox_position` first, so that positions become
visible in their order: who has read up to one never meets a smaller one later.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    bindparam,
    collate,
    select,
    tuple_,
    update,
)

from syncd.model import Feed, IdType, Message
from syncd.store import forgotten
from syncd.store.bulk import Rows, inserting, native, prepared
from syncd.store.direct import Direct
from syncd.store.feeds import FeedRow as FeedRow  # a part of this API
from syncd.store.feeds import by_list_id as by_list_id
from syncd.store.feeds import ensure as ensure
from syncd.store.feeds import feeds as feeds
from syncd.store.feeds import find as find
from syncd.store.feeds import name_list as name_list
from syncd.store.feeds import note_silence as note_silence
from syncd.store.feeds import note_size as note_size
from syncd.store.newest import Said, Word, lay, word
from syncd.store.pruning import KEEP as KEEP
from syncd.store.pruning import KEEP_DELETED as KEEP_DELETED
from syncd.store.pruning import prune as prune
from syncd.store.tables import feed, inbox, inbox_position, message
from syncd.store.tallies import tallies as tallies
from syncd.store.tallies import tally as tally
from syncd.store.words import Backlog as Backlog
from syncd.store.words import backlog as backlog
from syncd.store.words import newest_position as newest_position
from syncd.store.words import position as position
from syncd.store.words import word_of as word_of
from syncd.store.words import words as words

BLOCK = 4_096
"""Feeds, or ids of messages, that are asked for at a time."""
T = TypeVar("T")

_POSITION = Direct(select(inbox_position.c.value).with_for_update())
"""Its lock; SQLite has one writer."""
_GIVEN = Direct(update(inbox_position).values(value=bindparam("highest")), "highest")
_KNOWN = Direct(
    select(message.c.message_id).where(
        message.c.connection == bindparam("name"),
        message.c.message_id.in_(bindparam("listed", expanding=True)),
    ),
    "name",
)
_ARRIVED = Direct(
    update(feed)
    .where(
        tuple_(feed.c.connection, feed.c.key, feed.c.id_type).in_(
            bindparam("listed", expanding=True)
        )
    )
    .values(last_at=bindparam("now"))
    .returning(feed.c.id, feed.c.connection, feed.c.key, feed.c.id_type, feed.c.name),
    "now",
)
_OF_TYPE = Direct(
    select(feed.c.id).where(
        feed.c.connection == bindparam("name"), feed.c.id_type == bindparam("type")
    ),
    "name",
    "type",
)
_RENAME = Direct(
    update(feed)
    .where(feed.c.id == bindparam("feed_id"))
    .values(name=bindparam("called")),
    "called",
    "feed_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of storing messages."""

    messages: int
    duplicates: int
    people: int


def take(connection: Connection, messages: Sequence[Message], now: datetime) -> Taken:
    """Store messages, all or none; known ones (by connection and id) change nothing."""
    return take_each(connection, [messages], now)[0]


def take_each(
    connection: Connection, deliveries: Sequence[Sequence[Message]], now: datetime
) -> list[Taken]:
    """`take` of several deliveries at once: what came of each, in their order."""
    ((highest,),) = _POSITION.rows(connection)
    fresh = _note(connection, deliveries, now)
    deleted = [each for new in fresh for message in new for each in message.deleted]
    if deleted:
        forgotten.add(connection, deleted, now)
    said = _fold(connection, [each for new in fresh for each in new], now)
    _write(connection, said, highest, now)
    return [
        Taken(
            messages=len(new),
            duplicates=len(delivery) - len(new),
            people=sum(people(each) for each in new),
        )
        for delivery, new in zip(deliveries, fresh, strict=True)
    ]


def people(each: Message) -> int:
    """Words in a message: one for each person it names."""
    return sum(len(told.ids) for told in each.told) + len(each.deleted)


# ---- messages ----------------------------------------------------------------------


def _note(
    connection: Connection, deliveries: Sequence[Sequence[Message]], now: datetime
) -> list[list[Message]]:
    """The messages that were never seen; their ids are known from now on."""
    named = {
        (each.connection, each.id): None  # in order of arrival
        for delivery in deliveries
        for each in delivery
        if each.id
    }
    seen = _known(connection, named)
    new = [key for key in named if key not in seen]
    if new:
        dialect = connection.dialect.name
        arrival = native(dialect, now)
        _noting(dialect)(connection, [(*key, arrival) for key in new])
    fresh: list[list[Message]] = []
    for delivery in deliveries:
        fresh.append([])
        for each in delivery:
            key = each.connection, each.id
            if key not in seen:
                fresh[-1].append(each)
                if each.id:
                    seen.add(key)
    return fresh


def _known(
    connection: Connection, named: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    by_connection: dict[str, list[str]] = {}
    for name, message_id in named:
        by_connection.setdefault(name, []).append(message_id)
    found: set[tuple[str, str]] = set()
    for name, ids in by_connection.items():
        for some in _blocks(ids):
            rows = _KNOWN.rows(connection, name, listed=some)
            found.update((name, message_id) for (message_id,) in rows)
    return found


@cache
def _noting(dialect: str) -> Callable[[Connection, Rows], None]:
    return prepared(dialect, inserting(dialect, message))


# ---- what they say -----------------------------------------------------------------


def _fold(
    connection: Connection, messages: Sequence[Message], now: datetime
) -> dict[int, Said]:
    """The newest that these messages say about each person, by feed."""
    # All feeds first: a deletion is about those that the same messages name, too.
    ids = _feed_ids(connection, messages, now)
    of_type: dict[tuple[str, IdType], list[int]] = {}
    said: dict[int, Said] = {}
    for each in messages:
        for told in each.told:
            new = word(told.at, now, inside=told.inside, tie=told.tie)
            lay(said.setdefault(ids[told.feed], {}), told.ids, new)
        if not each.deleted:
            continue
        new = word(each.deleted_at, now, inside=False, deleted=True)
        for member_id, id_type in each.deleted:
            key = each.connection, id_type
            if key not in of_type:
                of_type[key] = _of_type(connection, *key)
            for feed_id in of_type[key]:
                lay(said.setdefault(feed_id, {}), [member_id], new)
    return said


def _of_type(connection: Connection, name: str, id_type: IdType) -> list[int]:
    rows = _OF_TYPE.rows(connection, name, id_type.value)
    return [feed_id for (feed_id,) in rows]


def _feed_ids(
    connection: Connection, messages: Sequence[Message], now: datetime
) -> dict[Feed, int]:
    """Rows of the feeds that are named, made where missing; words arrived in them."""
    # The last name that was said of each.
    names: dict[Feed, str] = {}
    for each in messages:
        for told in each.told:
            names[told.feed] = told.name or names.get(told.feed, "")
    ids = _arrived(connection, names, now)
    missing = {each: name for each, name in names.items() if each not in ids}
    if missing:
        ensure(connection, list(missing), now)
        ids.update(_arrived(connection, missing, now))
    return ids


def _arrived(
    connection: Connection, names: Mapping[Feed, str], now: datetime
) -> dict[Feed, int]:
    """Ids of the feeds that have a row, in which words arrived now; one that is called
    otherwise is renamed."""
    keys = [(each.connection, each.key, each.id_type.value) for each in names]
    arrival = native(connection.dialect.name, now)
    ids: dict[Feed, int] = {}
    for some in _blocks(keys):
        rows = _ARRIVED.rows(connection, arrival, listed=some)
        for row_id, name, key, id_type, called in rows:
            found = Feed(connection=name, key=key, id_type=IdType(id_type))
            ids[found] = row_id
            if names[found] and names[found] != called:
                _RENAME.rows(connection, names[found], row_id)
    return ids


def _blocks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """No store takes any number of values in one statement."""
    for first in range(0, len(values), BLOCK):
        yield values[first : first + BLOCK]


# ---- rows --------------------------------------------------------------------------


def _write(
    connection: Connection, said: Mapping[int, Said], highest: int, now: datetime
) -> None:
    """Write what is newer than what the store holds."""
    dialect = connection.dialect.name
    arrival = native(dialect, now)
    newer: list[tuple[Any, ...]] = []
    arrived: list[tuple[Any, ...]] = []
    given, before, says = highest, None, ()
    for feed_id, known in said.items():
        for member_id, each in known.items():
            given += 1
            if each is not before:  # thousands of people may share one
                before, says = each, _columns(dialect, each)
            rows = arrived if each.always else newer
            rows.append((feed_id, member_id.decode(), *says, arrival, given))
    if newer:
        _putting(dialect, by_rank=True)(connection, newer)
    if arrived:
        _putting(dialect, by_rank=False)(connection, arrived)
    if given > highest:
        _GIVEN.rows(connection, given)


def _columns(dialect: str, each: Word) -> tuple[Any, ...]:
    at, deleted, tie = each.rank
    return each.inside, deleted, native(dialect, at), tie


@cache
def _putting(dialect: str, *, by_rank: bool) -> Callable[[Connection, Rows], None]:
    statement = inserting(dialect, inbox)
    new = statement.excluded
    older = None
    if by_rank:
        # Bytes decide between ties, as in Python, whatever language the database has.
        tie = collate(inbox.c.tie, "C") if dialect == "postgresql" else inbox.c.tie
        older = tuple_(new.at, new.deleted, new.tie) >= tuple_(
            inbox.c.at, inbox.c.deleted, tie
        )
    columns = ("inside", "deleted", "at", "tie", "received_at", "position")
    statement = statement.on_conflict_do_update(
        index_elements=[inbox.c.feed_id, inbox.c.member_id],
        set_={name: new[name] for name in columns},
        where=older,
    )
    return prepared(dialect, statement)
