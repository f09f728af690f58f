"""Stores for tests: the same suite on a real SQLite file and a real Postgres."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from structlog.types import EventDict

from syncd.model import IdType
from syncd.store import bindings
from syncd.store.bindings import Binding, Role
from syncd.store.codec import Codec
from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.migrate import migrate
from tests.builders import World, new_database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

BindingMaker = Callable[..., Binding]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a store without any table, on each kind of database in turn."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_database")
        return url
    path = tmp_path / "state" / "syncd.db"
    create_file(path)
    return f"sqlite:///{path}"


@pytest.fixture
def codec() -> Codec:
    """How chunks are written; a test that is parametrised by `codec` has another."""
    return "text"


@pytest.fixture
def empty_database(database_url: str, codec: Codec) -> Iterator[Database]:
    """A store without any table."""
    opened = Database(database_url, codec=codec)
    yield opened
    opened.close()


@pytest.fixture
def database(empty_database: Database) -> Database:
    """A store with this program's schema."""
    migrate(empty_database)
    return empty_database


@pytest.fixture
def new_binding(database: Database) -> BindingMaker:
    """Makes a binding with an empty acknowledged set: `new_binding(sync="vip")`."""

    def make(
        sync: str = "vip", role: Role = Role.CURRENT, target: str = "name:VIP"
    ) -> Binding:
        with database.begin() as connection:
            return bindings.create(
                connection,
                sync=sync,
                role=role,
                connection_name="amplitude",
                target=target,
                owner="owner@example.com",
                id_type=IdType.USER_ID,
                source_fingerprint="source-1",
                now=NOW,
            )

    return make


# ---- syncs in one process ----------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A SQLite store in which time stands still; syncs are added by the test."""
    database = new_database(tmp_path)
    yield World(database=database, spool=tmp_path)
    database.close()


@pytest.fixture
def either(database: Database, tmp_path: Path) -> World:
    """The same around each kind of store in turn."""
    return World(database=database, spool=tmp_path)


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """Every log line of the test, with its context, as it is written."""
    with capture_logs([merge_contextvars]) as captured:
        yield captured
