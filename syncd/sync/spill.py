"""Two unlinked temporary files: the partitioned snapshot, and the plan's batches.

They keep memory bounded by one block and one bucket, whatever the audience's size.
They lie in the store's folder (`store.spool_dir`), not in a temporary folder that may
be memory, and they vanish with the process.
"""

import hashlib
import os
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from syncd.model import Operation, PlannedBatch, SnapshotDigest
from syncd.store.buckets import bucket_hash

BLOCK = 16_384
"""Ids partitioned together at least: a chunk of a file or so. What is used again soon
stays in the processor's cache (2,000,000 ids: 0.2 s less than with 131,072)."""
APIECE = 32
"""Ids a partition gets of a block at least, on average, or reading all their pieces
costs more than that: 131,072 ids together, about 13 MB, with 4,096 partitions."""
PARTITIONS = 4_096
"""For a snapshot whose size is not known yet.

Enough for 16 million ids without reading a partition twice, which would cost more
than the finer spread does (450 against 30 ns an id).
"""
_MASK_64 = (1 << 64) - 1


class Partition:
    """A snapshot, spread over buckets as it is read.

    `n_partitions` is a power of two. A bucket of a coarser spread is read as several
    partitions, one of a finer spread by splitting its partition again in memory.
    Ids are neither empty nor hold a newline (`sync/ids`). `block` is how many are
    partitioned together; 0: as many as suit the partitions.
    """

    def __init__(self, folder: Path, n_partitions: int, *, block: int = 0) -> None:
        self._file = _unlinked(folder)
        self._n = n_partitions
        self._block = block or max(BLOCK, APIECE * n_partitions)
        self._pending: list[list[bytes]] = [[] for _ in range(n_partitions)]
        self._n_pending = 0
        self._blocks: list[array[int]] = []
        self._size = 0
        self._count = 0
        self._total = 0

    def add(self, ids: list[bytes]) -> None:
        """Take a block of ids; duplicates are allowed."""
        # One loop for everything: lists of hashes in between cost a third more time
        # and twice the memory.
        pending, mask, total = self._pending, self._n - 1, 0
        for member_id in ids:
            value = bucket_hash(member_id)
            total += value
            pending[value & mask].append(member_id)
        self._total += total
        self._count += len(ids)
        self._n_pending += len(ids)
        if self._n_pending >= self._block:
            self._flush()

    def seal(self) -> SnapshotDigest:
        """No more ids will come; returns the digest of all of them."""
        if self._n_pending:
            self._flush()
        return SnapshotDigest(count=self._count, total=self._total & _MASK_64)

    def buckets(self, n_buckets: int) -> Iterator[list[bytes]]:
        """The ids of every bucket in order, for any power of two of buckets."""
        if n_buckets <= self._n:
            for index in range(n_buckets):
                yield self._partitions(range(index, self._n, n_buckets))
        else:
            yield from self._split(n_buckets)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def _flush(self) -> None:
        offsets = array("q", [self._size])
        parts = []
        for ids in self._pending:
            part = b"\n".join(ids)
            parts.append(part)
            self._size += len(part)
            offsets.append(self._size)
            ids.clear()
        _write_all(self._file.fileno(), b"".join(parts))
        self._blocks.append(offsets)
        self._n_pending = 0

    def _partitions(self, indexes: range) -> list[bytes]:
        descriptor = self._file.fileno()
        parts = []
        for offsets in self._blocks:
            for index in indexes:
                start, end = offsets[index], offsets[index + 1]
                if end > start:
                    parts.append(os.pread(descriptor, end - start, start))
        return b"\n".join(parts).split(b"\n") if parts else []

    def _split(self, n_buckets: int) -> Iterator[list[bytes]]:
        # Bucket b lies in partition b mod n, which is read once for each of its
        # buckets: the order of buckets matters more here than a second read.
        mask = n_buckets - 1
        for index in range(n_buckets):
            ids = self._partitions(range(index & (self._n - 1), self._n, self._n))
            yield [i for i in ids if bucket_hash(i) & mask == index]


class PlanFile:
    """A plan's batches, in order, hashed as they are written."""

    def __init__(self, folder: Path) -> None:
        self._file = _unlinked(folder)
        self._index: list[tuple[Operation, int, int, int]] = []
        self._hash = hashlib.sha256()

    def add(self, batch: PlannedBatch) -> None:
        """Append one batch."""
        payload = b"\n".join(batch.ids)
        _write_all(self._file.fileno(), payload)
        self._hash.update(f"{batch.operation}:{len(payload)}:".encode())
        self._hash.update(payload)
        self._index.append(
            (batch.operation, len(payload), batch.first_bucket, batch.last_bucket)
        )

    def __len__(self) -> int:
        return len(self._index)

    @property
    def digest(self) -> str:
        """SHA-256 over operations and ids in order: what an approval is bound to."""
        return self._hash.hexdigest()

    def batches(self) -> Iterator[PlannedBatch]:
        """Every batch again, in order; may be called while another reading goes on."""
        start = 0
        for operation, size, first, last in self._index:
            ids = os.pread(self._file.fileno(), size, start).split(b"\n")
            start += size
            yield PlannedBatch(
                operation=operation, ids=ids, first_bucket=first, last_bucket=last
            )

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()


def _unlinked(folder: Path) -> IO[bytes]:
    """A file without a name: gone with the process, however that ends."""
    return tempfile.TemporaryFile(dir=folder)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
