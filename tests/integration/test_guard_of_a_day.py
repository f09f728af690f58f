"""The brake over 24 hours: many small runs, each of which one run's guard lets pass."""

from datetime import timedelta

import pytest

from syncd.app.engine import Engine
from syncd.config.settings import GuardSettings
from syncd.model import Outcome, Trigger
from syncd.store import bindings, compaction
from syncd.sync.decide import Decision
from syncd.sync.spec import Report
from syncd.sync.window import moved_lately
from tests.builders import LOST_ANSWER, UNAUTHORIZED, World, held_run, people

FIVE_MINUTES = timedelta(minutes=5)


def guarded(day: float | None = 0.4, run: float = 0.25) -> GuardSettings:
    return GuardSettings(
        max_exit=run, max_enter=10.0, ignore_below=0, on_trip="hold", max_exit_24h=day
    )


def ten_people(world: World, guard: GuardSettings) -> None:
    world.sync(members=people(*range(10)), guard=guard)
    world.vendor.known = people(*range(40))


def pass_time(world: World, by: timedelta) -> None:
    world.clock.advance(by)  # type: ignore[attr-defined]


def run(engine: Engine, world: World, *left: int) -> Report:
    """A run for a source that lists whoever is left."""
    pass_time(world, FIVE_MINUTES)
    world.sources["vip"].members = people(*left)
    report = engine.run("vip", Trigger.SCHEDULE)
    assert report is not None
    return report


def approve(engine: Engine, world: World) -> Report:
    held = held_run(world.database)
    assert held is not None
    pass_time(world, FIVE_MINUTES)
    report = engine.approve(
        Decision(run_id=held.id, actor="ann", via="cli", reason="a sale ended")
    )
    assert report is not None
    return report


def fill(engine: Engine, world: World) -> None:
    """Ten people, a day ago: who entered today would not count as there before."""
    assert run(engine, world, *range(10)).outcome is Outcome.SUCCESS
    pass_time(world, timedelta(hours=24))


def four_leave(engine: Engine, world: World) -> None:
    """One by one: 40 % of ten, which is the limit."""
    fill(engine, world)
    for left in (9, 8, 7, 6):
        assert run(engine, world, *range(left)).outcome is Outcome.SUCCESS


def test_a_slow_leak_is_held_once_it_passes_the_share_of_a_day(world: World) -> None:
    ten_people(world, guarded())
    with world.engine() as engine:
        four_leave(engine, world)
        report = run(engine, world, *range(5))

    assert (report.outcome, report.reason) == (Outcome.HELD, "guard.max_exit_24h")
    assert report.message == (
        "5 people would have left within 24 hours, 1 of them now (50.0%, limit 40%)"
    )
    assert report.numbers["exits_24h"] == 5
    assert report.numbers["exit_ratio_24h"] == 0.5
    assert world.vendor.cohort.members == people(*range(6))


def test_what_left_a_day_ago_is_forgotten(world: World) -> None:
    ten_people(world, guarded())
    with world.engine() as engine:
        four_leave(engine, world)
        pass_time(world, timedelta(hours=24))
        report = run(engine, world, *range(5))

    assert report.outcome is Outcome.SUCCESS


def test_without_a_limit_of_the_day_nothing_is_held(world: World) -> None:
    ten_people(world, guarded(day=None))
    with world.engine() as engine:
        four_leave(engine, world)
        report = run(engine, world, *range(5))

    assert report.outcome is Outcome.SUCCESS


def test_after_an_approval_the_next_small_run_is_not_held_for_the_same_exits(
    world: World,
) -> None:
    ten_people(world, guarded())
    with world.engine() as engine:
        four_leave(engine, world)
        assert run(engine, world, *range(5)).outcome is Outcome.HELD
        assert approve(engine, world).outcome is Outcome.SUCCESS
        report = run(engine, world, *range(4))

    assert report.outcome is Outcome.SUCCESS
    assert report.numbers["exits_24h"] == 1


