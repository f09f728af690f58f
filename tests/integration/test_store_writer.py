"""Group commit: durable when it returns, one bad write harms nobody, never a hang."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from syncd.clock import Clock
from syncd.errors import LeaseLost, StoreUnavailable
from syncd.store.database import Database
from syncd.store.migrate import migrate
from syncd.store.writer import GROUP, Writer


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    made = Writer(database, Clock())
    made.start()
    yield made
    made.stop()


def put(key: str, value: str = "") -> Callable[[Connection], str]:
    def action(connection: Connection) -> str:
        connection.execute(
            text("INSERT INTO meta (key, value) VALUES (:key, :value)"),
            {"key": key, "value": value},
        )
        return key

    return action


def keys(database: Database) -> list[str]:
    with database.read() as connection:
        return sorted(connection.execute(text("SELECT key FROM meta")).scalars())


@dataclass
class Asked:
    """A write made from a thread of its own, and what came of it."""

    thread: threading.Thread
    result: object = None
    error: Exception | None = None


def ask(writer: Writer, action: Callable[[Connection], object]) -> Asked:
    def run() -> None:
        try:
            asked.result = writer.write(action)
        except Exception as error:  # noqa: BLE001  # handed to the test
            asked.error = error

    asked = Asked(threading.Thread(target=run))
    asked.thread.start()
    return asked


def answered(asked: list[Asked]) -> list[Asked]:
    for each in asked:
        each.thread.join(timeout=60)
        assert not each.thread.is_alive(), "a write was never answered"
    return asked


class Gate:
    """A write that keeps the transaction open until the writes behind it are queued.

    So that these surely make up one group.
    """

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, connection: Connection) -> None:
        self.entered.set()
        assert self.opened.wait(timeout=60)


def grouped(
    writer: Writer, actions: list[Callable[[Connection], object]]
) -> list[Asked]:
    """Run the actions as one group; gives back their answers."""
    gate, moment = Gate(), threading.Event()
    first = ask(writer, gate)
    assert gate.entered.wait(timeout=60)
    asked = [ask(writer, action) for action in actions]
    while writer.backlog < len(actions):
        moment.wait(0.001)
    gate.opened.set()
    answered([first])
    return answered(asked)


def test_a_write_that_returned_is_committed(database: Database, writer: Writer) -> None:
    assert writer.write(put("k")) == "k"
    assert keys(database) == ["k"]


def test_writes_of_many_threads_all_arrive(database: Database, writer: Writer) -> None:
    asked = answered([ask(writer, put(f"k{number:03}")) for number in range(60)])

    assert [each.result for each in asked] == [f"k{n:03}" for n in range(60)]
    assert keys(database) == [f"k{n:03}" for n in range(60)]


def test_what_is_queued_together_is_committed_together(
    database: Database, writer: Writer
) -> None:
    """Nobody is answered before the one commit: else it would not be durable."""
    seen: list[int] = []

    def look(connection: Connection) -> None:
        found = connection.execute(text("SELECT count(*) FROM meta")).scalar_one()
        seen.append(int(found))
        seen.append(len(keys(database)))  # what others can see by now

    answers = grouped(writer, [put("a"), put("b"), look])

    assert [each.error for each in answers] == [None] * 3
    assert seen == [2, 0]
    assert keys(database) == ["a", "b"]


def test_more_than_one_group_is_committed_in_order(
    database: Database, writer: Writer
) -> None:
    answers = grouped(writer, [put(f"k{n:03}") for n in range(GROUP + 10)])

    assert {each.error for each in answers} == {None}
    assert len(keys(database)) == GROUP + 10


def fail_of_its_own(connection: Connection) -> None:
    put("half")(connection)
    raise LeaseLost("somebody else has it")


def fail_as_a_bug(connection: Connection) -> None:
    put("half")(connection)
    raise KeyError("bug")


def fail_on_a_constraint(connection: Connection) -> None:
    put("half")(connection)
    put("half")(connection)


def fail_on_a_missing_row(connection: Connection) -> None:
    put("half")(connection)
    connection.execute(text("SELECT 1 WHERE 1 = 2")).one()


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (fail_of_its_own, LeaseLost),
        (fail_as_a_bug, KeyError),
        (fail_on_a_constraint, StoreUnavailable),
        (fail_on_a_missing_row, StoreUnavailable),
    ],
)
def test_a_write_that_fails_takes_only_itself_along(
    database: Database,
    writer: Writer,
    bad: Callable[[Connection], None],
    error: type[Exception],
) -> None:
    answers = grouped(writer, [put("a"), bad, put("z")])

    assert [type(each.error) for each in answers] == [type(None), error, type(None)]
    assert keys(database) == ["a", "z"]


def test_the_writer_works_on_after_a_failed_write(
    database: Database, writer: Writer
) -> None:
    with pytest.raises(KeyError):
        writer.write(fail_as_a_bug)

    writer.write(put("k"))

    assert keys(database) == ["k"]


def test_an_error_of_the_database_reaches_every_waiter_and_nothing_is_kept(
    database: Database, writer: Writer
) -> None:
    """A full disk on SQLite, a killed backend on Postgres."""

    def break_it(connection: Connection) -> None:
        if database.dialect == "sqlite":
            pages = connection.execute(text("PRAGMA page_count")).scalar_one()
            connection.execute(text(f"PRAGMA max_page_count = {pages}"))
            put("large", "x" * 1_000_000)(connection)
        else:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    answers = grouped(writer, [put("a"), fail_of_its_own, break_it, put("z")])

    assert [type(each.error) for each in answers] == [
        StoreUnavailable,
        LeaseLost,
        StoreUnavailable,
        StoreUnavailable,
    ]
    assert keys(database) == []


def test_the_writer_works_again_once_the_database_does(
    postgres_database: str,
) -> None:
    database = Database(postgres_database)
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE meta (key text, value text)"))
    writer = Writer(database, Clock())
    writer.start()

    def die(connection: Connection) -> None:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(StoreUnavailable):
        writer.write(die)
    writer.write(put("k"))

    writer.stop()
    assert keys(database) == ["k"]
    database.close()


def test_a_stopped_writer_commits_what_was_queued(database: Database) -> None:
    writer, gate, moment = Writer(database, Clock()), Gate(), threading.Event()
    writer.start()
    first = ask(writer, gate)
    assert gate.entered.wait(timeout=60)
    asked = [ask(writer, put(f"k{number}")) for number in range(5)]
    while writer.backlog < 5:
        moment.wait(0.001)

    stopping = threading.Thread(target=writer.stop)
    stopping.start()
    gate.opened.set()
    stopping.join(timeout=60)

    answered([first, *asked])
    assert [each.error for each in asked] == [None] * 5
    assert len(keys(database)) == 5


@pytest.mark.parametrize("started", [False, True])
def test_a_writer_that_does_not_run_refuses_instead_of_letting_wait(
    database: Database, *, started: bool
) -> None:
    writer = Writer(database, Clock())
    if started:
        writer.start()
        writer.stop()

    with pytest.raises(StoreUnavailable, match="not running"):
        writer.write(put("k"))

    assert keys(database) == []


def test_stopping_twice_or_before_the_start_is_harmless(database: Database) -> None:
    never_started, stopped = Writer(database, Clock()), Writer(database, Clock())
    stopped.start()

    never_started.stop()
    stopped.stop()
    stopped.stop()

    assert not any(
        thread.name in ("store-writer", "store-leases") and thread.is_alive()
        for thread in threading.enumerate()
    )


def test_writes_that_race_with_the_stop_are_committed_or_refused(
    database: Database,
) -> None:
    writer = Writer(database, Clock())
    writer.start()

    asked = [ask(writer, put(f"k{number:02}")) for number in range(20)]
    writer.stop()
    answered(asked)

    kept = [each.result for each in asked if each.error is None]
    refused = [each.error for each in asked if each.error is not None]
    assert keys(database) == kept
    assert all(isinstance(error, StoreUnavailable) for error in refused)


def test_who_stands_still_in_a_group_is_not_waited_for_as_long_as_in_a_plan(
    postgres_database: str,
) -> None:
    """What groups lock, as the inbox's position, all others wait for."""
    database = Database(postgres_database)
    database.free_after(timedelta(hours=1))
    writer = Writer(database, Clock())
    writer.start()

    def shown(connection: Connection) -> str:
        limit = text("SHOW idle_in_transaction_session_timeout")
        return str(connection.execute(limit).scalar_one())

    in_a_group = writer.write(shown)
    with database.begin() as connection:
        in_a_plan = shown(connection)

    writer.stop()
    database.close()
    assert (in_a_group, in_a_plan) == ("5s", "1h")


