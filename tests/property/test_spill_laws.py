"""Laws of the spill: whatever is written comes back, where it belongs, and no more."""

from collections import Counter
from contextlib import closing

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.model import Operation, PlannedBatch, SnapshotDigest
from syncd.store.buckets import bucket_hash, bucket_of
from syncd.sync.spill import Partition, PlanFile

IDS = st.one_of(
    st.integers(0, 30).map(b"id-%d".__mod__),
    st.binary(min_size=1, max_size=5).map(lambda id_: id_.replace(b"\n", b"\r")),
    st.uuids().map(lambda uuid: str(uuid).encode()),
)
READS = st.lists(st.lists(IDS, max_size=12), max_size=6)
POWERS = st.integers(0, 5).map(lambda exponent: 2**exponent)
BLOCKS = st.integers(1, 20)


def joined(blocks: list[list[bytes]]) -> list[bytes]:
    return [member for block in blocks for member in block]


def spread(folder, blocks, *, partitions=4, buckets=4, block=3):
    """The digest and the buckets of a snapshot read in these blocks."""
    with closing(Partition(folder, partitions, block=block)) as partition:
        for ids in blocks:
            partition.add(list(ids))
        digest = partition.seal()
        return digest, list(partition.buckets(buckets))


@settings(max_examples=200, deadline=None)
@given(blocks=READS, partitions=POWERS, buckets=POWERS, block=BLOCKS)
def test_every_bucket_holds_exactly_its_ids_as_often_as_they_were_read(
    tmp_path_factory, blocks, partitions, buckets, block
):
    folder = tmp_path_factory.getbasetemp()

    _, found = spread(
        folder, blocks, partitions=partitions, buckets=buckets, block=block
    )

    assert len(found) == buckets
    for index, ids in enumerate(found):
        assert Counter(ids) == Counter(
            member for member in joined(blocks) if bucket_of(member, buckets) == index
        )


@settings(deadline=None)
@given(blocks=READS, first=POWERS, second=POWERS)
def test_buckets_may_be_read_again_with_another_spread(
    tmp_path_factory, blocks, first, second
):
    folder = tmp_path_factory.getbasetemp()
    with closing(Partition(folder, 4, block=5)) as partition:
        for ids in blocks:
            partition.add(list(ids))
        partition.seal()

        once = [sorted(ids) for ids in partition.buckets(first)]
        list(partition.buckets(second))
        again = [sorted(ids) for ids in partition.buckets(first)]

    assert once == again


@settings(deadline=None)
@given(
    blocks=READS,
    order=st.randoms(use_true_random=False),
    cut=st.integers(1, 7),
    partitions=POWERS,
    block=BLOCKS,
)
def test_the_digest_knows_no_order_and_no_blocks(
    tmp_path_factory, blocks, order, cut, partitions, block
):
    folder = tmp_path_factory.getbasetemp()
    ids = joined(blocks)
    shuffled = order.sample(ids, len(ids))
    others = [shuffled[start : start + cut] for start in range(0, len(ids), cut)]

    one, _ = spread(folder, blocks)
    other, _ = spread(folder, others, partitions=partitions, block=block)

    assert one == other
    assert one == SnapshotDigest(
        count=len(ids), total=sum(map(bucket_hash, ids)) % 2**64
    )


@settings(deadline=None)
@given(one=st.lists(IDS, max_size=4), other=st.lists(IDS, max_size=4))
def test_only_the_same_ids_as_often_have_the_same_digest(tmp_path_factory, one, other):
    folder = tmp_path_factory.getbasetemp()

    digests = [spread(folder, [ids])[0] for ids in (one, other)]

    assert (digests[0] == digests[1]) == (Counter(one) == Counter(other))


BATCHES = st.builds(
    PlannedBatch,
    operation=st.sampled_from(Operation),
    ids=st.lists(st.sampled_from([b"a", b"b", b"a b", b"a:1"]), min_size=1, max_size=4),
    first_bucket=st.integers(0, 3),
    last_bucket=st.integers(4, 9),
)
PLANS = st.lists(BATCHES, max_size=4)


def what_is_sent(plan: list[PlannedBatch]) -> list[tuple[Operation, list[bytes]]]:
    return [(batch.operation, list(batch.ids)) for batch in plan]


@settings(deadline=None)
@given(plan=PLANS, more=PLANS)
def test_a_plan_file_gives_back_every_batch_in_order_also_when_it_grew_meanwhile(
    tmp_path_factory, plan, more
):
    with closing(PlanFile(tmp_path_factory.getbasetemp())) as file:
        for batch in plan:
            file.add(batch)
        first = list(file.batches())
        begun = file.batches()
        next(begun, None)
        for batch in more:
            file.add(batch)

        assert first == plan
        assert list(file.batches()) == plan + more
        assert len(file) == len(plan) + len(more)


@settings(deadline=None)
@given(one=PLANS, other=PLANS)
def test_the_hash_of_a_plan_is_of_what_is_sent_and_in_which_order(
    tmp_path_factory, one, other
):
    digests = []
    for plan in (one, other):
        with closing(PlanFile(tmp_path_factory.getbasetemp())) as file:
            for batch in plan:
                file.add(batch)
            digests.append(file.digest)

    assert (digests[0] == digests[1]) == (what_is_sent(one) == what_is_sent(other))
