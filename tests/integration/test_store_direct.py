"""Statements that the driver is given as they are do as SQLAlchemy would have done."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, bindparam, select, tuple_, update
from sqlalchemy.exc import IntegrityError, OperationalError

from syncd.store.bulk import inserting, native, prepared
from syncd.store.database import Database
from syncd.store.direct import LISTED, Direct, run
from syncd.store.tables import inbox_position, message

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = message.c.message_id
AMONG = Direct(
    select(ID)
    .where(message.c.connection == bindparam("name"))
    .where(ID.in_(bindparam(LISTED, expanding=True)))
    .order_by(ID),
    "name",
)
PAIRS = Direct(
    update(message)
    .where(
        tuple_(message.c.connection, ID).in_(bindparam(LISTED, expanding=True)),
    )
    .values(received_at=bindparam("at"))
    .returning(ID),
    "at",
)
POSITION = Direct(select(inbox_position.c.value))
GIVEN = Direct(
    update(inbox_position).values(value=bindparam("value")),
    "value",
)


@pytest.fixture
def store(database: Database) -> Iterator[Connection]:
    """A transaction on a store that knows two connections' messages 0 to 39."""
    with database.begin() as connection:
        at = native(database.dialect, NOW)
        put = prepared(database.dialect, inserting(database.dialect, message))
        names = [f"m{number:02d}" for number in range(40)]
        put(connection, [("a", one, at) for one in names])
        put(connection, [("b", one, at) for one in names])
        yield connection


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 9, 31, 40])
def test_a_list_of_any_length_finds_those_it_names_and_no_others(
    store: Connection, count: int
) -> None:
    wanted = [f"m{number:02d}" for number in range(count)]

    found = AMONG.rows(store, "a", listed=[*wanted, "unheard of"])

    assert found == [(one,) for one in wanted]


def test_a_list_of_tuples_means_just_these_pairs(store: Connection) -> None:
    at = native(store.dialect.name, NOW)
    pairs = [("a", "m01"), ("b", "m02"), ("c", "m03")]

    changed = PAIRS.rows(store, at, listed=pairs)

    assert sorted(changed) == [("m01",), ("m02",)]
    assert len(PAIRS.rows(store, at, listed=pairs[:1])) == 1


def test_a_statement_without_a_list_or_an_answer_takes_its_values(
    store: Connection,
) -> None:
    before = POSITION.rows(store)

    said = GIVEN.rows(store, 7)

    assert (before, list(said), POSITION.rows(store)) == ([(0,)], [], [(7,)])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_the_driver_refuses_is_an_error_as_sqlalchemy_has_it_and_names_nobody(
    store: Connection,
) -> None:
    put = prepared("sqlite", inserting("sqlite", message))
    row = ("a", "m01", native("sqlite", NOW))

    with pytest.raises(IntegrityError) as twice:
        put(store, [row])
    with pytest.raises(OperationalError):
        run(store, "SELECT * FROM nowhere", ())

    assert "m01" not in str(twice.value)
