"""Moving the log of acknowledged batches into the chunks, and spreading these wider.

What is acknowledged is the same before and after, wherever it is cut off. The only
other writer of chunks is a person's word: that a lost baseline is good, or that what
somebody else says is what the destination holds.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, select, update

from syncd.errors import StoreInUse
from syncd.model import BatchState, IdType
from syncd.store import codec, doubts, forgotten, traces
from syncd.store.acknowledged import (
    RANGE,
    Bucket,
    LogSize,
    apply_batches,
    bare,
    load_chunks,
)
from syncd.store.buckets import SPLIT_ABOVE, bucket_of, buckets_for
from syncd.store.database import Database, codec_of, insert_into
from syncd.store.tables import batch, batch_ids, binding, chunk, unaccepted

COMPACT_ABOVE = 50_000
COMPACT_SHARE = 0.02
COMPACT_AGE = timedelta(hours=24)


def compaction_due(size: LogSize, members: int, now: datetime) -> bool:
    """Whether the log is large or old enough to be moved into the chunks."""
    if size.ids == 0:
        return False
    too_large = size.ids > max(COMPACT_ABOVE, COMPACT_SHARE * members)
    return too_large or (size.oldest is not None and now - size.oldest > COMPACT_AGE)


def compact(
    database: Database,
    binding_id: int,
    *,
    check: Callable[[Connection], None] | None = None,
    together: int = RANGE,
    split_above: int = SPLIT_ABOVE,
) -> int:
    """Move the acknowledged batches into the chunks; returns the ids moved.

    One transaction per range of `together` buckets, the batches deleted in the last
    one. A cut in between leaves chunks that already hold part of the log: harmless,
    and the stored count already tells of it. `check` (the lease's) runs first in
    each transaction: whoever lost the sync must not rewrite its buckets.
    """
    with database.read() as connection:
        figures = _figures(connection, binding_id)
        n_buckets = figures.n_buckets
        moved = _acknowledged_batches(connection, binding_id)
    if not moved:
        return 0
    for first in range(0, n_buckets, together):
        last = min(first + together, n_buckets) - 1
        with _alone(database, binding_id, n_buckets, check) as connection:
            _compact_range(connection, binding_id, n_buckets, first, last)
    with _alone(database, binding_id, n_buckets, check) as connection:
        gone = [batch_id for batch_id, _ in moved]
        people = forgotten.load(connection, figures.id_type)
        traces.keep(connection, binding_id, n_buckets, gone, people.among)
        _drop_payloads(connection, gone)
        members = _figures(connection, binding_id).members
        if members > n_buckets * split_above:
            _spread(connection, binding_id, n_buckets, members, split_above)
    return sum(n for _, n in moved)


def accept_baseline(connection: Connection, binding_id: int) -> int:
    """Take what the chunks hold for the whole baseline; returns its members.

    For a person who approved a plan held for a lost baseline: the plan adds whoever
    is missing, so from now on the counts may be judged by what is left.
    """
    members, n_buckets = 0, _figures(connection, binding_id).n_buckets
    for first in range(0, n_buckets, RANGE):
        buckets = [Bucket(index) for index in range(first, first + RANGE)]
        load_chunks(connection, binding_id, n_buckets, buckets, broken_too=True)
        _write_chunks(
            connection, binding_id, [b for b in buckets if not b.chunk_intact]
        )
        members += sum(len(found.acknowledged) for found in buckets)
    connection.execute(delete(batch).where(batch.c.id.in_(bare(binding_id))))
    connection.execute(
        update(binding).where(binding.c.id == binding_id).values(members=members)
    )
    return members


def adopt(
    connection: Connection,
    binding_id: int,
    n_buckets: int,
    buckets: Iterable[tuple[int, Iterable[bytes]]],
) -> int:
    """Put another acknowledged set in the place of all that is known; returns its size.

    `buckets` holds each bucket of `n_buckets` at most once. Batches that waited, and
    who was not accepted, are forgotten; traces stay, as they tell of the past.
    """
    owned = select(batch.c.id).where(batch.c.binding_id == binding_id)
    connection.execute(delete(batch_ids).where(batch_ids.c.batch_id.in_(owned)))
    for table in (batch, unaccepted, chunk):
        connection.execute(delete(table).where(table.c.binding_id == binding_id))
    members = 0
    for index, ids in buckets:
        full = Bucket(index, acknowledged=set(ids))
        if full.acknowledged:
            _write_chunks(connection, binding_id, [full])
        members += len(full.acknowledged)
    connection.execute(
        update(binding)
        .where(binding.c.id == binding_id)
        .values(members=members, n_buckets=n_buckets)
    )
    # A late request lands at the target, whatever is believed of it from now on.
    doubts.widen(connection, binding_id, n_buckets)
    if members > n_buckets * SPLIT_ABOVE:
        _spread(connection, binding_id, n_buckets, members, SPLIT_ABOVE)
    return members


@contextmanager
def _alone(
    database: Database,
    binding_id: int,
    n_buckets: int,
    check: Callable[[Connection], None] | None,
) -> Iterator[Connection]:
    """A transaction in which nobody else compacts this binding."""
    with database.begin() as connection:
        if check is not None:
            check(connection)
        if _figures(connection, binding_id, lock=True).n_buckets != n_buckets:
            raise StoreInUse("another process compacts the same acknowledged set")
        yield connection


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """What a compaction asks of a binding's row."""

    n_buckets: int
    members: int
    id_type: IdType


def _figures(
    connection: Connection, binding_id: int, *, lock: bool = False
) -> _Figures:
    query = select(binding.c.n_buckets, binding.c.members, binding.c.id_type)
    query = query.where(binding.c.id == binding_id)
    row = connection.execute(query.with_for_update() if lock else query).one()
    return _Figures(
        n_buckets=row.n_buckets, members=row.members, id_type=IdType(row.id_type)
    )


def _acknowledged_batches(
    connection: Connection, binding_id: int
) -> list[tuple[int, int]]:
    rows = connection.execute(
        select(batch.c.id, batch.c.n).where(
            batch.c.binding_id == binding_id,
            batch.c.state == BatchState.ACKNOWLEDGED,
        )
    )
    return [(row.id, row.n) for row in rows]


def _compact_range(
    connection: Connection, binding_id: int, n_buckets: int, first: int, last: int
) -> None:
    buckets = [Bucket(index) for index in range(first, last + 1)]
    load_chunks(connection, binding_id, n_buckets, buckets)
    stored = [frozenset(found.acknowledged) for found in buckets]
    apply_batches(connection, binding_id, n_buckets, buckets)
    changed = [
        found
        for found, before in zip(buckets, stored, strict=True)
        if found.acknowledged != before
    ]
    _write_chunks(connection, binding_id, changed)
    grown = sum(len(found.acknowledged) for found in buckets)
    grown -= sum(len(before) for before in stored)
    # By the difference, not the sum: a chunk that was lost must go on being missed.
    connection.execute(
        update(binding)
        .where(binding.c.id == binding_id)
        .values(members=binding.c.members + grown)
    )


def _write_chunks(
    connection: Connection, binding_id: int, buckets: Sequence[Bucket]
) -> None:
    if not buckets:
        return
    upsert = insert_into(connection, chunk)
    upsert = upsert.on_conflict_do_update(
        index_elements=[chunk.c.binding_id, chunk.c.bucket],
        set_={
            "n": upsert.excluded.n,
            "codec": upsert.excluded.codec,
            "ids": upsert.excluded.ids,
            "packed": upsert.excluded.packed,
        },
    )
    how = codec_of(connection)
    connection.execute(
        upsert,
        [
            {
                "binding_id": binding_id,
                "bucket": found.index,
                "n": len(found.acknowledged),
                **asdict(codec.write(found.acknowledged, how)),
            }
            for found in buckets
        ],
    )


def _drop_payloads(connection: Connection, batches: Sequence[int]) -> None:
    rows = [{"gone": batch_id} for batch_id in batches]
    connection.execute(
        delete(batch_ids).where(batch_ids.c.batch_id == bindparam("gone")), rows
    )
    connection.execute(delete(batch).where(batch.c.id == bindparam("gone")), rows)


def _spread(
    connection: Connection,
    binding_id: int,
    n_buckets: int,
    members: int,
    split_above: int,
) -> None:
    """Double the number of buckets, as often as needed, since they grew too full.

    Chunks and unaccepted rows move; batches that are left (open, held, dead, or
    acknowledged meanwhile) are marked as touching every bucket.
    """
    wanted = max(2 * n_buckets, buckets_for(members, split_above // 2))
    for index in range(n_buckets):
        old = Bucket(index)
        load_chunks(connection, binding_id, n_buckets, [old])
        pieces = {i: Bucket(i) for i in range(index, wanted, n_buckets)}
        for member_id in old.acknowledged:
            pieces[bucket_of(member_id, wanted)].acknowledged.add(member_id)
        _write_chunks(connection, binding_id, list(pieces.values()))
    _move_unaccepted(connection, binding_id, wanted)
    doubts.widen(connection, binding_id, wanted)
    connection.execute(
        update(batch)
        .where(batch.c.binding_id == binding_id)
        .values(first_bucket=0, last_bucket=wanted - 1)
    )
    connection.execute(
        update(binding).where(binding.c.id == binding_id).values(n_buckets=wanted)
    )


def _move_unaccepted(connection: Connection, binding_id: int, n_buckets: int) -> None:
    rows = connection.execute(
        select(unaccepted.c.id).where(unaccepted.c.binding_id == binding_id)
    ).scalars()
    moves = [
        {"which": text, "bucket": bucket_of(text.encode(), n_buckets)} for text in rows
    ]
    if moves:
        connection.execute(
            update(unaccepted)
            .where(
                unaccepted.c.binding_id == binding_id,
                unaccepted.c.id == bindparam("which"),
            )
            .values(bucket=bindparam("bucket")),
            moves,
        )
