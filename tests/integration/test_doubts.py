"""Requests that land late, in real runs on both stores: whom they move is healed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.app import detaching
from syncd.app.engine import Engine
from syncd.cli import person, person_state
from syncd.config.settings import GuardSettings
from syncd.errors import Fault
from syncd.model import IdType, Operation, Outcome, Trigger
from syncd.sources import Postponed
from syncd.store import bindings, compaction, doubts, forgotten, leases
from syncd.store.database import Database
from syncd.sync.decide import Decision
from syncd.sync.resync import Wish, push
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    LANDS_LATE,
    NOW,
    REFUSED,
    THROTTLED,
    AskedSource,
    Mortal,
    Request,
    Trouble,
    World,
    believed,
    people,
    rows,
    settings_of,
    sync_settings,
)

SECOND = timedelta(seconds=1)
WINDOW = timedelta(hours=1)
NUMBERS = {b"7001", b"7002", b"7003", b"7004"}
TOO_LARGE = Trouble(fault=Fault.TOO_LARGE, error_type="too_large", status=413)
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
def synced(world: World, *numbers: int, **changes: Any) -> Iterator[Engine]:
    """An engine whose sync had its first run with these people; all are known."""
    world.sync(members=people(*numbers), delivery=MINDING, **changes)
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


def test_it_is_minded_when_its_run_is_closed_before_the_sync_runs_again(
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
        assert engine.close_abandoned() == ["vip"]

    assert doubted(world) == 1


def test_whoever_does_not_know_the_sync_and_closes_its_run_minds_it_as_usual(
    world: World,
) -> None:
    """While files change, one process has a sync that another one does not have yet."""
    world.sync(members=people(1, 2), delivery=MINDING)
    world.vendor.known = people(*range(100))
    mortal = Mortal(world.database)
    with world.engine(mortal) as engine:
        run(engine, world, 1, 2)
        world.vendor.watch = lambda _: mortal.die()
        run(engine, world, 1, 2, 3)
    world.vendor.watch = lambda _: None
    world.syncs.clear()

    with world.engine() as engine:
        assert engine.close_abandoned() == []

    assert doubted(world) == 1


def test_whoever_takes_a_sync_over_minds_what_was_open(world: World) -> None:
    world.request_deadline = timedelta(0)  # time stands still: nobody waits for it
    with synced(world, 1, 2) as engine:
        world.vendor.always = THROTTLED
        run(engine, world, 1, 2, 3)
        world.vendor.always = None
        with world.database.begin() as connection:
            leases.acquire(connection, "vip", "elsewhere/1/1", world.clock.wall())
        assert doubted(world) == 0

        run(engine, world, 1, 2, 3, after=leases.TTL)

    assert doubted(world) == 1


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


def test_a_request_doubted_by_a_clock_ahead_is_not_minded_for_years(
    world: World,
) -> None:
    years = timedelta(days=3653)
    with synced(world, 1, 2) as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2, 3, after=years)
        run(engine, world, 1, 2)
    world.clock.advance(-years)  # type: ignore[attr-defined]

    with world.engine() as engine:
        run(engine, world, 1, 2)
        assert doubted(world) == 1, "it may land yet"
        world.vendor.land()
        run(engine, world, 1, 2, after=WINDOW)

    assert world.vendor.cohort.members == people(1, 2)
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


# ---- where nothing is read ----------------------------------------------------------


@contextmanager
def asked(world: World) -> Iterator[tuple[Engine, AskedSource]]:
    """A source that costs something to read; somebody it no longer lists is doubted."""
    source = world.asked(people(1, 2), delivery=MINDING)
    source.free = False
    world.vendor.known = people(*range(100))
    with world.engine() as engine:
        run(engine, world, 1, 2)
        for version, numbers in ((2, (1, 2, 3)), (3, (1, 2))):
            world.vendor.script.append(LANDS_LATE if version == 2 else None)
            source.version = str(version)
            run(engine, world, *numbers)
        assert believes(world) == (people(1, 2), people(3))
        world.vendor.land()
        source.reads = 0
        yield engine, source


def test_a_source_that_costs_is_not_read_for_it(world: World) -> None:
    with asked(world) as (engine, source):
        healed = run(engine, world, 1, 2, after=WINDOW)
        again = run(engine, world, 1, 2)

    assert source.reads == 0
    assert world.vendor.cohort.members == people(1, 2)
    assert (healed.outcome, again.outcome) == (Outcome.SUCCESS, Outcome.NO_CHANGE)


def test_a_source_that_may_not_be_read_does_not_keep_anybody_in(world: World) -> None:
    with asked(world) as (engine, source):
        source.answer = Postponed(reason="quota", message="none left", until=None)
        report = run(engine, world, 1, 2, after=WINDOW)

    assert source.reads == 0
    assert world.vendor.cohort.members == people(1, 2)
    assert (report.outcome, report.reason) == (Outcome.SKIPPED, "quota")


def test_what_is_believed_never_stands_for_the_source_where_all_are_sent_again(
    world: World,
) -> None:
    with asked(world) as (engine, source):
        source.answer = Postponed(reason="quota", message="none left", until=None)
        world.clock.advance(WINDOW)  # type: ignore[attr-defined]
        world.vendor.requests.clear()
        with engine.alone("vip") as (parts, spec):
            wish = Wish(actor="ann", via="cli", reason="restored")
            report = push(parts, spec, wish)

    assert report is not None
    assert (report.outcome, report.reason) == (Outcome.SKIPPED, "quota")
    assert world.vendor.requests == []


def test_a_sync_fed_by_events_undoes_it_without_a_word(world: World) -> None:
    feed = world.fed(delivery=MINDING)
    world.vendor.known = people(*range(100))

    def hear(after: timedelta = SECOND, **said: set[bytes]) -> Report:
        world.clock.advance(after)  # type: ignore[attr-defined]
        feed.say(at=world.clock.now(), **said)
        report = engine.run("vip", Trigger.MANUAL)
        assert report is not None
        return report

    with world.engine() as engine:
        hear(enter=people(1, 2))
        world.vendor.script.append(LANDS_LATE)
        hear(enter=people(3))
        hear(leave=people(3))
        assert believes(world) == (people(1, 2), people(3))
        world.vendor.land()

        hear(after=WINDOW)

    assert world.vendor.cohort.members == people(1, 2)
    assert doubted(world) == 0


# ---- plans that wait, and outcomes that are lost ------------------------------------


def test_a_held_plan_settles_nothing_until_it_is_approved(world: World) -> None:
    strict = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")
    with synced(world, 1, 2, 3, 4, 5, 6, guard=strict) as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2, 3, 4, 5, 6, 7)
        run(engine, world, 1, 2, 3, 4, 5, 6)
        world.vendor.land()
        held = run(engine, world, 1, 2, 3, after=WINDOW)
        assert (held.outcome, doubted(world)) == (Outcome.HELD, 1)
        decision = Decision(run_id=held.run_id, actor="me", via="cli", reason="")

        engine.approve(decision)

    assert world.vendor.cohort.members == people(1, 2, 3)
    assert doubted(world) == 0


def test_exits_that_were_counted_before_do_not_hold_a_plan(world: World) -> None:
    strict = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")
    with synced(world, 1, 2, 3, 4, 5, guard=strict) as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2, 3, 4, 5, 6)
        run(engine, world, 1, 2, 3, 4, 5)
        world.vendor.land()

        report = run(engine, world, 1, 2, 3, 4, after=WINDOW)

    assert report.numbers["to_exit"] == 1, "two of five would be too many"
    assert world.vendor.cohort.members == people(1, 2, 3, 4)


def test_an_outcome_that_could_not_be_written_down_is_doubted(world: World) -> None:
    world.sync(members=people(1, 2), delivery=MINDING)
    world.vendor.known = people(*range(100))
    flaky = Mortal(world.database)
    with world.engine(flaky) as engine:
        run(engine, world, 1, 2)
        world.vendor.script.append(LANDS_LATE)

        def lose(_: Request) -> None:
            flaky.dead = True

        world.vendor.watch = lose
        report = run(engine, world, 1, 2, 3)
        world.vendor.watch = lambda _: None
        flaky.dead = False
        assert report.outcome is not Outcome.SUCCESS

        run(engine, world, 1, 2, 3)
        run(engine, world, 1, 2)
        assert believes(world) == (people(1, 2), people(3))
        world.vendor.land()
        run(engine, world, 1, 2, after=WINDOW)

    assert world.vendor.cohort.members == people(1, 2)


# ---- what is stored -----------------------------------------------------------------


def test_doubts_outlive_the_batch_and_every_spreading_of_the_buckets(
    world: World,
) -> None:
    with synced(world, 1, 2, 7) as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2, 7, 3, 4, 5)
        run(engine, world, 1, 2, 7)
        with world.database.read() as connection:
            (binding,) = bindings.of_sync(connection, "vip")

        compaction.compact(world.database, binding.id, split_above=2)

        with world.database.read() as connection:
            n_buckets = bindings.get(connection, binding.id).n_buckets
        assert n_buckets > 1
        touched = rows(world.database, "SELECT first_bucket, last_bucket FROM doubt")
        assert touched == [(0, n_buckets - 1)]
        assert believes(world) == (people(1, 2, 7), people(3, 4, 5))


def test_a_smaller_later_request_takes_nobody_out_of_a_doubt(world: World) -> None:
    with synced(world, 1, 2) as engine:
        world.vendor.script += [LANDS_LATE, TOO_LARGE, FAILED_BEFORE]
        run(engine, world, 1, 2, 3, 4, 5)
        run(engine, world, 1, 2)

    assert believes(world) == (people(1, 2), people(3, 4, 5))


def test_what_is_let_go_of_takes_its_doubts_along(world: World) -> None:
    with synced(world, 1, 2) as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2, 3)
    with world.database.begin() as connection:
        (binding,) = bindings.of_sync(connection, "vip")
        bindings.drop(connection, binding.id)

    assert doubted(world) == 0


def emptied(engine: Engine, world: World, after: timedelta = SECOND) -> dict[str, Any]:
    world.clock.advance(after)  # type: ignore[attr-defined]
    asked = {"sync": "vip", "actor": "ann", "via": "cli", "reason": "over"}
    return detaching.detach(engine, asked | {"empty": "9"})


def test_a_target_is_not_let_go_while_a_request_may_put_people_back(
    world: World,
) -> None:
    with synced(world, 1, 2) as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2, 3)
        early = emptied(engine, world)
        world.vendor.land()
        assert world.vendor.cohort.members == people(3), "back, and known to be"

        late = emptied(engine, world, after=WINDOW)

    assert early["targets"] == []
    assert early["run"]["outcome"] == "success"
    assert early["again_at"] is not None
    assert late["again_at"] is None
    assert len(late["targets"]) == 1
    assert world.vendor.cohort.members == set()
    assert rows(world.database, "SELECT count(*) FROM binding") == [(0,)]


def test_a_removal_that_may_land_late_keeps_no_target(world: World) -> None:
    with synced(world, 1, 2) as engine:
        world.vendor.script.append(LANDS_LATE)

        answer = emptied(engine, world)

    assert len(answer["targets"]) == 1
    assert world.vendor.cohort.members == set()


def test_an_upload_that_lands_late_moves_everybody_and_is_undone(world: World) -> None:
    listed, held = people(1, 2), people(2, 3)

    assert doubts.wrong_ids(Operation.REPLACE, listed, held) == people(1, 3)


# ---- people who ask -----------------------------------------------------------------


def told(world: World, number: int) -> str:
    """The answer to where this person is."""
    settings = settings_of(*world.syncs.values())
    (member_id,) = people(number)
    with world.database.read() as connection:
        known = person.read(
            connection, settings, world.syncs["vip"], member_id, world.clock.now()
        )
    return person_state.answer(known, lambda at: f"{at:%H:%M}").text


def test_a_person_is_told_that_a_request_may_still_move_them(world: World) -> None:
    with synced(world, 1, 2) as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2, 3)
        assert "no known outcome" not in told(world, 3), "it would confirm what is so"
        run(engine, world, 1, 2)

        text = told(world, 3)

    assert text.startswith("Not in: removed 12:00")
    assert "A request of 12:00 to add them had no known outcome" in text
    assert "may take effect until 13:00: they are removed once more" in text


def test_who_is_forgotten_is_erased_once_no_request_can_bring_them_back(
    world: World,
) -> None:
    with synced(world, 1, 2) as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2, 3, 4)
        run(engine, world, 1, 2)
        with world.database.begin() as connection:
            forgotten.add(
                connection, [(each, IdType.USER_ID) for each in people(3)], NOW
            )
        engine.let_go("vip")
        assert is_due(world), "the request may still land"

        world.vendor.land()
        world.clock.advance(WINDOW)  # type: ignore[attr-defined]
        engine.let_go("vip")

    assert world.vendor.cohort.members & people(3) == set()
    assert not is_due(world)
    assert rows(world.database, "SELECT ids FROM doubt") == []


def test_what_can_only_take_out_the_forgotten_does_not_keep_their_ids(
    world: World,
) -> None:
    with synced(world, 1, 2, 3, 4) as engine:
        world.vendor.script.append(LANDS_LATE)
        run(engine, world, 1, 2)
        with world.database.begin() as connection:
            gone = [(each, IdType.USER_ID) for each in people(3)]
            forgotten.add(connection, gone, NOW)
        engine.let_go("vip")

        assert not is_due(world)
        assert rows(world.database, "SELECT ids FROM doubt") == [("person-0004",)]


def is_due(world: World) -> bool:
    with world.database.read() as connection:
        (binding,) = bindings.of_sync(connection, "vip")
        return forgotten.is_due(connection, binding.id)


# ---- a cohort that goes by other ids ------------------------------------------------


@contextmanager
def other_ids(world: World, trouble: Trouble | None) -> Iterator[Engine]:
    """A cohort that went by user ids goes by numbers since a plan that was approved,
    whose first REMOVE met with some trouble."""
    with synced(world, 1, 2) as engine:
        world.vendor.script.append(None if trouble else LANDS_LATE)
        run(engine, world, 1, 2, 3)
        run(engine, world, 1, 2)
    world.syncs["vip"] = replace(world.syncs["vip"], match=IdType.AMPLITUDE_ID)
    world.vendor.known |= NUMBERS
    with world.engine() as engine:
        world.clock.advance(SECOND)  # type: ignore[attr-defined]
        world.sources["vip"].members = set(NUMBERS)
        held = engine.run("vip", Trigger.MANUAL)
        assert held is not None
        world.vendor.script.append(trouble)
        engine.approve(Decision(run_id=held.run_id, actor="me", via="cli", reason=""))
        assert world.vendor.cohort.members == NUMBERS
        world.vendor.requests.clear()
        yield engine


def test_a_late_remove_by_the_old_ids_has_everybody_added_again(world: World) -> None:
    with other_ids(world, LANDS_LATE) as engine:
        world.vendor.land()  # of whom it took out, only the old ids are known
        world.clock.advance(WINDOW)  # type: ignore[attr-defined]
        engine.run("vip", Trigger.MANUAL)
        assert set(world.vendor.sent(Operation.ADD)) == NUMBERS
        world.vendor.requests.clear()

        engine.run("vip", Trigger.MANUAL)

    assert world.vendor.requests == []
    assert doubted(world) == 0


def test_a_late_add_by_the_old_ids_is_undone_by_them_first(world: World) -> None:
    with other_ids(world, None) as engine:
        world.vendor.land()
        assert world.vendor.cohort.members == NUMBERS | people(3)
        world.clock.advance(WINDOW)  # type: ignore[attr-defined]
        engine.run("vip", Trigger.MANUAL)

    assert world.vendor.cohort.members == NUMBERS
    assert world.vendor.sent(Operation.REMOVE) == [*people(3)]
    kinds = [request.operation for request in world.vendor.requests]
    assert kinds == sorted(kinds, reverse=True), "every REMOVE before the first ADD"
    assert doubted(world) == 0


def test_a_late_add_by_the_old_ids_is_undone_before_the_target_is_let_go(
    world: World,
) -> None:
    with other_ids(world, None) as engine:
        early = emptied(engine, world)
        world.vendor.land()
        assert world.vendor.cohort.members == people(3)
        late = emptied(engine, world, after=WINDOW)

    assert early["again_at"] is not None
    assert late["again_at"] is None
    assert world.vendor.cohort.members == set()
