"""Laws of cutting changes into batches: I-10, and that every id goes out in order."""

from collections import Counter
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from syncd.model import Operation, PlannedBatch, SnapshotDigest
from syncd.sync.batch import batches
from syncd.sync.diff import BucketChanges
from syncd.sync.plan import Tally


def changed(bucket: int, adds: int = 0, removes: int = 0, **counts) -> BucketChanges:
    entering = [b"in-%d-%d" % (bucket, number) for number in range(adds)]
    leaving = [b"out-%d-%d" % (bucket, number) for number in range(removes)]
    numbers = {"members": 0, "acknowledged": 0, "union": 0, "reasserted": 0} | counts
    return BucketChanges(
        bucket=bucket, adds=entering, removes=leaving, vanished=[], **numbers
    )


def bucket_of_name(member: bytes) -> int:
    """Which bucket `changed` put the id in: its name says so."""
    return int(member.split(b"-")[1])


FEW = st.integers(0, 9)
CHANGES = st.lists(st.tuples(st.integers(0, 3), FEW, FEW), max_size=12).map(
    lambda rows: [
        changed(number + sum(gap for gap, _, _ in rows[:number]), adds, removes)
        for number, (_, adds, removes) in enumerate(rows)
    ]
)
SIZES = st.integers(1, 12)


def of(operation: Operation, cut: list[PlannedBatch]) -> list[PlannedBatch]:
    return [batch for batch in cut if batch.operation is operation]


def joined(cut: list[PlannedBatch]) -> list[bytes]:
    return [member for batch in cut for member in batch.ids]


@given(found=CHANGES, size=SIZES)
def test_a_batch_holds_1_to_size_ids_and_only_the_last_is_smaller(found, size):
    cut = list(batches(found, size))

    for operation in Operation:
        lengths = [len(batch.ids) for batch in of(operation, cut)]
        assert all(length == size for length in lengths[:-1])
        assert all(1 <= length <= size for length in lengths)


@given(found=CHANGES, size=SIZES)
def test_every_change_is_in_one_batch_of_its_operation_in_order(found, size):
    cut = list(batches(found, size))

    adds = [member for change in found for member in change.adds]
    removes = [member for change in found for member in change.removes]
    assert joined(of(Operation.ADD, cut)) == adds
    assert joined(of(Operation.REMOVE, cut)) == removes
    assert max(Counter(joined(cut)).values(), default=1) == 1


@given(found=CHANGES, size=SIZES)
def test_the_range_of_a_batch_is_from_its_first_ids_bucket_to_its_last_ones(
    found, size
):
    for batch in batches(found, size):
        in_buckets = [bucket_of_name(member) for member in batch.ids]

        assert batch.first_bucket == min(in_buckets)
        assert batch.last_bucket == max(in_buckets)


@given(found=CHANGES, size=SIZES)
def test_a_full_batch_goes_out_before_a_later_bucket_is_read(found, size):
    read = []

    def reading():
        for change in found:
            read.append(change.bucket)
            yield change

    for batch in batches(reading(), size):
        assert len(batch.ids) < size or batch.last_bucket == read[-1]


@given(found=CHANGES, size=SIZES)
def test_the_lists_of_the_caller_are_left_as_they_are(found, size):
    before = [(list(change.adds), list(change.removes)) for change in found]

    list(batches(found, size))

    assert [(change.adds, change.removes) for change in found] == before


def test_no_change_makes_no_batch():
    assert list(batches([], 1000)) == []
    assert list(batches([changed(0), changed(1)], 1000)) == []


def test_a_bucket_far_over_the_size_is_cut_into_full_batches():
    cut = list(batches([changed(0, adds=2500)], 1000))

    assert [len(batch.ids) for batch in cut] == [1000, 1000, 500]


def test_the_first_batch_needs_no_more_buckets_than_fill_it():
    buckets = iter([changed(bucket, adds=400) for bucket in range(9)])

    (first,) = islice(batches(buckets, 1000), 1)

    assert (first.first_bucket, first.last_bucket) == (0, 2)
    assert next(buckets).bucket == 3


NUMBERS = st.fixed_dictionaries(
    dict.fromkeys(("members", "acknowledged", "union", "reasserted"), FEW)
)


@given(
    rows=st.lists(st.tuples(FEW, FEW, NUMBERS), max_size=8),
    size=SIZES,
    total=st.integers(0, 2**64 - 1),
)
def test_a_plan_counts_what_its_buckets_say(rows, size, total):
    found = [
        changed(n, adds, removes, **c) for n, (adds, removes, c) in enumerate(rows)
    ]
    tally = Tally()
    for change in found:
        tally.count(change)
    digest = SnapshotDigest(count=3, total=total)

    plan = tally.plan(batches=size, plan_hash="ab12", digest=digest)

    assert (plan.batches, plan.hash, plan.digest) == (size, "ab12", digest)
    assert (plan.entered, plan.exited) == (
        sum(adds for adds, _, _ in rows),
        sum(removes for _, removes, _ in rows),
    )
    for name in ("members", "acknowledged", "union", "reasserted"):
        assert getattr(plan, name) == sum(c[name] for _, _, c in rows)
