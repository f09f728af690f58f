"""Health is about the process, never about its syncs."""

import os
import socket
from datetime import timedelta

import pytest
from sqlalchemy import text

from syncd.app.health import Health
from syncd.errors import StoreUnavailable
from syncd.model import Outcome, Trigger
from syncd.report.daemons import SILENT_AFTER
from syncd.store import installation, leases
from syncd.store.database import Database
from syncd.store.installation import Daemon
from tests.builders import ManualClock, World

SECOND = timedelta(seconds=1)


def health(database: Database, clock: ManualClock, *, accepting: bool = True) -> Health:
    return Health(database, clock, accepting=lambda: accepting)


def beat(database: Database, clock: ManualClock, holder: str = "") -> None:
    me = Daemon(
        holder=holder or leases.holder_name(),
        host=socket.gethostname(),
        pid=os.getpid(),
        version="1",
        started_at=clock.wall(),
        heartbeat_at=clock.wall(),
    )
    with database.begin() as connection:
        installation.beat(connection, me)


class SlowClock(ManualClock):
    """Between two looks at it seconds pass."""

    def __init__(self, step: float) -> None:
        super().__init__()
        object.__setattr__(self, "_seconds", [0.0, step])

    def monotonic(self) -> float:
        seconds: list[float] = self.__dict__["_seconds"]
        seconds[0] += seconds[1]
        return seconds[0]


def test_a_daemon_that_ticks_on_a_store_that_answers_is_healthy(
    database: Database,
) -> None:
    clock = ManualClock()
    beat(database, clock)

    assert health(database, clock).healthy()


def test_a_scheduler_that_went_silent_is_not_healthy(database: Database) -> None:
    clock = ManualClock()
    beat(database, clock)
    asked = health(database, clock)

    clock.advance(SILENT_AFTER - SECOND)
    assert asked.healthy()

    clock.advance(SECOND)
    assert not asked.healthy()


def test_a_daemon_whose_store_is_away_is_alive(database: Database) -> None:
    """A restart would not bring the store back, and nobody would answer senders."""
    clock = SlowClock(step=0.0)
    asked = health(database, clock)
    with database.begin() as connection:
        connection.execute(text("DROP TABLE daemon"))

    asked.tick()

    assert asked.alive()
    assert not asked.healthy()


def test_a_daemon_whose_scheduler_stands_still_is_not_alive(database: Database) -> None:
    clock = SlowClock(step=SILENT_AFTER.total_seconds())
    asked = health(database, clock)
    before = asked.alive()
    asked.tick()

    assert not before
    assert not asked.alive()


def test_the_heartbeat_of_another_process_says_nothing_about_this_one(
    database: Database,
) -> None:
    clock = ManualClock()
    beat(database, clock, holder="elsewhere/1/1")

    assert not health(database, clock).healthy()


def test_a_store_that_fails_is_neither_healthy_nor_ready(database: Database) -> None:
    clock = ManualClock()
    beat(database, clock)
    with database.begin() as connection:
        connection.execute(text("DROP TABLE daemon"))
        connection.execute(text("DELETE FROM alembic_version"))

    asked = health(database, clock)

    assert not asked.healthy()
    assert not asked.ready()


def test_a_store_that_answers_late_is_not_healthy(database: Database) -> None:
    beat(database, ManualClock())

    assert health(database, SlowClock(0.5)).healthy()
    assert not health(database, SlowClock(1.5)).healthy()


def test_a_failing_sync_never_makes_it_unhealthy(world: World) -> None:
    source = world.sync(members=[b"a"])
    clock = ManualClock()
    beat(world.database, clock)

    def broken() -> None:
        raise OSError("no room")

    source.while_reading = broken
    with world.engine() as engine:
        reports = [engine.run("vip", Trigger.MANUAL) for _ in range(4)]

    assert [each.outcome for each in reports if each] == [Outcome.FAILED] * 4
    assert health(world.database, clock).healthy()


def test_a_new_schema_is_ready_and_an_empty_store_is_not(
    empty_database: Database,
) -> None:
    assert not health(empty_database, ManualClock()).ready()


def test_without_an_open_intake_it_is_not_ready(database: Database) -> None:
    clock = ManualClock()

    assert health(database, clock).ready()
    assert not health(database, clock, accepting=False).ready()


def test_a_store_that_took_no_write_is_not_ready_until_it_takes_one(
    database: Database,
) -> None:
    clock = ManualClock()
    asked = health(database, clock)

    with pytest.raises(StoreUnavailable), database.begin() as connection:
        connection.execute(text("INSERT INTO meta (key) VALUES ('no value')"))

    assert not asked.ready()

    beat(database, clock)
    assert asked.ready()
