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
    return StoreUnavailable(f"the store failed: {_cause(error)}", hint=_hint(error))


def sqlite_words(error: Exception) -> str:
    """SQLite's own words, but for those that quote what stands in the file."""
    if isinstance(error, UnicodeDecodeError) or "decode" in str(error):
        return "its text is no UTF-8, so it is damaged"
    return str(error)


def _hint(error: SQLAlchemyError) -> str:
    if not isinstance(error, DBAPIError):
        return "syncd doctor"
    if isinstance(error.orig, sqlite3.Error):
        return "check the disk and the store's file, then: syncd status"
    return "check Postgres and the way to it, then: syncd doctor"


def _cause(error: SQLAlchemyError) -> str:
    if not isinstance(error, DBAPIError):
        return type(error).__name__
    if isinstance(error.orig, sqlite3.Error):
        return sqlite_words(error.orig)
    name = type(error.orig).__name__
    # Postgres' own text quotes key values; its SQLSTATE says enough.
    state = getattr(error.orig, "sqlstate", None)
    if state == _OF_A_POOLER:
        return f"PgBouncer has no server for it ({name}, SQLSTATE {state})"
    if state:
        return f"{name} (SQLSTATE {state})"
    if error.connection_invalidated or name in _OF_A_CONNECTION:
        return f"no connection{_whereto(error.orig)} ({name})"
    return name


_OF_A_POOLER = "08P01"
"""`protocol_violation`: a server has no cause for it, and PgBouncer says all of its own
with it (its source, `disconnect_client`)."""
_OF_A_CONNECTION = frozenset({"OperationalError", "ConnectionTimeout"})
"""Without a SQLSTATE no server spoke: this is the driver's own word."""


def _whereto(orig: object) -> str:
    """` to 10.0.0.4:5432`, where the driver tells; never who logs in."""
    tried = getattr(orig, "pgconn", None)
    host, port = (getattr(tried, name, None) for name in ("host", "port"))
    if not isinstance(host, bytes) or not isinstance(port, bytes) or not host:
        return ""
    return f" to {host.decode(errors='replace')}:{port.decode(errors='replace')}"
