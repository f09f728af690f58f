"""`cluster: procrastinate`: daemons tick, workers run, on one real Postgres."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from syncd.store.database import Database
from tests.builders import rows
from tests.installed import Installation, Running

SPEED = 100
"""A due time each five minutes is one each three real seconds."""


PERIOD = timedelta(minutes=5)
NAMES = [f"s{number}" for number in range(4)]


@pytest.fixture
def origin() -> str:
    return datetime.now(UTC).isoformat()


@pytest.fixture
def store(postgres_database: str) -> Iterator[Database]:
    """The store as a bystander sees it."""
    opened = Database(postgres_database, readers=1)
    yield opened
    opened.close()


@pytest.fixture
def cluster(
    new_installation: Callable[..., Installation],
    new_simulator: Callable[..., Any],
    postgres_database: str,
    origin: str,
) -> Installation:
    """Four syncs each five minutes, deferred to workers; nobody runs yet."""
    simulator = new_simulator("--speed", str(SPEED), "--origin", origin)
    installation = new_installation(simulator)
    installation.config["store"]["url"] = postgres_database
    installation.config["cluster"] = "procrastinate"
    for name in NAMES:
        installation.sync(name, schedule="every 5m", max_runtime="1h")
        installation.audience([f"person-{name}-{each}" for each in range(20)], name)
    simulator.users(f"person-{name}-{each}" for name in NAMES for each in range(20))
    return installation


def started(cluster: Installation, origin: str, verb: str, *more: str) -> Running:
    process = cluster.start(verb, "--speed", str(SPEED), "--origin", origin, *more)
    assert process.reached(f"{'daemon' if verb == 'serve' else verb}.started")
    return process


def test_every_due_time_is_run_once_however_many_tick_and_work(
    cluster: Installation, origin: str, store: Database
) -> None:
    workers = [started(cluster, origin, "worker") for _ in range(2)]
    daemons = [started(cluster, origin, "serve") for _ in range(2)]

    for worker in workers:
        assert worker.reached("run.finished", count=8)
    for process in [*daemons, *workers]:
        assert process.stop() == 0, process.text[-3000:]

    slots = rows(
        store,
        "SELECT sync, slot, count(*), min(outcome) FROM run WHERE slot IS NOT NULL"
        " GROUP BY sync, slot ORDER BY slot",
    )
    assert {count for _, _, count, _ in slots} == {1}
    assert {outcome for *_, outcome in slots} <= {"success", "no_change"}
    for name in NAMES:
        due = [slot for sync, slot, *_ in slots if sync == name]
        assert len(due) >= 3
        assert [late - early for early, late in pairwise(due)] == [PERIOD] * (
            len(due) - 1
        )
    assert all(not each.events("run.started") for each in daemons)
    assert rows(store, "SELECT * FROM procrastinate_jobs") == []
