"""Slots: each due time ends as a row, run once or skipped for a reason that is told."""

import threading
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from structlog.types import EventDict

from syncd.app.engine import Engine
from syncd.app.slots import Slots, shift, timings
from syncd.config.settings import GuardSettings
from syncd.errors import SourceUnavailable
from syncd.model import IdType, Outcome, Trigger
from syncd.schedule import Every, Manual, Once
from syncd.store import forgotten
from tests.builders import (
    NOW,
    PATIENCE,
    Mortal,
    World,
    people,
    rows,
    settings_of,
    sync_settings,
)

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
HOURLY = Every(HOUR)
STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")


class Later(dict[str, Callable[[], object]]):
    """What is to be done in a thread of the scheduler: done when the test says so."""

    def soon(self, name: str, action: Callable[[], object]) -> None:
        self[name] = action

    def do_all(self) -> None:
        for action in [self.pop(name) for name in list(self)]:
            action()


def slots_of(engine: Engine, world: World, later: Later | None = None) -> Slots:
    return Slots(engine, world.clock, (Later() if later is None else later).soon)


def start(engine: Engine, world: World, cut_off: Collection[str] = ()) -> None:
    """What the daemon does with its slots when it starts."""
    later = Later()
    slots_of(engine, world, later).start(cut_off)
    later.do_all()


def advance(world: World, by: timedelta) -> None:
    world.clock.advance(by)  # type: ignore[attr-defined]


def stored(world: World) -> list[tuple[object, ...]]:
    """(hours after noon, trigger, outcome, reason) of every slot, oldest first."""
    query = "SELECT slot, trigger, outcome, reason FROM run ORDER BY slot, id"
    return [
        (
            (datetime.fromisoformat(f"{slot}+00:00") - NOW) / HOUR if slot else None,
            *rest,
        )
        for slot, *rest in rows(world.database, query)
    ]


def test_a_new_sync_waits_for_its_first_due_time(world: World) -> None:
    world.sync(members=people(1), schedule=HOURLY)
    with world.engine() as engine:
        slots = slots_of(engine, world)
        slots.due("vip")
        start(engine, world)

    assert stored(world) == [], "12:00 was before anybody knew the sync"


def test_a_due_time_is_run_once_however_often_it_is_announced(world: World) -> None:
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1)
    with world.engine() as engine:
        slots = slots_of(engine, world)
        for _ in range(3):
            advance(world, HOUR)
            slots.due("vip")
            slots.due("vip")

    assert stored(world) == [
        (1, "schedule", "success", None),
        (2, "schedule", "no_change", None),
        (3, "schedule", "no_change", None),
    ]


def test_two_daemons_run_a_due_time_once(world: World) -> None:
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1)
    with world.engine() as one, world.engine() as other:
        advance(world, HOUR)
        slots_of(one, world).due("vip")
        slots_of(other, world).due("vip")

    assert stored(world) == [(1, "schedule", "success", None)]


def test_a_sync_is_due_at_its_own_share_of_the_jitter(world: World) -> None:
    world.sync(members=people(1), schedule=HOURLY, jitter=timedelta(minutes=50))
    sync = world.syncs["vip"]
    added = shift(settings_of(sync), sync)
    assert timedelta(0) < added < timedelta(minutes=50)
    with world.engine() as engine:
        slots = slots_of(engine, world)
        advance(world, added - MINUTE / 60)
        slots.due("vip")
        early = stored(world)
        advance(world, MINUTE / 60)
        slots.due("vip")

    assert early == []
    assert [row[0] for row in stored(world)] == [added / HOUR]


def test_a_slot_that_falls_into_a_run_is_recorded_as_an_overlap(
    world: World, lines: list[EventDict]
) -> None:
    reading, finish = threading.Event(), threading.Event()

    def read_slowly() -> None:
        reading.set()
        finish.wait(PATIENCE)

    source = world.sync(members=people(1), schedule=HOURLY)
    source.while_reading = read_slowly
    with world.engine() as engine:
        slots = slots_of(engine, world)
        advance(world, HOUR)
        running = threading.Thread(target=slots.due, args=("vip",))
        running.start()
        assert reading.wait(PATIENCE)
        advance(world, HOUR)
        slots.overlapped("vip")
        slots.overlapped("vip")
        advance(world, HOUR)
        slots.due("vip")
        finish.set()
        running.join(PATIENCE)

    assert [row[:1] + row[2:] for row in stored(world)][1:] == [
        (2, "skipped", "overlap"),
        (3, "skipped", "overlap"),
    ]
    assert stored(world)[0][2] in {"success", "no_change"}
    told = [line for line in lines if line["event"] == "run.skipped"]
    assert [line["reason"] for line in told] == ["overlap", "overlap"]


