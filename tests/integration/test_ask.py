"""A source that is asked before it is read: marks, no for an answer, refusals."""

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.types import EventDict

from syncd.app.engine import Engine
from syncd.config.settings import GuardSettings
from syncd.errors import DeliveryError, Fault, SourceUnavailable
from syncd.model import Outcome, Trigger
from syncd.sources import Postponed
from syncd.store import bindings, connections, leases
from syncd.store.bindings import Binding
from syncd.sync.beginning import Busy
from syncd.sync.decide import Decision
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    NOW,
    REFUSED,
    UNAUTHORIZED,
    AskedSource,
    FakeVendor,
    World,
    cohort_of,
    people,
)

SECOND = timedelta(seconds=1)
STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")
NO_QUOTA = Postponed(
    reason="quota", message="450 of 450 downloads are spent", until=NOW
)


def run(engine: Engine, world: World, trigger: Trigger = Trigger.SCHEDULE) -> Report:
    world.clock.advance(SECOND)  # type: ignore[attr-defined]
    slot = world.clock.now() if trigger is Trigger.SCHEDULE else None
    report = engine.run("vip", trigger, slot)
    assert report is not None
    return report


def binding(world: World) -> Binding:
    with world.database.read() as connection:
        found = bindings.current(connection, "vip")
    assert found is not None
    return found


@pytest.fixture
def source(world: World) -> AskedSource:
    """Twelve people whom the destination knows."""
    asked = world.asked(people(*range(12)), guard=STRICT)
    world.vendor.known |= people(*range(100))
    return asked


def test_the_mark_of_the_list_a_plan_was_made_from_is_kept_with_the_plan(
    world: World, source: AskedSource
) -> None:
    with world.engine() as engine:
        assert run(engine, world).outcome is Outcome.SUCCESS

    assert source.questions[0].mark is None
    assert binding(world).source_mark == "1"


def test_an_unchanged_source_is_not_read_and_nothing_is_sent(
    world: World, source: AskedSource
) -> None:
    with world.engine() as engine:
        run(engine, world)
        sent = len(world.vendor.requests)
        report = run(engine, world)

    assert report.outcome is Outcome.NO_CHANGE
    assert (source.reads, len(world.vendor.requests)) == (1, sent)


