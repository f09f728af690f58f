"""A push that begins with an upload in the place of all members, cut off anywhere.

On SQLite and on Postgres, with a destination that replaces as Amplitude does.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.types import EventDict

from syncd.app import resyncing
from syncd.app.engine import Engine
from syncd.config.settings import GuardSettings
from syncd.errors import Fault
from syncd.model import Found, IdType, Operation, Outcome, Receipt, Target, Trigger
from syncd.sinks import Capabilities
from syncd.store import forgotten
from syncd.store.database import Database
from syncd.store.unsettled import unsettled
from syncd.sync import resync
from syncd.sync.decide import Decision
from syncd.sync.outbox import Choice, NotSteerable
from syncd.sync.resync import NotResyncable, Wish
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    LOST_ANSWER,
    FakeVendor,
    Mortal,
    Request,
    Trouble,
    World,
    believed,
    held_run,
    people,
    rows,
)

STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")
WISH = Wish(actor="ann", via="cli", reason="strangers got in")
MEMBERS = people(*range(10))
STRANGERS = people(20, 21, 22)


@dataclass(kw_only=True)
class Replacing(FakeVendor):
    """A vendor that takes ids in the place of all members of a cohort."""

    most: int = 100
    counts: bool = True
    """Whether the free list says how many are in a cohort."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, replaces=self.most)

    def find(self, target: Target) -> Found | None:
        found = super().find(target)
        return found if found is None or self.counts else replace(found, size=None)

    def _effect(self, request: Request, target: Target) -> Receipt:
        if request.operation is not Operation.REPLACE:
            return super()._effect(request, target)
        assert target.external_id is not None
        there = self.known & set(request.ids)
        if not there or self.invalid & set(request.ids):
            raise Trouble(
                fault=Fault.BAD_IDS, error_type="invalid_id", status=400
            ).error()
        self.cohorts[target.external_id].members = there
        return Receipt(replaced=True)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Ten members and three strangers in a cohort; who is listed has not changed."""
    made = World(database=database, spool=tmp_path)
    made.vendors["amplitude"] = Replacing(known=people(*range(40)))
    made.sync(members=MEMBERS, guard=STRICT)
    with made.engine() as engine:
        assert ran(engine, made).outcome is Outcome.SUCCESS
    made.vendor.cohort.members |= STRANGERS
    made.vendor.requests.clear()
    return made


def advance(world: World, by: timedelta = timedelta(minutes=1)) -> None:
    world.clock.advance(by)  # type: ignore[attr-defined]


def ran(engine: Engine, world: World) -> Report:
    advance(world)
    report = engine.run("vip", Trigger.MANUAL)
    assert report is not None
    return report


def push(engine: Engine, world: World, strangers: int = 3) -> Report:
    advance(world)
    with engine.alone("vip") as (parts, spec):
        report = resync.push(parts, spec, WISH, strangers=strangers)
    assert report is not None
    return report


def kinds(world: World) -> list[str]:
    return [each.operation.value for each in world.vendor.requests]


def require_uncertainty_contains_error(world: World) -> None:
    """I-2, of everybody whom we know: strangers are nobody's business of ours."""
    known = believed(world.database)
    there = world.vendor.cohort.members - STRANGERS
    assert (there ^ known.acknowledged) <= known.uncertain


