"""What a store URL points at, before anything is opened."""

import re
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from syncd.errors import StoreRefused


def is_sqlite(url: str) -> bool:
    """Whether the store is a SQLite file. Raises `StoreRefused` for another kind."""
    try:
        backend = make_url(url).get_backend_name()
    except (ArgumentError, ValueError):  # the latter of a port, in its own words
        raise StoreRefused(
            "store.url is not a database URL", hint="syncd check"
        ) from None
    if backend not in {"sqlite", "postgresql"}:
        raise StoreRefused(
            f"store.url is a {backend} URL; the state lives in SQLite or Postgres",
            hint="syncd check",
        )
    return backend == "sqlite"


def sqlite_path(url: str) -> Path:
    """The database file of a SQLite URL."""
    return Path(make_url(url).database or "").absolute()


def holds_password(url: str) -> bool:
    """Whether a store's URL carries a secret in its login or its query.

    As the driver reads it: a `#` or a `/` in a password ends nothing.
    """
    made = make_url(url)
    return bool(made.password) or any(map(_SECRET.search, made.query))


_SECRET = re.compile(r"password|secret|token", re.IGNORECASE)
"""Keys of a query that stand before one: `password`, `sslpassword`."""


def place(url: str) -> str:
    """What a URL points at, to be shown and compared: without user and password."""
    if is_sqlite(url):
        return f"sqlite:///{sqlite_path(url).resolve()}"
    given = make_url(url)
    # Where libpq looks for the server; a password could stand there, too.
    where = {key: given.query[key] for key in _WHERE if key in given.query}
    return URL.create(
        "postgresql",
        host=given.host,
        port=given.port,
        database=given.database,
        query=where,
    ).render_as_string()


_WHERE = ("host", "port", "service")