def test_due_times_are_skipped_while_a_plan_waits_for_a_person(world: World) -> None:
    source = world.sync(members=people(1, 2, 3), schedule=HOURLY, guard=STRICT)
    world.vendor.known = people(1, 2, 3)
    with world.engine() as engine:
        slots = slots_of(engine, world)
        advance(world, HOUR)
        slots.due("vip")
        source.members = people(1)
        for _ in range(3):
            advance(world, HOUR)
            slots.due("vip")
        reads = source.reads
        advance(world, 25 * HOUR)
        slots.due("vip")

    assert [row[2:] for row in stored(world)] == [
        ("success", None),
        ("held", "guard.max_exit"),
        ("skipped", "held"),
        ("skipped", "held"),
        ("held", "guard.max_exit"),
    ]
    assert reads == 2, "nothing is read while a plan waits"


def test_after_downtime_one_run_makes_up_for_every_missed_slot(
    world: World, lines: list[EventDict]
) -> None:
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1)
    with world.engine() as engine:
        advance(world, HOUR)
        slots_of(engine, world).due("vip")
    advance(world, 5 * HOUR + MINUTE)

    for _ in range(2):
        with world.engine() as engine:
            start(engine, world)

    assert stored(world) == [
        (1, "schedule", "success", None),
        (6, "catch_up", "no_change", None),
    ]
    told = [line for line in lines if line["event"] == "run.missed"]
    assert [line["missed"] for line in told] == [5]


def test_after_a_crash_the_run_is_resumed_and_missed_slots_are_made_up(
    world: World,
) -> None:
    store = Mortal(world.database)
    source = world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1, 2)
    with world.engine(store) as engine:
        advance(world, HOUR)
        world.vendor.watch = lambda _: store.die()
        slots_of(engine, world).due("vip")
    world.vendor.watch = lambda _: None
    source.members = people(1, 2)
    advance(world, 5 * HOUR)

    with world.engine() as engine:
        start(engine, world, cut_off=engine.close_abandoned())

    assert sorted(stored(world), key=str) == [
        (1, "schedule", "abandoned", "process_died"),
        (6, "catch_up", "success", None),
        (None, "resume", "success", None),
    ]
    assert world.vendor.cohort.members == people(1, 2)


def test_a_sync_that_is_not_to_catch_up_records_what_it_skipped(world: World) -> None:
    world.sync(members=people(1), schedule=HOURLY, catch_up="skip")
    with world.engine():
        pass
    advance(world, 5 * HOUR)

    with world.engine() as engine:
        start(engine, world)

    assert stored(world) == [(5, "schedule", "skipped", "catch_up: skip")]


def test_a_slot_that_nobody_settled_is_made_up_for_while_serving(world: World) -> None:
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1)
    later = Later()
    with world.engine() as engine:
        slots = slots_of(engine, world, later)
        advance(world, HOUR)
        slots.catch_up()
        later.do_all()
        early = stored(world)
        advance(world, 30 * MINUTE)
        slots.catch_up()
        later.do_all()

    assert early == [], "its own due time has only just come"
    assert stored(world) == [(1, "catch_up", "success", None)]


def test_a_due_time_that_is_just_being_taken_is_no_overlap_of_itself(
    world: World,
) -> None:
    """Both who announces it and who looks for what was missed found it open."""
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1)
    later = Later()
    with world.engine() as engine:
        slots = slots_of(engine, world, later)
        advance(world, 90 * MINUTE)
        with engine.alone("vip"):
            slots.catch_up()
            later.do_all()
        meanwhile = stored(world)
        slots.catch_up()
        later.do_all()

    assert meanwhile == []
    assert stored(world) == [(1, "catch_up", "success", None)]


