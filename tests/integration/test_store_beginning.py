"""How a transaction begins on Postgres: in one message with its limit, on whatever
connection is left, in a database that can hold every id."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, text

from syncd.errors import StoreRefused, StoreUnavailable
from syncd.store.database import Database
from syncd.store.migrate import migrate
from syncd.store.postgres import (
    READING,
    WRITING,
    beginning,
    require_room_for_every_id,
)
from tests.turns import Turns, by_turns

LEASE = timedelta(seconds=90)
LIMIT = b"SET LOCAL idle_in_transaction_session_timeout = 90000\0"
LETTERS = "Zoë-Ωμέγα-中文-👩‍🚀"


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """As a daemon has it."""
    database = Database(url)
    database.free_after(LEASE)
    try:
        yield database
    finally:
        database.close()


@pytest.fixture
def wired(postgres_database: str) -> Iterator[tuple[Turns, Database]]:
    """A store with its tables, by a wire; its first connection is made."""
    with by_turns(postgres_database) as (wire, url), opened(url) as database:
        migrate(database)
        yield wire, database


def put(connection: Connection, key: str, value: str = "1") -> None:
    connection.execute(
        text("INSERT INTO meta (key, value) VALUES (:key, :value)"),
        {"key": key, "value": value},
    )


def value_of(connection: Connection, key: str) -> str | None:
    found: str | None = connection.execute(
        text("SELECT value FROM meta WHERE key = :key"), {"key": key}
    ).scalar_one_or_none()
    return found


def pid_of(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


# ---- one message -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "limit", "words"),
    [
        (WRITING, LEASE, "BEGIN; SET LOCAL idle_in_transaction_session_timeout = "),
        (READING, LEASE, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL "),
        (READING, None, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
    ],
)
def test_the_words_that_begin_a_transaction(
    kind: str, limit: timedelta | None, words: str
) -> None:
    assert beginning(kind, limit).startswith(words)
    assert beginning(kind, limit).endswith("= 90000") is (limit is not None)


def test_a_limit_is_in_milliseconds() -> None:
    assert beginning(WRITING, timedelta(seconds=1.5)).endswith(" = 1500")


def test_a_write_is_three_messages_the_first_of_which_holds_its_limit(
    wired: tuple[Turns, Database],
) -> None:
    wire, database = wired
    wire.said.clear()

    with database.begin() as connection:
        put(connection, "k")

    began, statement, ended = wire.said
    assert began[:1] + began[5:] == b"QBEGIN; " + LIMIT
    assert b"INSERT" in statement
    assert b"COMMIT" in ended


def test_a_read_is_three_messages_the_first_of_which_holds_its_limit(
    wired: tuple[Turns, Database],
) -> None:
    wire, database = wired
    wire.said.clear()

    with database.read() as connection:
        value_of(connection, "k")

    began, statement, _ = wire.said
    words = READING.encode()
    assert began[:1] + began[5:] == b"Q" + words + b"; " + LIMIT
    assert b"SELECT" in statement


def test_what_fails_is_rolled_back_on_the_server_before_its_connection_is_kept(
    wired: tuple[Turns, Database],
) -> None:
    wire, database = wired
    wire.said.clear()

    def fail() -> None:
        with database.begin() as connection:
            put(connection, "k")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert b"ROLLBACK" in wire.said[-1]
    with database.read() as connection:
        assert value_of(connection, "k") is None


def test_a_savepoint_that_is_undone_leaves_the_rest_of_its_transaction(
    wired: tuple[Turns, Database],
) -> None:
    _, database = wired

    with database.begin() as connection:
        put(connection, "before")
        nested = connection.begin_nested()
        put(connection, "inside")
        nested.rollback()
        put(connection, "after")

    with database.read() as connection:
        found = [value_of(connection, key) for key in ("before", "inside", "after")]
    assert found == ["1", None, "1"]


def test_psycopg_by_itself_leaves_no_transaction_open_between_two_messages(
    postgres_database: str,
) -> None:
    """So that an engine with connections of its own needs no limit to them."""
    with opened(postgres_database) as database:
        arguments = database.driver_arguments()

    with psycopg.connect(**arguments) as connection:
        connection.execute("SELECT 1")
        status = connection.info.transaction_status

    assert status is TransactionStatus.IDLE


# ---- lost connections --------------------------------------------------------------


def end_all(url: str) -> None:
    """As a server does that is restarted: every connection but this one."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_connections_that_were_lost_while_nobody_used_them_are_not_noticed(
    postgres_database: str,
) -> None:
    kept = 5
    with opened(postgres_database) as database:
        migrate(database)
        with ExitStack() as stack:
            before = {pid_of(stack.enter_context(database.read())) for _ in range(kept)}
        end_all(postgres_database)

        with ExitStack() as stack:
            after = {pid_of(stack.enter_context(database.read())) for _ in range(kept)}
        with database.begin() as connection:
            put(connection, "k")

        assert database.takes_writes
    assert len(before) == len(after) == kept
    assert not before & after


