"""People a second who are pushed a thousand at a time, through the real daemon's doors.

`--full-size -s` takes five rounds of 100,000 people through each door, prints the table
that README.md shows and holds CPU against the least that storing the same rows costs.
Without it one round of 5,000: everybody is in the inbox, and nobody else.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import pytest

from tests.benchmarks.bundles import HOOKED, LISTED, SIZE, Bundling, ids
from tests.benchmarks.servers import PATIENCE, Served, cpu_of, peak_of, served
from tests.benchmarks.table import load, table
from tests.installed import Installation
from tests.knocking import knocking
from tests.pushing import Errand, ending
from tests.simulated import Simulator

PEOPLE, ROUNDS = 100_000, 5
DECENT = 150.0
"""MB that the daemon may take, on any machine and Python."""
COST = 5.0
"""CPU of a person, as multiples of `rows`, at most."""
HEAD = "what, people, ids a second, p99 ms, CPU us an id, CPU / rows, peak MB"
TABLE = """CREATE TABLE word (feed_id INTEGER, member_id TEXT, inside INTEGER,
at TEXT, tie TEXT, position INTEGER, PRIMARY KEY (feed_id, member_id)) WITHOUT ROWID"""
INDEX = "CREATE INDEX of_feed ON word (feed_id, position)"
PUT = """INSERT INTO word VALUES (1, ?, 1, ?, '', ?) ON CONFLICT (feed_id, member_id)
DO UPDATE SET inside = excluded.inside, at = excluded.at, position = excluded.position
WHERE excluded.at >= word.at"""


@dataclass(frozen=True, kw_only=True)
class Went:
    """What came of one round of one line."""

    people: int
    seconds: float
    cpu: float
    p99: float = 0.0
    peak: float = 0.0


@pytest.fixture
def daemon(installation: Installation, simulator: Simulator) -> Served:
    """The real daemon, with a sync of a list and one of a cohort's webhooks."""
    installation.push()
    for name, cohort in (("listed", LISTED), ("hooked", HOOKED)):
        simulator.cohort(cohort, members=[])
        installation.cohort_sync(
            name,
            cohort,
            from_={"via": "push", "relist_every": "never"},
            to={"connection": "partner-lists"},
        )
    running = installation.start("serve")
    port = int(running.url().rpartition(":")[2])
    with knocking(running) as at:
        made = at.amplitude("/lists", {"name": f"Cohort: {LISTED}"})
    return Served(name=made.body["listId"], port=port, pid=running.process.pid)


def push(server: Served, errand: Errand) -> Went:
    """Push everybody of an errand at it; each request is taken at once."""
    before = cpu_of(server.pid)
    sender = Bundling(errand)
    with ending(sender):
        outcome = sender.outcome(PATIENCE)
    assert outcome.answers == {"200": sender.requests()}
    return Went(
        people=errand.events,
        seconds=outcome.seconds,
        cpu=cpu_of(server.pid) - before,
        p99=outcome.p99,
        peak=peak_of(server.pid),
    )


def rows_of(database: sqlite3.Connection, errand: Errand) -> Went:
    """The least: the same people in a table of one's own, a commit for each request."""
    people, at = ids(errand), datetime.now(UTC).isoformat(" ")
    wall, cpu = perf_counter(), process_time()
    for start in range(0, len(people), SIZE):
        rows = [
            (one, at, start + number)
            for number, one in enumerate(people[start : start + SIZE])
        ]
        with database:
            database.executemany(PUT, rows)
    seconds = perf_counter() - wall
    return Went(people=len(people), seconds=seconds, cpu=process_time() - cpu)


def plain_table(path: Path) -> sqlite3.Connection:
    """A store with nothing but words, as durable as ours."""
    made = sqlite3.connect(path)
    made.execute("PRAGMA journal_mode=WAL")
    made.execute("PRAGMA synchronous=FULL")
    made.execute("PRAGMA cache_size=-16384")
    made.execute("PRAGMA wal_autocheckpoint=4000")
    made.execute(TABLE)
    made.execute(INDEX)
    return made


def shown(rounds: dict[str, list[Went]]) -> Iterator[list[str]]:
    """Medians of the rounds."""
    for name, found in rounds.items():
        ratios = [
            one.cpu / floor.cpu
            for one, floor in zip(found, rounds["rows"], strict=True)
        ]
        yield [
            name,
            f"{found[0].people:,}",
            f"{median(each.people / each.seconds for each in found):,.0f}",
            f"{1e3 * median(each.p99 for each in found):.0f}",
            f"{1e6 * median(each.cpu / each.people for each in found):.1f}",
            f"{median(ratios):.2f}",
            f"{max(each.peak for each in found):.0f}",
        ]


def multiple(rounds: dict[str, list[Went]], name: str) -> float:
    """CPU as a multiple of `rows` in the same round; the median."""
    pairs = zip(rounds[name], rounds["rows"], strict=True)
    return median(one.cpu / floor.cpu for one, floor in pairs)


@pytest.fixture
def errand(installation: Installation, pytestconfig: Any) -> Callable[..., Errand]:
    """Makes errands about people nobody has named before."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    plain = Errand(
        port=0,
        marks=str(installation.folder / "marks"),
        events=PEOPLE if pytestconfig.getoption("--full-size") else 5_000,
        duplicates=0.0,
        since=int(yesterday.timestamp()),
        connections=4,
    )
    return lambda **changes: replace(plain, **changes)


@pytest.mark.timeout(900)
def test_a_thousand_people_at_a_time_are_stored_for_little_more_than_their_rows(
    installation: Installation,
    daemon: Served,
    errand: Callable[..., Errand],
    pytestconfig: Any,
) -> None:
    full = pytestconfig.getoption("--full-size")
    rounds: dict[str, list[Went]] = {"bare": [], "rows": [], "list": [], "webhook": []}
    named: set[str] = set()

    with (
        served("bare", installation.folder) as bare,
        closing(plain_table(installation.folder / "plain.db")) as plain,
    ):
        for number in range(1, (ROUNDS if full else 1) + 1):
            listed = errand(port=daemon.port, key=LISTED, list_id=daemon.name)
            ours = replace(listed, seed=number)
            rounds["bare"].append(push(bare, replace(ours, port=bare.port)))
            rounds["rows"].append(rows_of(plain, ours))
            rounds["list"].append(push(daemon, ours))
            rounds["webhook"].append(push(daemon, replace(ours, key=HOOKED)))
            named |= set(ids(ours))

    print(table(HEAD, shown(rounds)))
    print(load())
    with closing(sqlite3.connect(installation.database)) as connection:
        held = connection.execute("SELECT member_id FROM inbox WHERE inside").fetchall()
    assert len(held) == 2 * len(named)
    assert {one for (one,) in held} == named
    assert rounds["list"][-1].peak <= DECENT
    if full:
        assert multiple(rounds, "list") <= COST
        assert multiple(rounds, "webhook") <= COST
