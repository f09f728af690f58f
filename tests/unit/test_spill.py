"""The two spill files: bounded memory, no name, and the disk's space given back."""

import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from syncd.model import Operation, PlannedBatch, SnapshotDigest
from syncd.store.buckets import bucket_of
from syncd.sync.spill import APIECE, BLOCK, PARTITIONS, Partition, PlanFile

OPEN_FILES = Path("/proc/self/fd")


def people(count: int, first: int = 0) -> list[bytes]:
    return [b"person-%028d" % number for number in range(first, first + count)]


def batch(operation: Operation, *ids: bytes) -> PlannedBatch:
    return PlannedBatch(operation=operation, ids=ids, first_bucket=2, last_bucket=5)


def opened_in(folder: Path) -> list[str]:
    """Files of this folder that the process holds open, named or not."""
    targets = []
    for entry in OPEN_FILES.iterdir():
        try:
            targets.append(str(entry.readlink()))
        except FileNotFoundError:
            continue  # the descriptor this listing itself used
    return [target for target in targets if target.startswith(f"{folder}/")]


def partitioned(folder: Path) -> Partition:
    partition = Partition(folder, 8)
    partition.add(people(5_000))
    partition.seal()
    return partition


def planned(folder: Path) -> PlanFile:
    file = PlanFile(folder)
    file.add(batch(Operation.ADD, *people(1_000)))
    list(file.batches())
    return file


SPILLS = [partitioned, planned]


@pytest.mark.parametrize("spill", SPILLS)
def test_a_spill_has_no_name_that_a_crash_could_leave_behind(
    tmp_path: Path, spill: Callable[[Path], Partition | PlanFile]
):
    with closing(spill(tmp_path)):
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="lists descriptors as Linux does")
@pytest.mark.parametrize("spill", SPILLS)
def test_closing_a_spill_gives_the_disk_space_back(
    tmp_path: Path, spill: Callable[[Path], Partition | PlanFile]
):
    opened = spill(tmp_path)
    assert len(opened_in(tmp_path)) == 1

    opened.close()

    assert opened_in(tmp_path) == []


@pytest.mark.parametrize("kind", [lambda folder: Partition(folder, 8), PlanFile])
def test_a_spill_lies_in_the_folder_it_was_given(tmp_path, kind):
    with pytest.raises(FileNotFoundError):
        kind(tmp_path / "absent")


def test_nobody_is_in_any_bucket_of_an_empty_snapshot(tmp_path):
    with closing(Partition(tmp_path, 4)) as partition:
        partition.add([])

        assert partition.seal() == SnapshotDigest(count=0, total=0)
        assert list(partition.buckets(2)) == [[], []]
        assert list(partition.buckets(8)) == [[]] * 8


@pytest.mark.parametrize(
    ("partitions", "block"), [(512, BLOCK), (PARTITIONS, APIECE * PARTITIONS)]
)
def test_a_snapshot_of_several_blocks_of_the_usual_size_comes_back_whole(
    tmp_path, partitions, block
):
    count = block + 1_000
    with closing(Partition(tmp_path, partitions)) as partition:
        for start in range(0, count, 10_000):
            partition.add(people(min(10_000, count - start), start))

        digest = partition.seal()
        buckets = list(partition.buckets(64))

    assert digest.count == count
    assert {i for ids in buckets for i in ids} == set(people(count))
    assert all(
        bucket_of(ids[0], 64) == bucket_of(ids[-1], 64) == index
        for index, ids in enumerate(buckets)
    )


def test_the_list_that_is_handed_over_is_left_as_it_is(tmp_path):
    handed = people(10)
    with closing(Partition(tmp_path, 4, block=3)) as partition:
        partition.add(handed)
        partition.seal()

    assert handed == people(10)


def test_a_block_is_written_as_soon_as_it_is_full(tmp_path):
    """Memory is one block, however long the snapshot is."""
    with closing(Partition(tmp_path, 4, block=2_000)) as partition:
        partition.add(people(2_000))
        tracemalloc.start()
        for turn in range(1, 21):
            partition.add(people(2_000, turn * 2_000))
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert held < 100_000
    assert peak < 2_000 * 1_000


def test_a_plan_file_tells_how_many_batches_it_holds(tmp_path):
    with closing(PlanFile(tmp_path)) as file:
        assert len(file) == 0
        assert list(file.batches()) == []

        file.add(batch(Operation.REMOVE, b"a", b"b"))

        assert len(file) == 1
        assert list(file.batches()) == [
            PlannedBatch(
                operation=Operation.REMOVE,
                ids=[b"a", b"b"],
                first_bucket=2,
                last_bucket=5,
            )
        ]


@pytest.mark.parametrize(
    "other",
    [
        [batch(Operation.REMOVE, b"a", b"b")],
        [batch(Operation.ADD, b"b", b"a")],
        [batch(Operation.ADD, b"ab")],
        [batch(Operation.ADD, b"a"), batch(Operation.ADD, b"b")],
        [batch(Operation.ADD, b"a", b"b"), batch(Operation.ADD, b"c")],
        [],
    ],
)
def test_an_approval_is_of_one_plan_and_no_other(tmp_path, other):
    digests = []
    for plan in ([batch(Operation.ADD, b"a", b"b")], other):
        with closing(PlanFile(tmp_path)) as file:
            for part in plan:
                file.add(part)
            digests.append(file.digest)

    assert digests[0] != digests[1]
    assert all(len(digest) == 64 for digest in digests)
