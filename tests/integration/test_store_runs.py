"""Runs and slots: whoever inserts a slot first runs it, and nothing is lost."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from syncd.model import Outcome, Trigger
from syncd.store import runs
from syncd.store.database import Database
from syncd.store.runs import Run

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def begin(
    database: Database,
    run_id: str = "run-1",
    sync: str = "vip",
    slot: datetime | None = None,
    trigger: Trigger = Trigger.SCHEDULE,
    now: datetime = NOW,
) -> bool:
    with database.begin() as connection:
        return runs.begin(
            connection,
            run_id=run_id,
            sync_name=sync,
            slot=slot,
            trigger=trigger,
            config_hash="c0ffee",
            now=now,
        )


def finish(
    database: Database, run_id: str, outcome: Outcome, now: datetime = NOW
) -> None:
    with database.begin() as connection:
        runs.finish(
            connection, run_id, outcome=outcome, reason=None, summary={}, now=now
        )


def ran(
    database: Database, run_id: str, outcome: Outcome, at: datetime, sync: str = "vip"
) -> None:
    begin(database, run_id, sync, now=at)
    finish(database, run_id, outcome, at)


def know(database: Database, name: str = "vip", now: datetime = NOW) -> datetime | None:
    with database.begin() as connection:
        return runs.know_sync(connection, name, now)


def last_slot(database: Database, name: str = "vip") -> datetime | None:
    with database.read() as connection:
        return runs.last_slot(connection, name)


def found(database: Database, run_id: str) -> list[str]:
    with database.read() as connection:
        return sorted(run.id for run in runs.find(connection, run_id))


def only(database: Database, run_id: str) -> Run:
    with database.read() as connection:
        (run,) = runs.find(connection, run_id)
    return run


def test_a_run_begins_in_progress_and_without_an_outcome(database: Database) -> None:
    assert begin(database, "run-1", slot=NOW)

    assert only(database, "run-1") == Run(
        id="run-1",
        sync="vip",
        slot=NOW,
        trigger=Trigger.SCHEDULE,
        outcome=None,
        reason=None,
        phase="collect",
        started_at=NOW,
        finished_at=None,
        hold_expires_at=None,
        plan_hash=None,
        config_hash="c0ffee",
        summary={},
    )


def test_a_finished_run_keeps_its_outcome_reason_and_numbers(
    database: Database,
) -> None:
    begin(database)
    with database.begin() as connection:
        runs.enter_phase(connection, "run-1", "deliver")
    assert only(database, "run-1").phase == "deliver"

    with database.begin() as connection:
        runs.finish(
            connection,
            "run-1",
            outcome=Outcome.PARTIAL,
            reason="delivery.rate_limited",
            summary={"entered": 3, "name": "VIP ü"},
            now=NOW + HOUR,
        )

    run = only(database, "run-1")
    assert (run.outcome, run.reason) == (Outcome.PARTIAL, "delivery.rate_limited")
    assert (run.phase, run.finished_at) == ("done", NOW + HOUR)
    assert run.summary == {"entered": 3, "name": "VIP ü"}


def test_a_run_that_was_closed_stays_as_it_was_closed(database: Database) -> None:
    """Found abandoned by one process, finished late by the one thought dead."""
    begin(database)
    answers = []
    for outcome in (Outcome.ABANDONED, Outcome.SUCCESS):
        with database.begin() as connection:
            closed = runs.finish(
                connection,
                "run-1",
                outcome=outcome,
                reason=None,
                summary={"by": outcome},
                now=NOW,
            )
        answers.append(closed)

    assert answers == [True, False]
    assert only(database, "run-1").outcome is Outcome.ABANDONED
    assert only(database, "run-1").summary == {"by": "abandoned"}


def test_a_slot_is_run_once(database: Database) -> None:
    assert begin(database, "run-1", slot=NOW)

    assert not begin(database, "run-2", slot=NOW, now=NOW + HOUR)

    assert found(database, "run-2") == []


def test_a_slot_that_is_taken_does_not_spoil_the_transaction_around_it(
    database: Database,
) -> None:
    begin(database, "run-1", slot=NOW)

    with database.begin() as connection:
        runs.know_sync(connection, "before", NOW)
        taken = runs.begin(
            connection,
            run_id="run-2",
            sync_name="vip",
            slot=NOW,
            trigger=Trigger.SCHEDULE,
            config_hash="c",
            now=NOW,
        )
        runs.know_sync(connection, "after", NOW)

    with database.read() as connection:
        known = [runs.first_seen(connection, name) for name in ("before", "after")]
    assert not taken
    assert known == [NOW, NOW]


def test_syncs_share_slots_and_runs_without_a_slot_do_not_meet(
    database: Database,
) -> None:
    assert begin(database, "run-1", sync="vip", slot=NOW)
    assert begin(database, "run-2", sync="churn", slot=NOW)
    assert begin(database, "run-3", sync="vip", trigger=Trigger.MANUAL)
    assert begin(database, "run-4", sync="vip", trigger=Trigger.MANUAL)


def test_a_slot_is_one_moment_in_whatever_zone_it_is_told(database: Database) -> None:
    elsewhere = datetime.fromisoformat("2026-03-01T17:30:00+05:30")
    assert elsewhere == NOW
    begin(database, "run-1", slot=NOW)

    assert not begin(database, "run-2", slot=elsewhere)


def test_threads_that_race_for_slots_run_each_slot_once(database: Database) -> None:
    slots = [NOW + number * HOUR for number in range(10)]
    together = threading.Barrier(4)
    won: list[datetime] = []

    def race(name: str) -> None:
        together.wait(timeout=30)
        for slot in slots:
            if begin(database, f"{name}-{slot:%H}", slot=slot):
                won.append(slot)

    threads = [threading.Thread(target=race, args=[f"t{n}"]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(won) == slots


def test_a_skipped_slot_is_recorded_with_its_reason_and_never_runs(
    database: Database,
) -> None:
    know(database)
    with database.begin() as connection:
        skipped = runs.skip(
            connection,
            run_id="run-1",
            sync_name="vip",
            slot=NOW,
            reason="overlap",
            config_hash="c",
            now=NOW,
        )

    run = only(database, "run-1")
    assert skipped
    assert (run.outcome, run.reason) == (Outcome.SKIPPED, "overlap")
    assert run.finished_at == NOW
    assert last_slot(database) == NOW
    assert not begin(database, "run-2", slot=NOW)


def test_a_slot_that_was_run_cannot_be_skipped(database: Database) -> None:
    begin(database, "run-1", slot=NOW)

    with database.begin() as connection:
        skipped = runs.skip(
            connection,
            run_id="run-2",
            sync_name="vip",
            slot=NOW,
            reason="overlap",
            config_hash="c",
            now=NOW,
        )

    assert not skipped
    assert only(database, "run-1").outcome is None


def test_a_new_sync_has_no_slot_behind_it(database: Database) -> None:
    assert know(database) is None
    assert last_slot(database) is None
    with database.read() as connection:
        assert runs.first_seen(connection, "vip") == NOW
        assert runs.first_seen(connection, "never") is None


def test_knowing_a_sync_again_keeps_when_it_was_first_seen(database: Database) -> None:
    know(database)
    begin(database, "run-1", slot=NOW)

    assert know(database, now=NOW + HOUR) == NOW
    with database.read() as connection:
        assert runs.first_seen(connection, "vip") == NOW


def test_replicas_that_meet_a_new_sync_together_both_know_it(
    database: Database,
) -> None:
    together = threading.Barrier(4)
    answers: list[datetime | None] = []

    def meet() -> None:
        with database.begin() as connection:
            if database.dialect == "postgresql":
                together.wait(timeout=30)  # all inside their transactions
            answers.append(runs.know_sync(connection, "vip", NOW))

    threads = [threading.Thread(target=meet) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [None] * 4


def test_the_last_slot_never_goes_back(database: Database) -> None:
    know(database)
    begin(database, "run-1", slot=NOW + HOUR)

    begin(database, "run-2", slot=NOW)

    assert last_slot(database) == NOW + HOUR


def test_a_run_without_a_slot_moves_no_slot(database: Database) -> None:
    know(database)

    begin(database, "run-1", trigger=Trigger.MANUAL)

    assert last_slot(database) is None


def test_a_run_is_found_by_its_id_and_by_its_ending(database: Database) -> None:
    first = "019c9a10-0000-7000-8000-0000deadbeef"
    second = "019c9a10-0000-7000-8000-0000cafebabe"
    begin(database, first)
    begin(database, second)

    assert found(database, first) == [first]
    assert only(database, first).short_id == "deadbeef"
    assert found(database, "deadbeef") == [first]
    assert found(database, "cafebabe") == [second]
    assert found(database, "00000000") == []


def test_an_ambiguous_ending_finds_more_than_one_run(database: Database) -> None:
    for start in ("a", "b", "c"):
        begin(database, f"{start}-beef")

    assert len(found(database, "beef")) == 2


@pytest.mark.parametrize("pattern", ["%", "_", "run_1", "r%1", "\\"])
def test_signs_of_a_pattern_are_looked_for_as_they_are(
    database: Database, pattern: str
) -> None:
    begin(database, "run-1")

    assert found(database, pattern) == []


def test_an_id_with_signs_of_a_pattern_is_found(database: Database) -> None:
    begin(database, "odd_%\\id")

    assert found(database, "_%\\id") == ["odd_%\\id"]


def test_unfinished_runs_are_found_oldest_first(database: Database) -> None:
    begin(database, "run-2", now=NOW + HOUR)
    begin(database, "run-1", sync="churn", now=NOW)
    ran(database, "run-3", Outcome.SUCCESS, NOW)

    with database.read() as connection:
        every = [run.id for run in runs.unfinished(connection)]
        of_vip = [run.id for run in runs.unfinished(connection, "vip")]

    assert every == ["run-1", "run-2"]
    assert of_vip == ["run-2"]


def test_the_latest_runs_come_newest_first(database: Database) -> None:
    ran(database, "run-1", Outcome.SUCCESS, NOW)
    ran(database, "run-2", Outcome.FAILED, NOW + HOUR)
    ran(database, "run-3", Outcome.SUCCESS, NOW + 2 * HOUR, sync="churn")

    with database.read() as connection:
        newest = runs.latest(connection)
        every = runs.latest(connection, limit=10)
        of_vip = runs.latest(connection, sync_name="vip", limit=10)
        good = runs.latest(connection, outcomes=runs.OK, limit=10)

    assert [run.id for run in newest] == ["run-3"]
    assert [run.id for run in every] == ["run-3", "run-2", "run-1"]
    assert [run.id for run in of_vip] == ["run-2", "run-1"]
    assert [run.id for run in good] == ["run-3", "run-1"]


def test_failures_are_counted_since_the_last_good_run(database: Database) -> None:
    outcomes = [
        Outcome.FAILED,
        Outcome.NO_CHANGE,
        Outcome.FAILED,
        Outcome.SKIPPED,
        Outcome.FAILED,
    ]
    for number, outcome in enumerate(outcomes):
        ran(database, f"run-{number}", outcome, NOW + number * HOUR)

    with database.read() as connection:
        assert runs.failures_in_a_row(connection, "vip") == 2
        assert runs.failures_in_a_row(connection, "churn") == 0


def test_a_sync_that_never_succeeded_counts_every_failure(database: Database) -> None:
    for number in range(3):
        ran(database, f"run-{number}", Outcome.FAILED, NOW + number * HOUR)

    with database.read() as connection:
        assert runs.failures_in_a_row(connection, "vip") == 3


def test_a_held_run_waits_for_a_person_until_it_is_settled(database: Database) -> None:
    begin(database, "run-1")
    with database.begin() as connection:
        runs.hold(
            connection,
            "run-1",
            plan_hash="abc",
            expires_at=NOW + 24 * HOUR,
        )
    finish(database, "run-1", Outcome.HELD)

    with database.begin() as connection:
        waiting = runs.waiting_for_a_person(connection, "vip", lock=True)
        assert runs.waiting_for_a_person(connection, "churn") is None
        runs.settle_hold(connection, "run-1")
        settled = runs.waiting_for_a_person(connection, "vip")

    assert waiting is not None
    assert waiting.plan_hash == "abc"
    assert waiting.hold_expires_at == NOW + 24 * HOUR
    assert settled is None
    assert only(database, "run-1").plan_hash == "abc"