def test_the_brake_counts_anew_after_an_approval(world: World) -> None:
    ten_people(world, guarded())
    with world.engine() as engine:
        four_leave(engine, world)
        run(engine, world, *range(5))
        approve(engine, world)
        outcomes = [run(engine, world, *range(left)).outcome for left in (4, 3, 2)]

    # One of five, two of five, three of five.
    assert outcomes == [Outcome.SUCCESS, Outcome.SUCCESS, Outcome.HELD]


def test_an_approved_mass_removal_does_not_count_for_the_day(world: World) -> None:
    ten_people(world, guarded())
    with world.engine() as engine:
        fill(engine, world)
        first = run(engine, world, *range(4))
        assert (first.outcome, first.reason) == (Outcome.HELD, "guard.max_exit")
        assert approve(engine, world).outcome is Outcome.SUCCESS
        world.sync(guard=guarded(run=0.5))
    with world.engine() as engine:
        report = run(engine, world, *range(3))

    assert report.outcome is Outcome.SUCCESS
    assert moved_lately(world.database, "vip", world.clock.now()).exited == 1


def test_exits_before_the_approval_of_another_guard_still_count(world: World) -> None:
    ten_people(world, guarded(day=0.6))
    with world.engine() as engine:
        fill(engine, world)
        run(engine, world, *range(8))
        held = run(engine, world, *range(5))
        assert [each["guard"] for each in held.numbers["trips"]] == ["guard.max_exit"]
        approve(engine, world)

    assert moved_lately(world.database, "vip", world.clock.now()).exited == 2


@pytest.mark.parametrize("compacted", [False, True])
def test_an_approval_that_was_cut_off_stays_approved_when_it_is_resumed(
    world: World, compacted: bool
) -> None:
    ten_people(world, guarded())
    with world.engine() as engine:
        fill(engine, world)
        run(engine, world, *range(4))
        world.vendor.watch = lambda _: engine.stop()
        assert approve(engine, world).outcome is Outcome.INTERRUPTED
    world.vendor.watch = lambda _: None
    pass_time(world, FIVE_MINUTES)
    with world.engine() as engine:
        engine.close_abandoned()
        resumed = engine.resume("vip")
        assert resumed is not None
        assert (resumed.trigger, resumed.outcome) == (Trigger.RESUME, Outcome.SUCCESS)
        if compacted:
            _forget_batches(world)

        assert moved_lately(world.database, "vip", world.clock.now()).exited == 0


def test_what_a_scheduled_run_sends_of_an_approved_plan_stays_approved(
    world: World,
) -> None:
    ten_people(world, guarded())
    with world.engine() as engine:
        fill(engine, world)
        run(engine, world, *range(4))
        world.vendor.script.append(UNAUTHORIZED)
        assert approve(engine, world).outcome is Outcome.FAILED
        pass_time(world, timedelta(hours=1))
        report = run(engine, world, *range(4))

        assert report.outcome is Outcome.SUCCESS
        assert report.numbers["exited"] > 0
        assert moved_lately(world.database, "vip", world.clock.now()).exited == 0


def test_a_removal_is_counted_once_however_often_it_was_asked(world: World) -> None:
    ten_people(world, guarded())
    with world.engine() as engine:
        fill(engine, world)
        world.vendor.script.extend([LOST_ANSWER, LOST_ANSWER])
        run(engine, world, *range(9))

    assert moved_lately(world.database, "vip", world.clock.now()).exited == 1


def test_exits_of_another_sync_are_its_own(world: World) -> None:
    ten_people(world, guarded())
    world.sync("other", members=people(20, 21), guard=guarded())
    with world.engine() as engine:
        four_leave(engine, world)
        engine.run("other", Trigger.SCHEDULE)

    assert moved_lately(world.database, "other", world.clock.now()).exited == 0


def _forget_batches(world: World) -> None:
    """As compaction does with what is acknowledged."""
    with world.database.read() as connection:
        binding = bindings.current(connection, "vip")
    assert binding is not None
    compaction.compact(world.database, binding.id, check=lambda _: None)
