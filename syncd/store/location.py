"""What a store URL points at, before anything is opened."""

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from syncd.errors import StoreRefused


def is_sqlite(url: str) -> bool:
    """Whether the store is a SQLite file. Raises `StoreRefused` for another kind."""
    try:
        backend = make_url(url).get_backend_name()
    except ArgumentError:
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
