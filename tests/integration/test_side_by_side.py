"""What two processes on one Postgres do at the same moment: one waits for the other.

Each test stops one of them in the middle of its transaction, has the other one begin,
and lets the first go on once the second waits for it.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from syncd.app import pausing
from syncd.app.engine import Engine
from syncd.model import Feed, IdType, Operation, Trigger
from syncd.store import erasing, feeds, forgotten, leases, runs, traces
from syncd.store.bindings import Binding
from syncd.store.database import Connection, Database
from syncd.store.migrate import migrate
from syncd.store.tables import trace
from tests.builders import NOW, PATIENCE, World, people, rows

ELSEWHERE = "elsewhere/1/1"
ANN, BOB, CAT = b"ann", b"bob", b"cat"


@pytest.fixture
def database(postgres_database: str) -> Iterator[Database]:
    """A store on Postgres."""
    opened = Database(postgres_database)
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database=database, spool=tmp_path)


class Other(threading.Thread):
    """Another process, that does one thing."""

    def __init__(self, database: Database, action: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._database, self._action = database, action
        self.answer: Any = None

    def run(self) -> None:
        self.answer = self._action()

    def waits(self) -> bool:
        """Begin; True once it waits for a lock, False where it ended without."""
        self.start()
        query = text(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while self.is_alive():
            with self._database.read() as connection:
                if connection.execute(query).scalar_one():
                    return True
            self.join(0.01)
        return False

    def ended(self) -> Any:
        self.join(PATIENCE)
        return self.answer


def began(connection: Connection, world: World) -> None:
    """Another process begins a run."""
    leases.acquire(connection, "vip", ELSEWHERE, world.clock.wall())
    runs.begin(
        connection,
        run_id="019e19b3-a8b5-76f6-8dec-9f32a3373d68",
        sync_name="vip",
        slot=None,
        trigger=Trigger.MANUAL,
        config_hash="x",
        now=world.clock.now(),
    )


def pause(engine: Engine) -> dict[str, Any]:
    body = {"sync": "vip", "actor": "ann", "via": "cli", "reason": "maintenance"}
    return pausing.pause(engine, body | {"span": "4h", "until": None})


def test_whoever_pauses_a_sync_is_told_of_the_run_that_was_just_beginning(
    world: World, database: Database
) -> None:
    world.sync(members=people(1))
    with world.engine() as engine:
        one = Other(database, lambda: pause(engine))

        with database.begin() as beginning:
            began(beginning, world)
            waited = one.waits()
        answer = one.ended()

    assert waited
    assert answer["running"], "it saw no pause, and goes on to its end"


def test_a_pause_does_not_wait_for_a_run_that_is_storing_its_plan(
    world: World, database: Database
) -> None:
    world.sync(members=people(1))
    with world.engine() as engine:
        with database.begin() as beginning:
            began(beginning, world)
        one = Other(database, lambda: pause(engine))

        with database.begin() as storing:
            leases.hold_still(storing, "vip", world.clock.wall())
            waited = one.waits()
        answer = one.ended()

    assert not waited
    assert answer["running"]


def left_trace(database: Database, owner: Binding, *ids: bytes) -> None:
    """A batch named these people."""
    row = {
        "batch_id": 1,
        "binding_id": owner.id,
        "run_id": "019e19b3-a8b5-76f6-8dec-9f32a3373d68",
        "operation": Operation.ADD,
        "at": NOW,
        "attempts": 1,
        "n_buckets": 1,
        "first_bucket": 0,
        "last_bucket": 0,
        "hashes": traces.encode(ids),
    }
    with database.begin() as connection:
        connection.execute(insert(trace), row)


def test_of_two_who_are_erased_at_once_neither_comes_back_into_a_trace(
    database: Database, new_binding: Callable[..., Binding]
) -> None:
    left_trace(database, new_binding(), ANN, BOB, CAT)

    def forget_bob() -> None:
        with database.begin() as connection:
            traces.erase(connection, [BOB])

    other = Other(database, forget_bob)

    with database.begin() as connection:
        traces.erase(connection, [ANN])
        waited = other.waits()
    other.ended()

    with database.read() as connection:
        left = connection.execute(select(trace.c.hashes)).scalar_one()
    assert waited
    assert left == traces.encode([CAT])


def test_words_are_erased_by_whoever_has_the_inbox_for_himself(
    world: World, database: Database
) -> None:
    feed = world.fed()
    feed.say(enter=people(1, 2), at=NOW)
    with database.begin() as connection:
        gone = [(each, IdType.USER_ID) for each in people(1)]
        forgotten.add(connection, gone, NOW)
        known = forgotten.load(connection, IdType.USER_ID)
    other = Other(database, lambda: erasing.words(database, IdType.USER_ID, known))

    with database.begin() as connection:
        feeds.lock(connection)
        waited = other.waits()
    erased = other.ended()

    assert waited
    assert erased == 1
    assert rows(database, "SELECT member_id FROM inbox") == [("person-0002",)]


def test_feeds_are_made_in_one_order_whatever_the_order_of_a_file(
    database: Database,
) -> None:
    for key, types in (("k1", list(IdType)), ("k2", list(reversed(IdType)))):
        wanted = [Feed(connection="c", key=key, id_type=each) for each in types]
        with database.begin() as connection:
            feeds.ensure(connection, wanted, NOW)

    made = rows(database, "SELECT key, id_type FROM feed ORDER BY id")
    order = sorted(IdType)
    assert made == [(key, each) for key in ("k1", "k2") for each in order]


def test_two_that_start_with_files_in_different_order_do_not_wait_in_a_circle(
    world: World, database: Database
) -> None:
    world.sync("b")
    world.sync("a")
    engine = world.engine()
    other = Other(database, engine.start)

    with database.begin() as connection:
        runs.know_sync(connection, "a", NOW)
        waited = other.waits()
        runs.know_sync(connection, "b", NOW)
    other.ended()
    engine.close()

    assert waited
    assert rows(database, "SELECT name FROM sync ORDER BY name") == [("a",), ("b",)]
