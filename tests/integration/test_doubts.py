"""Requests that land late, in real runs on both stores: whom they move is healed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from syncd.app.engine import Engine
from syncd.model import Operation, Outcome, Trigger
from syncd.store.database import Database
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    LANDS_LATE,
    REFUSED,
    THROTTLED,
    Mortal,
    World,
    believed,
    people,
    rows,
    sync_settings,
)

SECOND = timedelta(seconds=1)
WINDOW = timedelta(hours=1)
MINDING = replace(sync_settings().delivery, late_landings=WINDOW)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Each kind of store in turn; time stands still."""
    return World(database=database, spool=tmp_path)


def run(
    engine: Engine, world: World, *numbers: int, after: timedelta = SECOND
) -> Report:
    """A run that finds these people in the source, some time after the one before."""
    world.clock.advance(after)  # type: ignore[attr-defined]
    world.sources["vip"].members = people(*numbers)
    report = engine.run("vip", Trigger.MANUAL)
    assert report is not None
    return report


@contextmanager
def synced(world: World, *numbers: int) -> Iterator[Engine]:
    """An engine whose sync had its first run with these people; all are known."""
    world.sync(members=people(*numbers), delivery=MINDING)
    world.vendor.known = people(*range(100))
    with world.engine() as engine:
        assert run(engine, world, *numbers).outcome is Outcome.SUCCESS
        world.vendor.requests.clear()
        yield engine


def doubted(world: World) -> int:
    ((count,),) = rows(world.database, "SELECT count(*) FROM doubt")
    return int(count)


def believes(world: World) -> "tuple[set[bytes], set[bytes]]":
    known = believed(world.database, now=world.clock.now())
    return set(known.acknowledged), set(known.doubtful)


def test_whoever_left_is_removed_again_once_a_late_add_has_landed(world: World) -> None:
    with synced(world, 1, 2) as engine:
        world.vendor.script.append(LANDS_LATE)
        entered = run(engine, world, 1, 2, 3)
        left = run(engine, world, 1, 2)
        assert believes(world) == (people(1, 2), people(3))

        world.vendor.land()
        assert world.vendor.cohort.members == people(1, 2, 3), "wrong, and known to be"
        healed = run(engine, world, 1, 2, after=WINDOW)

    assert world.vendor.cohort.members == people(1, 2)
    assert believes(world) == (people(1, 2), set())
    outcomes = [each.outcome for each in (entered, left, healed)]
    assert outcomes == [Outcome.SUCCESS] * 3
    assert doubted(world) == 0


def test_whoever_came_back_is_added_again_once_a_late_remove_has_landed(
    world: World,
) -> None:
    with synced(world, 1, 2, 3) as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2)
        run(engine, world, 1, 2, 3)
        assert believes(world) == (people(1, 2, 3), people(3))

        world.vendor.land()
        assert world.vendor.cohort.members == people(1, 2)
        run(engine, world, 1, 2, 3, after=WINDOW)

    assert world.vendor.cohort.members == people(1, 2, 3)
    assert doubted(world) == 0


def test_a_request_of_a_process_that_died_is_minded_like_one_that_timed_out(
    world: World,
) -> None:
    world.sync(members=people(1, 2), delivery=MINDING)
    world.vendor.known = people(*range(100))
    mortal = Mortal(world.database)
    with world.engine(mortal) as engine:
        run(engine, world, 1, 2)
        world.vendor.script.append(LANDS_LATE)
        world.vendor.watch = lambda _: mortal.die()
        run(engine, world, 1, 2, 3)
    world.vendor.watch = lambda _: None

    with world.engine() as engine:
        run(engine, world, 1, 2, 3)
        run(engine, world, 1, 2)
        assert believes(world) == (people(1, 2), people(3))
        world.vendor.land()
        run(engine, world, 1, 2, after=WINDOW)

    assert world.vendor.cohort.members == people(1, 2)


def test_a_request_that_lands_in_time_is_healed_by_the_next_plan_already(
    world: World,
) -> None:
    with synced(world, 1, 2) as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2, 3)
        run(engine, world, 1, 2)
        world.vendor.land()

        run(engine, world, 1, 2, 4)

    assert world.vendor.cohort.members == people(1, 2, 4)
    assert doubted(world) == 1, "another effect may still come"


def test_only_whose_opposite_followed_is_sent_again(world: World) -> None:
    with synced(world, 1, 2) as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2, 3, 4, 5)
        run(engine, world, 1, 2, 4, 5)
        world.vendor.requests.clear()

        report = run(engine, world, 1, 2, 4, 5, after=WINDOW)

    assert world.vendor.sent(Operation.REMOVE) == [*people(3)]
    assert world.vendor.sent(Operation.ADD) == []
    assert (report.numbers["reasserted"], report.numbers["doubtful"]) == (1, 1)
    assert report.numbers["to_exit"] == 0, "they left before, and were counted then"


def test_a_doubt_that_concerns_nobody_is_dropped_and_nothing_is_sent(
    world: World,
) -> None:
    with synced(world, 1, 2) as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2, 3)
        world.vendor.requests.clear()

        report = run(engine, world, 1, 2, 3, after=WINDOW)

    assert report.outcome is Outcome.NO_CHANGE
    assert world.vendor.requests == []
    assert doubted(world) == 0


def test_only_requests_that_may_have_been_carried_out_are_doubted(
    world: World,
) -> None:
    with synced(world, 1, 2) as engine:
        for number, trouble, doubts in (
            (3, THROTTLED, 0),
            (4, REFUSED, 0),
            (5, FAILED_BEFORE, 1),
            (6, LANDS_LATE, 2),
        ):
            world.vendor.script.append(trouble)
            run(engine, world, 1, 2, number)
            assert doubted(world) == doubts, trouble


def test_without_a_window_nothing_is_doubted(world: World) -> None:
    with synced(world, 1, 2):
        pass
    world.syncs["vip"] = replace(
        world.syncs["vip"], delivery=replace(MINDING, late_landings=timedelta(0))
    )

    with world.engine() as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2, 3)

    assert doubted(world) == 0