def test_a_connection_that_is_lost_in_a_transaction_ends_it(
    postgres_database: str,
) -> None:
    with opened(postgres_database) as database:
        migrate(database)

        def lose() -> None:
            with database.begin() as connection:
                put(connection, "lost")
                end_all(postgres_database)
                put(connection, "late")

        with pytest.raises(StoreUnavailable):
            lose()

        with database.begin() as connection:
            put(connection, "k")
            found = [value_of(connection, key) for key in ("lost", "late", "k")]
    assert found == [None, None, "1"]


def test_a_new_connection_that_cannot_begin_either_is_an_error(
    postgres_database: str,
) -> None:
    """Whoever tried on for ever would keep a stop waiting."""
    cut = threading.Event()
    with (
        by_turns(
            postgres_database,
            heard=lambda data: not (cut.is_set() and data[5:].startswith(b"BEGIN")),
        ) as (wire, url),
        opened(url) as database,
    ):
        with database.begin() as connection:
            pid_of(connection)
        cut.set()

        with pytest.raises(StoreUnavailable), database.begin():
            pass

        cut.clear()
        with database.begin() as connection:
            pid_of(connection)
    begun = [data for data in wire.said if data[5:].startswith(b"BEGIN")]
    assert len(begun) == 4  # with the one it had, and a new one, no third


# ---- encodings ---------------------------------------------------------------------


@pytest.fixture
def encoded(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an empty database in the encoding of the test's parameter."""
    name = f"t_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING '{request.param}' LOCALE 'C' "
            "TEMPLATE template0".encode()
        )
        yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.mark.parametrize("encoded", ["UTF8", "SQL_ASCII"], indirect=True)
def test_a_database_keeps_every_letter_as_it_was_given(encoded: str) -> None:
    with opened(encoded) as database:
        migrate(database)

        with database.begin() as connection:
            put(connection, LETTERS, LETTERS[::-1])

        with database.read() as connection:
            assert value_of(connection, LETTERS) == LETTERS[::-1]
            kept = connection.execute(
                text("SELECT octet_length(value) FROM meta WHERE key = :key"),
                {"key": LETTERS},
            ).scalar_one()
    assert kept == len(LETTERS.encode())


@pytest.mark.parametrize("encoded", ["LATIN1", "WIN1252", "EUC_JP"], indirect=True)
def test_a_database_without_a_place_for_some_letters_is_refused(encoded: str) -> None:
    name = str(urlsplit(encoded).path)

    with opened(encoded) as database, pytest.raises(StoreRefused) as refused:
        migrate(database)

    assert "encoded in" in str(refused.value)
    assert "ENCODING 'UTF8'" in refused.value.hint
    assert name[1:] not in str(refused.value)


def test_a_pooler_that_does_not_say_the_encoding_is_believed() -> None:
    require_room_for_every_id(None)

    with pytest.raises(StoreRefused):
        require_room_for_every_id("LATIN2")
