"""Whole tables in and out of both kinds of store, row by row.

A row is a tuple in the order of the table's columns, of plain values that both kinds
give alike: text, numbers, booleans, bytes, UTC instants, None. Neither side ever holds
more than a few rows: SQLite steps through a table, Postgres speaks COPY.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    Table,
    Text,
    collate,
    insert,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import ClauseElement

from syncd.store.bulk import native
from syncd.store.instant import Instant, of_driver

Row = tuple[Any, ...]
_POSTGRES_TYPES = (
    # The first that fits: a BigInteger is an Integer.
    (Instant, "timestamptz"),
    (BigInteger, "int8"),
    (Integer, "int4"),
    (Float, "float8"),
    (Boolean, "bool"),
    (LargeBinary, "bytea"),
    (Text, "text"),
)


def read(connection: Connection, table: Table) -> Iterator[Row]:
    """Every row, in the order of the primary key (as bytes, so alike everywhere)."""
    with _errors_of(connection):
        if connection.dialect.name == "sqlite":
            yield from _stepped(connection, table)
        else:
            yield from _copied_out(connection, table)


def write(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    """Put these rows into the table, while they come."""
    with _errors_of(connection):
        if connection.dialect.name == "sqlite":
            _step(connection, table, rows)
        else:
            _copy_in(connection, table, rows)


# ---- SQLite ------------------------------------------------------------------------


def _stepped(connection: Connection, table: Table) -> Iterator[Row]:
    changes = _changes(table, {Instant: of_driver, Boolean: bool})
    query = _text(connection, select(table).order_by(*table.primary_key))
    with closing(_driver(connection).execute(query)) as rows:
        for row in rows:
            yield _changed(row, changes)


def _step(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    changes = _changes(table, {Instant: _of_sqlite})
    _driver(connection).executemany(
        _text(connection, insert(table)), (_changed(row, changes) for row in rows)
    )


def _of_sqlite(instant: datetime) -> datetime | str:
    return native("sqlite", instant)


# ---- Postgres ----------------------------------------------------------------------


def _copied_out(connection: Connection, table: Table) -> Iterator[Row]:
    changes = _changes(table, {Instant: of_driver})
    query = select(table).order_by(
        *(
            collate(column, "C") if isinstance(column.type, Text) else column
            for column in table.primary_key
        )
    )
    text = f"COPY ({_text(connection, query)}) TO STDOUT (FORMAT BINARY)"
    with _driver(connection).cursor() as cursor, cursor.copy(text) as copy:
        copy.set_types(_types(table))
        for row in copy.rows():
            yield _changed(row, changes)


def _copy_in(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    quoted = connection.dialect.identifier_preparer
    names = ", ".join(quoted.quote(each.name) for each in table.columns)
    text = f"COPY {quoted.format_table(table)} ({names}) FROM STDIN (FORMAT BINARY)"
    with _driver(connection).cursor() as cursor, cursor.copy(text) as copy:
        copy.set_types(_types(table))
        for row in rows:
            copy.write_row(row)


def _types(table: Table) -> list[str]:
    return [postgres_type(column) for column in table.columns]


def postgres_type(column: Column[Any]) -> str:
    """What Postgres calls it. Raises `TypeError` for a type that is not known here."""
    for ours, theirs in _POSTGRES_TYPES:
        if isinstance(column.type, ours):
            return theirs
    raise TypeError(f"{column} has a type that no copy knows")


# ---- both --------------------------------------------------------------------------

_Changes = list[tuple[int, Callable[[Any], Any]]]


def _changes(table: Table, by_type: dict[type, Callable[[Any], Any]]) -> _Changes:
    """Columns whose values are not the driver's own, and how each is made."""
    return [
        (place, change)
        for place, column in enumerate(table.columns)
        for kind, change in by_type.items()
        if isinstance(column.type, kind)
    ]


def _changed(row: Row, changes: _Changes) -> Row:
    if not changes:
        return row
    values = list(row)
    for place, change in changes:
        if values[place] is not None:
            values[place] = change(values[place])
    return tuple(values)


def _text(connection: Connection, statement: ClauseElement) -> str:
    return str(statement.compile(dialect=connection.dialect))


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


@contextmanager
def _errors_of(connection: Connection) -> Iterator[None]:
    """What the driver raises, as SQLAlchemy would: without values, which name people.

    Its own kind only: of the other side's store another one tells.
    """
    kind: type[Exception] = sqlite3.Error
    if connection.dialect.name != "sqlite":
        kind = connection.dialect.loaded_dbapi.Error
    try:
        yield
    except kind as error:
        raise DBAPIError.instance(
            None, None, error, kind, hide_parameters=True
        ) from error
