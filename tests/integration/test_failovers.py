"""A database that fails over may have lost commits: no run calls that a success."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.types import EventDict

from syncd.app.engine import Engine
from syncd.model import Outcome, Trigger
from syncd.store import failovers
from syncd.store.database import Database
from syncd.store.migrate import migrate
from syncd.sync import adopting, resync
from syncd.sync.adopting import Belief
from syncd.sync.resync import Wish
from syncd.sync.spec import Report
from tests.builders import NOW, World, new_database, people

WISH = Wish(actor="ann", via="cli", reason="the database failed over")
SECOND = timedelta(seconds=1)


@pytest.fixture
def world(postgres_database: str, tmp_path: Path) -> Iterator[World]:
    database = Database(postgres_database)
    migrate(database)
    made = World(database=database, spool=tmp_path)
    made.sync(members=people(1, 2, 3))
    made.vendor.known = people(*range(10))
    yield made
    database.close()


def ran(engine: Engine, world: World) -> Report:
    world.clock.advance(SECOND)  # type: ignore[attr-defined]
    report = engine.run("vip", Trigger.MANUAL)
    assert report is not None
    return report


def fails_over(database: Database) -> None:
    """What the store remembers is the timeline of another server, as after one."""
    with database.begin() as connection:
        connection.execute(
            text("UPDATE meta SET value = '00000000' WHERE key = 'timeline'")
        )


@contextmanager
def replicating(world: World, replication: str) -> Iterator[Engine]:
    """A process whose configuration says how the database replicates."""
    with world.engine() as engine:
        blueprint = engine.blueprint
        store = replace(blueprint.settings.store, replication=replication)  # type: ignore[arg-type]
        settings = replace(blueprint.settings, store=store)
        engine.replace(replace(blueprint, settings=settings))
        yield engine


def told(lines: list[EventDict]) -> list[int]:
    """How many syncs were to be reconciled, each time that was said."""
    return [each["syncs"] for each in lines if each["event"] == "store.failed_over"]


def test_no_run_is_a_success_after_a_failover_until_the_sync_is_reconciled(
    world: World, lines: list[EventDict]
) -> None:
    with world.engine() as engine:
        assert ran(engine, world).outcome is Outcome.SUCCESS
        fails_over(world.database)

        first, second = ran(engine, world), ran(engine, world)
        with engine.alone("vip") as (parts, spec):
            pushed = resync.push(parts, spec, WISH)
            adopted = adopting.adopt(parts, spec, WISH, Belief(reads=None))
        healed = ran(engine, world)

    # Sending everybody again leaves whom only a lost commit knew.
    assert pushed is not None
    for each in (first, second, pushed):
        assert (each.outcome, each.reason) == (Outcome.PARTIAL, "store.failed_over")
        assert each.hint == "syncd verify vip --repair"
    assert adopted is not None
    assert adopted.reason == adopting.ADOPTED
    assert healed.outcome is Outcome.NO_CHANGE
    assert told(lines) == [1]


def test_a_failover_that_is_noticed_where_another_has_the_slot_is_told_all_the_same(
    world: World, lines: list[EventDict]
) -> None:
    with world.engine() as engine, world.engine() as other:
        slot = world.clock.now()
        engine.run("vip", Trigger.SCHEDULE, slot)
        fails_over(world.database)

        assert other.run("vip", Trigger.SCHEDULE, slot) is None
        ran(engine, world)

    assert told(lines) == [1]


def test_another_failover_is_not_settled_by_what_was_seen_of_the_first(
    world: World,
) -> None:
    with world.engine() as engine:
        ran(engine, world)
        fails_over(world.database)
        ran(engine, world)
        with world.database.begin() as connection:
            first = failovers.since(connection, "vip")
        assert first is not None

        fails_over(world.database)
        ran(engine, world)
        with world.database.begin() as connection:
            failovers.reconciled(connection, "vip", first)
            left = failovers.all_since(connection)

    assert list(left) == ["vip"]
    assert left["vip"] > first


def test_a_failover_in_the_middle_of_a_run_is_no_success_of_that_run(
    world: World, lines: list[EventDict]
) -> None:
    with world.engine() as engine:
        ran(engine, world)
        world.sources["vip"].members = people(1, 2, 3, 4)
        world.sources["vip"].while_reading = lambda: fails_over(world.database)

        during = ran(engine, world)

    assert (during.outcome, during.reason) == (Outcome.PARTIAL, "store.failed_over")
    assert told(lines) == [1]


def test_a_push_during_which_it_fails_over_reconciles_nothing(world: World) -> None:
    with world.engine() as engine:
        ran(engine, world)
        fails_over(world.database)
        ran(engine, world)
        world.sources["vip"].while_reading = lambda: fails_over(world.database)
        with engine.alone("vip") as (parts, spec):
            pushed = resync.push(parts, spec, WISH)

    assert pushed is not None
    assert pushed.outcome is Outcome.PARTIAL


def test_a_database_that_loses_no_commit_marks_nobody_and_clears_the_marks(
    world: World, lines: list[EventDict]
) -> None:
    with world.engine() as engine:
        ran(engine, world)
        fails_over(world.database)
        ran(engine, world)

    with replicating(world, "synchronous") as engine:
        fails_over(world.database)
        after = ran(engine, world)

    assert after.outcome is Outcome.NO_CHANGE
    assert told(lines) == [1, 0]


def test_a_store_in_one_file_has_no_timeline(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    with database.begin() as connection:
        noticed = failovers.look(connection, NOW, lossless=False)
        kept = connection.execute(
            text("SELECT count(*) FROM meta WHERE key = 'timeline'")
        ).scalar_one()
    database.close()

    assert (noticed, kept) == (None, 0)
