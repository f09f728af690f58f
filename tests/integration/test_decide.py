"""A person's decision on a held plan: exactly what was shown, or nothing."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from structlog.types import EventDict

from syncd.app import commands
from syncd.app.engine import Engine
from syncd.config.settings import GuardSettings, ToCohort
from syncd.model import IdType, Operation, Outcome, Trigger
from syncd.store import bindings
from syncd.store.bindings import Role
from syncd.sync.beginning import WaitsForPerson
from syncd.sync.decide import Decision, NotDecidable
from syncd.sync.spec import Report
from tests.builders import (
    LOST_ANSWER,
    REFUSED,
    UNAUTHORIZED,
    Mortal,
    World,
    believed,
    canonical,
    cohort_of,
    held_run,
    people,
    rows,
)

STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")
SECOND = timedelta(seconds=1)


def advance(world: World, by: timedelta = SECOND) -> None:
    world.clock.advance(by)  # type: ignore[attr-defined]


def run(engine: Engine, world: World) -> Report:
    advance(world)
    report = engine.run("vip", Trigger.MANUAL)
    assert report is not None
    return report


def decision(world: World, run_id: str = "") -> Decision:
    held = held_run(world.database)
    if not run_id:
        assert held is not None
        run_id = held.id
    return Decision(run_id=run_id, actor="ann", via="cli", reason="a sale ended")


def approve(engine: Engine, world: World) -> Report:
    advance(world)
    report = engine.approve(decision(world))
    assert report is not None
    return report


@contextmanager
def holding(world: World, *, left: set[bytes], **changes: Any) -> Iterator[Engine]:
    """Ten people are members; the source lists only `left`, and that plan is held."""
    world.sync(members=people(*range(10)), guard=STRICT, **changes)
    world.vendor.known |= people(*range(40))
    with world.engine() as engine:
        assert run(engine, world).outcome is Outcome.SUCCESS
        world.sources["vip"].members = left
        assert run(engine, world).outcome is Outcome.HELD
        world.vendor.requests.clear()
        yield engine


# ---- while it is held ---------------------------------------------------------------


def test_a_decision_waits_for_the_due_run_that_looks_at_the_held_plan(
    world: World,
) -> None:
    looking, go = threading.Event(), threading.Event()

    def look() -> None:
        with engine.alone("vip"):
            looking.set()
            go.wait(10)

    with holding(world, left=people(1)) as engine, ThreadPoolExecutor() as threads:
        due = threads.submit(look)
        assert looking.wait(10)
        rejected = threads.submit(engine.reject, decision(world))
        assert not wait([rejected], timeout=0.1).done

        go.set()
        due.result(10)
        rejected.result(10)

    assert held_run(world.database) is None


def test_a_held_plan_sends_nothing_and_reads_nothing_until_it_is_decided_on(
    world: World,
) -> None:
    with holding(world, left=people(1)) as engine:
        reads = world.sources["vip"].reads
        with pytest.raises(WaitsForPerson) as refusal:
            run(engine, world)

    assert refusal.value.code == "sync.held"
    assert "syncd show" in refusal.value.hint
    assert world.vendor.requests == []
    assert world.sources["vip"].reads == reads
    assert believed(world.database).acknowledged == people(*range(10))
    assert believed(world.database).uncertain == frozenset()


def test_an_empty_source_is_held_however_small_the_audience(world: World) -> None:
    world.sync(members=people(1))
    world.vendor.known = people(1)
    with world.engine() as engine:
        run(engine, world)
        world.sources["vip"].members = set()
        report = run(engine, world)

    assert (report.outcome, report.reason) == (Outcome.HELD, "guard.empty_source")
    assert world.vendor.cohort.members == people(1)


def test_a_plan_whose_run_died_before_it_was_told_is_made_and_told_anew(
    world: World, lines: list[EventDict]
) -> None:
    store = Mortal(world.database)
    world.sync(members=people(*range(10)), guard=STRICT)
    world.vendor.known = people(*range(10))
    with world.engine(store) as engine:
        run(engine, world)
        world.sources["vip"].members = people(1)
        store.die_at(4)  # looked for an expired plan, begun, held: could not be closed
        cut_off = run(engine, world)
    assert cut_off.outcome is Outcome.HELD
    assert held_run(world.database) is not None

    with world.engine() as engine:
        advance(world)
        assert engine.close_abandoned() == ["vip"]
        again = engine.resume("vip")
        assert again is not None
        assert again.outcome is Outcome.HELD
        report = approve(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1)
    told = canonical(lines)
    assert told[cut_off.run_id] == told[again.run_id] == 1


# ---- approve ------------------------------------------------------------------------


def test_an_approval_sends_exactly_the_plan_that_was_shown(
    world: World, lines: list[EventDict]
) -> None:
    with holding(world, left=people(1, 2, 30)) as engine:
        shown = held_run(world.database)
        assert shown is not None
        world.sources["vip"].members = people(*range(20))
        report = approve(engine, world)
        after = run(engine, world)

    assert (report.trigger, report.outcome) == (Trigger.APPROVE, Outcome.SUCCESS)
    assert report.numbers["approves"] == shown.id
    assert report.numbers["members_after"] == 3
    sent = [r for r in world.vendor.requests if r.run_id == report.run_id]
    assert {each for r in sent for each in r.ids} == people(30, 0, *range(3, 10))
    assert after.outcome is Outcome.HELD, "the source says something else by now"
    assert world.vendor.cohort.members == people(1, 2, 30)
    actions = "SELECT verb, actor, reason, plan_hash FROM action"
    assert rows(world.database, actions) == [
        ("approve", "ann", "a sale ended", shown.plan_hash)
    ]
    assert [line for line in lines if line["event"] == "guard.approved"]


def test_an_approved_plan_is_followed_by_quiet(world: World) -> None:
    with holding(world, left=people(1)) as engine:
        approve(engine, world)
        after = run(engine, world)

    assert after.outcome is Outcome.NO_CHANGE
    assert world.vendor.cohort.members == people(1)


@pytest.mark.parametrize("trouble", [UNAUTHORIZED, REFUSED])
def test_an_approval_takes_the_place_of_open_and_dead_batches(
    world: World, trouble: object
) -> None:
    world.sync(members=people(*range(10)), guard=STRICT)
    world.vendor.known |= people(*range(40))
    with world.engine() as engine:
        run(engine, world)
        world.sources["vip"].members |= people(30)
        world.vendor.script.append(trouble)  # type: ignore[arg-type]
        assert run(engine, world).outcome is not Outcome.SUCCESS
        assert believed(world.database).uncertain == people(30)
        advance(world, timedelta(minutes=20))
        world.sources["vip"].members = people(1)
        assert run(engine, world).outcome is Outcome.HELD
        report = approve(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert people(30) <= set(world.vendor.sent(Operation.REMOVE))
    assert world.vendor.cohort.members == people(1)


def test_an_approval_that_was_cut_off_is_resumed(world: World) -> None:
    with holding(world, left=people(1)) as engine:
        world.vendor.watch = lambda _: engine.stop()
        stopped = approve(engine, world)
    world.vendor.watch = lambda _: None
    advance(world)

    with world.engine() as engine:
        assert engine.close_abandoned() == ["vip"]
        resumed = engine.resume("vip")

    assert stopped.outcome is Outcome.INTERRUPTED
    assert resumed is not None
    assert resumed.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1)


def test_an_approval_cannot_be_carried_out_while_the_connection_is_stopped(
    world: World,
) -> None:
    world.sync(members=people(*range(10)), guard=STRICT)
    world.vendor.known |= people(*range(40))
    with world.engine() as engine:
        run(engine, world)
        world.sources["vip"].members = people(1)
        run(engine, world)
        with world.database.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO connection (name, stopped_at, stopped_reason, "
                    "probe_at) VALUES ('amplitude', '2026-03-02', 'revoked', "
                    "'2026-04-01')"
                )
            )
        report = approve(engine, world)

    assert report.outcome is Outcome.FAILED
    assert held_run(world.database) is not None, "the plan still waits"


# ---- what cannot be decided on ------------------------------------------------------


def test_a_plan_expires_after_a_day_and_the_next_run_makes_it_anew(
    world: World, lines: list[EventDict]
) -> None:
    with holding(world, left=people(1)) as engine:
        first = decision(world)
        advance(world, timedelta(hours=24))
        with pytest.raises(NotDecidable) as refusal:
            engine.approve(first)
        again = run(engine, world)

    assert refusal.value.code == "hold.expired"
    assert again.outcome is Outcome.HELD
    held = held_run(world.database)
    assert held is not None
    assert held.id == again.run_id
    (line,) = [line for line in lines if line["event"] == "guard.expired"]
    assert line["run_id"] == first.run_id
    states = rows(world.database, "SELECT DISTINCT state, run_id FROM batch")
    assert ("held", again.run_id) in states
    assert ("held", first.run_id) not in states


def test_a_plan_is_not_approved_under_another_configuration(world: World) -> None:
    with holding(world, left=people(1)):
        pass
    world.sources["vip"].named = "another query"

    with world.engine() as engine:
        with pytest.raises(NotDecidable) as refusal:
            approve(engine, world)
        engine.reject(decision(world))

    assert refusal.value.code == "hold.changed"
    assert held_run(world.database) is None
    assert world.vendor.requests == []


def test_only_the_run_that_holds_a_plan_can_be_decided_on(world: World) -> None:
    with holding(world, left=people(1)) as engine:
        (done,) = rows(world.database, "SELECT id FROM run WHERE outcome = 'success'")
        for run_id in (done[0], "nonsense"):
            with pytest.raises(NotDecidable):
                engine.approve(decision(world, run_id))
            with pytest.raises(NotDecidable):
                engine.reject(decision(world, run_id))

    assert held_run(world.database) is not None
    assert world.vendor.requests == []


def test_a_decision_names_a_run_by_its_last_eight_characters(world: World) -> None:
    asked = {"actor": "ann", "via": "socket", "reason": "sale"}
    with holding(world, left=people(1)) as engine:
        held = held_run(world.database)
        assert held is not None
        with pytest.raises(NotDecidable) as refusal:
            commands.approve(engine, asked | {"run": "00000000"})
        answer = commands.approve(engine, asked | {"run": held.short_id})

    assert refusal.value.code == "run.unknown"
    assert answer["run"]["outcome"] == "success"


# ---- reject -------------------------------------------------------------------------


def test_a_rejected_plan_is_gone_and_the_baseline_stays(
    world: World, lines: list[EventDict]
) -> None:
    with holding(world, left=people(1)) as engine:
        engine.reject(decision(world))
        known = believed(world.database)
        world.sources["vip"].members = people(*range(10))
        after = run(engine, world)

    assert known.acknowledged == people(*range(10))
    assert rows(world.database, "SELECT count(*) FROM batch WHERE state='held'") == [
        (0,)
    ]
    assert after.outcome is Outcome.NO_CHANGE
    assert rows(world.database, "SELECT verb, via FROM action") == [("reject", "cli")]
    assert [line for line in lines if line["event"] == "guard.rejected"]


# ---- another identity ---------------------------------------------------------------


def roles(world: World) -> list[Role]:
    with world.database.read() as connection:
        return [each.role for each in bindings.of_sync(connection, "vip")]


def test_another_query_with_the_same_people_needs_no_approval(world: World) -> None:
    world.sync(members=people(1, 2))
    world.vendor.known = people(1, 2)
    with world.engine() as engine:
        run(engine, world)
    world.sources["vip"].named = "another query"

    with world.engine() as engine:
        first, second = run(engine, world), run(engine, world)

    assert first.outcome in (Outcome.SUCCESS, Outcome.NO_CHANGE)
    assert second.outcome is Outcome.NO_CHANGE


def test_another_cohort_is_filled_and_the_old_one_left_as_it_is(world: World) -> None:
    world.sync(members=people(1, 2))
    world.vendor.known = people(1, 2)
    with world.engine() as engine:
        run(engine, world)
    target = replace(cohort_of(world.syncs["vip"]), cohort="Another")
    world.sync(members=people(1, 2), target=target)

    with world.engine() as engine:
        held = run(engine, world)
        before = len(world.vendor.requests)
        report = approve(engine, world)
        after = run(engine, world)

    assert (held.outcome, held.reason) == (Outcome.HELD, "guard.identity")
    assert report.outcome is Outcome.SUCCESS
    assert after.outcome is Outcome.NO_CHANGE
    old, new = world.vendor.cohorts.values()
    assert (old.name, old.members) == ("Cohort vip", people(1, 2))
    assert (new.name, new.members) == ("Another", people(1, 2))
    assert {r.cohort for r in world.vendor.requests[before:]} == {None, new.id}
    assert roles(world) == [Role.RETIRED, Role.CURRENT]


def test_a_rejected_change_of_the_cohort_leaves_no_trace(world: World) -> None:
    world.sync(members=people(1, 2))
    world.vendor.known = people(1, 2)
    with world.engine() as engine:
        run(engine, world)
    before = cohort_of(world.syncs["vip"])
    world.sync(target=replace(before, cohort="Another"))
    with world.engine() as engine:
        run(engine, world)
        engine.reject(decision(world))
    world.sync(target=before)

    with world.engine() as engine:
        after = run(engine, world)

    assert after.outcome is Outcome.NO_CHANGE
    assert roles(world) == [Role.CURRENT]


NUMBERS = {b"7001", b"7002", b"7003", b"7004"}


@contextmanager
def another_id_type(world: World) -> Iterator[Engine]:
    """Seven people are members by user id; the plan to use their numbers is held."""
    named = ToCohort(
        connection="amplitude", cohort_id=None, cohort="Cohort vip", owner="o"
    )
    world.sync(members=people(*range(7)), target=named)
    world.vendor.known = people(*range(7)) | NUMBERS
    with world.engine() as engine:
        assert run(engine, world).outcome is Outcome.SUCCESS
    world.sync(target=named, match=IdType.AMPLITUDE_ID)
    world.sources["vip"].members = set(NUMBERS)
    with world.engine() as engine:
        assert run(engine, world).reason == "guard.identity"
        world.vendor.requests.clear()
        yield engine


def test_another_id_type_empties_the_cohort_of_the_old_ids_first(world: World) -> None:
    with another_id_type(world) as engine:
        report = approve(engine, world)
        after = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert after.outcome is Outcome.NO_CHANGE
    assert world.vendor.cohort.members == NUMBERS
    kinds = [request.operation for request in world.vendor.requests]
    assert kinds == sorted(kinds, reverse=True), "every REMOVE before the first ADD"
    assert roles(world) == [Role.RETIRED, Role.CURRENT]


def test_the_old_ids_are_still_removed_first_after_trouble(world: World) -> None:
    with another_id_type(world) as engine:
        world.vendor.largest = 2  # halves get later keys than the ADD batches
        world.vendor.script.extend([None, LOST_ANSWER, UNAUTHORIZED])
        assert approve(engine, world).outcome is Outcome.FAILED
        advance(world, timedelta(minutes=20))
        healed = run(engine, world)

    assert healed.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == NUMBERS
    kinds = [request.operation for request in world.vendor.requests]
    assert kinds == sorted(kinds, reverse=True)
    assert roles(world) == [Role.RETIRED, Role.CURRENT]


def test_a_refused_removal_of_old_ids_is_never_made_after_the_new_ones(
    world: World,
) -> None:
    with another_id_type(world) as engine:
        world.vendor.script.append(REFUSED)
        refused = approve(engine, world)
        healed = run(engine, world)

    assert refused.outcome is not Outcome.SUCCESS
    assert healed.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == NUMBERS
    kinds = [request.operation for request in world.vendor.requests]
    assert kinds == sorted(kinds, reverse=True), "it would remove the same people"


# ---- a lost baseline ----------------------------------------------------------------


def test_a_lost_baseline_is_held_and_an_approval_builds_it_anew(
    world: World, lines: list[EventDict]
) -> None:
    world.sync(members=people(*range(9)))
    world.vendor.known = people(*range(9))
    with world.engine() as engine:
        run(engine, world)
        advance(world, timedelta(hours=25))
        world.sources["vip"].members |= people(20)
        world.vendor.known |= people(20)
        run(engine, world)
        with world.database.begin() as connection:
            assert connection.execute(text("DELETE FROM chunk")).rowcount
        held = run(engine, world)
        report = approve(engine, world)
        after = run(engine, world)

    assert (held.outcome, held.reason) == (Outcome.HELD, "guard.baseline")
    assert [line for line in lines if line["event"] == "baseline.missing"]
    assert report.outcome is Outcome.SUCCESS
    assert after.outcome is Outcome.NO_CHANGE
    assert believed(world.database).acknowledged == people(*range(9), 20)