def test_no_sync_runs_in_the_thread_that_looks_for_what_was_missed(
    world: World,
) -> None:
    """That thread has the heartbeat's work too: forty syncs would stop it for long."""
    world.sync("hourly", members=people(1), schedule=HOURLY)
    world.sync("other", members=people(1), schedule=HOURLY)
    world.sync("one-time", members=people(1), schedule=Once())
    world.vendor.known = people(1)
    later = Later()
    with world.engine() as engine:
        advance(world, 90 * MINUTE)
        slots_of(engine, world, later).catch_up()
        ran, asked = stored(world), sorted(later)
        later.do_all()
        slots_of(engine, world, later).catch_up()

    assert ran == []
    assert asked == ["missed:hourly", "missed:other", "one-time:one-time"]
    assert [row[2] for row in stored(world)] == ["success"] * 3
    assert later == {}, "nothing is left to be done"


def test_a_one_time_sync_runs_until_it_succeeded_once(world: World) -> None:
    source = world.sync(members=people(1), schedule=Once())
    world.vendor.known = people(1)

    def fail() -> None:
        raise SourceUnavailable("no answer")

    for reading in (fail, lambda: None, lambda: None):
        source.while_reading = reading
        advance(world, HOUR)
        with world.engine() as engine:
            start(engine, world)

    assert [row[2] for row in stored(world)] == ["failed", "success"]


def test_a_one_time_sync_is_not_done_because_it_let_somebody_go(world: World) -> None:
    source = world.sync(members=people(1, 2), schedule=Once())
    world.vendor.known = people(1, 2, 3)
    with world.engine() as engine:
        advance(world, HOUR)
        start(engine, world)
        with world.database.begin() as connection:
            # As if a batch had not got through.
            connection.execute(text("UPDATE run SET outcome = 'partial'"))
            forgotten.add(connection, [(b"person-0001", IdType.USER_ID)], NOW)
        # Ids of runs tell the order of two milliseconds, not within one.
        advance(world, HOUR)
        engine.let_go("vip")
        source.members = people(2, 3)
        advance(world, HOUR)
        start(engine, world)

    assert [row[1:3] for row in stored(world)] == [
        ("schedule", "partial"),
        ("forget", "success"),
        ("schedule", "success"),
    ]


@pytest.mark.parametrize("changes", [{"schedule": Manual()}, {"enabled": False}])
def test_a_manual_or_disabled_sync_is_never_due(
    world: World, changes: dict[str, Any]
) -> None:
    world.sync(members=people(1), **({"schedule": HOURLY} | changes))
    with world.engine() as engine:
        advance(world, 5 * HOUR)
        slots = slots_of(engine, world)
        slots.due("vip")
        slots.overlapped("vip")
        slots.due("unheard-of")
        slots.catch_up()
        start(engine, world)

    assert stored(world) == []


def test_only_enabled_syncs_are_handed_to_the_ticker() -> None:
    settings = settings_of(
        sync_settings("a", schedule=HOURLY), sync_settings("b", enabled=False)
    )

    assert [timing.sync for timing in timings(settings)] == ["a"]


def test_a_store_that_is_away_at_a_due_time_costs_no_thread_and_no_slot(
    world: World, lines: list[EventDict]
) -> None:
    store = Mortal(world.database)
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1)
    with world.engine(store) as engine:
        slots = slots_of(engine, world)
        advance(world, HOUR)
        store.die()
        slots.due("vip")
        slots.overlapped("vip")
        store.dead = False
        slots.due("vip")

    assert [line for line in lines if line["event"] == "store.unavailable"]
    assert stored(world) == [(1, "schedule", "success", None)]


def test_a_person_may_run_a_sync_between_its_slots(world: World) -> None:
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1)
    with world.engine() as engine:
        advance(world, 90 * MINUTE)
        manual = engine.run("vip", Trigger.MANUAL)
        slots_of(engine, world).due("vip")

    assert manual is not None
    assert (manual.slot, manual.outcome) == (None, Outcome.SUCCESS)
    assert (1, "schedule", "no_change", None) in stored(world)
