"""The intake on both stores: what it answers is durable, and nobody waits for ever."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from datetime import UTC, datetime
from itertools import count
from typing import TypeVar

import pytest
from sqlalchemy import Connection, text

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import StoreUnavailable
from syncd.model import Feed, IdType, Message, Told
from syncd.store import inbox, intake
from syncd.store.database import Database
from syncd.store.inbox import Taken
from syncd.store.intake import Intake, IntakeFull, Unstorable
from syncd.store.migrate import migrate
from syncd.store.writer import Writer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
VIP = Feed(connection="engage", key="vip", id_type=IdType.USER_ID)
PATIENCE = 60.0
"""Real seconds after which something that was to happen did not."""
connections = count()
T = TypeVar("T")


class CountingWriter(Writer):
    """The writer, and how many transactions were asked of it."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, Clock())
        self.writes = 0

    def write(self, action: Callable[[Connection], T]) -> T:
        self.writes += 1
        return super().write(action)


@pytest.fixture
def writer(database: Database) -> Iterator[CountingWriter]:
    made = CountingWriter(database)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def door(writer: Writer) -> Iterator[Intake]:
    made = Intake(writer, Clock())
    made.start()
    yield made
    made.stop()


class Held:
    """Keeps the writer busy, so that what is handed in meanwhile waits."""

    def __init__(self, writer: Writer) -> None:
        self._entered = threading.Event()
        self._opened = threading.Event()
        self._thread = threading.Thread(target=writer.write, args=(self._wait,))

    def __enter__(self) -> "Held":
        self._thread.start()
        assert self._entered.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()

    def let_go(self) -> None:
        self._opened.set()
        self._thread.join(PATIENCE)

    def _wait(self, _: Connection) -> None:
        self._entered.set()
        assert self._opened.wait(PATIENCE)


def message(
    *ids: bytes, message_id: str = "", inside: bool = True, tie: str = ""
) -> Message:
    told = Told(feed=VIP, ids=ids, inside=inside, at=NOW, tie=tie)
    return Message(connection="engage", id=message_id, told=(told,))


def poison() -> Message:
    """A member id that is no text: no store takes it, however often it is tried."""
    return message(b"\xff")


def submit(door: Intake, *messages: Message, **results: int) -> Future[Taken]:
    return door.submit("engage", messages, results)


def blocked(door: Intake, writer: Writer, act: Callable[[], object]) -> None:
    """Do this while a first delivery is being stored, so that all of it waits."""
    with Held(writer):
        first = submit(door, message(b"first"))
        pause = threading.Event()
        while not first.running():
            pause.wait(0.001)
        act()


def members(database: Database) -> set[bytes]:
    with database.read() as connection:
        row = inbox.find(connection, VIP)
        if row is None:
            return set()
        return {
            member_id
            for entered, _ in inbox.words(connection, row.id)
            for member_id in entered
        }


def counted(connection: str, result: str) -> float:
    labels = {"connection": connection, "result": result}
    return metrics.REGISTRY.get_sample_value("syncd_inbox_events_total", labels) or 0.0


def test_what_is_answered_is_stored(database: Database, door: Intake) -> None:
    taken = submit(door, message(b"ann", b"bob", message_id="m1")).result(PATIENCE)

    assert taken == Taken(messages=1, duplicates=0, people=2)
    assert members(database) == {b"ann", b"bob"}


def test_all_that_waits_is_stored_in_one_transaction(
    database: Database, door: Intake, writer: CountingWriter
) -> None:
    futures: list[Future[Taken]] = []

    blocked(
        door,
        writer,
        lambda: futures.extend(
            submit(door, message(b"p%d" % number, message_id=f"m{number % 30}"))
            for number in range(40)
        ),
    )

    takings = [future.result(PATIENCE) for future in futures]
    assert writer.writes == 1 + 1 + 1  # the one that holds, the first, the group
    assert [each.messages for each in takings] == [1] * 30 + [0] * 10
    assert [each.duplicates for each in takings] == [0] * 30 + [1] * 10
    assert members(database) == {b"first", *(b"p%d" % number for number in range(30))}


def test_few_deliveries_wait_a_moment_for_others_but_not_for_the_end(
    database: Database, writer: CountingWriter
) -> None:
    door = Intake(writer, Clock(), linger=10 * PATIENCE)
    door.start()

    first = submit(door, message(b"ann"))
    with pytest.raises(TimeoutError):
        first.result(0.3)
    second = submit(door, message(b"bob"))
    ended = door.stop(PATIENCE)

    assert (ended, writer.writes) == (True, 1)
    assert [each.result(0).people for each in (first, second)] == [1, 1]
    assert members(database) == {b"ann", b"bob"}


