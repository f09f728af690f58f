"""Several processes on one Postgres keep together what a vendor allows of one."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import event

from syncd.app.engine import Engine
from syncd.app.store import OpenStore
from syncd.app.turns import SharedPace
from syncd.clock import Clock
from syncd.model import Outcome, Trigger
from syncd.store import connections
from syncd.store.database import Database
from syncd.store.migrate import migrate
from syncd.sync.spec import Report
from tests.builders import (
    HASH_KEY,
    PATIENCE,
    Request,
    World,
    new_database,
    sync_settings,
)

BATCHES = 20
OF_EACH = 10
RATE = 100.0
"""Ids a second."""


@pytest.fixture
def shared(postgres_database: str) -> Iterator[Database]:
    """A store on Postgres as one process has it."""
    opened = Database(postgres_database)
    migrate(opened)
    yield opened
    opened.close()


# ---- real processes -----------------------------------------------------------------


def people(name: str) -> list[str]:
    return [f"person-{name}-{each:04}" for each in range(BATCHES * OF_EACH)]


def on_postgres(installation, url: str, *names: str) -> None:
    """These one-time syncs of this project, and no others."""
    installation.config["store"]["url"] = url
    installation.config["defaults"]["delivery"]["batch_size"] = OF_EACH
    installation.config["connections"]["amplitude"]["request_deadline"] = "20s"
    installation.config["syncs"].clear()
    for name in names:
        installation.sync(name, schedule="once", max_runtime="1h")
        installation.audience(people(name), name)


def test_two_daemons_and_a_person_share_five_requests_of_a_project(
    new_installation, new_simulator, postgres_database
):
    # Slow, until both are at work.
    simulator = new_simulator("--latency", "2")
    halves = [f"a{n}" for n in range(4)], [f"b{n}" for n in range(4)]
    every = [*halves[0], *halves[1], "by-hand"]
    simulator.users(one for name in every for one in people(name))
    installation = new_installation(simulator)
    daemons = []
    for names in halves:
        on_postgres(installation, postgres_database, *names)
        daemons.append(installation.start("serve"))
        assert daemons[-1].reached("daemon.started")
    assert daemons[-1].reached("batch.sent")
    simulator.post("/_sim/latency", {"all": 0.05})
    on_postgres(installation, postgres_database, "by-hand")

    by_hand = installation.run("by-hand")
    for daemon, names in zip(daemons, halves, strict=True):
        for name in names:
            assert daemon.reached("run.finished", sync=name, outcome="success")
    assert by_hand.run["outcome"] == "success"

    stats = simulator.get("/_sim/stats")
    assert simulator.downloads()["most_concurrent_requests"] == 5
    assert stats["overlaps"] == 0
    assert stats["status_429"] == 0
    cohorts = {each["name"]: each["id"] for each in simulator.cohorts()}
    for name in every:
        assert simulator.members(cohorts[f"Cohort {name}"]) == set(people(name))


def test_what_a_killed_daemon_had_keeps_nobody_from_sending(
    new_installation, new_simulator, postgres_database
):
    simulator = new_simulator("--latency", "0.15")
    names = [f"a{n}" for n in range(4)]
    simulator.users(one for name in [*names, "late"] for one in people(name))
    installation = new_installation(simulator)
    on_postgres(installation, postgres_database, *names)
    daemon = installation.start("serve")
    assert daemon.reached("batch.sent", count=8)
    on_postgres(installation, postgres_database, "late")

    assert daemon.kill()
    late = installation.run("late")

    assert late.run["outcome"] == "success"
    assert simulator.downloads()["most_concurrent_requests"] <= 5
    assert simulator.get("/_sim/stats")["status_429"] == 0


def test_two_daemons_download_as_one_may(
    new_installation, new_simulator, postgres_database
):
    fast = ("--speed", "120", "--origin", datetime.now(UTC).isoformat())
    simulator = new_simulator(*fast, "--latency", "0")
    installation = new_installation(simulator)
    installation.config["store"]["url"] = postgres_database
    installation.config["defaults"]["max_runtime"] = "2d"
    halves = [f"a{n}" for n in range(6)], [f"b{n}" for n in range(6)]
    for name in [*halves[0], *halves[1]]:
        simulator.cohort(name, members=people(name))
    daemons = []
    for names in halves:
        installation.config["syncs"].clear()
        for name in names:
            installation.cohort_sync(name, name, schedule="once")
        daemons.append(installation.start("serve", *fast))
        assert daemons[-1].reached("daemon.started")

    for daemon, names in zip(daemons, halves, strict=True):
        for name in names:
            assert daemon.reached("run.finished", sync=name, outcome="success")

    seen = simulator.downloads()
    assert seen["counted"] == 12
    assert seen["most_in_60_seconds"] <= 4
    assert seen["most_running_jobs"] <= 4
    assert seen["most_concurrent_requests"] <= 5
    assert set(seen["refused"].values()) == {0}
    for name in [*halves[0], *halves[1]]:
        assert simulator.with_trait(name) == set(people(name))


# ---- two engines --------------------------------------------------------------------


def world_of(database: Database, folder: Path, *names: str, size: int) -> World:
    """Syncs of people whom the vendor knows, on the real clock."""
    world = World(database=database, spool=folder, clock=Clock())
    for name in names:
        listed = {f"{name}-person-{n}".encode() for n in range(size)}
        world.sync(name, members=listed)
        world.vendor.known |= listed
    return world


def paced(world: World, database: Database) -> Engine:
    """One process of the world, which may send `RATE` ids a second with the others."""
    built = world.blueprint()
    pace = SharedPace(
        database=database, clock=world.clock, scope="ids it", ids_per_second=RATE
    )
    routes = {
        name: replace(route, ids_per_second=RATE, turn=pace)
        for name, route in built.routes.items()
    }
    store = OpenStore(database=database, hash_key=HASH_KEY)
    return Engine(replace(built, routes=routes), store, world.clock)


def each_begun(world: World, note: Callable[[Request], None]) -> None:
    """Be told of each request as it begins; the vendor tells of its end as well."""
    begun: list[Request] = []

    def watch(request: Request) -> None:
        if not any(each is request for each in begun):
            begun.append(request)
            note(request)

    world.vendor.watch = watch


def test_two_processes_send_at_the_pace_of_one(
    shared: Database, tmp_path: Path
) -> None:
    size, of_each = 30, sync_settings("a").delivery.batch_size
    world = world_of(shared, tmp_path, "a", "b", size=size)
    sent: list[tuple[float, str, int]] = []
    each_begun(
        world,
        lambda request: sent.append(
            (time.monotonic(), request.ids[0][:1].decode(), len(request.ids))
        ),
    )
    elsewhere = Database(shared.url)
    with paced(world, shared) as one, paced(world, elsewhere) as other:
        reports: dict[str, Report] = {}

        def run(engine: Engine, name: str) -> None:
            report = engine.run(name, Trigger.MANUAL)
            assert report is not None
            reports[name] = report

        threads = [
            threading.Thread(target=run, args=each)
            for each in [(one, "a"), (other, "b")]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    elsewhere.close()

    assert {each.outcome for each in reports.values()} == {Outcome.SUCCESS}
    took = sent[-1][0] - sent[0][0]
    ids = sum(each[2] for each in sent)
    assert ids >= 2 * size
    assert took >= (ids - of_each) / RATE * 0.95
    # Nobody starves: both are among those of either half.
    half = len(sent) // 2
    assert {each[1] for each in sent[:half]} == {"a", "b"}


def test_a_pause_that_another_process_was_told_is_kept(
    shared: Database, tmp_path: Path
) -> None:
    world = world_of(shared, tmp_path, "a", size=12)
    pause = timedelta(seconds=1)
    moments: list[float] = []
    told: list[float] = []

    def watch(request: Request) -> None:
        moments.append(time.monotonic())
        if len(moments) == 3:
            told.append(time.monotonic())
            with shared.begin() as connection:
                until = world.clock.now() + pause
                connections.throttle(connection, "amplitude", until)

    each_begun(world, watch)
    with world.engine() as engine:
        report = engine.run("a", Trigger.MANUAL)

    assert report is not None
    assert report.outcome is Outcome.SUCCESS
    after = [each for each in moments if each > told[0]]
    assert after
    assert min(after) - told[0] >= pause.total_seconds() * 0.95


# ---- one process --------------------------------------------------------------------


def test_one_process_on_sqlite_asks_its_store_for_no_turn(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    world = world_of(database, tmp_path, "a", size=30)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    with world.engine() as engine:
        report = engine.run("a", Trigger.MANUAL)
    event.remove(sqlalchemy.Engine, "before_cursor_execute", note)
    database.close()

    assert report is not None
    assert report.outcome is Outcome.SUCCESS
    assert not [each for each in statements if " place" in each]
    # When the run begins and when its lane opens, not for each of its ten batches.
    looks = [
        each
        for each in statements
        if each.startswith("SELECT") and "throttled_until" in each
    ]
    assert len(looks) == 2
