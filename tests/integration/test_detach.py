"""Letting a target go: nothing is left of it in the store, and nobody is forgotten by
accident. On SQLite and on Postgres, with the fake destination of the builders.
"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.types import EventDict

from syncd.app import detaching
from syncd.app.doctor.findings import Verdict
from syncd.app.doctor.store import look
from syncd.app.engine import Engine, UnknownSync
from syncd.config.settings import GuardSettings, StoreSettings
from syncd.model import Operation, Outcome, Trigger
from syncd.store import bindings, leases, pauses, runs
from syncd.store.database import Database
from syncd.store.pauses import Paused
from syncd.sync.beginning import Busy, WaitsForPerson
from syncd.sync.decide import Decision
from syncd.sync.detach import NotDetachable
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    LOST_ANSWER,
    REFUSED,
    Mortal,
    World,
    believed,
    cohort_of,
    people,
    rows,
)

STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")
ASKED = {"sync": "vip", "actor": "ann", "via": "cli", "reason": "the campaign is over"}
KEPT = ("binding", "chunk", "batch", "batch_ids", "unaccepted", "trace")


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """A store of each kind in which time stands still."""
    return World(database=database, spool=tmp_path)


def advance(world: World, by: timedelta = timedelta(minutes=1)) -> None:
    world.clock.advance(by)  # type: ignore[attr-defined]


def ran(engine: Engine, world: World, trigger: Trigger = Trigger.MANUAL) -> Report:
    advance(world)
    report = engine.run("vip", trigger)
    assert report is not None
    return report


def filled(world: World, *numbers: int) -> None:
    """These people are members, and acknowledged."""
    world.sync(members=people(*numbers), guard=STRICT)
    world.vendor.known |= people(*range(40))
    with world.engine() as engine:
        assert ran(engine, world).outcome is Outcome.SUCCESS
    world.vendor.requests.clear()


def detach(engine: Engine, world: World, **more: Any) -> dict[str, Any]:
    advance(world)
    return detaching.detach(engine, {**ASKED, **more})


def kept(world: World) -> dict[str, int]:
    """The rows that hold anything about a target."""
    counted = {
        table: int(rows(world.database, f"SELECT count(*) FROM {table}")[0][0])
        for table in KEPT
    }
    return {table: count for table, count in counted.items() if count}


def paused(world: World) -> str | None:
    with world.database.read() as connection:
        found = pauses.in_force(connection, "vip", world.clock.now())
    return found.reason if found is not None else None


# ---- as it is -----------------------------------------------------------------------


def test_a_target_that_is_let_go_stays_as_it_is_and_leaves_nothing_stored(
    world: World,
) -> None:
    filled(world, *range(10), 77)

    with world.engine() as engine:
        answer = detach(engine, world)

    (left,) = answer["targets"]
    assert (left["name"], left["external_id"]) == ("Cohort vip", "c1")
    assert (left["members"], left["former"]) == (10, False)
    assert answer["run"] is None
    assert world.vendor.requests == []
    assert world.vendor.cohort.members == people(*range(10))
    assert kept(world) == {}
    assert len(rows(world.database, "SELECT id FROM run")) == 1


def test_a_sync_that_is_still_configured_is_left_paused(world: World) -> None:
    filled(world, *range(10))

    with world.engine() as engine:
        answer = detach(engine, world)
        with pytest.raises(Paused):
            ran(engine, world)

    assert answer["paused"]
    assert paused(world) == "detached: the campaign is over"


def test_a_sync_that_is_resumed_afterwards_begins_anew(world: World) -> None:
    filled(world, *range(10))
    with world.engine() as engine:
        detach(engine, world)
        with world.database.begin() as connection:
            pauses.remove(connection, "vip")
        report = ran(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert set(world.vendor.sent(Operation.ADD)) == people(*range(10))


def test_what_is_kept_of_a_sync_that_left_the_configuration_goes_too(
    world: World, lines: list[EventDict]
) -> None:
    filled(world, *range(10))
    with world.engine() as engine:
        detach(engine, world)  # leaves a pause behind as well
    del world.syncs["vip"]

    with world.engine() as engine:
        answer = detach(engine, world)
        with pytest.raises(UnknownSync):
            detach(engine, world)

    assert answer == {"targets": [], "paused": False, "run": None, "again_at": None}
    assert paused(world) is None


def test_a_sync_without_configuration_gives_its_members_up(world: World) -> None:
    filled(world, *range(10))
    del world.syncs["vip"]

    with world.engine() as engine:
        answer = detach(engine, world)

    assert [each["members"] for each in answer["targets"]] == [10]
    assert not answer["paused"]
    assert kept(world) == {}


def test_a_plan_that_nobody_can_decide_on_any_more_goes_with_its_sync(
    world: World,
) -> None:
    filled(world, *range(10))
    world.sources["vip"].members = people(1)
    with world.engine() as engine:
        assert ran(engine, world).outcome is Outcome.HELD
    world.syncs["vip"] = replace(world.syncs["vip"], enabled=False)

    with world.engine() as engine:
        detach(engine, world)

    assert kept(world) == {}
    with world.database.read() as connection:
        assert runs.waiting_for_a_person(connection, "vip") is None
    assert paused(world) is not None


def test_a_plan_that_waits_is_decided_on_first(world: World) -> None:
    filled(world, *range(10))
    world.sources["vip"].members = people(1)
    with world.engine() as engine:
        assert ran(engine, world).outcome is Outcome.HELD

        for more in ({}, {"empty": "10"}):
            with pytest.raises(WaitsForPerson):
                detach(engine, world, **more)

    assert believed(world.database).acknowledged == people(*range(10))
    assert paused(world) is None


@pytest.mark.parametrize("configured", [True, False])
def test_a_sync_that_another_process_works_on_is_not_let_go(
    world: World, configured: bool
) -> None:
    filled(world, *range(10))
    if not configured:
        del world.syncs["vip"]
    with world.database.begin() as connection:
        leases.acquire(connection, "vip", "elsewhere/1/1", world.clock.wall())

    with world.engine() as engine, pytest.raises(Busy, match="process 1 on "):
        detaching.detach(engine, ASKED)

    assert believed(world.database).acknowledged == people(*range(10))
    assert paused(world) is None


def test_a_former_target_is_named_and_forgotten_too(world: World) -> None:
    filled(world, *range(10))
    old = world.syncs["vip"]
    target = replace(cohort_of(old), cohort="Another one")
    world.syncs["vip"] = replace(old, target=target)
    with world.engine() as engine:
        held = ran(engine, world)
        assert held.reason == "guard.identity"
        engine.approve(
            Decision(run_id=held.run_id, actor="ann", via="cli", reason="moved")
        )
        answer = detach(engine, world)

    told = [(each["name"], each["former"]) for each in answer["targets"]]
    assert told == [("Cohort vip", True), ("Another one", False)]
    assert kept(world) == {}


def test_who_let_it_go_and_why_is_in_the_audit_trail_and_in_the_log(
    world: World, lines: list[EventDict]
) -> None:
    filled(world, *range(10))

    with world.engine() as engine:
        detach(engine, world)

    assert rows(world.database, "SELECT verb, actor, reason FROM action") == [
        ("detach", "ann", "the campaign is over")
    ]
    (said,) = [each for each in lines if each["event"] == "operator.detached"]
    assert (said["targets"], said["emptied"]) == (["amplitude Cohort vip"], False)


@pytest.mark.parametrize(
    "changes", [{"reason": " "}, {"empty": "all"}], ids=["no reason", "no number"]
)
def test_a_command_that_means_nothing_is_refused(
    world: World, changes: dict[str, str]
) -> None:
    filled(world, *range(10))

    with world.engine() as engine, pytest.raises(NotDetachable) as refusal:
        detaching.detach(engine, {**ASKED, **changes})

    assert refusal.value.code == "detach.invalid"


# ---- emptied first ------------------------------------------------------------------


def test_emptying_removes_whom_we_put_there_and_nobody_else(world: World) -> None:
    filled(world, *range(10))
    world.vendor.cohort.members |= people(20)

    with world.engine() as engine:
        answer = detach(engine, world, empty="10")

    assert answer["run"]["outcome"] == "success"
    assert answer["run"]["exited"] == 10
    assert set(world.vendor.sent(Operation.REMOVE)) == people(*range(10))
    assert world.vendor.cohort.members == people(20)
    assert kept(world) == {}
    assert paused(world) == "detached: the campaign is over"
    triggers = rows(world.database, 'SELECT "trigger", outcome FROM run ORDER BY id')
    assert triggers == [("manual", "success"), ("detach", "success")]


def test_emptying_removes_the_uncertain_as_well(world: World) -> None:
    filled(world, *range(9))
    world.vendor.script.append(REFUSED)
    world.sources["vip"].members |= people(30)
    with world.engine() as engine:
        assert ran(engine, world).outcome is Outcome.PARTIAL
        detach(engine, world, empty="10")

    assert people(30) <= set(world.vendor.sent(Operation.REMOVE))
    assert world.vendor.cohort.members == set()
    assert kept(world) == {}


def test_a_target_whose_creation_got_no_answer_is_found_by_its_name_and_emptied(
    world: World,
) -> None:
    world.sync(members=people(*range(5)))
    world.vendor.known |= people(*range(40))
    world.vendor.always = LOST_ANSWER
    with world.engine() as engine:
        assert ran(engine, world).outcome is Outcome.PARTIAL
        with world.database.begin() as connection:
            (binding,) = bindings.of_sync(connection, "vip")
            bindings.set_target(connection, binding.id, "template:{name} of 7")
        world.vendor.always = None
        answer = detach(engine, world, empty="5")

    assert answer["run"]["outcome"] == "success"
    assert world.vendor.cohort.members == set()
    assert kept(world) == {}


def test_more_people_than_were_agreed_to_are_not_removed(world: World) -> None:
    filled(world, *range(10))

    with world.engine() as engine:
        answer = detach(engine, world, empty="9")

    assert (answer["run"]["outcome"], answer["run"]["reason"]) == (
        "failed",
        "detach.grown",
    )
    assert answer["targets"] == []
    assert world.vendor.requests == []
    assert believed(world.database).acknowledged == people(*range(10))
    assert paused(world) is None


def test_a_target_that_was_emptied_in_part_is_kept_paused_and_gone_on_with(
    world: World,
) -> None:
    filled(world, *range(10))
    world.vendor.always = FAILED_BEFORE
    with world.engine() as engine:
        first = detach(engine, world, empty="10")
        assert (first["run"]["outcome"], first["targets"]) == ("partial", [])
        assert kept(world) != {}
        with pytest.raises(Paused):
            engine.run("vip", Trigger.SCHEDULE)
        world.vendor.always = None
        second = detach(engine, world, empty="10")

    assert second["run"]["outcome"] == "success"
    assert world.vendor.cohort.members == set()
    assert kept(world) == {}


def test_nobody_is_forgotten_while_a_batch_is_dead(world: World) -> None:
    filled(world, *range(10))
    world.vendor.script.append(REFUSED)

    with world.engine() as engine:
        answer = detach(engine, world, empty="10")

    assert answer["run"]["outcome"] == "partial"
    assert answer["targets"] == []
    assert len(believed(world.database).uncertain) == 3


@pytest.mark.parametrize("request_number", [1, 3, 5])
def test_an_emptying_that_died_fills_nothing_again_and_is_gone_on_with(
    world: World, request_number: int
) -> None:
    filled(world, *range(12))
    store = Mortal(world.database)
    seen: list[object] = []

    def die(request: object) -> None:
        seen.append(request)
        if len(seen) == request_number:
            store.die()

    world.vendor.watch = die
    with world.engine(store) as engine:
        detach(engine, world, empty="12")
    world.vendor.watch = lambda _: None

    with world.engine() as engine:
        advance(world)
        assert engine.close_abandoned() == ["vip"]
        with pytest.raises(Paused):
            engine.resume("vip")
        known = len(
            believed(world.database).acknowledged | believed(world.database).uncertain
        )
        answer = detach(engine, world, empty=str(known))

    assert answer["run"]["outcome"] == "success"
    assert world.vendor.sent(Operation.ADD) == []
    assert world.vendor.cohort.members == set()
    assert kept(world) == {}


def test_a_target_elsewhere_is_not_emptied_by_another_connection(world: World) -> None:
    filled(world, *range(10))
    old = world.syncs["vip"]
    target = replace(cohort_of(old), connection="amplitude-eu")
    world.sync(target=target, guard=STRICT)

    with world.engine() as engine:
        answer = detach(engine, world, empty="10")

    assert answer["run"]["reason"] == "detach.changed"
    assert believed(world.database).acknowledged == people(*range(10))


def test_a_target_renamed_in_the_file_is_emptied_where_it_is(world: World) -> None:
    filled(world, *range(10))
    old = world.syncs["vip"]
    world.syncs["vip"] = replace(old, target=replace(cohort_of(old), cohort="Other"))

    with world.engine() as engine:
        answer = detach(engine, world, empty="10")

    assert answer["run"]["outcome"] == "success"
    assert [each.members for each in world.vendor.cohorts.values()] == [set()]


def test_a_sync_without_a_target_has_nothing_to_empty(world: World) -> None:
    world.sync(members=people(1))

    with world.engine() as engine:
        answer = detach(engine, world, empty="0")

    assert answer["run"]["reason"] == "detach.nothing"


def test_only_a_configured_sync_can_be_emptied(world: World) -> None:
    filled(world, *range(10))
    del world.syncs["vip"]

    with world.engine() as engine, pytest.raises(NotDetachable) as refusal:
        detaching.detach(engine, {**ASKED, "empty": "10"})

    assert refusal.value.code == "detach.not_configured"
    with world.database.read() as connection:
        assert bindings.current(connection, "vip") is not None


# ---- found by doctor ----------------------------------------------------------------


def test_doctor_names_a_sync_that_left_the_files_and_whom_the_store_still_keeps(
    world: World, database_url: str
) -> None:
    filled(world, *range(10))
    store = StoreSettings(
        url=database_url,
        password=None,
        migrate="auto",
        lease=timedelta(seconds=90),
        replication="asynchronous",
        keep_runs=timedelta(days=400),
        spool_dir=None,
    )

    named = list(look(store, {"vip"}))
    left = list(look(store, {"other"}))
    with world.engine() as engine:
        detach(engine, world)
    after = list(look(store, {"other"}))

    assert [each.verdict for each in named] == [Verdict.OK]
    assert [each.verdict for each in left] == [Verdict.OK, Verdict.WARN]
    assert "vip" in left[1].detail
    assert left[1].next.startswith("syncd detach vip")
    assert [each.verdict for each in after] == [Verdict.OK]
