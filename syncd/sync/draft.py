"""Comparing: a snapshot with what the store knows of its target, into a draft.

No transaction is open but one read-only one, and nothing is sent. A draft is a plan
with its batches in a temporary file; `run` decides whether it goes out.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from syncd.model import IdType, SnapshotDigest
from syncd.store import acknowledged, forgotten
from syncd.store.acknowledged import Bucket
from syncd.store.bindings import Binding
from syncd.store.buckets import buckets_for
from syncd.store.database import Connection, Database
from syncd.store.forgotten import Left
from syncd.sync import fold, news
from syncd.sync.batch import batches
from syncd.sync.diff import BucketChanges, changes, everybody_again
from syncd.sync.plan import Plan, Tally
from syncd.sync.snapshot import Snapshot
from syncd.sync.spill import PlanFile


@dataclass(slots=True, kw_only=True)
class Draft:
    """A plan and its batches, before anything is stored."""

    plan: Plan
    n_buckets: int
    file: PlanFile
    """For the binding that runs will work on."""
    leaving: PlanFile | None = None
    """REMOVE batches for the old id type, to be applied first."""
    as_of: datetime
    """When it was compared with what is stored."""
    vanished: list[bytes] = field(default_factory=list)
    """Unaccepted ids that left the source."""
    baseline_intact: bool = True
    mark: str | None = None
    """The snapshot's."""
    forgotten: int = 0
    """People left out since they are to be forgotten."""
    doubtful: int = 0
    """People whom a request of unknown outcome may still move."""

    def close(self) -> None:
        """Give the disk space back."""
        self.file.close()
        if self.leaving is not None:
            self.leaving.close()


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

    everybody: bool = False
    tally: Tally = field(default_factory=Tally)
    vanished: list[bytes] = field(default_factory=list)
    intact: bool = True
    left: Left = field(default_factory=Left)
    forgotten: int = 0
    doubtful: int = 0

    def without_forgotten(self, bucket: Bucket, listed: list[bytes]) -> list[bytes]:
        """Whom the source wants in a bucket, but for those who are to be forgotten.

        Whoever is acknowledged is asked about only while the binding is due: otherwise
        it was seen to hold none of them, and hashing millions of ids takes seconds.
        """
        people = self.left.people
        if not people:
            return listed
        known = frozenset() if self.left.due else bucket.acknowledged
        gone = set(people.among(each for each in listed if each not in known))
        if not gone:
            return listed
        self.forgotten += len(gone)
        return [each for each in listed if each not in gone]

    def note(self, bucket: Bucket, change: BucketChanges) -> BucketChanges:
        """Count a bucket's changes, and hand them on."""
        self.tally.count(change)
        self.vanished += change.vanished
        self.doubtful += len(bucket.doubtful)
        self.intact = self.intact and bucket.chunk_intact
        return change


def draft(
    database: Database,
    snapshot: Snapshot,
    *,
    binding: Binding | None,
    leaving: Binding | None,
    below: Binding | None = None,
    everybody: bool = False,
    id_type: IdType,
    batch_size: int,
    folder: Path,
    now: datetime,
) -> Draft:
    """Compare the snapshot with what `binding` has acknowledged.

    `below` is the binding whose plans say who was wanted so far, where the snapshot is
    words without a list; None: nobody was. It is `binding`, unless the target changed.
    `leaving` is the binding of the old id type when that changed: everybody known
    under it is removed, on top of the comparison with `binding`. `everybody` adds who
    is acknowledged already once more.
    """
    notes, files = _Drafting(everybody=everybody), ExitStack()
    with files, database.read() as connection:
        held_by = binding.id if binding is not None else None
        notes.left = forgotten.left(connection, held_by, id_type)
        n_buckets = _spread(connection, snapshot, binding, below)
        removals = None
        if leaving is not None:
            removals = files.enter_context(closing(PlanFile(folder)))
            _fill(removals, _emptying(connection, leaving, notes, now), batch_size)
        file = files.enter_context(closing(PlanFile(folder)))
        lists = _Lists(connection, snapshot, below, n_buckets, now, notes)
        found = _compare(lists, binding, notes)
        _fill(file, found, batch_size)
        for known in _stood_on(snapshot, binding, below):
            notes.intact &= is_intact(connection, known)
        files.pop_all()
    count = len(file) + (len(removals) if removals else 0)
    hashes = [each.digest for each in (removals, file) if each is not None]
    plan = notes.tally.plan(
        batches=count, plan_hash="-".join(hashes), digest=_digest(snapshot, notes)
    )
    return Draft(
        plan=plan,
        n_buckets=n_buckets,
        file=file,
        leaving=removals,
        as_of=now,
        vanished=notes.vanished,
        baseline_intact=notes.intact,
        mark=snapshot.mark,
        forgotten=notes.forgotten,
        doubtful=notes.doubtful,
    )


