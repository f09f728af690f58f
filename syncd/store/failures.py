"""What a database says went wrong, in the product's words.

Never with a value: those name people.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from syncd.errors import StoreRefused, StoreUnavailable


def damaged(what: str) -> StoreRefused:
    """The refusal of a store whose content cannot be believed."""
    return StoreRefused(
        what, code="store.damaged", hint="syncd explain store.damaged, before anything"
    )


@contextmanager
def unavailable_on_database_error() -> Iterator[None]:
    """Turn driver errors into `StoreUnavailable`, without parameters or data."""
    try:
        yield
    except SQLAlchemyError as error:
        raise as_store_error(error) from None


def as_store_error(error: SQLAlchemyError) -> StoreUnavailable:
    """The error as the rest of the product knows it."""
    return StoreUnavailable(
        f"the store failed: {_cause(error)}",
        hint="check the disk and the database, then: syncd status",
    )


def sqlite_words(error: Exception) -> str:
    """SQLite's own words, but for those that quote what stands in the file."""
    if isinstance(error, UnicodeDecodeError) or "decode" in str(error):
        return "its text is no UTF-8, so it is damaged"
    return str(error)


def _cause(error: SQLAlchemyError) -> str:
    if not isinstance(error, DBAPIError):
        return type(error).__name__
    # Postgres' own text quotes key values; its SQLSTATE says enough.
    state = getattr(error.orig, "sqlstate", None)
    if state:
        return f"{type(error.orig).__name__} (SQLSTATE {state})"
    if isinstance(error.orig, sqlite3.Error):
        return sqlite_words(error.orig)
    return type(error.orig).__name__
