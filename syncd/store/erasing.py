"""Erasing people who are forgotten, once no destination has them because of us.

Until then their ids are needed: whom to remove is known from these very rows. What is
left afterwards is the HMAC of `forgotten`, and rows that name nobody.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, delete, or_, select, update

from syncd.model import BatchState, IdType, Operation
from syncd.store import acknowledged, codec, compaction, doubts, feeds, traces
from syncd.store.acknowledged import RANGE, Bucket, load_chunks
from syncd.store.bindings import Binding
from syncd.store.buckets import decode, encode
from syncd.store.database import Database, codec_of
from syncd.store.forgotten import Forgotten, Person
from syncd.store.tables import (
    batch,
    batch_ids,
    binding,
    chunk,
    feed,
    inbox,
    unaccepted,
)

BLOCK = 4_096
"""Words or rows looked at together."""

Check = Callable[[Connection], None]


# ---- who is left -------------------------------------------------------------


def held_by(
    connection: Connection, owner: Binding, people: Forgotten, now: datetime
) -> set[bytes]:
    """The forgotten whom a binding's destination holds because of us, or may hold."""
    found: set[bytes] = set()
    if not people:
        return found
    for bucket in acknowledged.read(connection, owner.id, owner.n_buckets, now):
        # Who may be there by a request that landed late is removed once it has.
        held = bucket.acknowledged | bucket.uncertain | bucket.overdue
        found.update(people.among(held))
    return found


def planned_for(
    connection: Connection,
    owner: Binding,
    people: Forgotten,
    operations: Iterable[Operation] = tuple(Operation),
) -> set[bytes]:
    """The forgotten whom a held plan for this binding names."""
    rows = connection.execute(
        select(batch_ids.c.ids)
        .join(batch, batch.c.id == batch_ids.c.batch_id)
        .where(batch.c.binding_id == owner.id, batch.c.state == BatchState.HELD)
        .where(batch.c.operation.in_(operations))
    ).scalars()
    return {each for ids in rows for each in people.among(decode(ids))}


def is_any_named(
    connection: Connection, owner: Binding, people: Forgotten, now: datetime
) -> bool:
    """Whether a binding, or a batch kept for it, names somebody who is forgotten."""
    rows = connection.execute(
        select(batch_ids.c.ids)
        .join(batch, batch.c.id == batch_ids.c.batch_id)
        .where(batch.c.binding_id == owner.id)
    ).scalars()
    if any(people.among(decode(ids)) for ids in rows):
        return True
    if doubts.names_any(connection, owner.id, people.among):
        return True
    return bool(held_by(connection, owner, people, now))


# ---- at once, while their ids are known --------------------------------------


def offers_and_words(connection: Connection, people: Iterable[Person]) -> int:
    """Erase what waits to be offered or was pushed about them; returns how many rows.

    And what is left of batches that named them. Whom a destination holds is left.
    """
    of_type: dict[IdType, list[str]] = {}
    for member_id, id_type in people:
        of_type.setdefault(id_type, []).append(member_id.decode())
    rows = 0
    for id_type, ids in of_type.items():
        for first in range(0, len(ids), 500):
            rows += _named(connection, id_type, ids[first : first + 500])
    every = (text.encode() for ids in of_type.values() for text in ids)
    return rows + traces.erase(connection, every)


def _named(connection: Connection, id_type: IdType, ids: list[str]) -> int:
    fed = select(feed.c.id).where(feed.c.id_type == id_type)
    words = delete(inbox).where(inbox.c.feed_id.in_(fed), inbox.c.member_id.in_(ids))
    bindings = select(binding.c.id).where(binding.c.id_type == id_type)
    # What may still take them out can do no harm; what may put them in is kept.
    owned, gone = connection.execute(bindings).scalars().all(), set(ids)
    doubts.erase(
        connection,
        owned,
        lambda named: [each for each in named if each.decode() in gone],
        (Operation.REMOVE,),
    )
    offers = delete(unaccepted).where(
        unaccepted.c.binding_id.in_(bindings), unaccepted.c.id.in_(ids)
    )
    return connection.execute(words).rowcount + connection.execute(offers).rowcount


# ---- later, when only their hashes are known ---------------------------------


