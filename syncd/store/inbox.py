"""The inbox: the newest word about each person of what is pushed to us.

Not a log. In and out are states, so the newest word is all that counts, and the same
message twice changes nothing. Newest is by (event time, tie), of equal ones the later
arrival; words without a time of their own are newest by arrival. That a person was
deleted is a word, too: about every feed of the connection, and of equal time it wins.
A word is dropped after `KEEP`, once every sync that reads its feed has made a plan of
it (`pruning`).

Whoever writes takes the lock of `inbox_position` first, so that positions become
visible in their order: who has read up to one never meets a smaller one later.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, collate, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ColumnElement

from syncd.model import Feed, IdType, Message
from syncd.store.database import insert_into
from syncd.store.feeds import FeedRow as FeedRow  # a part of this API
from syncd.store.feeds import by_list_id as by_list_id
from syncd.store.feeds import ensure as ensure
from syncd.store.feeds import feeds as feeds
from syncd.store.feeds import find as find
from syncd.store.feeds import name_list as name_list
from syncd.store.feeds import note_silence as note_silence
from syncd.store.feeds import note_size as note_size
from syncd.store.pruning import KEEP as KEEP
from syncd.store.pruning import KEEP_DELETED as KEEP_DELETED
from syncd.store.pruning import prune as prune
from syncd.store.tables import feed, inbox, inbox_position, inbox_tally, message

BLOCK = 4_096
"""Words read at a time."""


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


@dataclass(frozen=True, slots=True)
class _Word:
    """What is said of a person."""

    rank: tuple[datetime, bool, str]
    """(event time, deleted, tie): the greater one is newer."""
    inside: bool
    always: bool
    """It is the newest whatever the store holds, by order of arrival."""


_Said = dict[int, dict[bytes, _Word]]
"""The newest word about each person, by feed."""


def take(connection: Connection, messages: Sequence[Message], now: datetime) -> Taken:
    """Store messages, all or none; known ones (by connection and id) change nothing."""
    return take_each(connection, [messages], now)[0]


def take_each(
    connection: Connection, deliveries: Sequence[Sequence[Message]], now: datetime
) -> list[Taken]:
    """`take` of several deliveries at once: what came of each, in their order."""
    highest = _lock(connection)
    fresh = _note(connection, deliveries, now)
    messages = [each for delivery in fresh for each in delivery]
    said = _fold(connection, messages, now)
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


def _lock(connection: Connection) -> int:
    """The highest position so far; nobody else gives one before this commits."""
    query = select(inbox_position.c.value).with_for_update()  # SQLite: one writer
    return int(connection.execute(query).scalar_one())


# ---- messages ----------------------------------------------------------------------


def _note(
    connection: Connection, deliveries: Sequence[Sequence[Message]], now: datetime
) -> list[list[Message]]:
    """The messages that were never seen; their ids are known from now on."""
    named = {
        (each.connection, each.id)
        for delivery in deliveries
        for each in delivery
        if each.id
    }
    seen = _known(connection, named)
    fresh: list[list[Message]] = []
    for delivery in deliveries:
        fresh.append([])
        for each in delivery:
            if (each.connection, each.id) in seen:
                continue
            if each.id:
                seen.add((each.connection, each.id))
            fresh[-1].append(each)
    rows = [
        {"connection": each.connection, "message_id": each.id, "received_at": now}
        for delivery in fresh
        for each in delivery
        if each.id
    ]
    if rows:
        connection.execute(insert(message), rows)
    return fresh


def _known(
    connection: Connection, named: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    by_connection: dict[str, list[str]] = {}
    for name, message_id in named:
        by_connection.setdefault(name, []).append(message_id)
    found: set[tuple[str, str]] = set()
    for name, ids in by_connection.items():
        for first in range(0, len(ids), BLOCK):
            rows = connection.execute(
                select(message.c.message_id).where(
                    message.c.connection == name,
                    message.c.message_id.in_(ids[first : first + BLOCK]),
                )
            )
            found.update((name, message_id) for message_id in rows.scalars())
    return found


# ---- what they say -----------------------------------------------------------------


def _fold(connection: Connection, messages: Sequence[Message], now: datetime) -> _Said:
    ids = _feed_ids(connection, messages, now)
    said: _Said = {}
    for each in messages:
        for told in each.told:
            word = _word(told.at, now, inside=told.inside, tie=told.tie)
            _say(said.setdefault(ids[told.feed], {}), told.ids, word)
        if not each.deleted:
            continue
        word = _word(each.deleted_at, now, inside=False, deleted=True)
        for member_id, id_type in each.deleted:
            for feed_id in _feeds_by(connection, each.connection, id_type):
                _say(said.setdefault(feed_id, {}), [member_id], word)
    return said


def _word(
    at: datetime | None,
    now: datetime,
    *,
    inside: bool,
    tie: str = "",
    deleted: bool = False,
) -> _Word:
    return _Word((at or now, deleted, tie), inside, always=at is None)


def _say(known: dict[bytes, _Word], ids: Sequence[bytes], word: _Word) -> None:
    """Lay a word over those said before."""
    if word.always:
        known.update(dict.fromkeys(ids, word))
        return
    for member_id in ids:
        old = known.get(member_id)
        if old is None:
            known[member_id] = word
        elif word.rank >= old.rank:
            known[member_id] = replace(word, always=True) if old.always else word


def _feeds_by(
    connection: Connection, connection_name: str, id_type: IdType
) -> list[int]:
    query = select(feed.c.id).where(
        feed.c.connection == connection_name, feed.c.id_type == id_type
    )
    return list(connection.execute(query).scalars())


def _feed_ids(
    connection: Connection, messages: Sequence[Message], now: datetime
) -> dict[Feed, int]:
    """Rows of the feeds that are named, made where missing; words arrived in them."""
    told = {each.feed: each for one in messages for each in one.told}
    names = {each.feed: each.name for one in messages for each in one.told if each.name}
    if not told:
        return {}
    ids = _look_up(connection, told, names)
    missing = [each for each in told if each not in ids]
    if missing:
        ensure(connection, missing, now)
        ids.update(_look_up(connection, missing, names))
    connection.execute(
        update(feed).where(feed.c.id.in_(ids.values())).values(last_at=now)
    )
    return ids


def _look_up(
    connection: Connection, wanted: Iterable[Feed], names: Mapping[Feed, str]
) -> dict[Feed, int]:
    keys = [(each.connection, each.key, each.id_type.value) for each in wanted]
    rows = connection.execute(
        select(
            feed.c.id, feed.c.connection, feed.c.key, feed.c.id_type, feed.c.name
        ).where(tuple_(feed.c.connection, feed.c.key, feed.c.id_type).in_(keys))
    ).all()
    ids = {}
    for row in rows:
        found = Feed(
            connection=row.connection, key=row.key, id_type=IdType(row.id_type)
        )
        ids[found] = row.id
        name = names.get(found, "")
        if name and name != row.name:
            connection.execute(
                update(feed).where(feed.c.id == row.id).values(name=name)
            )
    return ids


# ---- rows --------------------------------------------------------------------------


def _write(connection: Connection, said: _Said, highest: int, now: datetime) -> None:
    """Write what is newer than what the store holds."""
    newer: list[dict[str, object]] = []
    arrived: list[dict[str, object]] = []
    position = highest
    for feed_id, known in said.items():
        for member_id, word in known.items():
            position += 1
            at, deleted, tie = word.rank
            (arrived if word.always else newer).append(
                {
                    "feed_id": feed_id,
                    "member_id": member_id.decode(),
                    "inside": word.inside,
                    "deleted": deleted,
                    "at": at,
                    "tie": tie,
                    "received_at": now,
                    "position": position,
                }
            )
    if position == highest:
        return
    if newer:
        connection.execute(_upsert(connection, by_rank=True), newer)
    if arrived:
        connection.execute(_upsert(connection, by_rank=False), arrived)
    connection.execute(update(inbox_position).values(value=position))


def _upsert(
    connection: Connection, *, by_rank: bool
) -> sqlite.Insert | postgresql.Insert:
    statement = insert_into(connection, inbox)
    new = statement.excluded
    older = None
    if by_rank:
        # Bytes decide of ties, as in Python, whatever language the database speaks.
        tie: ColumnElement[str] = inbox.c.tie
        if connection.dialect.name == "postgresql":
            tie = collate(tie, "C")
        older = tuple_(new.at, new.deleted, new.tie) >= tuple_(
            inbox.c.at, inbox.c.deleted, tie
        )
    columns = ("inside", "deleted", "at", "tie", "received_at", "position")
    return statement.on_conflict_do_update(
        index_elements=[inbox.c.feed_id, inbox.c.member_id],
        set_={name: new[name] for name in columns},
        where=older,
    )


# ---- reading -----------------------------------------------------------------------


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


# ---- counts ------------------------------------------------------------------------


def tally(
    connection: Connection,
    connection_name: str,
    results: Mapping[str, int],
    now: datetime,
) -> None:
    """Add to the counts of what became of a connection's events."""
    rows = [
        {"connection": connection_name, "result": result, "n": n, "last_at": now}
        for result, n in sorted(results.items())
        if n
    ]
    if not rows:
        return
    statement = insert_into(connection, inbox_tally)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[inbox_tally.c.connection, inbox_tally.c.result],
            set_={
                "n": inbox_tally.c.n + statement.excluded.n,
                "last_at": statement.excluded.last_at,
            },
        ),
        rows,
    )


def tallies(connection: Connection) -> dict[str, dict[str, tuple[int, datetime]]]:
    """Connection -> result -> (how many, last time)."""
    found: dict[str, dict[str, tuple[int, datetime]]] = {}
    for row in connection.execute(select(inbox_tally)):
        found.setdefault(row.connection, {})[row.result] = (row.n, row.last_at)
    return found
