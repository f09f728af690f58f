"""The acknowledged set of a binding: chunks, plus the log of acknowledged batches.

Reading is by ranges of buckets, so that memory stays bounded by one range. The log
is applied in order of batch id on top of the chunks; applying a part of it twice
changes nothing, which is what makes `compaction` safe to cut off anywhere.

`read` makes the set of a bucket when the bucket is asked for: it is used while it is in
the processor's cache, where those of a whole range would push each other out.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Select, func, select, update

from syncd.model import BatchState, Operation
from syncd.store import codec, doubts
from syncd.store.bindings import Binding
from syncd.store.buckets import bucket_hash, bucket_of, decode
from syncd.store.codec import Broken, Written
from syncd.store.doubts import Doubt
from syncd.store.failures import damaged
from syncd.store.tables import (
    batch,
    batch_ids,
    binding,
    chunk,
    doubt,
    unaccepted,
)

RANGE = 16
"""Buckets asked for or compacted together: 65,000 to 130,000 ids, 2 to 5 MB as they are
written down, 7 to 15 as sets."""


@dataclass(slots=True)
class Bucket:
    """What is known about the ids of one bucket at the destination."""

    index: int
    acknowledged: set[bytes] = field(default_factory=set)
    """Certain members (before the uncertain ones are looked at)."""
    uncertain: set[bytes] = field(default_factory=set)
    """Ids of open and dead batches: sent or not, nobody knows."""
    meant_in: set[bytes] = field(default_factory=set)
    """The uncertain ids whose newest open or dead batch has them in: it adds them, or
    it is an upload in the place of all members."""
    waiting: set[bytes] = field(default_factory=set)
    """Unmatched and rejected ids whose next offer is not due yet."""
    unaccepted: set[bytes] = field(default_factory=set)
    """All unmatched and rejected ids, due or not."""
    doubtful: set[bytes] = field(default_factory=set)
    """Ids of requests without a known outcome that would be the opposite of what is
    acknowledged, should they land after all."""
    overdue: set[bytes] = field(default_factory=set)
    """The doubtful ids whose request has landed by now if it ever does."""
    chunk_intact: bool = True
    """False when the chunk holds another number of ids than it says."""

    def again(self) -> set[bytes]:
        """Whom a plan asserts again, though no batch of theirs waits.

        Somebody whom the destination does not know would be offered to it by every
        plan: they are asked about once, at the end.
        """
        return (self.doubtful - self.waiting) | self.overdue

    def drop_strays(self, suspects: Iterable[bytes], n_buckets: int) -> bool:
        """Take those of the suspects out who belong into another bucket; whether there
        were any. The chunk was damaged."""
        strays = {i for i in suspects if bucket_of(i, n_buckets) != self.index}
        if not strays:
            return False
        self.acknowledged -= strays
        self.chunk_intact = False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSize:
    """How much the log of acknowledged batches holds."""

    ids: int
    oldest: datetime | None


def read(
    connection: Connection,
    binding_id: int,
    n_buckets: int,
    now: datetime,
    *,
    strays_too: bool = False,
    broken_too: bool = False,
) -> Iterator[Bucket]:
    """Every bucket of the binding in order, empty ones too.

    `strays_too`, `broken_too`, and what it raises: as `load_chunks`.
    """
    any_doubt = doubts.any_of(connection, binding_id)
    in_doubt: list[_Named] = []
    for first in range(0, n_buckets, RANGE):
        last = min(first + RANGE, n_buckets) - 1
        buckets = [Bucket(index) for index in range(first, last + 1)]
        chunks = _chunks(connection, binding_id, first, last)
        log = _log(connection, binding_id, n_buckets, first, last)
        _load_unaccepted(connection, binding_id, buckets, now)
        if any_doubt:
            in_doubt = _doubts(connection, binding_id, n_buckets, first, last)
        while buckets:
            found = buckets.pop(0)  # nobody but the caller keeps it
            if kept := chunks.get(found.index):
                kept.fill(found, n_buckets, strays_too, broken_too)
            _apply(found, log[found.index])
            _note_doubtful(found, in_doubt, now)
            yield found


def is_overdue(connection: Connection, owner: Binding, now: datetime) -> bool:
    """Whether somebody may be where they should not be, of a request that has landed by
    now if it ever does, and nothing that waits says otherwise."""
    if not doubts.any_overdue(connection, owner.id, now):
        return False
    buckets = read(connection, owner.id, owner.n_buckets, now)
    return any(bucket.overdue - bucket.uncertain for bucket in buckets)


def stored_members(connection: Connection, binding_id: int) -> int:
    """How many ids the chunks say they hold, to compare with the binding."""
    query = select(func.coalesce(func.sum(chunk.c.n), 0))
    return int(
        connection.execute(query.where(chunk.c.binding_id == binding_id)).scalar_one()
    )


def log_is_whole(connection: Connection, binding_id: int) -> bool:
    """Whether every batch of the log still has its ids."""
    return connection.execute(bare(binding_id).limit(1)).first() is None


def bare(binding_id: int) -> Select[int]:
    """Batches that lost their ids."""
    return (
        select(batch.c.id)
        .outerjoin(batch_ids, batch_ids.c.batch_id == batch.c.id)
        .where(batch.c.binding_id == binding_id, batch_ids.c.batch_id.is_(None))
    )


def log_size(connection: Connection, binding_id: int) -> LogSize:
    """Ids in acknowledged batches that are not compacted yet."""
    row = connection.execute(
        select(func.sum(batch.c.n), func.min(batch.c.acknowledged_at)).where(
            batch.c.binding_id == binding_id,
            batch.c.state == BatchState.ACKNOWLEDGED,
        )
    ).one()
    return LogSize(ids=int(row[0] or 0), oldest=row[1])


def contains(
    connection: Connection, binding_id: int, n_buckets: int, member_id: bytes
) -> bool:
    """Whether one id is acknowledged as a member; reads one chunk and the log."""
    bucket = Bucket(bucket_of(member_id, n_buckets))
    load_chunks(connection, binding_id, n_buckets, [bucket])
    apply_batches(connection, binding_id, n_buckets, [bucket])
    return member_id in bucket.acknowledged


def load_chunks(
    connection: Connection,
    binding_id: int,
    n_buckets: int,
    buckets: Sequence[Bucket],
    *,
    strays_too: bool = False,
    broken_too: bool = False,
) -> None:
    """Fill consecutive buckets with what their chunks hold, without the log.

    Ids that belong into another bucket are left out: nobody would look for them there,
    so that they would look like people to be removed. The chunk was damaged.

    `strays_too` leaves them in, for whoever asks `Bucket.drop_strays` about all whom
    they are about to remove: to hash everybody else costs more than to compare them.

    Raises `StoreRefused` (`store.damaged`) where a chunk cannot be read back; with
    `broken_too` that chunk is one that lost everybody, for whoever puts another in its
    place.
    """
    chunks = _chunks(connection, binding_id, buckets[0].index, buckets[-1].index)
    for found in buckets:
        if kept := chunks.get(found.index):
            kept.fill(found, n_buckets, strays_too, broken_too)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """A chunk as it is written down."""

    binding_id: int
    n: int
    written: Written

    def fill(
        self, found: Bucket, n_buckets: int, strays_too: bool, broken_too: bool
    ) -> None:
        """Put its ids into its bucket, as `load_chunks` says."""
        try:
            held = codec.read(self.written)
        except Broken as error:
            if not broken_too:
                where = f"chunk {found.index} of binding {self.binding_id}"
                raise damaged(f"{where} is damaged: {error}") from None
            found.chunk_intact = False
            return
        if strays_too:
            found.acknowledged = set(held)
        else:
            index, mask = found.index, n_buckets - 1
            found.acknowledged = {i for i in held if bucket_hash(i) & mask == index}
        found.chunk_intact = len(found.acknowledged) == self.n


def _chunks(
    connection: Connection, binding_id: int, first: int, last: int
) -> Mapping[int, _Chunk]:
    """By bucket; an empty one may have none."""
    rows = connection.execute(
        select(chunk.c.bucket, chunk.c.n, chunk.c.codec, chunk.c.ids, chunk.c.packed)
        .where(chunk.c.binding_id == binding_id)
        .where(chunk.c.bucket.between(first, last))
    )
    return {
        index: _Chunk(binding_id=binding_id, n=n, written=Written(*columns))
        for index, n, *columns in rows
    }


def apply_batches(
    connection: Connection, binding_id: int, n_buckets: int, buckets: Sequence[Bucket]
) -> None:
    """Apply the log to consecutive buckets, on top of their chunks."""
    first, last = buckets[0].index, buckets[-1].index
    log = _log(connection, binding_id, n_buckets, first, last)
    for found in buckets:
        _apply(found, log[found.index])


_Entry = tuple[BatchState, Operation, bytes]
"""What a batch that is sent or settled says about one id."""


def _log(
    connection: Connection, binding_id: int, n_buckets: int, first: int, last: int
) -> Mapping[int, list[_Entry]]:
    """What batches say about the ids of these buckets, by bucket, the oldest first."""
    rows = connection.execute(
        select(batch.c.state, batch.c.operation, batch_ids.c.ids)
        .join(batch_ids, batch_ids.c.batch_id == batch.c.id)
        .where(
            batch.c.binding_id == binding_id,
            batch.c.state != BatchState.HELD,
            batch.c.first_bucket <= last,
            batch.c.last_bucket >= first,
        )
        .order_by(batch.c.id)
    )
    log: defaultdict[int, list[_Entry]] = defaultdict(list)
    mask = n_buckets - 1
    for state, operation, ids in rows:
        for member_id in decode(ids):
            index = bucket_hash(member_id) & mask
            if first <= index <= last:
                log[index].append((state, operation, member_id))
    return log


def _apply(found: Bucket, entries: Iterable[_Entry]) -> None:
    for state, operation, member_id in entries:
        if state != BatchState.ACKNOWLEDGED:
            _note_uncertain(found, member_id, operation)
        elif operation == Operation.ADD:
            found.acknowledged.add(member_id)
        else:
            found.acknowledged.discard(member_id)


def _note_uncertain(found: Bucket, member_id: bytes, operation: str) -> None:
    found.uncertain.add(member_id)
    if operation == Operation.REMOVE:
        found.meant_in.discard(member_id)
    else:
        found.meant_in.add(member_id)


def _load_unaccepted(
    connection: Connection, binding_id: int, buckets: Sequence[Bucket], now: datetime
) -> None:
    first, last = buckets[0].index, buckets[-1].index
    rows = connection.execute(
        select(unaccepted.c.bucket, unaccepted.c.id, unaccepted.c.next_at).where(
            unaccepted.c.binding_id == binding_id,
            unaccepted.c.bucket.between(first, last),
        )
    )
    for index, text, next_at in rows:
        found, member_id = buckets[index - first], text.encode()
        found.unaccepted.add(member_id)
        if next_at > now:
            found.waiting.add(member_id)


_Named = tuple[Doubt, Mapping[int, AbstractSet[bytes]]]
"""A request that may still land, and whom it named, by bucket."""


def _doubts(
    connection: Connection, binding_id: int, n_buckets: int, first: int, last: int
) -> list[_Named]:
    """The requests that may still move somebody of these buckets."""
    found: list[_Named] = []
    for each in doubts.load(connection, binding_id, first, last):
        named: defaultdict[int, set[bytes]] = defaultdict(set)
        for member_id in each.ids:
            named[bucket_hash(member_id) & n_buckets - 1].add(member_id)
        found.append((each, named))
    return found


def _note_doubtful(found: Bucket, in_doubt: Iterable[_Named], now: datetime) -> None:
    for each, named in in_doubt:
        ids = named.get(found.index, frozenset())
        wrong = doubts.wrong_ids(each.operation, ids, found.acknowledged)
        found.doubtful |= wrong
        if each.until <= now:
            found.overdue |= wrong


def set_buckets(connection: Connection, binding_id: int, n_buckets: int) -> None:
    """Choose the number of buckets of a binding that holds nothing yet."""
    connection.execute(
        update(binding).where(binding.c.id == binding_id).values(n_buckets=n_buckets)
    )


def is_empty(connection: Connection, binding_id: int) -> bool:
    """Whether nothing at all is stored about any id of the binding."""
    return not any(
        connection.execute(
            select(table.c.binding_id).where(table.c.binding_id == binding_id).limit(1)
        ).first()
        for table in (chunk, batch, unaccepted, doubt)
    )


def count(connection: Connection, binding: Binding, now: datetime) -> int:
    """How many members are acknowledged, exactly; reads everything."""
    buckets = read(connection, binding.id, binding.n_buckets, now)
    return sum(len(bucket.acknowledged) for bucket in buckets)
