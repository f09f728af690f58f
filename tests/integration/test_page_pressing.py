"""What is pressed on a page, carried out on both stores; nobody waits for its end."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncd.app.engine import Engine
from syncd.app.pressing import Pressing
from syncd.config.settings import GuardSettings
from syncd.errors import SyncdError
from syncd.model import Outcome, Trigger
from syncd.store import runs
from syncd.store.database import Database
from syncd.web.pages.actions import Pressed
from tests.builders import PATIENCE, World, held_run, people, rows

STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Ten people are in the source, and at the destination after a first run."""
    made = World(database=database, spool=tmp_path)
    made.sync(members=people(*range(10)), guard=STRICT)
    made.vendor.known |= people(*range(20))
    return made


@contextmanager
def pressing(world: World) -> Iterator[tuple[Engine, Pressing]]:
    """After the first run."""
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)
        made = Pressing(engine, again=lambda name: None)
        yield engine, made
        made.stop()


def pressed(action: str, subject: str = "vip", **fields: str) -> Pressed:
    return Pressed(action=action, subject=subject, actor="ana", fields=fields)


def members(world: World) -> set[bytes]:
    (cohort,) = world.vendor.cohorts.values()
    return cohort.members


def test_an_approval_goes_to_the_run_that_sends_the_plan(world: World) -> None:
    with pressing(world) as (engine, desk):
        world.sources["vip"].members = people(1, 2, 3)
        world.clock.advance(world.request_deadline)  # type: ignore[attr-defined]
        engine.run("vip", Trigger.MANUAL)
        held = desk.held("vip")
        assert held is not None

        where = desk.press(
            pressed(
                "approve",
                held.run_id,
                plan=held.plan_hash,
                typed=" vip ",
                reason="a sale ended",
            )
        )
        wait_for_rest(engine)

    (sent,) = runs_of(world, Trigger.APPROVE)
    assert where == f"/runs/{sent.id}"
    assert sent.outcome is Outcome.SUCCESS
    assert members(world) == people(1, 2, 3)
    query = "SELECT verb, actor, via, reason, plan_hash FROM action"
    assert rows(world.database, query) == [
        ("approve", "ana", "web", "a sale ended", held.plan_hash)
    ]


def test_a_rejection_keeps_the_baseline(world: World) -> None:
    with pressing(world) as (engine, desk):
        world.sources["vip"].members = set()
        engine.run("vip", Trigger.MANUAL)
        held = desk.held("vip")
        assert held is not None
        where = desk.press(
            pressed("reject", held.run_id, plan=held.plan_hash, reason="a mistake")
        )

    assert where == f"/runs/{held.run_id}"
    assert held_run(world.database) is None
    assert members(world) == people(*range(10))


def test_a_run_in_progress_is_where_its_button_leads(world: World) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def read() -> None:
        reading.set()
        assert go_on.wait(PATIENCE)

    with pressing(world) as (engine, desk):
        world.sources["vip"].while_reading = read
        where = desk.press(pressed("run"))
        begun = reading.wait(PATIENCE)
        with pytest.raises(SyncdError) as refused:
            desk.press(pressed("run"))
        with world.database.read() as connection:
            (running,) = runs.unfinished(connection, "vip")
        go_on.set()
        wait_for_rest(engine)

    assert begun
    assert where == f"/runs/{running.id}"
    assert refused.value.code == "sync.busy"


def test_a_pause_and_its_end_are_recorded(world: World) -> None:
    resumed: list[str] = []
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)
        desk = Pressing(engine, again=resumed.append)
        desk.press(pressed("pause", reason="a redesign", span="4h", until=""))
        with pytest.raises(SyncdError) as refused:
            desk.press(pressed("run"))
        desk.press(pressed("resume"))
        desk.stop()

    assert refused.value.code == "sync.paused"
    assert resumed == ["vip"]
    assert rows(world.database, "SELECT verb, via FROM action ORDER BY verb") == [
        ("pause", "web"),
        ("resume", "web"),
    ]


def runs_of(world: World, trigger: Trigger) -> list[runs.Run]:
    with world.database.read() as connection:
        found = runs.latest(connection, sync_name="vip", limit=10)
    return [each for each in found if each.trigger is trigger]


def wait_for_rest(engine: Engine) -> None:
    until(lambda: not engine.active())


def until(happened: object) -> None:
    """Wait without sleeping: on an event that nobody sets."""
    never = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if happened():  # type: ignore[operator]
            return
        never.wait(0.01)
    raise AssertionError("it did not happen")
