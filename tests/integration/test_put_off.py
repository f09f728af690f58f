"""Pauses and blackouts: nothing begins, nothing is forgotten, one run makes up for it.

The clock stands still until a test moves it; due times are announced as the daemon's
ticker does.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from structlog.types import EventDict

from syncd.app import pausing
from syncd.app.commands import approve, reject
from syncd.app.engine import Engine, UnknownSync
from syncd.app.pausing import NotPausable
from syncd.app.reacting import Reacting
from syncd.app.slots import Slots
from syncd.app.sync_gauges import samples
from syncd.config.settings import GuardSettings
from syncd.errors import PutOff
from syncd.model import Outcome, Trigger
from syncd.schedule import Every, Once
from syncd.store import pauses, runs
from syncd.store.pauses import Paused
from syncd.windows import Window
from tests.builders import NOW, Mortal, World, people, rows

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
HOURLY = Every(HOUR)
STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")
AFTERNOON = Window(name="etl", zone="UTC", start=time(13, 30), end=time(16, 30))
"""Noon is when tests begin."""


def pause(engine: Engine, name: str = "vip", **changes: Any) -> dict[str, Any]:
    body = {"sync": name, "actor": "joe", "via": "cli", "reason": "CRM migration"}
    return pausing.pause(engine, body | {"span": None, "until": None} | changes)


def resume(engine: Engine, again: Callable[[str], None] | None = None) -> Any:
    body = {"sync": "vip", "actor": "ana", "via": "cli"}
    return pausing.resume(engine, body, again)["pause"]


def at_once(_: str, action: Callable[[], object]) -> None:
    """What the scheduler does in a thread of its own."""
    action()


def slots_of(engine: Engine, world: World) -> Slots:
    return Slots(engine, world.clock, at_once)


def advance(world: World, by: timedelta) -> None:
    world.clock.advance(by)  # type: ignore[attr-defined]


def hours(world: World, slots: Slots, count: int) -> None:
    """Let so many hours pass, each announced as due."""
    for _ in range(count):
        advance(world, HOUR)
        slots.due("vip")


def stored(world: World) -> list[tuple[object, ...]]:
    """(hours after noon it began, trigger, outcome, reason) of every run.

    A skipped slot before the run that makes up for it at the same instant.
    """
    query = (
        "SELECT started_at, trigger, outcome, reason FROM run "
        "ORDER BY started_at, outcome = 'skipped' DESC"
    )
    return [
        ((datetime.fromisoformat(f"{at}+00:00") - NOW) / HOUR, *rest)
        for at, *rest in rows(world.database, query)
    ]


def told(lines: list[EventDict], name: str) -> list[EventDict]:
    return [line for line in lines if line["event"] == name]


@pytest.fixture
def hourly(world: World) -> World:
    """One sync of one person, every hour."""
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1, 2, 3)
    return world


# ---- pauses --------------------------------------------------------------------------


def test_a_paused_sync_skips_its_due_times_and_one_run_makes_up_for_them(
    hourly: World, lines: list[EventDict]
) -> None:
    with hourly.engine() as engine:
        slots = slots_of(engine, hourly)
        pause(engine)
        hours(hourly, slots, 3)
        resume(engine, slots.make_up_put_off)
        slots.make_up_put_off("vip")

    assert stored(hourly) == [
        (1, "schedule", "skipped", "paused"),
        (2, "schedule", "skipped", "paused"),
        (3, "schedule", "skipped", "paused"),
        (3, "catch_up", "success", None),
    ]
    aloud = [line["log_level"] for line in told(lines, "run.skipped")]
    assert aloud == ["info", "debug", "debug"], "said once"
    assert [line["actor"] for line in told(lines, "operator.paused")] == ["joe"]
    assert [line["actor"] for line in told(lines, "operator.resumed")] == ["ana"]


def test_nothing_is_made_up_for_when_no_due_time_was_put_off(hourly: World) -> None:
    with hourly.engine() as engine:
        slots = slots_of(engine, hourly)
        hours(hourly, slots, 1)
        pause(engine)
        resume(engine, slots.make_up_put_off)
        slots.catch_up()

    assert stored(hourly) == [(1, "schedule", "success", None)]


def test_a_sync_that_is_not_to_catch_up_waits_for_its_next_due_time(
    world: World,
) -> None:
    world.sync(members=people(1), schedule=HOURLY, catch_up="skip")
    world.vendor.known = people(1)
    with world.engine() as engine:
        slots = slots_of(engine, world)
        pause(engine)
        hours(world, slots, 2)
        resume(engine, slots.make_up_put_off)
        hours(world, slots, 1)

    assert [row[1:] for row in stored(world)] == [
        ("schedule", "skipped", "paused"),
        ("schedule", "skipped", "paused"),
        ("schedule", "success", None),
    ]


def test_a_pause_outlives_its_process_and_ends_by_itself_once(
    hourly: World, lines: list[EventDict]
) -> None:
    with hourly.engine() as engine:
        pause(engine, span="4h")
        hours(hourly, slots_of(engine, hourly), 1)

    with hourly.engine() as engine:
        slots = slots_of(engine, hourly)
        slots.start(())
        hours(hourly, slots, 2)
        assert pausing.end_pauses(engine.database, hourly.clock.now()) == []
        advance(hourly, HOUR)
        ended = pausing.end_pauses(engine.database, hourly.clock.now())
        again = pausing.end_pauses(engine.database, hourly.clock.now())
        slots.make_up_put_off("vip")

    assert (ended, again) == (["vip"], [])
    assert [row[0::2] for row in stored(hourly)] == [
        (1, "skipped"),
        (2, "skipped"),
        (3, "skipped"),
        (4, "success"),
    ]
    (over,) = told(lines, "pause.expired")
    assert (over["actor"], over["reason"]) == ("joe", "CRM migration")
    assert not told(lines, "run.missed"), "nobody missed anything"


def test_a_due_time_after_the_end_runs_though_nobody_took_the_row_away(
    hourly: World,
) -> None:
    with hourly.engine() as engine:
        pause(engine, span="90m")
        hours(hourly, slots_of(engine, hourly), 2)

    assert [row[0::2] for row in stored(hourly)] == [(1, "skipped"), (2, "success")]


def test_downtime_in_a_pause_is_made_up_for_when_that_is_over(hourly: World) -> None:
    with hourly.engine() as engine:
        pause(engine, span="6h")
    advance(hourly, 5 * HOUR + MINUTE)
    with hourly.engine() as engine:
        slots_of(engine, hourly).start(())
    advance(hourly, HOUR - MINUTE)
    with hourly.engine() as engine:
        slots_of(engine, hourly).start(())

    assert [row[2:] for row in stored(hourly)] == [
        ("skipped", "paused"),
        ("success", None),
    ]


def test_whoever_runs_a_paused_sync_is_told_who_why_until_and_the_way_out(
    hourly: World,
) -> None:
    with hourly.engine() as engine:
        pause(engine, span="4h")
        with pytest.raises(Paused) as refused:
            engine.run("vip", Trigger.MANUAL)

    assert str(refused.value) == (
        "vip is paused by joe until 2026-03-02 16:00 UTC: CRM migration"
    )
    assert (refused.value.code, refused.value.hint) == (
        "sync.paused",
        "syncd resume vip",
    )
    assert stored(hourly) == []


def test_a_held_plan_of_a_paused_sync_is_not_sent_but_may_be_rejected(
    world: World,
) -> None:
    source = world.sync(members=people(1, 2, 3), schedule=HOURLY, guard=STRICT)
    world.vendor.known = people(1, 2, 3)
    with world.engine() as engine:
        slots = slots_of(engine, world)
        hours(world, slots, 1)
        source.members = people(1)
        hours(world, slots, 1)
        with world.database.read() as connection:
            held = runs.waiting_for_a_person(connection, "vip")
        assert held is not None
        pause(engine)
        hours(world, slots, 1)
        word = {"run": held.id, "actor": "joe", "via": "cli", "reason": "fine"}
        with pytest.raises(Paused):
            approve(engine, word)
        reject(engine, word)

    assert world.vendor.cohort.members == people(1, 2, 3)
    assert stored(world)[-1][2:] == ("skipped", "paused")


def test_a_run_in_progress_finishes_its_plan(hourly: World) -> None:
    answers = []
    hourly.sources["vip"].while_reading = lambda: answers.append(pause(engine))
    with hourly.engine() as engine:
        report = engine.run("vip", Trigger.MANUAL)

    assert report is not None
    assert report.outcome is Outcome.SUCCESS
    assert hourly.vendor.cohort.members == people(1)
    assert [answer["running"] for answer in answers] == [True]


def test_a_run_that_was_cut_off_goes_on_after_the_pause(hourly: World) -> None:
    store = Mortal(hourly.database)
    with hourly.engine(store) as engine:
        hourly.vendor.watch = lambda _: store.die()
        engine.run("vip", Trigger.MANUAL)
    hourly.vendor.watch = lambda _: None
    requests = len(hourly.vendor.requests)

    with hourly.engine() as engine:
        slots = slots_of(engine, hourly)
        pause(engine, span="2h")
        cut_off = engine.close_abandoned()
        slots.start(cut_off)
        slots.resume("vip")
        meanwhile = len(hourly.vendor.requests)
        advance(hourly, 2 * HOUR + MINUTE)
        slots.resume("vip")

    assert cut_off == ["vip"]
    assert meanwhile == requests, "nothing is sent in a pause"
    assert "resume" in [row[1] for row in stored(hourly) if row[2] == "success"]


def test_a_second_pause_replaces_the_first_and_both_are_in_the_audit(
    hourly: World,
) -> None:
    with hourly.engine() as engine:
        pause(engine, span="1h")
        second = pause(engine, span="3h", actor="ana", reason="longer")
        with hourly.database.read() as connection:
            (found,) = pauses.all_in_force(connection, NOW + 2 * HOUR).values()

    assert second["before"]["actor"] == "joe"
    assert (found.actor, found.reason, found.until) == ("ana", "longer", NOW + 3 * HOUR)
    query = "SELECT verb, actor, reason FROM action ORDER BY id"
    assert [tuple(row) for row in rows(hourly.database, query)] == [
        ("pause", "joe", "CRM migration"),
        ("pause", "ana", "longer"),
    ]


def test_resuming_what_is_not_paused_changes_nothing(
    hourly: World, lines: list[EventDict]
) -> None:
    with hourly.engine() as engine:
        assert resume(engine) is None
        pause(engine, span="1h")
        advance(hourly, HOUR)
        assert resume(engine) is None, "it was over"

    assert not told(lines, "operator.resumed")


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"reason": "  "}, "needs a reason"),
        ({"span": "soon"}, "neither a duration nor an instant"),
        ({"span": "0s"}, "over before it began"),
        ({"until": "2026-03-02T11:00:00Z"}, "over before it began"),
        ({"until": "2026-03-02T18:00:00"}, "needs its offset"),
        ({"span": "1h", "until": "2026-03-02T18:00:00Z"}, "not both"),
    ],
)
def test_a_pause_that_means_nothing_is_refused(
    hourly: World, changes: dict[str, Any], refusal: str
) -> None:
    with hourly.engine() as engine:
        with pytest.raises(NotPausable, match=refusal):
            pause(engine, **changes)
        with pytest.raises(UnknownSync):
            pause(engine, "vap")

    assert rows(hourly.database, "SELECT * FROM pause") == []


# ---- blackouts -----------------------------------------------------------------------


@pytest.fixture
def guarded(world: World) -> World:
    """One sync of one person, every hour but in the afternoon."""
    world.sync(members=people(1), schedule=HOURLY, blackout=(AFTERNOON,))
    world.vendor.known = people(1)
    return world


def test_due_times_in_a_blackout_are_skipped_and_one_run_follows_at_its_end(
    guarded: World, lines: list[EventDict]
) -> None:
    with guarded.engine() as engine:
        slots = slots_of(engine, guarded)
        hours(guarded, slots, 4)
        advance(guarded, 30 * MINUTE)
        slots.due("vip")
        hours(guarded, slots, 1)

    assert stored(guarded) == [
        (1, "schedule", "success", None),
        (2, "schedule", "skipped", "blackout"),
        (3, "schedule", "skipped", "blackout"),
        (4, "schedule", "skipped", "blackout"),
        (4.5, "catch_up", "no_change", None),
        (5.5, "schedule", "no_change", None),
    ]
    said = told(lines, "run.skipped")
    assert [line["log_level"] for line in said] == ["info", "debug", "debug"]
    assert said[0]["until"] == NOW + 4.5 * HOUR


def test_a_blackout_puts_off_even_where_downtime_is_not_made_up_for(
    world: World,
) -> None:
    world.sync(
        members=people(1), schedule=HOURLY, blackout=(AFTERNOON,), catch_up="skip"
    )
    world.vendor.known = people(1)
    with world.engine() as engine:
        slots = slots_of(engine, world)
        hours(world, slots, 2)
        advance(world, 2.5 * HOUR)
        slots.catch_up()
        slots.due("vip")

    assert stored(world)[-1] == (4.5, "catch_up", "no_change", None)


def test_a_person_may_run_a_sync_in_a_blackout(guarded: World) -> None:
    with guarded.engine() as engine:
        advance(guarded, 2 * HOUR)
        report = engine.run("vip", Trigger.MANUAL)

    assert report is not None
    assert report.outcome is Outcome.SUCCESS


def test_nothing_begins_by_itself_in_a_blackout(guarded: World) -> None:
    with guarded.engine() as engine:
        advance(guarded, 2 * HOUR)
        for trigger in (Trigger.SCHEDULE, Trigger.CATCH_UP, Trigger.RESUME):
            with pytest.raises(PutOff, match="window 'etl' at 2026-03-02 16:30 UTC"):
                engine.run("vip", trigger)

    assert stored(guarded) == []


def test_a_one_time_sync_waits_for_the_end_of_the_blackout(world: World) -> None:
    world.sync(members=people(1), schedule=Once(), blackout=(AFTERNOON,))
    world.vendor.known = people(1)
    with world.engine() as engine:
        slots = slots_of(engine, world)
        advance(world, 2 * HOUR)
        slots.start(())
        slots.catch_up()
        meanwhile = stored(world)
        advance(world, 3 * HOUR)
        slots.catch_up()

    assert meanwhile == []
    assert stored(world) == [(5, "schedule", "success", None)]


def test_a_pause_that_ends_in_a_blackout_waits_for_its_end_too(guarded: World) -> None:
    with guarded.engine() as engine:
        slots = slots_of(engine, guarded)
        pause(engine, span="150m")
        hours(guarded, slots, 1)
        advance(guarded, 90 * MINUTE)
        for name in pausing.end_pauses(engine.database, guarded.clock.now()):
            slots.make_up_put_off(name)
        meanwhile = stored(guarded)
        advance(guarded, 2 * HOUR)
        slots.due("vip")
        slots.catch_up()

    assert [row[2:] for row in meanwhile] == [("skipped", "paused")]
    assert [row[2] for row in stored(guarded)].count("success") == 1


# ---- what goes on meanwhile ----------------------------------------------------------


def test_news_of_a_paused_sync_is_stored_and_read_when_the_pause_is_over(
    world: World,
) -> None:
    feed = world.fed()
    world.vendor.known = people(1)
    sync = world.syncs["vip"]
    told_by = sync.source.events
    assert told_by is not None
    soon_after = replace(told_by, run_after=timedelta(seconds=5))
    source = replace(sync.source, events=soon_after)
    world.syncs["vip"] = replace(sync, source=source)
    with world.engine() as engine:
        reacting = Reacting(engine, world.clock, at_once)
        pause(engine, span="1h")
        feed.say(enter=people(1))
        for _ in range(20):
            advance(world, MINUTE)
            reacting.look()
        meanwhile = stored(world)
        advance(world, HOUR)
        for _ in range(3):
            advance(world, MINUTE)
            reacting.look()

    assert meanwhile == []
    assert [row[1:] for row in stored(world)] == [("push", "success", None)]
    assert world.vendor.cohort.members == people(1)


def test_the_metric_says_which_syncs_are_paused(hourly: World) -> None:
    with hourly.engine() as engine:
        pause(engine, span="2h")
        settings = engine.blueprint.settings
        with hourly.database.read() as connection:
            first = list(samples(connection, settings, NOW + HOUR))
            last = list(samples(connection, settings, NOW + 2 * HOUR))

    assert ("syncd_sync_paused", ("vip",), True) in first
    assert ("syncd_sync_paused", ("vip",), False) in last
