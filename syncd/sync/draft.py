"""Reading: the source into a partitioned snapshot, snapshot and store into a draft.

No transaction is open but one read-only one, and nothing is sent. A draft is a plan
with its batches in a temporary file; `run` decides whether it goes out.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from syncd.model import IdType, SnapshotDigest
from syncd.sources import Listing
from syncd.store import acknowledged
from syncd.store.acknowledged import Bucket
from syncd.store.bindings import Binding
from syncd.store.buckets import buckets_for
from syncd.store.database import Connection, Database
from syncd.sync import ids
from syncd.sync.batch import batches
from syncd.sync.diff import BucketChanges, changes
from syncd.sync.plan import Plan, Tally
from syncd.sync.spill import PARTITIONS, Partition, PlanFile


class Interrupted(Exception):
    """The process was asked to stop while reading."""


@dataclass(slots=True, kw_only=True)
class Snapshot:
    """What the source said, spread over buckets."""

    partition: Partition
    digest: SnapshotDigest
    refused: dict[str, int]
    """Ids that hygiene kept out, by reason."""
    doubts: dict[str, int]
    """Ids that went in though they look odd, by reason."""
    mark: str | None = None
    """Which state of the source this is, where it has such a thing."""


@dataclass(slots=True, kw_only=True)
class Draft:
    """A plan and its batches, before anything is stored."""

    plan: Plan
    n_buckets: int
    file: PlanFile
    """For the binding that runs will work on."""
    leaving: PlanFile | None = None
    """REMOVE batches for the old id type, to be applied first."""
    vanished: list[bytes] = field(default_factory=list)
    """Unaccepted ids that left the source."""
    baseline_intact: bool = True
    mark: str | None = None
    """The snapshot's."""

    def close(self) -> None:
        """Give the disk space back."""
        self.file.close()
        if self.leaving is not None:
            self.leaving.close()


def take_snapshot(
    listing: Listing,
    id_type: IdType,
    folder: Path,
    n_buckets: int | None,
    stop: threading.Event,
) -> Snapshot:
    """Read the whole list once. `n_buckets` is None when nothing is stored yet."""
    partition = Partition(folder, min(n_buckets or PARTITIONS, 4 * PARTITIONS))
    refused: Counter[str] = Counter()
    doubts: Counter[str] = Counter()
    with ExitStack() as on_error:
        on_error.enter_context(closing(partition))
        for block in listing.blocks():
            if stop.is_set():
                raise Interrupted
            accepted = ids.accept(block, id_type)
            partition.add(accepted.ids)
            refused.update(accepted.refused)
            doubts.update(accepted.warnings)
        digest = partition.seal()
        refused.update(listing.left_out())
        mark = listing.mark()
        on_error.pop_all()
    return Snapshot(
        partition=partition,
        digest=digest,
        refused=_by_word(refused),
        doubts=_by_word(doubts),
        mark=mark,
    )


def _by_word(counts: Counter[str]) -> dict[str, int]:
    # Plain words: the run's row keeps them as JSON, which takes no enum for a key.
    return {str(reason): count for reason, count in counts.items()}


def spread_of(connection: Connection, binding: Binding | None) -> int | None:
    """The buckets the binding's ids lie in; None when it holds nothing yet."""
    if binding is None or acknowledged.is_empty(connection, binding.id):
        return None
    return binding.n_buckets


def is_intact(connection: Connection, binding: Binding) -> bool:
    """Whether what is stored about the destination is what was stored."""
    stored = acknowledged.stored_members(connection, binding.id)
    whole = acknowledged.log_is_whole(connection, binding.id)
    return whole and stored == binding.members


@dataclass(slots=True)
class _Drafting:
    """Collects what one pass over the buckets finds beside the batches."""

    tally: Tally = field(default_factory=Tally)
    vanished: list[bytes] = field(default_factory=list)
    intact: bool = True

    def note(self, bucket: Bucket, change: BucketChanges) -> None:
        self.tally.count(change)
        self.vanished += change.vanished
        self.intact = self.intact and bucket.chunk_intact


def draft(
    database: Database,
    snapshot: Snapshot,
    *,
    binding: Binding | None,
    leaving: Binding | None,
    batch_size: int,
    folder: Path,
    now: datetime,
) -> Draft:
    """Compare the snapshot with what `binding` has acknowledged.

    `leaving` is the binding of the old id type when that changed: everybody known
    under it is removed, on top of the comparison with `binding`.
    """
    notes, files = _Drafting(), ExitStack()
    with files, database.read() as connection:
        n_buckets = spread_of(connection, binding) or buckets_for(snapshot.digest.count)
        removals = None
        if leaving is not None:
            removals = files.enter_context(closing(PlanFile(folder)))
            _fill(removals, _emptying(connection, leaving, notes, now), batch_size)
        file = files.enter_context(closing(PlanFile(folder)))
        found = _compare(connection, snapshot, binding, n_buckets, notes, now)
        _fill(file, found, batch_size)
        if binding is not None:
            notes.intact &= is_intact(connection, binding)
        files.pop_all()
    count = len(file) + (len(removals) if removals else 0)
    hashes = [each.digest for each in (removals, file) if each is not None]
    plan = notes.tally.plan(
        batches=count, plan_hash="-".join(hashes), digest=snapshot.digest
    )
    return Draft(
        plan=plan,
        n_buckets=n_buckets,
        file=file,
        leaving=removals,
        vanished=notes.vanished,
        baseline_intact=notes.intact,
        mark=snapshot.mark,
    )


def _fill(file: PlanFile, found: Iterator[BucketChanges], batch_size: int) -> None:
    for batch in batches(found, batch_size):
        file.add(batch)


def _compare(
    connection: Connection,
    snapshot: Snapshot,
    binding: Binding | None,
    n_buckets: int,
    notes: _Drafting,
    now: datetime,
) -> Iterator[BucketChanges]:
    known: Iterator[Bucket]
    if binding is None:
        known = (Bucket(index) for index in range(n_buckets))
    else:
        known = acknowledged.read(connection, binding.id, n_buckets, now)
    for bucket, listed in zip(
        known, snapshot.partition.buckets(n_buckets), strict=True
    ):
        yield _changes_of(bucket, listed, notes)


def _emptying(
    connection: Connection, binding: Binding, notes: _Drafting, now: datetime
) -> Iterator[BucketChanges]:
    for bucket in acknowledged.read(connection, binding.id, binding.n_buckets, now):
        yield _changes_of(bucket, [], notes)


def _changes_of(bucket: Bucket, listed: list[bytes], notes: _Drafting) -> BucketChanges:
    change = changes(
        bucket=bucket.index,
        snapshot=listed,
        acknowledged=bucket.acknowledged,
        uncertain=bucket.uncertain,
        waiting=bucket.waiting,
        unaccepted=bucket.unaccepted,
    )
    notes.note(bucket, change)
    return change
