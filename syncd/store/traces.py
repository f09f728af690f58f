"""Which batches named a person: by their payload, or by the trace that it left.

A compaction drops the payloads of acknowledged batches; their traces are written in the
same transaction. That is the cheap moment (measured: 0.17 ms and 4 bytes an id for a
batch of 1,000, next to the rewriting of chunks), and until then the payload answers,
exactly. A trace compares 32 bits of a hash: it errs once in 4 billion comparisons.

A binding's first plan leaves no trace of who entered: that is one fact for everybody
(who is in and was never named since), and 8 MB for two million people.
"""

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    delete,
    insert,
    literal,
    select,
    update,
)

from syncd.model import BatchState, Operation
from syncd.store.buckets import bucket_hash, decode
from syncd.store.tables import batch, batch_ids, binding, trace

KEEP = timedelta(days=90)
"""Of traces, after which nobody can say any more when a person was sent."""
_WIDTH = 4
_TOGETHER = 50
"""Batches whose ids are in memory at a time."""
_LEFT = (
    update(trace)
    .where(trace.c.batch_id == bindparam("which"))
    .values(hashes=bindparam("left"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """A batch that named the person."""

    batch_id: int
    run_id: str
    operation: Operation
    state: BatchState
    planned_at: datetime | None
    """None where only a trace is left, and for batches of the first schema."""
    acknowledged_at: datetime | None
    attempts: int
    """Requests made for it in its last run."""
    retry_at: datetime | None = None
    error: str = ""
    """Why the last request failed."""
    certain: bool = True
    """False where only a trace says so."""

    @property
    def not_taken(self) -> bool:
        """No request of its own: what an ADD left over, whom nobody took."""
        acknowledged = self.state is BatchState.ACKNOWLEDGED
        return acknowledged and self.operation is Operation.REMOVE and not self.attempts


def fingerprint(member_id: bytes) -> int:
    """What a trace keeps of an id: the low 32 bits of its bucket hash."""
    return bucket_hash(member_id) & 0xFFFF_FFFF


def encode(ids: Sequence[bytes]) -> bytes:
    """The fingerprints of ids, sorted, 4 bytes each, little-endian."""
    return _pack(map(fingerprint, ids))


def holds(hashes: bytes, wanted: int) -> bool:
    """Whether `encode` saw an id with this fingerprint."""

    def at(index: int) -> int:
        start = index * _WIDTH
        return int.from_bytes(hashes[start : start + _WIDTH], "little")

    size = len(hashes) // _WIDTH
    found = bisect_left(range(size), wanted, key=at)
    return found < size and at(found) == wanted


Among = Callable[[Sequence[bytes]], Sequence[bytes]]
"""Those of these ids that are forgotten, of whom no trace is kept."""


def _nobody(ids: Sequence[bytes]) -> Sequence[bytes]:
    return ()


def keep(
    connection: Connection,
    binding_id: int,
    n_buckets: int,
    batches: Sequence[int],
    forgotten: Among = _nobody,
) -> None:
    """Leave a trace of acknowledged batches whose payloads are about to be dropped.

    Whoever of them is forgotten is named for the last time: no trace of them stays.
    """
    # A binding is made in the transaction that stores its first plan.
    began = begun_at(connection, binding_id)
    gone: set[bytes] = set()
    for start in range(0, len(batches), _TOGETHER):
        found = connection.execute(
            select(batch, batch_ids.c.ids)
            .join(batch_ids, batch_ids.c.batch_id == batch.c.id)
            .where(batch.c.id.in_(batches[start : start + _TOGETHER]), batch.c.n > 0)
        )
        named = [(row, decode(row.ids)) for row in found]
        gone.update(each for _, ids in named for each in forgotten(ids))
        rows = [
            {
                "batch_id": row.id,
                "binding_id": binding_id,
                "run_id": row.run_id,
                "operation": row.operation,
                "at": row.acknowledged_at,
                "attempts": row.attempts,
                "n_buckets": n_buckets,
                "first_bucket": row.first_bucket,
                "last_bucket": row.last_bucket,
                "hashes": encode(ids),
            }
            for row, ids in named
            if row.operation != Operation.ADD or row.planned_at != began
        ]
        if rows:
            connection.execute(insert(trace), rows)
    if gone:
        erase(connection, gone)  # of these batches and of all before them


def erase(connection: Connection, ids: Iterable[bytes]) -> int:
    """Take these people out of all traces; returns how many traces named them.

    One of 4 billion others has the same fingerprint and loses its trace as well.
    """
    gone = {fingerprint(member_id) for member_id in ids}
    rows = connection.execute(
        select(trace.c.batch_id, trace.c.hashes).execution_options(yield_per=_TOGETHER)
    )
    naming = sorted(id_ for id_, hashes in rows if not gone.isdisjoint(_of(hashes)))
    for start in range(0, len(naming), _TOGETHER):
        some = trace.c.batch_id.in_(naming[start : start + _TOGETHER])
        # As they are now, and in one order: somebody else may be erasing, too.
        locked = select(trace.c.batch_id, trace.c.hashes).where(some)
        found = connection.execute(locked.order_by(trace.c.batch_id).with_for_update())
        changed = [
            {"which": row.batch_id, "left": _pack(set(_of(row.hashes)) - gone)}
            for row in found
        ]
        if changed:
            connection.execute(_LEFT, changed)
    return len(naming)


def _of(hashes: bytes) -> "array[int]":
    """What `encode` packed."""
    found = array("I", hashes)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _pack(hashes: Iterable[int]) -> bytes:
    packed = sorted(hashes)
    return struct.pack(f"<{len(packed)}I", *packed)


def prune(connection: Connection, now: datetime) -> None:
    """Drop traces that are older than `KEEP`."""
    connection.execute(delete(trace).where(trace.c.at < now - KEEP))


def naming(connection: Connection, binding_id: int, member_id: bytes) -> list[Naming]:
    """The batches of a binding that name this person, in the order of their making."""
    found = _traced(connection, binding_id, member_id)
    found += _listed(connection, binding_id, member_id)
    return sorted(found, key=lambda each: each.batch_id)


def begun_at(connection: Connection, binding_id: int) -> datetime:
    """When the binding began: the time of its first plan."""
    began: datetime = connection.execute(
        select(binding.c.created_at).where(binding.c.id == binding_id)
    ).scalar_one()
    return began


def _traced(connection: Connection, binding_id: int, member_id: bytes) -> list[Naming]:
    wanted = fingerprint(member_id)
    bucket = literal(wanted, BigInteger).bitwise_and(trace.c.n_buckets - 1)
    rows = connection.execute(
        select(trace).where(
            trace.c.binding_id == binding_id,
            bucket.between(trace.c.first_bucket, trace.c.last_bucket),
        )
    )
    return [
        Naming(
            batch_id=row.batch_id,
            run_id=row.run_id,
            operation=Operation(row.operation),
            state=BatchState.ACKNOWLEDGED,
            planned_at=None,
            acknowledged_at=row.at,
            attempts=row.attempts,
            certain=False,
        )
        for row in rows
        if holds(row.hashes, wanted)
    ]


def _listed(connection: Connection, binding_id: int, member_id: bytes) -> list[Naming]:
    n_buckets = connection.execute(
        select(binding.c.n_buckets).where(binding.c.id == binding_id)
    ).scalar_one()
    bucket = bucket_hash(member_id) & (n_buckets - 1)
    rows = connection.execute(
        select(batch, batch_ids.c.ids)
        .join(batch_ids, batch_ids.c.batch_id == batch.c.id)
        .where(
            batch.c.binding_id == binding_id,
            batch.c.first_bucket <= bucket,
            batch.c.last_bucket >= bucket,
            # Whom it names, an ADD of the same plan names too.
            batch.c.operation != Operation.REPLACE,
        )
    )
    return [
        Naming(
            batch_id=row.id,
            run_id=row.run_id,
            operation=Operation(row.operation),
            state=BatchState(row.state),
            planned_at=row.planned_at,
            acknowledged_at=row.acknowledged_at,
            attempts=row.attempts,
            retry_at=row.retry_at,
            error=row.error or "",
        )
        for row in rows
        if member_id in decode(row.ids)
    ]
