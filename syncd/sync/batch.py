"""Cutting changes into batches: one operation each, at most `size` ids. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from syncd.model import Operation, PlannedBatch
from syncd.sync.diff import BucketChanges


@dataclass(slots=True)
class _Filling:
    """The batch of one operation that is not full yet."""

    operation: Operation
    ids: list[bytes] = field(default_factory=list)
    first_bucket: int = 0
    last_bucket: int = 0

    def take(self, ids: list[bytes], bucket: int, size: int) -> Iterator[PlannedBatch]:
        """Add the ids of one bucket; yield every batch that became full."""
        if not ids:
            return
        if not self.ids:
            self.first_bucket = bucket
        # In order: the same changes are the same plan and the same hash, anywhere.
        self.ids += sorted(ids)
        self.last_bucket = bucket
        while len(self.ids) >= size:
            yield self._cut(size)
            self.first_bucket = bucket

    def rest(self) -> Iterator[PlannedBatch]:
        """The last, smaller batch, if any id is left."""
        if self.ids:
            yield self._cut(len(self.ids))

    def _cut(self, size: int) -> PlannedBatch:
        ids, self.ids = self.ids[:size], self.ids[size:]
        return PlannedBatch(
            operation=self.operation,
            ids=ids,
            first_bucket=self.first_bucket,
            last_bucket=self.last_bucket,
        )


def batches(changes: Iterable[BucketChanges], size: int) -> Iterator[PlannedBatch]:
    """Batches in order of buckets, so that each touches few of them.

    An id is named once in all of them, since a bucket names it once.
    """
    entering, leaving = _Filling(Operation.ADD), _Filling(Operation.REMOVE)
    for change in changes:
        yield from entering.take(change.adds, change.bucket, size)
        yield from leaving.take(change.removes, change.bucket, size)
    yield from entering.rest()
    yield from leaving.rest()