def _stood_on(
    snapshot: Snapshot, binding: Binding | None, below: Binding | None
) -> Iterator[Binding]:
    """The bindings whose stored members the plan relies on."""
    if binding is not None:
        yield binding
    if below is not None and below is not binding and snapshot.partition is None:
        yield below


def _fill(file: PlanFile, found: Iterator[BucketChanges], batch_size: int) -> None:
    for batch in batches(found, batch_size):
        file.add(batch)


def _digest(snapshot: Snapshot, notes: _Drafting) -> SnapshotDigest:
    """The list's own; where words stand above it, one that no list will ever equal."""
    if snapshot.news is None:
        return snapshot.digest
    return SnapshotDigest(count=notes.tally.members, total=0)


def _spread(
    connection: Connection,
    snapshot: Snapshot,
    binding: Binding | None,
    below: Binding | None,
) -> int:
    """Buckets: as what is stored lies, else as many as the snapshot needs."""
    stored = spread_of(connection, binding)
    if stored is None and snapshot.partition is None:
        stored = spread_of(connection, below)
    if stored is not None:
        return stored
    entries = snapshot.news.entries if snapshot.news is not None else 0
    return buckets_for(snapshot.digest.count + entries)


@dataclass(frozen=True, slots=True)
class _Lists:
    """Whom the source wants, bucket by bucket."""

    connection: Connection
    snapshot: Snapshot
    below: Binding | None
    n_buckets: int
    now: datetime
    notes: _Drafting

    def beside(
        self, known: Iterator[Bucket], binding: Binding | None
    ) -> Iterator[tuple[Bucket, list[bytes]]]:
        """Each bucket of `binding` with whom the source wants in it."""
        partition = self.snapshot.partition
        pairs: Iterator[tuple[Bucket, list[bytes]]]
        if partition is not None:
            pairs = zip(known, partition.buckets(self.n_buckets), strict=True)
        elif self.below is not None and binding is self.below:
            pairs = ((bucket, wanted_so_far(bucket)) for bucket in known)
        else:
            pairs = zip(known, map(self._elsewhere, self.read(self.below)), strict=True)
        if self.snapshot.news is None:
            return pairs
        return news.overlaid(pairs, self.snapshot.news, self.n_buckets)

    def read(self, binding: Binding | None, strays: bool = False) -> Iterator[Bucket]:
        """What is known of a binding; of none, nothing."""
        if binding is None:
            return (Bucket(index) for index in range(self.n_buckets))
        of, size = self.connection, self.n_buckets
        return acknowledged.read(
            of,
            binding.id,
            size,
            self.now,
            strays_too=strays,
            # Everybody is told once more: nobody is judged by what cannot be read.
            broken_too=self.notes.everybody,
        )

    def _elsewhere(self, bucket: Bucket) -> list[bytes]:
        """Whom the plans for the former target wanted."""
        self.notes.intact &= bucket.chunk_intact
        return wanted_so_far(bucket)


def wanted_so_far(bucket: Bucket) -> list[bytes]:
    """Whom the plans so far wanted in a bucket."""
    return list(
        fold.wanted_so_far(
            acknowledged=bucket.acknowledged,
            uncertain=bucket.uncertain,
            meant_in=bucket.meant_in,
            unaccepted=bucket.unaccepted,
        )
    )


def _compare(
    lists: _Lists, binding: Binding | None, notes: _Drafting
) -> Iterator[BucketChanges]:
    # Beside a whole list a stray is somebody to be removed: there it is looked for.
    whole = lists.snapshot.partition is not None
    for bucket, listed in lists.beside(lists.read(binding, whole), binding):
        wanted = notes.without_forgotten(bucket, listed)
        change = _changes_of(bucket, wanted, notes)
        if whole and bucket.drop_strays(change.removes, lists.n_buckets):
            change = _changes_of(bucket, wanted, notes)
        yield notes.note(bucket, change)


def _emptying(
    connection: Connection, binding: Binding, notes: _Drafting, now: datetime
) -> Iterator[BucketChanges]:
    for bucket in acknowledged.read(connection, binding.id, binding.n_buckets, now):
        yield notes.note(bucket, _changes_of(bucket, [], notes))


def _changes_of(bucket: Bucket, listed: list[bytes], notes: _Drafting) -> BucketChanges:
    compare = everybody_again if notes.everybody else changes
    return compare(
        bucket=bucket.index,
        snapshot=listed,
        acknowledged=bucket.acknowledged,
        uncertain=bucket.uncertain,
        waiting=bucket.waiting,
        unaccepted=bucket.unaccepted,
        doubtful=bucket.again(),
    )