def test_a_deadlock_with_another_replica_takes_no_write_along(
    postgres_database: str,
) -> None:
    """A 429 and a webhook meet in the other order there; the answers of other syncs,
    which nobody will repeat, share the group."""
    database, other = Database(postgres_database), Database(postgres_database)
    migrate(database)
    with database.begin() as connection:
        for key in ("first", "second"):
            put(key)(connection)
    writer, locked = Writer(database, Clock()), threading.Event()
    writer.start()

    def lock_second_then_first() -> None:
        with other.begin() as connection:
            # So that it is never this one that gives way.
            connection.execute(text("SET LOCAL deadlock_timeout = '1h'"))
            change("second")(connection)
            waiting.set()
            assert locked.wait(60)
            change("first")(connection)

    def lock_first(connection: Connection) -> None:
        change("first")(connection)
        locked.set()

    waiting = threading.Event()
    neighbour = threading.Thread(target=lock_second_then_first)
    neighbour.start()
    assert waiting.wait(60)
    answers = grouped(
        writer, [put("an answer"), lock_first, change("second"), fail_of_its_own]
    )
    neighbour.join(60)

    writer.stop()
    assert [type(each.error) for each in answers] == [type(None)] * 3 + [LeaseLost]
    assert "an answer" in keys(database)
    assert "half" not in keys(database)
    for each in (database, other):
        each.close()


def change(key: str) -> Callable[[Connection], None]:
    def action(connection: Connection) -> None:
        wanted = text("UPDATE meta SET value = value || 'x' WHERE key = :key")
        connection.execute(wanted, {"key": key})

    return action
