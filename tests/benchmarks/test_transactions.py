"""What a transaction of the store costs on Postgres, beside bare psycopg's.

`--full-size -s` prints the table of transactions.md. Without it: by a slow wire, where
only what is said counts, ours takes no longer than what psycopg can do at best.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from statistics import median
from time import monotonic, process_time

import psycopg
import pytest
from sqlalchemy import text

from syncd.store.database import Database
from syncd.store.migrate import migrate
from tests.benchmarks.table import load, table
from tests.turns import by_turns

LEASE = timedelta(seconds=90)
ROUNDS = 5
MANY, FEW, SHORT = 1_000, 300, 15
"""Transactions of a round: without a wire, by one, in the short form."""
WIRE, SLOW = 0.001, 0.01
"""Seconds there and back."""
AT_MOST = 1.4
"""Of bare psycopg's time by a slow wire; two messages more would be 1.67."""
HEAD = "who, us, of bare, us by 1 ms, of bare, CPU us"

BEGIN = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 90000"
PUT = (
    "INSERT INTO meta (key, value) VALUES ('k', {}) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
OURS, BARE = text(PUT.format(":value")), PUT.format("%(value)s").encode()

Transaction = Callable[[], object]


@contextmanager
def contestants(url: str) -> Iterator[dict[str, Transaction]]:
    """A transaction of one statement each, by this way to the server."""
    database = Database(url)
    database.free_after(LEASE)

    def write() -> None:
        with database.begin() as connection:
            connection.execute(OURS, {"value": "v"})

    def read() -> None:
        with database.read() as connection:
            connection.execute(text("SELECT value FROM meta WHERE key = 'k'"))

    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:

        def bare() -> None:
            connection.execute(BEGIN)
            connection.execute(BARE, {"value": "v"})
            connection.commit()

        found: dict[str, Transaction] = {"bare": bare, "write": write, "read": read}
        for each in found.values():
            each()
        yield found
    database.close()


def timed(work: Transaction, count: int) -> tuple[float, float]:
    """Median seconds of one, and CPU seconds of this process for each."""
    used, times = process_time(), []
    for _ in range(count):
        began = monotonic()
        work()
        times.append(monotonic() - began)
    return median(times), (process_time() - used) / count


def rounds(url: str, count: int, times: int) -> dict[str, tuple[float, float]]:
    """The medians of interleaved rounds."""
    with contestants(url) as found:
        measured: dict[str, list[tuple[float, float]]] = {each: [] for each in found}
        for _ in range(times):
            for name, work in found.items():
                measured[name].append(timed(work, count))
    return {
        name: (median(wall for wall, _ in each), median(cpu for _, cpu in each))
        for name, each in measured.items()
    }


@pytest.fixture
def store(postgres_database: str) -> str:
    """URL of a store with its tables."""
    database = Database(postgres_database)
    migrate(database)
    database.close()
    return postgres_database


@pytest.mark.timeout(600)
def test_a_transaction_takes_as_many_messages_as_psycopg_needs_at_least(
    store: str, pytestconfig: pytest.Config
) -> None:
    if pytestconfig.getoption("--full-size"):
        print(shown(store))
    with by_turns(store, SLOW) as (_, slow):
        found = rounds(slow, SHORT, times=1)

    for kind in ("write", "read"):
        assert found[kind][0] < AT_MOST * found["bare"][0]


def shown(store: str) -> str:
    """As transactions.md has it."""
    at_once = rounds(store, MANY, ROUNDS)
    with by_turns(store, WIRE) as (_, wired):
        by_wire = rounds(wired, FEW, ROUNDS)
    rows = []
    for name, (wall, cpu) in at_once.items():
        far = by_wire[name][0]
        rows.append(
            [
                name,
                f"{1e6 * wall:.0f}",
                f"{wall / at_once['bare'][0]:.2f}",
                f"{1e6 * far:.0f}",
                f"{far / by_wire['bare'][0]:.2f}",
                f"{1e6 * cpu:.0f}",
            ]
        )
    return f"{table(HEAD, rows)}\n{load()}"
