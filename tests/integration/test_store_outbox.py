"""The outbox: in order, whole or not at all, and never sure without a proof."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from syncd.errors import StoreUnavailable
from syncd.model import Batch, BatchState, Operation, PlannedBatch
from syncd.store import acknowledged, outbox, unsettled
from syncd.store.acknowledged import Bucket
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.store.outbox import Waiting

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BindingMaker = Callable[..., Binding]


def planned(*ids: bytes, operation: Operation = Operation.ADD) -> PlannedBatch:
    return PlannedBatch(operation=operation, ids=ids, first_bucket=0, last_bucket=0)


def add(
    database: Database,
    binding: Binding,
    *batches: PlannedBatch,
    run_id: str = "run-1",
    state: BatchState = BatchState.OPEN,
) -> int:
    with database.begin() as connection:
        return outbox.add(
            connection,
            binding_id=binding.id,
            run_id=run_id,
            state=state,
            batches=batches,
            now=NOW,
        )


def waiting(database: Database, run_id: str = "run-1") -> list[Waiting]:
    with database.read() as connection:
        return outbox.waiting(connection, run_id)


def claim(database: Database, batch_id: int) -> Batch:
    with database.read() as connection:
        return outbox.claim(connection, batch_id)


def claim_all(database: Database, run_id: str = "run-1") -> list[Batch]:
    return [claim(database, each.id) for each in waiting(database, run_id)]


def add_one(database: Database, binding: Binding, planned_batch: PlannedBatch) -> Batch:
    add(database, binding, planned_batch)
    return claim_all(database)[-1]


def acknowledge(
    database: Database,
    batch: Batch,
    applied: Sequence[bytes] | None = None,
    not_applied: Sequence[bytes] = (),
) -> None:
    with database.begin() as connection:
        outbox.acknowledge(
            connection,
            batch,
            applied=batch.ids if applied is None else applied,
            not_applied=not_applied,
            now=NOW,
        )


def retry(
    database: Database, batch: Batch, retry_at: datetime | None, *, counted: bool = True
) -> None:
    with database.begin() as connection:
        outbox.retry(
            connection,
            batch,
            retry_at=retry_at,
            counted=counted,
            error_type="timeout",
            error="no answer",
        )


def kill(database: Database, batch: Batch) -> None:
    with database.begin() as connection:
        outbox.dead_letter(
            connection, batch, error_type="bad_request", error="no such parameter"
        )


def bucket(database: Database, binding: Binding) -> Bucket:
    with database.read() as connection:
        (found,) = acknowledged.read(connection, binding.id, 1, NOW)
    return found


def rows(database: Database, columns: str = "state") -> list[tuple[object, ...]]:
    with database.read() as connection:
        found = connection.execute(text(f"SELECT {columns} FROM batch ORDER BY id"))
        return [tuple(row) for row in found]


def count(database: Database, table: str) -> int:
    with database.read() as connection:
        query = text(f"SELECT count(*) FROM {table}")
        return int(connection.execute(query).scalar_one())


def test_a_plan_of_many_batches_keeps_its_order(
    database: Database, new_binding: BindingMaker
) -> None:
    batches = [planned(f"user-{n}".encode(), f"b-{n}".encode()) for n in range(120)]

    added = add(database, new_binding(), *batches)

    claimed = claim_all(database)
    assert added == 120
    assert [batch.ids for batch in claimed] == [tuple(b.ids) for b in batches]
    assert [batch.id for batch in claimed] == sorted(batch.id for batch in claimed)


def test_a_plan_of_no_batches_adds_nothing(
    database: Database, new_binding: BindingMaker
) -> None:
    assert add(database, new_binding()) == 0
    assert waiting(database) == []


def test_new_batches_may_go_at_once(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned(b"a", b"b"))

    (only,) = waiting(database)

    assert only == Waiting(id=only.id, binding_id=binding.id, n=2, retry_at=NOW)


def test_a_claimed_batch_is_what_was_planned(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    ids = ("ü".encode(), b'"', b"\\", b"007")
    add(database, binding, planned(*ids, operation=Operation.REMOVE))

    (batch,) = claim_all(database)

    assert batch == Batch(
        id=batch.id,
        binding_id=binding.id,
        run_id="run-1",
        operation=Operation.REMOVE,
        ids=ids,
        plan_id="run-1",
        planned_at=NOW,
        attempts=0,
    )


def test_halves_and_resumed_batches_keep_the_plan_that_made_them(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned(b"a", b"b"), run_id="run-1")
    (large,) = claim_all(database)

    with database.begin() as connection:
        outbox.split(connection, large, NOW + timedelta(hours=1))
        outbox.reopen(
            connection,
            binding.id,
            "run-2",
            NOW + timedelta(hours=2),
            fresh_attempts=True,
        )

    halves = claim_all(database, "run-2")
    assert [(half.plan_id, half.planned_at) for half in halves] == [("run-1", NOW)] * 2


def test_runs_see_only_their_own_batches(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned(b"a"), run_id="run-1")
    add(database, binding, planned(b"b"), run_id="run-2")

    assert [batch.ids for batch in claim_all(database, "run-2")] == [(b"b",)]


def test_open_ids_are_uncertain_and_not_acknowledged(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned(b"a", b"b"))

    found = bucket(database, binding)

    assert found.uncertain == {b"a", b"b"}
    assert found.acknowledged == set()
    with database.read() as connection:
        assert unsettled.uncertain_count(connection, binding.id) == 2


def test_an_acknowledged_batch_is_certain_and_never_claimed_again(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    batch = add_one(database, binding, planned(b"a", b"b"))

    acknowledge(database, batch)

    found = bucket(database, binding)
    assert (found.acknowledged, found.uncertain) == ({b"a", b"b"}, set())
    assert waiting(database) == []
    with pytest.raises(StoreUnavailable):
        claim(database, batch.id)


def test_ids_that_were_not_applied_are_out_even_if_they_were_in_before(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    acknowledge(database, add_one(database, binding, planned(b"a", b"b", b"c")))
    again = add_one(database, binding, planned(b"a", b"b", b"d"))

    acknowledge(database, again, applied=[b"a"], not_applied=[b"b", b"d"])

    found = bucket(database, binding)
    assert (found.acknowledged, found.uncertain) == ({b"a", b"c"}, set())


def test_a_batch_of_which_nothing_was_applied_settles_all_its_ids_as_out(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    acknowledge(database, add_one(database, binding, planned(b"a")))
    again = add_one(database, binding, planned(b"a", b"b"))

    acknowledge(database, again, applied=[], not_applied=[b"a", b"b"])

    found = bucket(database, binding)
    assert (found.acknowledged, found.uncertain) == (set(), set())


def test_a_remove_that_was_not_applied_is_out_all_the_same(
    database: Database, new_binding: BindingMaker
) -> None:
    """Skipped by the destination: it does not know the person, so not a member."""
    binding = new_binding()
    acknowledge(database, add_one(database, binding, planned(b"a", b"b")))
    leaving = add_one(
        database, binding, planned(b"a", b"b", operation=Operation.REMOVE)
    )

    acknowledge(database, leaving, applied=[b"a"], not_applied=[b"b"])

    assert bucket(database, binding).acknowledged == set()


def test_an_acknowledgement_clears_the_error_of_the_tries_before(
    database: Database, new_binding: BindingMaker
) -> None:
    batch = add_one(database, new_binding(), planned(b"a"))
    retry(database, batch, NOW + MINUTE)

    acknowledge(database, claim(database, batch.id))

    found = rows(database, "state, attempts, n, error_type, error")
    assert found == [("acknowledged", 2, 1, None, None)]


def test_a_retry_waits_and_counts(
    database: Database, new_binding: BindingMaker
) -> None:
    batch = add_one(database, new_binding(), planned(b"a"))

    retry(database, batch, NOW + MINUTE)

    (only,) = waiting(database)
    assert only.retry_at == NOW + MINUTE
    assert claim(database, batch.id).attempts == 1
    assert rows(database, "state, error_type, error") == [
        ("open", "timeout", "no answer")
    ]


def test_a_wait_the_vendor_asked_for_is_no_attempt(
    database: Database, new_binding: BindingMaker
) -> None:
    batch = add_one(database, new_binding(), planned(b"a"))

    retry(database, batch, NOW + MINUTE, counted=False)

    assert claim(database, batch.id).attempts == 0


def test_used_up_retries_leave_the_batch_open_and_uncertain(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    batch = add_one(database, binding, planned(b"a"))

    retry(database, batch, None)

    (only,) = waiting(database)
    assert only.retry_at is None
    assert bucket(database, binding).uncertain == {b"a"}


def test_a_dead_batch_is_not_sent_but_its_ids_stay_uncertain(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    batch = add_one(database, binding, planned(b"a"))

    kill(database, batch)

    assert waiting(database) == []
    assert bucket(database, binding).uncertain == {b"a"}
    found = rows(database, "state, attempts, retry_at, error_type, error")
    assert found == [("dead", 1, None, "bad_request", "no such parameter")]
    with pytest.raises(StoreUnavailable):
        claim(database, batch.id)


@pytest.mark.parametrize("size", [2, 3, 1000])
def test_halves_hold_every_id_once_and_may_go_at_once(
    database: Database, new_binding: BindingMaker, size: int
) -> None:
    binding = new_binding()
    ids = [f"user-{number}".encode() for number in range(size)]
    batch = add_one(database, binding, planned(*ids, operation=Operation.REMOVE))
    retry(database, batch, NOW + MINUTE)

    with database.begin() as connection:
        halves = outbox.split(connection, claim(database, batch.id), NOW)

    parts = claim_all(database)
    assert waiting(database) == halves
    assert [half.retry_at for half in halves] == [NOW, NOW]
    assert [half.n for half in halves] == [len(part.ids) for part in parts]
    assert [*parts[0].ids, *parts[1].ids] == ids
    assert max(half.n for half in halves) == (size + 1) // 2
    assert {part.operation for part in parts} == {Operation.REMOVE}
    assert [part.attempts for part in parts] == [0, 0]
    assert bucket(database, binding).uncertain == set(ids)


def test_halving_down_to_one_id_ends_with_every_id_apart(
    database: Database, new_binding: BindingMaker
) -> None:
    ids = [f"user-{number}".encode() for number in range(11)]
    add(database, new_binding(), planned(*ids))

    while large := [batch for batch in claim_all(database) if len(batch.ids) > 1]:
        with database.begin() as connection:
            outbox.split(connection, large[0], NOW)

    assert sorted(batch.ids[0] for batch in claim_all(database)) == sorted(ids)


def test_a_new_plan_takes_over_open_and_dead_batches_and_nothing_else(
    database: Database, new_binding: BindingMaker
) -> None:
    binding, other = new_binding(), new_binding(sync="churn")
    acknowledge(database, add_one(database, binding, planned(b"a")))
    kill(database, add_one(database, binding, planned(b"b")))
    add(database, binding, planned(b"c"))
    add(database, binding, planned(b"d"), state=BatchState.HELD)
    add(database, other, planned(b"e"))

    with database.begin() as connection:
        taken = outbox.take_over(connection, binding.id)

    assert taken == 2
    assert rows(database) == [("acknowledged",), ("held",), ("open",)]
    assert count(database, "batch_ids") == 3


def test_held_batches_are_neither_sent_nor_uncertain(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned(b"a", b"b"), planned(b"c"), state=BatchState.HELD)

    found = bucket(database, binding)
    assert (found.acknowledged, found.uncertain) == (set(), set())
    assert waiting(database) == []
    with database.read() as connection:
        assert unsettled.uncertain_count(connection, binding.id) == 0
        assert unsettled.count(connection, [binding.id], BatchState.HELD) == (2, 3)
        assert unsettled.count(connection, [binding.id], BatchState.OPEN) == (0, 0)
        assert unsettled.count(connection, [], BatchState.HELD) == (0, 0)


def test_a_held_batch_cannot_be_claimed(
    database: Database, new_binding: BindingMaker
) -> None:
    add(database, new_binding(), planned(b"a"), state=BatchState.HELD)
    ((batch_id,),) = rows(database, "id")

    with pytest.raises(StoreUnavailable):
        claim(database, int(str(batch_id)))


def test_a_rejected_plan_leaves_everything_else_as_it_was(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned(b"a"))
    add(database, binding, planned(b"b"), planned(b"c"), state=BatchState.HELD)

    with database.begin() as connection:
        dropped = outbox.drop_held(connection, binding.id)

    assert dropped == 2
    assert rows(database) == [("open",)]
    assert count(database, "batch_ids") == 1


def test_an_approved_plan_is_open_for_the_run_that_sends_it(
    database: Database, new_binding: BindingMaker
) -> None:
    binding, later = new_binding(), NOW + MINUTE
    add(database, binding, planned(b"a"), planned(b"b"), state=BatchState.HELD)

    with database.begin() as connection:
        opened = outbox.open_held(connection, binding.id, "run-2", later)

    assert opened == 2
    assert [batch.ids for batch in claim_all(database, "run-2")] == [(b"a",), (b"b",)]
    assert [each.retry_at for each in waiting(database, "run-2")] == [later, later]
    assert bucket(database, binding).uncertain == {b"a", b"b"}


def test_a_resumed_run_keeps_the_attempts_and_the_wait(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    batch = add_one(database, binding, planned(b"a"))
    retry(database, batch, NOW + MINUTE)

    with database.begin() as connection:
        reopened = outbox.reopen(
            connection, binding.id, "run-2", NOW, fresh_attempts=False
        )

    (only,) = waiting(database, "run-2")
    assert reopened == 1
    assert only.retry_at == NOW + MINUTE
    assert claim(database, only.id).attempts == 1
    assert waiting(database, "run-1") == []


def test_a_new_run_starts_over_with_batches_whose_retries_were_used_up(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    batch = add_one(database, binding, planned(b"a"))
    retry(database, batch, None)

    with database.begin() as connection:
        outbox.reopen(connection, binding.id, "run-2", NOW, fresh_attempts=True)

    (only,) = waiting(database, "run-2")
    assert only.retry_at == NOW
    assert claim(database, only.id).attempts == 0


def test_only_open_batches_are_handed_to_another_run(
    database: Database, new_binding: BindingMaker
) -> None:
    binding, other = new_binding(), new_binding(sync="churn")
    acknowledge(database, add_one(database, binding, planned(b"a")))
    kill(database, add_one(database, binding, planned(b"b")))
    add(database, binding, planned(b"c"), state=BatchState.HELD)
    add(database, other, planned(b"d"))

    with database.begin() as connection:
        reopened = outbox.reopen(
            connection, binding.id, "run-2", NOW, fresh_attempts=True
        )

    assert reopened == 0
    assert [batch.ids for batch in claim_all(database, "run-1")] == [(b"d",)]


def test_dead_batches_of_a_binding_that_is_being_emptied_are_sent_again(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    kill(database, add_one(database, binding, planned(b"a")))

    with database.begin() as connection:
        reopened = outbox.reopen(
            connection, binding.id, "run-2", NOW, fresh_attempts=True, dead_too=True
        )

    (only,) = waiting(database, "run-2")
    assert reopened == 1
    assert only.retry_at == NOW
    assert claim(database, only.id).attempts == 0


def test_an_older_binding_goes_first_whatever_the_keys_of_its_batches(
    database: Database, new_binding: BindingMaker
) -> None:
    """The old id type is removed before the new one is added, halves included."""
    leaving, entering = new_binding(), new_binding()
    add(database, leaving, planned(b"a", b"b", operation=Operation.REMOVE))
    add(database, entering, planned(b"c"))
    with database.begin() as connection:
        large = outbox.claim(connection, outbox.waiting(connection, "run-1")[0].id)
        outbox.split(connection, large, NOW)

    assert [batch.ids for batch in claim_all(database)] == [(b"a",), (b"b",), (b"c",)]


def test_a_plan_is_in_the_outbox_whole_or_not_at_all(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()

    def cut_off() -> None:
        with database.begin() as connection:
            outbox.add(
                connection,
                binding_id=binding.id,
                run_id="run-1",
                state=BatchState.OPEN,
                batches=[planned(f"{number}".encode()) for number in range(70)],
                now=NOW,
            )
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cut_off()

    assert count(database, "batch") == count(database, "batch_ids") == 0


def test_keys_of_batches_are_never_used_twice(
    database: Database, new_binding: BindingMaker
) -> None:
    """The order of keys is the order of application, also after deletions."""
    binding = new_binding()
    first = add_one(database, binding, planned(b"a"))
    with database.begin() as connection:
        outbox.take_over(connection, binding.id)

    second = add_one(database, binding, planned(b"a"))

    assert second.id > first.id