def test_one_upload_comes_first_and_the_plan_behind_it_decides_who_is_in(
    world: World, lines: list[EventDict]
) -> None:
    world.sources["vip"].members = people(*range(1, 10), 30, 77)

    with world.engine() as engine:
        report = push(engine, world)
        after = ran(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert kinds(world) == ["replace", "add", "add", "add", "add", "remove"]
    assert world.vendor.cohort.members == people(*range(1, 10), 30)
    assert believed(world.database).acknowledged == people(*range(1, 10), 30)
    assert believed(world.database).unaccepted == people(77)
    assert after.outcome is Outcome.NO_CHANGE
    (said,) = [each for each in lines if each["event"] == "target.replaced"]
    assert (said["cohort_id"], said["size"]) == ("c1", 11)
    results = "SELECT result, accepted FROM attempt WHERE operation = 'replace'"
    assert rows(world.database, results) == [("replaced", 0)]


def test_more_strangers_than_were_agreed_to_hold_the_upload(world: World) -> None:
    with world.engine() as engine:
        report = push(engine, world, strangers=2)
        assert (report.outcome, report.reason) == (Outcome.HELD, "guard.replace")
        assert "3 people whom others put there would leave" in report.message
        assert world.vendor.requests == []
        held = held_run(world.database)
        assert held is not None
        approved = engine.approve(
            Decision(run_id=held.id, actor="ann", via="cli", reason="they may go")
        )

    assert approved is not None
    assert approved.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == MEMBERS


def test_a_number_of_strangers_that_nobody_says_holds_the_upload(world: World) -> None:
    world.vendors["amplitude"].counts = False  # type: ignore[attr-defined]

    with world.engine() as engine:
        report = push(engine, world)

    assert (report.outcome, report.reason) == (Outcome.HELD, "guard.replace")
    assert world.vendor.cohort.members == MEMBERS | STRANGERS


def test_too_many_of_ours_that_would_leave_hold_the_upload_as_ever(
    world: World,
) -> None:
    world.sources["vip"].members = people(1)

    with world.engine() as engine:
        report = push(engine, world)

    assert (report.outcome, report.reason) == (Outcome.HELD, "guard.max_exit")
    assert world.vendor.cohort.members == MEMBERS | STRANGERS


@pytest.mark.parametrize(
    ("listed", "code"),
    [(set[bytes](), "resync.empty"), (people(*range(11)), "resync.too_large")],
)
def test_a_list_that_does_not_fit_into_an_upload_is_refused(
    world: World, listed: set[bytes], code: str
) -> None:
    world.vendors["amplitude"].most = 10  # type: ignore[attr-defined]
    world.sources["vip"].members = listed

    with world.engine() as engine:
        report = push(engine, world)

    assert (report.outcome, report.reason) == (Outcome.FAILED, code)
    assert "syncd resync vip --push" in report.hint
    assert world.vendor.requests == []
    assert believed(world.database).acknowledged == MEMBERS


def test_a_destination_without_such_a_request_refuses(world: World) -> None:
    world.vendors["amplitude"].most = None  # type: ignore[attr-defined]

    with world.engine() as engine:
        report = push(engine, world)

    assert report.reason == "resync.no_replace"


def test_a_changed_identity_is_decided_on_before_anything_is_replaced(
    world: World,
) -> None:
    world.sources["vip"].named = "another query"

    with world.engine() as engine:
        report = push(engine, world)

    assert report.reason == "resync.changed"
    assert world.vendor.requests == []


@pytest.mark.parametrize("trouble", [FAILED_BEFORE, LOST_ANSWER])
def test_an_upload_without_an_answer_is_made_again(
    world: World, trouble: Trouble
) -> None:
    world.vendor.script.append(trouble)

    with world.engine() as engine:
        report = push(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert kinds(world)[:3] == ["replace", "replace", "add"]
    assert world.vendor.cohort.members == MEMBERS


def test_an_upload_that_is_refused_is_dead_whole_and_nobody_is_put_out_by_half(
    world: World,
) -> None:
    def refuse(request: Request) -> None:
        wanted = request.operation is Operation.REPLACE
        world.vendor.invalid = people(5) if wanted else set()

    world.vendor.watch = refuse
    with world.engine() as engine:
        report = push(engine, world)

    assert (report.outcome, report.reason) == (Outcome.PARTIAL, "dead_letters")
    assert kinds(world) == ["replace", "add", "add", "add", "add"]
    assert world.vendor.cohort.members == MEMBERS | STRANGERS


def test_a_refused_upload_is_not_made_again_without_asking_who_else_is_there(
    world: World,
) -> None:
    def refuse(request: Request) -> None:
        wanted = request.operation is Operation.REPLACE
        world.vendor.invalid = people(5) if wanted else set()

    world.vendor.watch = refuse
    with world.engine() as engine:
        push(engine, world)
        with world.database.read() as connection:
            (dead,) = unsettled(connection, ["vip"])
        for batches, code in (((dead.id,), "outbox.replaces"), ((), "outbox.nothing")):
            choice = Choice(batches=batches, actor="ann", via="cli", reason="again")
            with pytest.raises(NotSteerable) as refusal:
                engine.retry_batches("vip", choice)

            assert refusal.value.code == code

    assert dead.operation is Operation.REPLACE
    assert world.vendor.cohort.members == MEMBERS | STRANGERS


def test_who_was_in_an_upload_that_is_refused_is_wanted_as_before(
    world: World,
) -> None:
    world.sync(guard=replace(STRICT, ignore_below=50))

    def refuse(request: Request) -> None:
        wanted = request.operation is Operation.REPLACE
        world.vendor.invalid = people(5) if wanted else set()

    world.vendor.watch = refuse
    with world.engine() as engine:
        push(engine, world)
        with world.database.begin() as connection:
            gone = [(each, IdType.USER_ID) for each in people(7)]
            forgotten.add(connection, gone, world.clock.now())
        advance(world)
        report = engine.let_go("vip")

    assert report is not None
    assert report.outcome is Outcome.SUCCESS
    assert set(world.vendor.sent(Operation.REMOVE)) == people(7)
    assert world.vendor.cohort.members == (MEMBERS | STRANGERS) - people(7)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_replacement_that_died_is_gone_on_with_and_ends_where_it_should(
    world: World, number: int, after: bool
) -> None:
    world.sources["vip"].members = people(*range(1, 10), 30)
    store = Mortal(world.database)
    world.vendor.watch = dying(store, 2 * number - 1 + after)
    with world.engine(store) as engine:
        push(engine, world)
    world.vendor.watch = lambda _: None
    require_uncertainty_contains_error(world)

    with world.engine() as engine:
        advance(world)
        assert engine.close_abandoned() == ["vip"]
        resumed = engine.resume("vip")

    assert resumed is not None
    assert resumed.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(*range(1, 10), 30)
    assert believed(world.database).acknowledged == people(*range(1, 10), 30)
    uploads = kinds(world).count("replace")
    assert uploads == (2 if number == 1 else 1)


def dying(store: Mortal, moment: int) -> Callable[[Request], None]:
    """Dies before or after a request's effect: each is looked at twice."""
    seen: list[Request] = []

    def watch(request: Request) -> None:
        seen.append(request)
        if len(seen) == moment:
            store.die()

    return watch


def test_a_plan_that_comes_between_takes_the_place_of_an_upload(world: World) -> None:
    store = Mortal(world.database)
    world.vendor.watch = dying(store, 1)
    with world.engine(store) as engine:
        push(engine, world)
    world.vendor.watch = lambda _: None
    world.vendor.requests.clear()
    world.sources["vip"].members = MEMBERS | people(31)

    with world.engine() as engine:
        engine.close_abandoned()
        report = ran(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert "replace" not in kinds(world), "it would put out whom that plan adds"
    assert believed(world.database).acknowledged == MEMBERS | people(31)


def test_the_command_hands_on_how_many_strangers_may_go(world: World) -> None:
    body = {"sync": "vip", "how": "push", "actor": "ann", "via": "cli", "reason": "x"}

    with world.engine() as engine:
        answer = resyncing.resync(engine, {**body, "strangers": "3"})
        with pytest.raises(NotResyncable) as refusal:
            resyncing.resync(engine, {**body, "strangers": "all"})

    assert answer["run"]["outcome"] == "success"
    assert refusal.value.code == "resync.invalid"
    assert world.vendor.cohort.members == MEMBERS
