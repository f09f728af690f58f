"""What is done once, though several processes on one Postgres see that it is due."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from syncd.app import pruning
from syncd.app.slots import Slots
from syncd.app.turns import one_at_a_time
from syncd.clock import Clock, elapsed
from syncd.errors import DeliveryError, Fault
from syncd.model import Outcome, Trigger
from syncd.schedule import Every
from syncd.store import connections
from syncd.store.database import Database
from syncd.store.migrate import migrate
from syncd.sync import credentials
from tests.builders import PATIENCE, World, people, rows

HOUR = timedelta(hours=1)


@pytest.fixture
def shared(postgres_database: str) -> Iterator[Database]:
    """A store on Postgres."""
    opened = Database(postgres_database)
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def world(shared: Database, tmp_path: Path) -> World:
    """One hourly sync of three people."""
    made = World(database=shared, spool=tmp_path)
    made.sync(members=people(1, 2, 3), schedule=Every(HOUR))
    made.vendor.known |= people(1, 2, 3)
    return made


def at_once(_: str, action: Callable[[], object]) -> None:
    action()


class Slow(Slots):
    """Another process is through with all of it between this one's look and its run."""

    meanwhile: Callable[[str], None]

    def _has_put_off(self, name: str) -> bool:
        found = super()._has_put_off(name)
        self.meanwhile(name)
        return found


def test_what_was_put_off_is_made_up_for_by_one_of_two_daemons(world: World) -> None:
    with world.engine() as one, world.engine() as other:
        slot = world.clock.now()
        one.skip("vip", slot, "paused")
        world.clock.advance(HOUR)  # type: ignore[attr-defined]
        quick = Slots(one, world.clock, at_once)
        slow = Slow(other, world.clock, at_once)
        slow.meanwhile = quick.make_up_put_off

        slow.make_up_put_off("vip")
        world.clock.advance(HOUR)  # type: ignore[attr-defined]
        quick.make_up_put_off("vip")

    ran = rows(world.database, "SELECT trigger, outcome FROM run WHERE slot IS NULL")
    assert ran == [("catch_up", Outcome.SUCCESS)]


def test_stopped_credentials_are_tried_by_one_of_two_daemons(world: World) -> None:
    now, calls = world.clock.now(), []
    with world.database.begin() as connection:
        connections.stop(connection, "amplitude", "Invalid API key", now)
    world.clock.advance(connections.PROBE_EVERY)  # type: ignore[attr-defined]

    def refused() -> None:
        calls.append("asked")
        if len(calls) == 1:  # meanwhile, the other one
            credentials.probe(world.database, world.clock, "amplitude", refused)
        raise DeliveryError("no", fault=Fault.CREDENTIALS, error_type="auth")

    credentials.probe(world.database, world.clock, "amplitude", refused)

    with world.database.read() as connection:
        state = connections.get(connection, "amplitude")
    assert calls == ["asked"]
    assert state.probe_at == world.clock.now() + connections.PROBE_EVERY


def test_a_probe_that_two_daemons_saw_due_is_made_by_one(world: World) -> None:
    now = world.clock.now()
    with world.database.begin() as connection:
        connections.stop(connection, "amplitude", "Invalid API key", now)
        seen = connections.get(connection, "amplitude")

    with world.database.begin() as connection:
        due = now + connections.PROBE_EVERY
        one = connections.take_probe(connection, seen, due)
        other = connections.take_probe(connection, seen, due)

    assert (one, other) == (True, False)


def test_waits_are_put_right_by_the_databases_clock_and_not_by_an_old_look_at_it(
    world: World,
) -> None:
    """A machine that was suspended sees its clock step before it asks the database."""
    clock = world.clock = Clock()
    with world.engine() as engine:
        now = clock.now()
        with world.database.begin() as connection:
            connections.stop(connection, "amplitude", "Invalid API key", now)
        clock.reference.follow(now - HOUR, elapsed(), elapsed())

        engine.put_right()

    with world.database.read() as connection:
        state = connections.get(connection, "amplitude")
    assert state.probe_at == now + connections.PROBE_EVERY
    assert clock.now() >= now


def test_of_two_processes_one_does_it_and_a_dead_one_keeps_nobody_from_it_for_long(
    shared: Database,
) -> None:
    with one_at_a_time(shared, "house", HOUR) as first:
        with one_at_a_time(shared, "house", HOUR) as second:
            pass
        with one_at_a_time(shared, "elsewhere", HOUR) as another:
            pass
    with one_at_a_time(shared, "house", timedelta(0)) as again:
        # It is taken for no time at all, as by one that died long ago.
        with one_at_a_time(shared, "house", HOUR) as after:
            pass

    assert [first, second, another, again, after] == [True, False, True, True, True]


def test_of_two_daemons_one_prunes_and_neither_fails(world: World) -> None:
    with world.engine() as one, world.engine() as other:
        one.skip("vip", world.clock.now(), "overlap")
        one.run("vip", Trigger.MANUAL)
        world.clock.advance(timedelta(days=500))  # type: ignore[attr-defined]
        meanwhile = partial(one_at_a_time, world.database, "prune", HOUR)

        with meanwhile() as alone:
            pruning.prune(other)
        kept = rows(world.database, "SELECT count(*) FROM run")
        threads = [
            threading.Thread(target=pruning.prune, args=(each,))
            for each in (one, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)

    assert alone
    assert kept == [(2,)]
    # Whose batches are not compacted yet stays.
    left = rows(world.database, "SELECT outcome FROM run")
    assert left == [(Outcome.SUCCESS,)]
