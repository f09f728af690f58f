"""The pages of a real store: what runs left behind, in the words of the page."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.app.board import StoreBoard
from syncd.app.board.causes import whose
from syncd.config.settings import DeliverySettings, GuardSettings
from syncd.model import Outcome, Trigger
from syncd.store import pauses
from syncd.store.database import Database
from syncd.store.pauses import Pause
from syncd.sync.decide import Decision
from syncd.web.pages import render
from syncd.web.pages.views import NotThere
from tests import paged
from tests.builders import (
    FakeVendor,
    ManualClock,
    World,
    held_run,
    new_database,
    people,
    settings_of,
)

LARGE = DeliverySettings(
    batch_size=100, retries=0, first_delay=timedelta(0), max_delay=timedelta(0)
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = new_database(tmp_path)
    vendor = FakeVendor(known=people(*range(200)))
    yield World(
        database=database,
        spool=tmp_path,
        clock=ManualClock(),
        vendors={"amplitude": vendor},
    )
    database.close()


def board_of(world: World) -> StoreBoard:
    settings = settings_of(*world.syncs.values())
    return StoreBoard(world.database, lambda: settings, world.clock)


@pytest.fixture
def held(world: World) -> World:
    """200 people are members; a plan that would remove 100 of them is held."""
    source = world.sync(
        "vip", people(*range(200)), description="Who pays.", delivery=LARGE
    )
    world.sync("calm", people(1, 2, 3))
    with world.engine() as engine:
        for name in ("vip", "calm"):
            engine.run(name, Trigger.MANUAL)
        later(world)
        source.members = people(*range(100))
        engine.run("vip", Trigger.MANUAL)
    return world


def later(world: World) -> None:
    assert isinstance(world.clock, ManualClock)
    world.clock.advance(timedelta(minutes=10))


def test_the_list_says_that_nobody_works_where_workers_are_wanted(
    world: World,
) -> None:
    settings = replace(settings_of(), cluster="procrastinate")

    page = StoreBoard(world.database, lambda: settings, world.clock).overview("")

    assert board_of(world).overview("").notices == ()
    (said,) = page.notices
    assert said.startswith("No worker gives a sign of life")


def test_the_list_names_the_held_sync_why_and_what_to_type(held: World) -> None:
    run = held_run(held.database)
    assert run is not None

    page = board_of(held).overview("")

    assert page.needed.sentence == "1 of 2 syncs needs you."
    assert page.needed.worst == "vip is held: 100 people would leave."
    assert "100 of 200 people would leave" in page.needed.reason
    assert page.needed.command == f"syncd show {run.short_id}"
    assert page.needed.look is not None
    assert page.needed.look.href == "/syncs/vip"
    assert [row.name for row in page.rows] == ["vip", "calm"]


def test_a_row_tells_the_history_of_its_runs(held: World) -> None:
    row = board_of(held).overview("").rows[0]

    assert (row.mark.word, row.owner, row.next) == ("held", "growth", "for you")
    assert row.size == "200"
    assert row.history.sizes == (200, 200)
    assert row.history.moves == ((200, 0), (0, 0))
    assert [cell.outcome for cell in row.history.cells] == ["success", "held"]


def test_sizes_are_counted_back_where_a_run_counted_nobody(world: World) -> None:
    source = world.sync("vip", people(*range(10)))
    with world.engine() as engine:
        for _ in range(2):
            engine.run("vip", Trigger.MANUAL)
            later(world)
        source.members = people(*range(12))
        engine.run("vip", Trigger.MANUAL)

    (row,) = board_of(world).overview("").rows

    assert [cell.outcome for cell in row.history.cells] == [
        "success",
        "no_change",
        "success",
    ]
    assert row.history.sizes == (10, 10, 12)


def test_the_list_shows_one_state_and_counts_all(held: World) -> None:
    page = board_of(held).overview("held")

    assert [row.name for row in page.rows] == ["vip"]
    counts = {each.mark.word: (each.count, each.chosen) for each in page.counts}
    assert counts["held"] == (1, True)
    assert sum(count for count, _ in counts.values()) == 2
    assert page.needed.sentence == "1 of 2 syncs needs you."


def test_numbers_of_the_day_are_those_of_the_ledger(held: World) -> None:
    figures = {each.label: each.value for each in board_of(held).overview("").figures}
    held.clock = ManualClock(held.clock.now() + timedelta(hours=25))

    tomorrow = {each.label: each.value for each in board_of(held).overview("").figures}

    assert (figures["needs you"], figures["sent, 24 h"]) == ("1", "203")
    assert tomorrow["sent, 24 h"] == "0"


def test_a_held_plan_is_shown_with_its_numbers_and_choices(held: World) -> None:
    run = held_run(held.database)
    assert run is not None

    page = board_of(held).sync("vip", "")

    assert page.plan is not None
    assert page.plan.waits
    figures = {each.label: each.value for each in page.plan.figures}
    assert figures["members now"] == "200"
    assert (figures["would enter"], figures["would exit"]) == ("0", "100")
    assert (figures["exit share"], figures["after"]) == ("50.0 %", "100")
    assert [trip.guard for trip in page.plan.trips] == ["guard.max_exit"]
    commands = [each.command.split()[1:3] for each in page.plan.choices]
    assert commands == [["approve", run.short_id], ["reject", run.short_id]]
    assert page.plan.ask == "growth"
    assert page.ends.startswith("audience vip of engage → cohort Cohort vip (")


def test_a_decided_plan_says_who_decided_and_which_run_sent_it(held: World) -> None:
    run = held_run(held.database)
    assert run is not None
    decision = Decision(run_id=run.id, actor="ann", via="cli", reason="meant so")
    with held.engine() as engine:
        report = engine.approve(decision)
    assert report is not None

    page = board_of(held).run(run.id)
    sent = board_of(held).run(report.short_id)

    assert page.plan is not None
    assert (page.plan.waits, page.plan.choices) == (False, ())
    assert page.plan.fate == "This plan was approved."
    assert page.decisions[0].startswith("approved by ann (cli)")
    assert page.sent_by is not None
    assert page.sent_by.href == f"/runs/{report.run_id}"
    assert [(each.operation, each.ids) for each in sent.batches] == [("remove", "100")]


def test_a_run_shows_its_steps_its_stages_and_its_batches(held: World) -> None:
    first = board_of(held).sync("vip", "success").runs[0]

    page = board_of(held).run(first.run_id)

    assert [step.name for step in page.steps][:1] != []
    stages = {stage.name: stage.count for stage in page.stages}
    assert (stages["people"], stages["sent"], stages["accepted"]) == ("200",) * 3
    assert page.sync.href == "/syncs/vip"
    assert sum(int(each.ids) for each in page.batches if "accept" in each.result) == 200
    assert page.more_batches == 0


def test_runs_are_filtered_by_how_they_ended(held: World) -> None:
    board = board_of(held)

    everything, held_only = board.sync("vip", ""), board.sync("vip", "held")

    assert [run.mark.word for run in everything.runs] == ["held", "success"]
    assert [run.mark.word for run in held_only.runs] == ["held"]
    assert {each.mark.word: each.count for each in held_only.counts} == {
        "held": 1,
        "success": 1,
    }


def test_a_pause_says_who_why_and_the_way_out(held: World) -> None:
    pause = Pause(
        sync="calm",
        since=held.clock.now(),
        until=held.clock.now() + timedelta(hours=4),
        actor="ann",
        via="cli",
        reason="the vendor moves house",
    )
    with held.database.begin() as connection:
        pauses.put(connection, pause)

    page = board_of(held).sync("calm", "")

    assert page.mark.word == "paused"
    assert "paused by ann until" in page.pause
    assert "the vendor moves house" in page.pause
    assert "syncd resume calm" in page.pause


def test_a_sync_that_never_ran_says_how_to_run_it(world: World) -> None:
    world.sync("vip")

    page = board_of(world).sync("vip", "")

    assert page.command == "syncd run vip"
    assert (page.runs, page.last, page.plan) == ((), None, None)
    assert render.page("sync", {**paged.NOBODY, "page": page})


def test_without_a_sync_the_list_says_how_to_begin(world: World) -> None:
    page = board_of(world).overview("")

    assert page.needed.sentence == "No sync is configured."
    assert page.needed.command == "syncd init"
    assert render.page("list", {**paged.NOBODY, "page": page})


def test_why_things_failed_tells_whose_it_is(held: World) -> None:
    causes = board_of(held).overview("").causes

    (held_by,) = [each for each in causes if each.what == "guard.max_exit"]
    assert (held_by.whose, held_by.count) == ("yours", "1 run, 1 waiting")
    assert held_by.code == "guard.max_exit"


@pytest.mark.parametrize(
    ("code", "who"),
    [
        ("http_5xx", "theirs"),
        ("source.timeout", "theirs"),
        ("process_died", "ours"),
        ("store", "ours"),
        ("auth", "yours"),
        ("guard.max_enter", "yours"),
        ("unknown_user", "people"),
    ],
)
def test_every_code_is_somebodys(code: str, who: str) -> None:
    assert whose(code) == who


@pytest.mark.parametrize(
    ("ask", "near"),
    [
        (lambda board: board.sync("vipp", ""), "/syncs/vip"),
        (lambda board: board.sync("vip", "heldd"), "/syncs/vip?outcome=held"),
        (lambda board: board.overview("on_tme"), "/?state=on_time"),
        (lambda board: board.run("vip"), "/syncs/vip"),
        (lambda board: board.run("0123456789"), "/syncs/vip"),
    ],
    ids=["sync", "outcome", "state", "sync as run", "run"],
)
def test_what_is_not_there_names_what_is_near(held: World, ask: Any, near: str) -> None:
    with pytest.raises(NotThere) as caught:
        ask(board_of(held))

    assert near in [link.href for link in caught.value.near]


def test_no_page_names_a_member(held: World) -> None:
    board = board_of(held)
    pages = [render.page("list", {**paged.NOBODY, "page": board.overview("")})]
    for name in held.syncs:
        page = board.sync(name, "")
        pages.append(render.page("sync", {**paged.NOBODY, "page": page}))
        for line in page.runs:
            found = board.run(line.run_id)
            pages.append(render.page("run", {**paged.NOBODY, "page": found}))

    members = [each.decode() for each in people(*range(200))]
    assert len(pages) == 6
    for body in pages:
        assert not [each for each in members if f">{each}<" in body.decode()]
        assert members[7] not in body.decode()


def test_every_outcome_and_state_can_be_a_filter(held: World) -> None:
    board = board_of(held)

    for outcome in Outcome:
        assert board.sync("vip", outcome.value).chosen == outcome.value
    for state in ("held", "on_time", "off", "paused", "stale", "failing"):
        assert board.overview(state).chosen == state.replace("_", " ")


def test_the_list_is_read_once_for_all_who_look_at_it_at_a_time(held: World) -> None:
    board = board_of(held)
    before = board.overview("")
    with held.engine() as engine:
        engine.run("calm", Trigger.MANUAL)

    again, anew = board.overview(""), board_of(held).overview("")

    assert again is before
    assert len(anew.rows[1].history.cells) == len(before.rows[1].history.cells) + 1


def test_a_guard_on_entries_names_those_who_would_enter(world: World) -> None:
    strict = GuardSettings(max_exit=1.0, max_enter=0.5, ignore_below=0, on_trip="hold")
    source = world.sync("vip", people(*range(20)), guard=strict, delivery=LARGE)
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)
        later(world)
        source.members = people(*range(5, 60))
        engine.run("vip", Trigger.MANUAL)

    page = board_of(world).overview("")

    assert page.needed.worst == "vip is held: 40 people would enter."


def test_a_due_run_that_did_not_happen_says_why(held: World) -> None:
    with held.engine() as engine:
        engine.skip("calm", held.clock.now() + timedelta(minutes=1), "blackout")

    facts = {each.name: each for each in board_of(held).sync("calm", "").facts}

    assert facts["last one skipped"].words.endswith(": blackout")
    assert facts["last one skipped"].href == "/help/skipped.blackout"
    assert "last one skipped" not in {
        each.name for each in board_of(held).sync("vip", "").facts
    }


def test_the_pages_are_the_same_on_either_database(
    database: Database, tmp_path: Path
) -> None:
    vendor = FakeVendor(known=people(*range(50)))
    world = World(database=database, spool=tmp_path, vendors={"amplitude": vendor})
    world.sync("vip", people(*range(50)), delivery=LARGE)
    with world.engine() as engine:
        report = engine.run("vip", Trigger.MANUAL)
    assert report is not None

    board = board_of(world)
    pages = [
        ("list", board.overview("")),
        ("sync", board.sync("vip", "success")),
        ("run", board.run(report.run_id)),
    ]

    for template, page in pages:
        assert render.page(template, {**paged.NOBODY, "page": page})
    assert board.overview("").rows[0].size == "50"
    assert {each.name for each in board.overview("").foot} >= {"store", "outbox"}
