"""Statements that run many times a second: words that arrive, a few at a time.

SQLAlchemy takes 50 us to run a statement that it has made before, of which SQLite needs
two to five, and a group of eight events had nine of them. On SQLite these are made into
text once, which the driver is given as it is. A round trip to Postgres costs more than
that, and its lost connections are SQLAlchemy's to see: there it runs them.

Values are the driver's own (`bulk.native` for instants), and so is what comes back.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import ClauseElement, Executable

Row = tuple[Any, ...]
LISTED = "listed"
"""What a statement calls its expanding parameter."""
_EXPANDING = f"__[POSTCOMPILE_{LISTED}]"
"""How SQLAlchemy writes that until it knows the length of the list."""


class Direct:
    """A statement whose parameters are given in the order in which it holds them.

    `names` are what it calls them. Where it asks for `IN` a list (of values, or of
    tuples), that is its last parameter, and called `LISTED`.
    """

    def __init__(self, statement: Executable, *names: str) -> None:
        self._statement = statement
        self._names = names
        self._texts: dict[int, str] = {}

    def rows(
        self, connection: Connection, *values: object, listed: Sequence[Any] = ()
    ) -> Sequence[Row]:
        """Run it; what it returns, if anything."""
        if connection.dialect.name == "sqlite":
            text, flat = self._expanded(listed)
            return run(connection, text, (*values, *flat))
        given = dict(zip(self._names, values, strict=True))
        if listed:
            given[LISTED] = listed
        result = connection.execute(self._statement, given)
        return [tuple(row) for row in result] if result.returns_rows else ()

    def _expanded(self, listed: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        """Its text for a list as long as this or a little longer, and the list so.

        A list is filled up with its last value, so that there are a dozen texts and not
        thousands: the driver keeps what it has read of each.
        """
        length = 1 << (len(listed) - 1).bit_length() if listed else 0
        filled = list(listed)
        filled += filled[-1:] * (length - len(filled))
        if length not in self._texts:
            self._texts[length] = _text(self._statement, filled)
        if filled and isinstance(filled[0], tuple):
            filled = [part for each in filled for part in each]
        return self._texts[length], filled


def run(connection: Connection, text: str, values: Sequence[Any]) -> Sequence[Row]:
    """Have SQLite's driver run a text. Raises what SQLAlchemy would."""
    try:
        return _driver(connection).execute(text, values).fetchall()
    except sqlite3.Error as error:
        raise _of_sqlalchemy(error) from error


def step_through(connection: Connection, text: str, rows: Sequence[Row]) -> None:
    """Have SQLite's driver run a text once for each row. Raises as `run` does."""
    try:
        _driver(connection).executemany(text, rows)
    except sqlite3.Error as error:
        raise _of_sqlalchemy(error) from error


def _driver(connection: Connection) -> sqlite3.Connection:
    found: Any = connection.connection.dbapi_connection
    return found  # type: ignore[no-any-return]


def _of_sqlalchemy(error: sqlite3.Error) -> BaseException:
    """An error by its kind, without the values: they name people."""
    return DBAPIError.instance(None, None, error, sqlite3.Error, hide_parameters=True)


def _text(statement: Executable, listed: Sequence[Any]) -> str:
    if not isinstance(statement, ClauseElement):
        raise TypeError("this statement has no text")
    text = str(statement.compile(dialect=sqlite.dialect()))
    if listed and isinstance(listed[0], tuple):
        one = f"({', '.join('?' * len(listed[0]))})"
        return text.replace(_EXPANDING, f"VALUES {', '.join([one] * len(listed))}")
    return text.replace(_EXPANDING, ", ".join("?" * len(listed)))
