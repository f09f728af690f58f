"""What is decided when a sync begins anew; nothing here reads or writes."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.delivery.retry import DeadLetter, Halve, RetryPolicy, decide
from syncd.errors import DeliveryError, Fault
from syncd.model import Operation, PlannedBatch, SnapshotDigest
from syncd.store.buckets import bucket_of
from syncd.sync.adopting import by_bucket
from syncd.sync.batch import batches
from syncd.sync.diff import BucketChanges, everybody_again
from syncd.sync.draft import Draft
from syncd.sync.guard import Guard
from syncd.sync.plan import Plan
from syncd.sync.replacing import NotReplaceable, Replacing, strangers
from syncd.sync.spill import PlanFile

ID_SETS = st.frozensets(st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f"]))


def plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "members": 3,
        "acknowledged": 10,
        "union": 10,
        "entered": 3,
        "exited": 0,
        "reasserted": 0,
        "batches": 1,
        "hash": "",
        "digest": SnapshotDigest(count=3, total=0),
    }
    return Plan(**(values | changes))


def replacing(**changes: Any) -> Replacing:
    values: dict[str, Any] = {"sync": "vip", "most": 100, "there": 12, "strangers": 2}
    return Replacing(**(values | changes))


def planned(operation: Operation, *ids: bytes) -> PlannedBatch:
    return PlannedBatch(operation=operation, ids=ids, first_bucket=0, last_bucket=0)


def draft(folder: Path, *batches_: PlannedBatch, members: int) -> Draft:
    file = PlanFile(folder)
    for each in batches_:
        file.add(each)
    return Draft(
        plan=plan(members=members),
        n_buckets=4,
        file=file,
        as_of=datetime(2026, 3, 2, tzinfo=UTC),
    )


# ---- everybody again ----------------------------------------------------------------


@given(listed=ID_SETS, acknowledged=ID_SETS, uncertain=ID_SETS, unaccepted=ID_SETS)
def test_everybody_listed_is_added_and_everybody_else_who_is_known_is_removed(
    listed: frozenset[bytes],
    acknowledged: frozenset[bytes],
    uncertain: frozenset[bytes],
    unaccepted: frozenset[bytes],
) -> None:
    found = everybody_again(
        bucket=0,
        snapshot=sorted(listed) * 2,
        acknowledged=set(acknowledged),
        uncertain=uncertain,
        waiting=unaccepted,
        unaccepted=unaccepted,
    )

    known = acknowledged | uncertain
    assert sorted(found.adds) == sorted(listed)
    assert sorted(found.removes) == sorted(known - listed)
    assert sorted(found.vanished) == sorted(unaccepted - listed)
    assert (found.members, found.union) == (len(listed), len(known))
    assert found.acknowledged == len(acknowledged)


def test_a_plan_that_sends_everybody_says_who_was_there_already() -> None:
    found = everybody_again(
        bucket=0,
        snapshot=[b"a", b"b", b"c"],
        acknowledged={b"a"},
        uncertain={b"b", b"x"},
        waiting=set(),
        unaccepted=set(),
    )

    assert found.reasserted == 3, "a and b again, and x that is in doubt"


# ---- adopting -----------------------------------------------------------------------


@given(
    ids=st.sets(st.integers(0, 400).map(lambda n: b"person-%d" % n)),
    size=st.integers(1, 7),
)
def test_the_batches_of_a_plan_become_buckets_each_named_once(
    ids: set[bytes], size: int
) -> None:
    n_buckets = 8
    changes = [
        changed(index, [one for one in sorted(ids) if bucket_of(one, 8) == index])
        for index in range(n_buckets)
    ]

    found = list(by_bucket(batches(changes, size), n_buckets))

    indexes = [index for index, _ in found]
    assert indexes == sorted(set(indexes))
    assert {one for _, listed in found for one in listed} == ids
    for index, listed in found:
        assert {bucket_of(one, n_buckets) for one in listed} == {index}


def changed(index: int, adds: list[bytes]) -> BucketChanges:
    return BucketChanges(
        bucket=index,
        adds=adds,
        removes=[b"gone-%d" % index],
        vanished=[],
        members=len(adds),
        acknowledged=1,
        union=1,
        reasserted=0,
    )


# ---- replacing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "agreed", "held"),
    [(12, 2, False), (12, 1, True), (9, 0, False), (None, 99, True)],
)
def test_more_strangers_than_were_agreed_to_or_an_unknown_number_are_held(
    there: int | None, agreed: int, held: bool
) -> None:
    trips = replacing(there=there, strangers=agreed).trips(plan(acknowledged=10))

    assert [each.guard for each in trips] == [Guard.REPLACE] * held


def test_whoever_is_counted_beyond_those_we_know_is_a_stranger() -> None:
    assert strangers(12, 10) == 2
    assert strangers(9, 10) == 0


def test_the_upload_is_the_first_batch_and_names_everybody_who_is_added(
    tmp_path: Path,
) -> None:
    adds = planned(Operation.ADD, b"a", b"b"), planned(Operation.ADD, b"c")
    removes = planned(Operation.REMOVE, b"x")
    made = draft(tmp_path, *adds, removes, members=3)
    before = made.file.digest

    replacing().lay_before(made, tmp_path)

    found = list(made.file.batches())
    assert [each.operation.value for each in found] == [
        "replace",
        "add",
        "add",
        "remove",
    ]
    assert list(found[0].ids) == [b"a", b"b", b"c"]
    assert (found[0].first_bucket, found[0].last_bucket) == (0, 3)
    assert made.plan.batches == 4
    assert made.plan.hash == made.file.digest != before
    made.close()


@pytest.mark.parametrize(("members", "code"), [(0, "empty"), (4, "too_large")])
def test_a_list_that_no_upload_takes_is_refused_with_the_way_out(
    tmp_path: Path, members: int, code: str
) -> None:
    made = draft(tmp_path, members=members)

    with pytest.raises(NotReplaceable) as refusal:
        replace(replacing(), most=3).lay_before(made, tmp_path)

    assert refusal.value.code == f"resync.{code}"
    assert refusal.value.hint == "syncd resync vip --push"


@pytest.mark.parametrize("fault", [Fault.TOO_LARGE, Fault.BAD_IDS])
def test_a_batch_that_is_not_divisible_is_never_halved(fault: Fault) -> None:
    error = DeliveryError("refused", fault=fault, error_type="too_large")

    def decided(*, divisible: bool) -> object:
        return decide(RetryPolicy(), 1, error, lambda: 0.0, size=9, divisible=divisible)

    assert decided(divisible=False) == DeadLetter("too_large")
    assert decided(divisible=True) == Halve()