def settled(database: Database, owner: Binding, people: Forgotten, check: Check) -> int:
    """Erase them from a binding that holds none of them; returns how many offers.

    The log of batches names them as removed: it moves into the chunks, and leaves no
    trace of them. Then what was offered goes.
    """
    with database.read() as connection:
        logged = acknowledged.log_size(connection, owner.id).ids
    if logged:
        compaction.compact(database, owner.id, check=check)
    with database.begin() as connection:
        check(connection)
        doubts.erase(connection, (owner.id,), people.among)
        return _offers(connection, owner, people)


def _offers(connection: Connection, owner: Binding, people: Forgotten) -> int:
    rows = connection.execute(
        select(unaccepted.c.id).where(unaccepted.c.binding_id == owner.id)
    ).scalars()
    gone = people.among(text.encode() for text in rows)
    if gone:
        connection.execute(
            delete(unaccepted).where(
                unaccepted.c.binding_id == owner.id,
                unaccepted.c.id == bindparam("gone"),
            ),
            [{"gone": member_id.decode()} for member_id in gone],
        )
    return len(gone)


def former(connection: Connection, owner: Binding, people: Forgotten) -> int:
    """Erase them from a binding that nobody works on any more; returns how many ids.

    Its target keeps them: only its owner can take them out there.
    """
    gone: set[bytes] = set()
    for first in range(0, owner.n_buckets, RANGE):
        last = min(first + RANGE, owner.n_buckets) - 1
        buckets = [Bucket(index) for index in range(first, last + 1)]
        load_chunks(connection, owner.id, owner.n_buckets, buckets)
        for bucket in buckets:
            gone.update(_from_chunk(connection, owner, bucket, people))
    gone.update(_from_payloads(connection, owner, people))
    doubts.erase(connection, (owner.id,), people.among)
    traces.erase(connection, gone)
    return len(gone) + _offers(connection, owner, people)


def _from_chunk(
    connection: Connection, owner: Binding, bucket: Bucket, people: Forgotten
) -> list[bytes]:
    gone = people.among(bucket.acknowledged)
    if gone:
        left = bucket.acknowledged.difference(gone)
        written = codec.write(left, codec_of(connection))
        connection.execute(
            update(chunk)
            .where(chunk.c.binding_id == owner.id, chunk.c.bucket == bucket.index)
            .values(n=chunk.c.n - len(gone), **asdict(written))
        )
        connection.execute(
            update(binding)
            .where(binding.c.id == owner.id)
            .values(members=binding.c.members - len(gone))
        )
    return gone


def _from_payloads(
    connection: Connection, owner: Binding, people: Forgotten
) -> list[bytes]:
    rows = connection.execute(
        select(batch_ids.c.batch_id, batch_ids.c.ids)
        .join(batch, batch.c.id == batch_ids.c.batch_id)
        .where(batch.c.binding_id == owner.id)
    ).all()
    found: list[bytes] = []
    for batch_id, text in rows:
        ids = decode(text)
        gone = set(people.among(ids))
        if gone:
            left = [each for each in ids if each not in gone]
            connection.execute(
                update(batch_ids)
                .where(batch_ids.c.batch_id == batch_id)
                .values(ids=encode(left))
            )
            connection.execute(
                update(batch).where(batch.c.id == batch_id).values(n=len(left))
            )
            found += gone
    return found


def words(database: Database, id_type: IdType, people: Forgotten) -> int:
    """Erase what was pushed about them, of ids of one type; returns how many rows.

    The word that somebody was deleted is the only one that arrives once they are
    forgotten; others are refused at the door.
    """
    if not people:
        return 0
    with database.read() as connection:
        rows = connection.execute(
            select(inbox.c.feed_id, inbox.c.member_id)
            .join(feed, feed.c.id == inbox.c.feed_id)
            .where(feed.c.id_type == id_type)
            .execution_options(yield_per=BLOCK)
        )
        found = [
            (feed_id, text) for feed_id, text in rows if people.among((text.encode(),))
        ]
    if found:
        with database.begin() as connection:  # a long look, which no sender waits for
            traces.erase(connection, (text.encode() for _, text in found))
    erased = 0
    for first in range(0, len(found), 200):
        each = (
            and_(inbox.c.feed_id == feed_id, inbox.c.member_id == text)
            for feed_id, text in found[first : first + 200]
        )
        with database.begin() as connection:
            feeds.lock(connection)
            erased += connection.execute(delete(inbox).where(or_(*each))).rowcount
    return erased
