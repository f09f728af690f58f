"""Many rows in one statement, without SQLAlchemy's cost for each of them.

Rows are tuples in the order of the table's columns, as the driver wants them (`native`
for instants): on SQLite the driver steps one statement through them, on Postgres they
travel as one array per column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, DateTime, Table, bindparam, func, select
from sqlalchemy.dialects import sqlite

from syncd.store.direct import step_through
from syncd.store.instant import Instant

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

    Insert = sqlite.Insert | postgresql.Insert
Rows = Sequence[tuple[Any, ...]]


def inserting(dialect: str, table: Table) -> Insert:
    """The INSERT to be completed (ON CONFLICT) and given to `prepared`; no values."""
    if dialect == "sqlite":
        return sqlite.insert(table)
    # Not at the top: it takes longer to load than SQLite's, which most stores are.
    from sqlalchemy.dialects import postgresql

    arrays = [
        func.unnest(
            bindparam(column.name, type_=postgresql.ARRAY(_driver_type(column)))
        )
        for column in table.columns
    ]
    return postgresql.insert(table).from_select(table.columns.keys(), select(*arrays))


def prepared(dialect: str, statement: Insert) -> Callable[[Connection, Rows], None]:
    """The function that inserts rows; to be made once, for any number of calls."""
    if dialect == "sqlite":
        text = str(statement.compile(dialect=sqlite.dialect()))
        return lambda connection, rows: step_through(connection, text, rows)
    names = statement.table.columns.keys()
    return lambda connection, rows: _send_arrays(connection, statement, names, rows)


def native(dialect: str, instant: datetime) -> datetime | str:
    """An instant as the driver takes it, and as `Instant` stores it."""
    utc = instant.astimezone(UTC)
    if dialect == "sqlite":
        return utc.isoformat(" ", "microseconds").removesuffix("+00:00")
    return utc


def _send_arrays(
    connection: Connection, statement: Insert, names: Sequence[str], rows: Rows
) -> None:
    columns = zip(*rows, strict=True)
    connection.execute(
        statement,
        {name: list(column) for name, column in zip(names, columns, strict=True)},
    )


def _driver_type(column: Any) -> Any:
    # Its values are the driver's already: ours would be converted one by one.
    return DateTime(timezone=True) if isinstance(column.type, Instant) else column.type