def test_an_unchanged_source_lets_the_open_batches_go_again(
    world: World, source: AskedSource
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.members |= people(50)
        source.version = "2"
        world.vendor.always = FAILED_BEFORE
        assert run(engine, world).outcome is Outcome.PARTIAL
        world.vendor.always = None
        report = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert source.reads == 2
    assert world.vendor.cohort.members == source.members


def test_a_source_that_moved_and_lists_the_same_people_is_not_asked_for_again(
    world: World, source: AskedSource
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.version = "2"
        assert run(engine, world).outcome is Outcome.NO_CHANGE
        assert run(engine, world).outcome is Outcome.NO_CHANGE

    assert source.reads == 2
    assert binding(world).source_mark == "2"


def test_a_held_plan_marks_nothing_and_an_approved_one_marks_what_it_was_made_from(
    world: World, source: AskedSource
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.members -= people(*range(8))
        source.version = "2"
        held = run(engine, world)
        assert held.outcome is Outcome.HELD
        assert binding(world).source_mark == "1"
        engine.approve(Decision(run_id=held.run_id, actor="a", via="cli", reason="ok"))

    assert binding(world).source_mark == "2"
    assert world.vendor.cohort.members == source.members


def test_after_a_rejected_plan_the_source_is_asked_as_before_it(
    world: World, source: AskedSource
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.members -= people(*range(8))
        source.version = "2"
        held = run(engine, world)
        engine.reject(Decision(run_id=held.run_id, actor="a", via="cli", reason="no"))
        run(engine, world)

    assert [question.mark for question in source.questions] == [None, "1", "1"]


def test_a_postponed_list_skips_the_run_and_says_why(
    world: World, source: AskedSource, lines: list[EventDict]
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.answer = NO_QUOTA
        report = run(engine, world)

    assert (report.outcome, report.reason) == (Outcome.SKIPPED, "quota")
    assert report.message == NO_QUOTA.message
    (line,) = [each for each in lines if each["event"] == "run.skipped"]
    assert (line["reason"], line["log_level"]) == ("quota", "warning")


def test_a_postponed_list_never_holds_up_what_is_to_be_sent(
    world: World, source: AskedSource
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.members |= people(50)
        source.version = "2"
        world.vendor.always = FAILED_BEFORE
        run(engine, world)
        world.vendor.always = None
        source.answer = NO_QUOTA
        report = run(engine, world)

    assert (report.outcome, report.reason) == (Outcome.SKIPPED, "quota")
    assert world.vendor.cohort.members == people(*range(12), 50)


def test_people_due_to_be_offered_again_are_offered_when_the_list_is_free(
    world: World, source: AskedSource
) -> None:
    world.vendor.known -= people(3)
    with world.engine() as engine:
        run(engine, world)
        world.vendor.known |= people(3)
        world.clock.advance(timedelta(hours=2))  # type: ignore[attr-defined]
        report = run(engine, world)

    assert source.questions[-1].again
    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == source.members


def test_another_identity_asks_for_the_whole_list(
    world: World, source: AskedSource
) -> None:
    with world.engine() as engine:
        run(engine, world)
    source.named = "another query"
    with world.engine() as engine:
        run(engine, world)

    assert source.questions[-1].mark is None


def test_people_without_an_id_are_counted(world: World, source: AskedSource) -> None:
    source.anonymous = 7

    with world.engine() as engine:
        report = run(engine, world)

    assert report.numbers["refused"] == {"anonymous": 7}


def test_only_a_person_may_touch_the_reserve(world: World, source: AskedSource) -> None:
    with world.engine() as engine:
        run(engine, world, Trigger.SCHEDULE)
        run(engine, world, Trigger.MANUAL)

    assert [question.by_person for question in source.questions] == [False, True]


def test_credentials_refused_by_the_source_stop_the_connection_read_from(
    world: World, source: AskedSource
) -> None:
    source.refuses = DeliveryError(
        "Invalid API Key", fault=Fault.CREDENTIALS, error_type="auth", status=403
    )

    with world.engine() as engine:
        report = run(engine, world)

    assert (report.outcome, report.error_type) == (Outcome.FAILED, "auth")
    with world.database.read() as connection:
        assert connections.get(connection, "engage").stopped_at is not None
        assert connections.get(connection, "amplitude").stopped_at is None


def test_a_source_that_does_not_answer_fails_the_run_and_sends_nothing(
    world: World, source: AskedSource
) -> None:
    source.refuses = FAILED_BEFORE.error()

    with world.engine() as engine:
        report = run(engine, world)

    assert (report.outcome, report.reason) == (Outcome.FAILED, "source.http_5xx")
    assert world.vendor.requests == []


def test_a_target_that_refuses_us_spends_no_question(
    world: World, source: AskedSource
) -> None:
    world.vendor.script.append(UNAUTHORIZED)
    with world.engine() as engine:
        assert run(engine, world).outcome is Outcome.FAILED
        assert run(engine, world).outcome is Outcome.FAILED

    assert len(source.questions) == 1


def test_credentials_refused_while_the_list_is_read_stop_the_connection_read_from(
    world: World, source: AskedSource
) -> None:
    def refuse() -> None:
        raise DeliveryError(
            "Invalid API Key", fault=Fault.CREDENTIALS, error_type="auth", status=403
        )

    source.while_reading = refuse
    with world.engine() as engine:
        report = run(engine, world)

    assert (report.outcome, report.error_type) == (Outcome.FAILED, "auth")
    with world.database.read() as connection:
        assert connections.get(connection, "engage").stopped_at is not None


def test_a_source_that_was_told_to_stop_interrupts_the_run(
    world: World, source: AskedSource
) -> None:
    def stop() -> None:
        raise SourceUnavailable("asked to stop", code="source.interrupted")

    source.while_reading = stop
    with world.engine() as engine:
        report = run(engine, world)

    assert (report.outcome, report.reason) == (Outcome.INTERRUPTED, "shutdown")


# ---- what a no must not do -----------------------------------------------------------


def test_open_batches_of_another_target_stay_here_while_the_list_is_postponed(
    world: World, source: AskedSource
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.members |= people(50)
        source.version = "2"
        world.vendor.always = FAILED_BEFORE
        run(engine, world)
    other = FakeVendor(known=people(*range(100)))
    world.vendors["elsewhere"] = other
    before = cohort_of(world.syncs["vip"])
    world.syncs["vip"] = replace(
        world.syncs["vip"], target=replace(before, connection="elsewhere")
    )
    source.answer = NO_QUOTA

    with world.engine() as engine:
        report = run(engine, world)

    assert other.requests == []
    assert report.outcome is Outcome.PARTIAL, "a batch still waits"


def test_a_dead_batch_is_not_hidden_by_a_postponed_list(
    world: World, source: AskedSource
) -> None:
    with world.engine() as engine:
        run(engine, world)
        source.members |= people(50)
        source.version = "2"
        world.vendor.script.append(REFUSED)
        assert run(engine, world).numbers["dead"] == 1
        source.answer = NO_QUOTA
        report = run(engine, world)

    assert report.outcome is Outcome.PARTIAL


def test_a_run_that_was_cut_off_and_then_postponed_is_not_resumed_for_ever(
    world: World, source: AskedSource
) -> None:
    def stop() -> None:
        raise SourceUnavailable("asked to stop", code="source.interrupted")

    source.while_reading = stop
    with world.engine() as engine:
        assert run(engine, world).outcome is Outcome.INTERRUPTED
        source.answer = NO_QUOTA
        world.clock.advance(SECOND)  # type: ignore[attr-defined]

        first = engine.close_abandoned()
        engine.resume("vip")

        assert first == ["vip"]
        assert engine.close_abandoned() == []


def test_a_list_is_fetched_for_a_person_by_one_process_at_a_time(
    world: World, source: AskedSource
) -> None:
    with world.database.begin() as connection:
        leases.acquire(connection, "vip", "elsewhere/1/1", NOW)

    with (
        world.engine() as engine,
        pytest.raises(Busy, match="by process 1 on elsewhere"),
    ):
        engine.fetch("vip")

    assert source.questions == []


def test_a_sync_may_run_once_its_list_was_fetched_for_a_person(
    world: World, source: AskedSource
) -> None:
    with world.engine() as engine:
        engine.fetch("vip")
        report = run(engine, world)

    assert report.outcome is Outcome.SUCCESS


def test_two_syncs_that_turn_out_to_write_one_cohort_are_held(world: World) -> None:
    world.sync("vip", members=people(1, 2, 3))
    world.vendor.known |= people(1, 2, 3)
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)
    named = replace(
        cohort_of(world.syncs["vip"]), cohort_id=world.vendor.cohort.id, cohort="VIP"
    )
    world.sync("again", members=people(1), target=named)

    with world.engine() as engine:
        report = engine.run("again", Trigger.MANUAL)

    assert report is not None
    assert (report.outcome, report.reason) == (Outcome.HELD, "target.shared")
    assert world.vendor.cohort.members == people(1, 2, 3)


# ---- a target that cannot be asked for free ------------------------------------------


def test_a_stopped_partner_is_tried_with_an_open_batch_before_anything_is_read(
    world: World, source: AskedSource
) -> None:
    world.vendor.can_probe = False
    world.vendor.script.append(UNAUTHORIZED)
    with world.engine() as engine:
        assert run(engine, world).outcome is Outcome.FAILED
        asked = len(source.questions)
        world.clock.advance(timedelta(minutes=20))  # type: ignore[attr-defined]
        engine.probe_connections()
        world.vendor.always = UNAUTHORIZED

        again = run(engine, world)

        assert (again.outcome, again.error_type) == (Outcome.FAILED, "auth")
        assert len(source.questions) == asked, "no download for a target that refuses"
        world.vendor.always = None
        world.clock.advance(timedelta(minutes=20))  # type: ignore[attr-defined]
        assert run(engine, world).outcome is Outcome.SUCCESS
        assert run(engine, world).outcome is Outcome.NO_CHANGE

    assert world.vendor.cohort.members == source.members
    with world.database.read() as connection:
        assert connections.get(connection, "amplitude").stopped_at is None


def test_a_trial_after_which_the_log_was_compacted_is_no_lost_baseline(
    world: World, source: AskedSource
) -> None:
    world.vendor.can_probe = False
    with world.engine() as engine:
        run(engine, world)
        source.members, source.version = source.members - people(1), "2"
        world.vendor.script.append(UNAUTHORIZED)
        assert run(engine, world).outcome is Outcome.FAILED
        source.members, source.version = source.members - people(2), "3"
        world.clock.advance(timedelta(hours=25))  # type: ignore[attr-defined]

        report = run(engine, world)

    assert (report.outcome, report.reason) == (Outcome.SUCCESS, "")
    assert world.vendor.cohort.members == source.members


def test_a_stopped_partner_is_left_alone_until_its_time(
    world: World, source: AskedSource
) -> None:
    world.vendor.can_probe = False
    world.vendor.script.append(UNAUTHORIZED)
    with world.engine() as engine:
        run(engine, world)
        sent = len(world.vendor.requests)
        assert run(engine, world).outcome is Outcome.FAILED

    assert len(world.vendor.requests) == sent
