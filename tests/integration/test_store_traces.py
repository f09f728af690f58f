"""Whom a batch named, before and after its payload is gone, on both stores."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from syncd.model import BatchState, Operation, PlannedBatch
from syncd.store import acknowledged, bindings, compaction, installation, outbox, traces
from syncd.store.bindings import Binding
from syncd.store.buckets import bucket_of
from syncd.store.database import Database
from syncd.store.traces import KEEP, Naming

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""When the fixtures' bindings were made: the time of their first plan."""
LATER = NOW + timedelta(hours=1)
HOUR = timedelta(hours=1)
BindingMaker = Callable[..., Binding]


def people(count: int, start: int = 0) -> list[bytes]:
    return [f"user-{number}".encode() for number in range(start, start + count)]


def planned(
    ids: Sequence[bytes], operation: Operation = Operation.ADD, n_buckets: int = 1
) -> PlannedBatch:
    touched = [bucket_of(each, n_buckets) for each in ids]
    return PlannedBatch(
        operation=operation,
        ids=ids,
        first_bucket=min(touched),
        last_bucket=max(touched),
    )


def add(
    database: Database,
    binding: Binding,
    *batches: PlannedBatch,
    run_id: str = "run-1",
    at: datetime = LATER,
    state: BatchState = BatchState.OPEN,
) -> None:
    with database.begin() as connection:
        outbox.add(
            connection,
            binding_id=binding.id,
            run_id=run_id,
            state=state,
            batches=batches,
            now=at,
        )


def acknowledge(
    database: Database,
    run_id: str = "run-1",
    not_applied: Sequence[bytes] = (),
    at: datetime = LATER,
) -> None:
    with database.begin() as connection:
        for each in outbox.waiting(connection, run_id):
            batch = outbox.claim(connection, each.id)
            applied = [one for one in batch.ids if one not in not_applied]
            outbox.acknowledge(
                connection, batch, applied=applied, not_applied=not_applied, now=at
            )


def naming(database: Database, binding: Binding, member_id: bytes) -> list[Naming]:
    with database.read() as connection:
        return traces.naming(connection, binding.id, member_id)


def count(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM trace")).scalar_one())


def test_a_payload_names_its_people_for_certain(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned(people(10)))

    (found,) = naming(database, binding, b"user-3")

    assert (found.operation, found.state) == (Operation.ADD, BatchState.OPEN)
    assert (found.certain, found.planned_at) == (True, LATER)
    assert naming(database, binding, b"user-10") == []


def test_a_compaction_leaves_a_trace_of_who_was_named_and_when(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned(people(10)))
    acknowledge(database)

    compaction.compact(database, binding.id)
    (found,) = naming(database, binding, b"user-3")

    assert (found.run_id, found.operation) == ("run-1", Operation.ADD)
    assert (found.acknowledged_at, found.certain) == (LATER, False)
    assert naming(database, binding, b"user-10") == []
    assert naming(database, new_binding("other"), b"user-3") == []


def test_who_was_not_taken_is_traced_as_such(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned(people(10)))
    acknowledge(database, not_applied=[b"user-3"])

    compaction.compact(database, binding.id)

    (taken,) = naming(database, binding, b"user-4")
    (refused,) = naming(database, binding, b"user-3")
    assert (taken.operation, refused.operation) == (Operation.ADD, Operation.REMOVE)
    assert (taken.not_taken, refused.not_taken) == (False, True)


def test_who_was_removed_by_a_request_was_not_left_over(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned([b"user-1"], Operation.REMOVE))
    acknowledge(database)

    before = naming(database, binding, b"user-1")
    compaction.compact(database, binding.id)
    after = naming(database, binding, b"user-1")

    assert [each.not_taken for each in before + after] == [False, False]


def test_a_first_plan_leaves_no_trace_of_who_entered(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned(people(10)), at=NOW)
    acknowledge(database, not_applied=[b"user-3"])
    add(database, binding, planned([b"user-4"], Operation.REMOVE), run_id="run-2")
    acknowledge(database, "run-2")

    compaction.compact(database, binding.id)

    assert naming(database, binding, b"user-5") == []
    assert [each.operation for each in naming(database, binding, b"user-3")] == [
        Operation.REMOVE
    ]
    assert [each.run_id for each in naming(database, binding, b"user-4")] == ["run-2"]


def test_a_trace_is_found_after_the_buckets_were_split(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    with database.begin() as connection:
        acknowledged.set_buckets(connection, binding.id, 4)
    by_bucket = sorted(people(400), key=lambda each: bucket_of(each, 4))
    parts = [by_bucket[start : start + 50] for start in range(0, 400, 50)]
    add(database, binding, *(planned(each, n_buckets=4) for each in parts))
    acknowledge(database)

    compaction.compact(database, binding.id, split_above=8)

    with database.read() as connection:
        assert bindings.get(connection, binding.id).n_buckets > 4
    assert all(len(naming(database, binding, each)) == 1 for each in by_bucket)


def test_payloads_and_traces_are_told_in_the_order_of_their_making(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned([b"user-1"]))
    acknowledge(database)
    compaction.compact(database, binding.id)
    add(database, binding, planned([b"user-1"], Operation.REMOVE), run_id="run-2")
    acknowledge(database, "run-2")
    add(database, binding, planned([b"user-1"]), run_id="r3", state=BatchState.HELD)

    found = naming(database, binding, b"user-1")

    assert [(each.operation, each.state, each.certain) for each in found] == [
        (Operation.ADD, BatchState.ACKNOWLEDGED, False),
        (Operation.REMOVE, BatchState.ACKNOWLEDGED, True),
        (Operation.ADD, BatchState.HELD, True),
    ]


def test_traces_go_after_their_time(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    for run, at in (("run-1", LATER), ("run-2", LATER + HOUR)):
        add(database, binding, planned([run.encode()]), run_id=run, at=at)
        acknowledge(database, run, at=at)
    compaction.compact(database, binding.id)

    with database.begin() as connection:
        installation.prune(
            connection, now=LATER + KEEP + HOUR / 2, keep=timedelta(days=400)
        )

    assert naming(database, binding, b"run-1") == []
    assert len(naming(database, binding, b"run-2")) == 1


def test_a_binding_that_goes_takes_its_traces_along(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned(people(10)))
    acknowledge(database)
    compaction.compact(database, binding.id)
    assert count(database) == 1

    with database.begin() as connection:
        bindings.drop(connection, binding.id)

    assert count(database) == 0


def test_the_key_of_log_hashes_is_read_without_being_made(database: Database) -> None:
    with database.read() as connection:
        before = installation.known_hash_key(connection)
    with database.begin() as connection:
        made = installation.hash_key(connection)
        after = installation.known_hash_key(connection)

    assert (before, after) == (None, made)
