"""Looking for news: which sync is run after what arrived, on each kind of store."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import text

from syncd.app.engine import Engine
from syncd.app.reacting import Reacting
from syncd.model import Trigger
from syncd.store import leases
from syncd.store.database import Database
from tests.builders import ManualClock, PushedFeed, World, held_run, people, rows

SECOND = timedelta(seconds=1)


class Daemon:
    """An engine with whoever looks for news; what it starts is run at once."""

    def __init__(self, world: World, engine: Engine) -> None:
        self.clock = cast(ManualClock, world.clock)
        self.engine = engine
        self.tries = 0
        self._reacting = Reacting(engine, self.clock, self._soon)

    def _soon(self, name: str, action: Callable[[], object]) -> None:
        self.tries += 1
        action()

    def look(self, seconds: int = 1) -> int:
        """Look once a second; how many runs that started."""
        before = self.tries
        for _ in range(seconds):
            self.clock.advance(SECOND)
            self._reacting.look()
        return self.tries - before


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database=database, spool=tmp_path)


def fed(world: World, name: str = "vip", run_after: int | None = 5) -> PushedFeed:
    """A sync that runs so many seconds after news."""
    feed = world.fed(name)
    world.vendor.known |= people(*range(1000))
    sync = world.syncs[name]
    events = sync.source.events
    assert events is not None
    after = timedelta(seconds=run_after) if run_after is not None else None
    source = replace(sync.source, events=replace(events, run_after=after))
    world.syncs[name] = replace(sync, source=source)
    return feed


def triggers(world: World, name: str = "vip") -> list[str]:
    query = "SELECT trigger FROM run WHERE sync = :name ORDER BY id"
    return [trigger for (trigger,) in rows(world.database, query, name=name)]


def test_what_was_pushed_is_read_so_long_after_it_came(world: World) -> None:
    feed = fed(world)
    with world.engine() as engine:
        daemon = Daemon(world, engine)
        nothing = daemon.look(20)
        feed.say(enter=people(1))
        early = daemon.look(5)
        feed.say(enter=people(2))
        in_time = daemon.look(1)
        afterwards = daemon.look(20)

    assert (nothing, early, in_time, afterwards) == (0, 0, 1, 0)
    assert triggers(world) == [Trigger.PUSH]
    assert world.vendor.cohort.members == people(1, 2)


def test_a_sync_that_does_not_ask_for_it_is_not_run(world: World) -> None:
    feed = fed(world, run_after=None)
    with world.engine() as engine:
        feed.say(enter=people(1))

        assert Daemon(world, engine).look(20) == 0


def test_a_held_sync_is_tried_for_newer_news_only(world: World) -> None:
    feed = fed(world)
    with world.engine() as engine:
        daemon = Daemon(world, engine)
        feed.say(enter=people(*range(200)))
        daemon.look(10)
        feed.say(leave=people(*range(150)))
        held = daemon.look(60)
        waits = held_run(world.database) is not None
        feed.say(enter=people(999))
        for_newer = daemon.look(60)

    assert waits
    assert (held, for_newer) == (1, 1)
    assert triggers(world) == [Trigger.PUSH, Trigger.PUSH]


def test_news_from_before_a_start_is_read_after_it(world: World) -> None:
    feed = fed(world)
    feed.say(enter=people(1))
    with world.engine() as engine:
        assert Daemon(world, engine).look(6) == 1
    with world.engine() as engine:
        assert Daemon(world, engine).look(20) == 0


def test_news_that_came_while_somebody_else_ran_the_sync_is_not_forgotten(
    world: World,
) -> None:
    feed = fed(world)
    with world.engine() as engine:
        daemon = Daemon(world, engine)
        feed.say(enter=people(1))
        with world.database.begin() as connection:
            taken = leases.acquire(
                connection, "vip", "elsewhere/1/1", world.clock.now()
            )
        busy = daemon.look(6), triggers(world)
        with world.database.begin() as connection:
            assert isinstance(taken, leases.Lease)
            leases.release(connection, taken)
        later = daemon.look(6)

    assert busy == (1, [])
    assert later == 1
    assert world.vendor.cohort.members == people(1)


def test_news_after_a_failover_that_lost_words_is_read_though_its_position_was_tried(
    world: World,
) -> None:
    feed = fed(world)
    with world.engine() as engine:
        daemon = Daemon(world, engine)
        feed.say(enter=people(1))
        daemon.look(6)
        before = _standing_at(world)
        feed.say(enter=people(2, 3))
        read = daemon.look(6)

        # The standby has neither these words nor the plan that was made of them.
        _go_back(world, before)
        nothing = daemon.look(6)
        feed.say(enter=people(4))
        after = daemon.look(6)

    assert (read, nothing, after) == (1, 0, 1)


def _standing_at(world: World) -> dict[str, object]:
    """How far words are given, and read."""
    ((position,),) = rows(world.database, "SELECT value FROM inbox_position")
    ((mark,),) = rows(world.database, "SELECT source_mark FROM binding")
    return {"position": position, "mark": mark}


def _go_back(world: World, standing: dict[str, object]) -> None:
    with world.database.begin() as connection:
        for statement in (
            "DELETE FROM inbox WHERE position > :position",
            "UPDATE inbox_position SET value = :position",
            "UPDATE binding SET source_mark = :mark WHERE :position > 0",
        ):
            connection.execute(text(statement), standing)
