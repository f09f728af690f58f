"""Who put somebody into a target, as far as the store can prove, on both stores."""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta

from syncd.model import BatchState, Found, Operation, PlannedBatch, Trigger
from syncd.store import authorship, bindings, compaction, outbox, runs
from syncd.store.authorship import Authorship
from syncd.store.bindings import Binding, Role
from syncd.store.buckets import bucket_of
from syncd.store.database import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""When the fixtures' bindings were made: the time of their first plan."""
LATER = NOW + timedelta(hours=1)
BindingMaker = Callable[..., Binding]


def people(*numbers: int) -> list[bytes]:
    return [f"user-{number}".encode() for number in numbers]


def bound(
    database: Database, binding: Binding, cohort: str = "c1", role: Role | None = None
) -> Binding:
    with database.begin() as connection:
        named = Found(external_id=cohort, name="VIP", size=None)
        bindings.bind(connection, binding.id, named)
        if role is not None:
            bindings.set_role(connection, binding.id, role)
        return bindings.get(connection, binding.id)


def sent(
    database: Database,
    binding: Binding,
    operation: Operation,
    ids: Sequence[bytes],
    *,
    at: datetime = LATER,
    not_taken: Sequence[bytes] = (),
    run_id: str = "",
) -> None:
    """One batch, planned then and acknowledged."""
    touched = [bucket_of(each, binding.n_buckets) for each in ids]
    run_id = run_id or f"run-{operation}-{len(ids)}-{ids[0].decode()}"
    with database.begin() as connection:
        outbox.add(
            connection,
            binding_id=binding.id,
            run_id=run_id,
            state=BatchState.OPEN,
            batches=[
                PlannedBatch(
                    operation=operation,
                    ids=ids,
                    first_bucket=min(touched),
                    last_bucket=max(touched),
                )
            ],
            now=at,
        )
        (waiting,) = outbox.waiting(connection, run_id)
        outbox.acknowledge(
            connection,
            outbox.claim(connection, waiting.id),
            applied=[one for one in ids if one not in not_taken],
            not_applied=not_taken,
            now=at,
        )


def known(
    database: Database,
    binding: Binding,
    ids: Sequence[bytes],
    neighbours: Collection[str] = (),
) -> Authorship:
    with database.read() as connection:
        return authorship.of_ids(connection, binding, ids, LATER, neighbours=neighbours)


def test_whom_an_earlier_binding_of_the_cohort_still_holds_was_added_by_us(
    database: Database, new_binding: BindingMaker
) -> None:
    before = bound(database, new_binding("vip-before"))
    sent(database, before, Operation.ADD, people(1, 2, 3))
    sent(database, before, Operation.REMOVE, people(3))
    binding = bound(database, new_binding())

    found = known(database, binding, people(1, 3, 4))

    assert found.added == {b"user-1"}
    assert found.removed == {b"user-3"}
    assert found.traced == set()


def test_a_later_removal_by_the_current_binding_takes_the_proof_away(
    database: Database, new_binding: BindingMaker
) -> None:
    before = bound(database, new_binding("vip-before"))
    sent(database, before, Operation.ADD, people(1))
    binding = bound(database, new_binding())
    sent(database, binding, Operation.ADD, people(1))
    sent(database, binding, Operation.REMOVE, people(1))

    found = known(database, binding, people(1))

    assert (found.added, found.removed) == (set(), {b"user-1"})


def test_another_cohort_or_a_sync_at_work_proves_nothing(
    database: Database, new_binding: BindingMaker
) -> None:
    elsewhere = bound(database, new_binding("elsewhere"), cohort="c2")
    sent(database, elsewhere, Operation.ADD, people(1))
    neighbour = bound(database, new_binding("neighbour"))
    sent(database, neighbour, Operation.ADD, people(2))
    binding = bound(database, new_binding())

    found = known(database, binding, people(1, 2), neighbours=["neighbour"])
    gone = known(database, binding, people(1, 2))

    assert found.added == set()
    assert gone.added == {b"user-2"}, "once nobody works on it any more"


def test_a_former_target_that_is_written_again_is_ours(
    database: Database, new_binding: BindingMaker
) -> None:
    before = bound(database, new_binding(), role=Role.RETIRED)
    sent(database, before, Operation.ADD, people(1))
    binding = bound(database, new_binding())

    found = known(database, binding, people(1), neighbours=["vip"])

    assert found.added == {b"user-1"}


def test_the_first_plan_leaves_no_trace_so_nobody_of_it_is_called_ours(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = bound(database, new_binding())
    sent(database, binding, Operation.ADD, people(1), at=NOW)
    sent(database, binding, Operation.ADD, people(2))
    compaction.compact(database, binding.id)

    found = known(database, binding, people(1, 2, 3))

    assert found.traced == {b"user-2"}
    assert found.added == set()
    assert found.compared == 1


def test_the_newest_word_counts_whether_payload_or_trace(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = bound(database, new_binding())
    sent(database, binding, Operation.ADD, people(1, 2))
    sent(database, binding, Operation.REMOVE, people(1))
    compaction.compact(database, binding.id)
    sent(database, binding, Operation.REMOVE, people(2))

    found = known(database, binding, people(1, 2))

    assert (found.removed, found.traced) == ({b"user-1", b"user-2"}, set())


def test_who_was_offered_and_not_taken_is_neither_ours_nor_removed_by_us(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = bound(database, new_binding())
    sent(database, binding, Operation.ADD, people(1, 2), not_taken=people(2))

    found = known(database, binding, people(2))

    assert found == Authorship(compared=found.compared)


def test_every_plan_moves_the_moment_of_its_binding(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = bound(database, new_binding())
    with database.read() as connection:
        before = authorship.newest_moment(connection, binding)
    sent(database, binding, Operation.ADD, people(1))
    with database.read() as connection:
        after = authorship.newest_moment(connection, binding)

    assert before == (0, 0)
    assert after > before


def begun_anew(database: Database, sync: str, at: datetime) -> None:
    with database.begin() as connection:
        runs.begin(
            connection,
            run_id=f"resync-{sync}",
            sync_name=sync,
            slot=None,
            trigger=Trigger.RESYNC,
            config_hash="",
            now=at,
        )


def test_what_was_before_a_sync_began_anew_proves_nothing(
    database: Database, new_binding: BindingMaker
) -> None:
    before = bound(database, new_binding("vip-before"))
    sent(database, before, Operation.ADD, people(1))
    begun_anew(database, "vip-before", LATER + timedelta(minutes=1))
    binding = bound(database, new_binding())
    sent(database, binding, Operation.ADD, people(2))
    compaction.compact(database, binding.id)
    begun_anew(database, "vip", LATER + timedelta(hours=1))

    found = known(database, binding, people(1, 2))

    assert (found.added, found.traced) == (set(), set())


def test_what_an_earlier_sync_had_proves_nothing_once_the_one_after_it_began_anew(
    database: Database, new_binding: BindingMaker
) -> None:
    before = bound(database, new_binding("vip-before"))
    sent(database, before, Operation.ADD, people(1, 2))
    compaction.compact(database, before.id)
    sent(database, before, Operation.ADD, people(3))
    binding = bound(database, new_binding())
    begun_anew(database, "vip", LATER + timedelta(minutes=1))

    found = known(database, binding, people(1, 2, 3))

    assert (found.added, found.traced) == (set(), set())