def test_a_group_ends_with_the_delivery_that_fills_it(
    door: Intake, writer: CountingWriter
) -> None:
    half = [b"p%d" % number for number in range(intake.GROUP_PEOPLE // 2)]
    futures: list[Future[Taken]] = []

    blocked(
        door,
        writer,
        lambda: futures.extend(submit(door, message(*half)) for _ in range(5)),
    )

    assert [future.result(PATIENCE).people for future in futures] == [len(half)] * 5
    assert writer.writes == 1 + 1 + 3


@pytest.mark.parametrize("size", [2, 7, 16])
def test_a_delivery_that_cannot_be_stored_takes_only_itself_along(
    database: Database, door: Intake, writer: CountingWriter, size: int
) -> None:
    futures: list[Future[Taken]] = []
    bad = size // 2

    blocked(
        door,
        writer,
        lambda: futures.extend(
            submit(door, message(b"p%d" % each), *([poison()] if each == bad else []))
            for each in range(size)
        ),
    )

    wait_for(futures, PATIENCE)
    errors = [future.exception() for future in futures]
    assert [number for number, error in enumerate(errors) if error] == [bad]
    assert isinstance(errors[bad], Unstorable)
    assert "xff" not in str(errors[bad])
    expected = {b"p%d" % each for each in range(size) if each != bad}
    assert members(database) == {b"first"} | expected


@pytest.fixture
def postgres_store(postgres_database: str) -> Iterator[Database]:
    opened = Database(postgres_database)
    migrate(opened)
    yield opened
    opened.close()


def test_data_that_the_database_refuses_takes_only_itself_along(
    postgres_store: Database,
) -> None:
    """Postgres keeps no NUL in a text; the driver finds out, not we."""
    writer = CountingWriter(postgres_store)
    door = Intake(writer, Clock())
    writer.start()
    door.start()
    futures: list[Future[Taken]] = []

    blocked(
        door,
        writer,
        lambda: futures.extend(
            submit(door, each)
            for each in (message(b"ann"), message(b"b\x00b"), message(b"eve"))
        ),
    )

    door.stop()
    writer.stop()
    errors = [type(future.exception()) for future in futures]
    assert errors == [type(None), Unstorable, type(None)]
    assert members(postgres_store) == {b"first", b"ann", b"eve"}


def limit_pages(writer: Writer, more: int) -> None:
    """Let a SQLite file grow by so many pages and no further: a full disk."""

    def action(connection: Connection) -> None:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages + more}"))

    writer.write(action)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_full_disk_fails_the_whole_group_and_keeps_nothing_of_it(
    database: Database, door: Intake, writer: CountingWriter
) -> None:
    many = message(*(b"user-%06d" % number for number in range(10_000)))
    futures: list[Future[Taken]] = []
    submit(door, message(b"first")).result(PATIENCE)
    limit_pages(writer, 5)

    blocked(
        door,
        writer,
        lambda: futures.extend(
            submit(door, each)
            for each in (message(b"ann", message_id="m1"), many, message(b"eve"))
        ),
    )

    wait_for(futures, PATIENCE)
    errors = [type(future.exception()) for future in futures]
    assert errors == [StoreUnavailable] * 3
    assert members(database) == {b"first"}
    limit_pages(writer, 10_000)
    again = submit(door, message(b"ann", message_id="m1")).result(PATIENCE)
    assert again.messages == 1


def test_a_store_that_is_gone_is_told_to_whoever_waits(
    door: Intake, writer: CountingWriter
) -> None:
    writer.stop()

    future = submit(door, message(b"ann"))

    assert isinstance(future.exception(PATIENCE), StoreUnavailable)
    assert door.backlog == 0


# ---- how much may wait ---------------------------------------------------------------


def test_beyond_the_bound_nothing_is_taken_and_later_it_is(
    database: Database, door: Intake, writer: CountingWriter
) -> None:
    most = message(*[b"p"] * (intake.WAITING - 1))
    futures: list[Future[Taken]] = []
    backlogs: list[int] = []

    def fill() -> None:
        futures.append(submit(door, most))
        with pytest.raises(IntakeFull, match="wait to be stored"):
            submit(door, message(b"ann"))
        backlogs.append(door.backlog)

    blocked(door, writer, fill)
    futures[0].result(PATIENCE)
    later = submit(door, message(b"bob")).result(PATIENCE)

    assert backlogs == [intake.WAITING]  # with the one that is being stored
    assert later.people == 1
    assert members(database) == {b"first", b"p", b"bob"}


def test_a_delivery_above_the_bound_is_taken_where_nothing_else_waits(
    door: Intake,
) -> None:
    huge = message(*[b"p"] * (intake.WAITING + 1))

    assert submit(door, huge).result(PATIENCE).people == intake.WAITING + 1


def test_deliveries_that_name_nobody_count_as_well(
    door: Intake, writer: CountingWriter
) -> None:
    backlogs: list[int] = []

    def fill() -> None:
        submit(door, anonymous=3)
        submit(door, Message(connection="engage", id="m1"))
        backlogs.append(door.backlog)

    blocked(door, writer, fill)

    assert backlogs == [3]


def test_nothing_waits_once_all_is_answered(door: Intake) -> None:
    for number in range(20):
        submit(door, message(b"p%d" % number)).result(PATIENCE)

    assert door.backlog == 0


# ---- counts --------------------------------------------------------------------------


def test_what_became_of_events_is_counted_once_it_is_stored(
    database: Database, door: Intake, writer: CountingWriter
) -> None:
    name = f"engage-{next(connections)}"  # the process's counters outlive the test
    futures: list[Future[Taken]] = []

    def hand_in() -> None:
        for _ in range(2):
            futures.append(door.submit(name, [message(b"a", message_id="m1")], {}))
        futures.append(door.submit(name, [message(b"b")], {"anonymous": 2}))
        futures.append(door.submit(name, [], {"anonymous": 1, "group": 4, "none": 0}))
        futures.append(door.submit(name, [poison()], {"anonymous": 100}))

    blocked(door, writer, hand_in)

    wait_for(futures, PATIENCE)
    expected = {"accepted": 2, "duplicate": 1, "anonymous": 3, "group": 4}
    with database.read() as connection:
        told = inbox.tallies(connection)[name]
    assert {result: n for result, (n, _) in told.items()} == expected
    assert {each: counted(name, each) for each in expected} == expected
    assert counted(name, "none") == 0


# ---- begin and end -------------------------------------------------------------------


def test_a_delivery_that_was_called_off_before_its_turn_is_not_stored(
    database: Database, door: Intake, writer: CountingWriter
) -> None:
    futures: list[Future[Taken]] = []

    def call_one_off() -> None:
        futures.extend(submit(door, message(each)) for each in (b"ann", b"bob"))
        assert futures[0].cancel()

    blocked(door, writer, call_one_off)

    assert futures[1].result(PATIENCE).people == 1
    assert members(database) == {b"first", b"bob"}
    assert door.backlog == 0


def test_a_stopped_intake_has_stored_what_was_taken_and_takes_nothing_more(
    database: Database, writer: CountingWriter
) -> None:
    door = Intake(writer, Clock())
    door.start()
    futures: list[Future[Taken]] = []
    stopping = threading.Thread(target=door.stop)

    def hand_in_and_stop() -> None:
        futures.extend(submit(door, message(b"p%d" % each)) for each in range(1_100))
        stopping.start()

    blocked(door, writer, hand_in_and_stop)
    stopping.join(PATIENCE)

    assert all(future.done() for future in futures)
    assert len(members(database)) == 1 + 1_100
    with pytest.raises(StoreUnavailable, match="not running"):
        submit(door, message(b"ann"))
    door.stop()


def test_a_store_that_hangs_keeps_no_intake_from_ending(
    database: Database, writer: CountingWriter
) -> None:
    door = Intake(writer, Clock())
    door.start()
    taken: list[Future[Taken]] = []
    stopped: list[bool] = []

    def hand_in_and_stop() -> None:
        taken.append(submit(door, message(b"ann")))
        stopped.append(door.stop(0.05))

    blocked(door, writer, hand_in_and_stop)
    stopped.append(door.stop(PATIENCE))

    assert stopped == [False, True]
    assert taken[0].result(PATIENCE).people == 1


def test_an_intake_that_was_never_started_refuses_instead_of_letting_wait(
    writer: CountingWriter,
) -> None:
    door = Intake(writer, Clock())

    with pytest.raises(StoreUnavailable, match="not running"):
        submit(door, message(b"ann"))

    door.stop()
