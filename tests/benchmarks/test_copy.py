"""A large installation moves to Postgres and back, and its next runs send nothing.

`--full-size -s` takes 2,000,000 members and 200,000 pushed words, five rounds, prints
the table that copy.md shows and holds it against the goals. Without it 20,000 and
2,000, one round: that nothing is sent, and that everything went along.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from sqlalchemy import text

from syncd.store.database import Database
from tests.benchmarks import carrying
from tests.benchmarks.baselines import PostgresStore, SqliteStore
from tests.benchmarks.crowds import Crowd
from tests.benchmarks.diffing import Bench
from tests.benchmarks.measured import Measured, measured
from tests.benchmarks.table import load, table
from tests.installed import Installation, log_lines
from tests.simulated import Simulator

PATIENCE = 600.0
"""Real seconds for one command."""
THERE, BACK = "SQLite to Postgres", "Postgres to SQLite"
NEXT, LATER = "the next run, on Postgres", "the next run, on SQLite"
FLOOR = "floor: rows read and copied in, no care"
TIMES = 2.5
"""CPU of the move to Postgres, at most, as a multiple of the floor's."""
MOST = 120.0
"""MB that a move may take, whatever the store's size is."""
HEAD = "what, wall s, CPU s, of it server, CPU / floor, peak MB"


@dataclass(frozen=True, kw_only=True)
class Size:
    """So large a store, so often."""

    crowd: Crowd
    words: int
    rounds: int


SHORT = Size(crowd=Crowd(count=20_000, moved=200), words=2_000, rounds=1)
FULL = Size(crowd=Crowd(count=2_000_000, moved=20_000), words=200_000, rounds=5)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One command of one round."""

    name: str
    cost: Measured
    served: float
    """CPU seconds of the database's server meanwhile."""

    @property
    def cpu(self) -> float:
        """All of it, in seconds."""
        return self.cost.cpu + self.served


Rounds = list[list[Cost]]


class Moving:
    """A bench whose store is moved there and back, once a round."""

    def __init__(self, bench: Bench, postgres: PostgresStore, words: int) -> None:
        assert isinstance(bench.store, SqliteStore)
        self.bench, self.sqlite, self.postgres = bench, bench.store, postgres
        self.folder = bench.installation.folder
        self.rows = 0
        bench.write_lists()
        bench.crowd.write_otherwise(bench.otherwise)
        bench.prepare()
        self.sqlite.fresh()
        _be_pushed(self.sqlite.url, words)
        self.sqlite.keep()

    def round(self) -> list[Cost]:
        """The floor, the move, the next run, the way back, and the run after that."""
        self.sqlite.fresh()
        self.postgres.empty()
        script = [sys.executable, carrying.__file__]
        floor = self._cost(FLOOR, [*script, str(self.sqlite.path), self.postgres.url])
        self.postgres.empty()
        there = self._move(THERE, self.sqlite.url, self.postgres.url)
        self.rows = there["rows"]
        following = self._run(NEXT, self.postgres.url, self.bench.otherwise)
        back = self._move(BACK, self.postgres.url, self.sqlite.url)
        assert back["rows"] >= self.rows
        later = self._run(LATER, self.sqlite.url, self.bench.before)
        return [floor, there["cost"], following, back["cost"], later]

    def _move(self, name: str, here: str, there: str) -> dict[str, Any]:
        words = ("copy", "--from", here, "--to", there, "--json")
        cost = self._cost(name, self.bench.installation.command("db", *words))
        document: dict[str, Any] = json.loads(cost.cost.out)
        rows = {each["table"]: each["rows"] for each in document["tables"]}
        assert rows["chunk"] >= self.bench.crowd.count // 8_192
        return {"cost": cost, "rows": document["rows"]}

    def _run(self, name: str, url: str, people: Path) -> Cost:
        """The same people in another order: the list is read, nobody is sent."""
        installation, simulator = self.bench.installation, self.bench.simulator
        link = self.bench.lists / "crowd.csv"
        link.unlink()
        link.symlink_to(people)
        installation.config["store"]["url"] = url
        since = simulator.last()
        cost = self._cost(name, installation.command("run", "--json", "-v", "crowd"))
        (end,) = (
            each
            for each in log_lines(cost.cost.err.splitlines())
            if each["event"] == "run.finished"
        )
        assert (end["outcome"], end["entered"], end["exited"]) == ("no_change", 0, 0)
        assert end["snapshot"] == self.bench.crowd.count
        assert simulator.log("membership", since) == []
        return cost

    def _cost(self, name: str, command: list[str]) -> Cost:
        before = self.postgres.cpu()
        cost = measured(command, self.folder, PATIENCE)
        assert cost.code == 0, cost.err[-4000:]
        return Cost(name=name, cost=cost, served=self.postgres.cpu() - before)


def _be_pushed(url: str, words: int) -> None:
    """So many words in the inbox, of a feed that no sync reads."""
    with closing(Database(url)) as database, database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO feed (connection, key, id_type, name, first_at, pruned_to)"
                " VALUES ('engage', 'pushed', 'user_id', '', '2026-03-01 12:00:00', 0)"
            )
        )
        connection.execute(
            text(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                "WHERE i < :words) INSERT INTO inbox (feed_id, member_id, inside, "
                "deleted, at, tie, received_at, position) SELECT feed.id, "
                "'5f0c9a3e-8d51-4b7e-9c1f-' || (100000000000 + i), 1, 0, "
                "'2026-03-01 12:00:00.123456', 'personas_' || i, "
                "'2026-03-01 12:00:00', i FROM n, feed WHERE feed.key = 'pushed'"
            ),
            {"words": words},
        )


# ---- the table ---------------------------------------------------------------------


def shown(rounds: Rounds) -> str:
    """Medians, and how busy the machine was."""
    names = [each.name for each in rounds[0]]
    return "\n".join([table(HEAD, [_line(rounds, name) for name in names]), load()])


def _line(rounds: Rounds, name: str) -> list[str]:
    costs = [each for costs in rounds for each in costs if each.name == name]
    return [
        name,
        f"{median(each.cost.wall for each in costs):.2f}",
        f"{median(each.cpu for each in costs):.2f}",
        f"{median(each.served for each in costs):.2f}",
        f"{multiple(rounds, name):.2f}",
        f"{max(each.cost.peak for each in costs):.0f}",
    ]


def multiple(rounds: Rounds, name: str) -> float:
    """CPU as a multiple of the floor's in the same round; the median of all rounds."""
    return median(_cpu(costs, name) / _cpu(costs, FLOOR) for costs in rounds)


def _cpu(costs: list[Cost], name: str) -> float:
    (cpu,) = [each.cpu for each in costs if each.name == name]
    return cpu


# ---- what must hold ----------------------------------------------------------------


@pytest.fixture
def new_moving(
    new_simulator: Callable[..., Simulator], tmp_path: Path, postgres_url: str
) -> Iterator[Callable[[Size], Moving]]:
    """Makes an installation of a size, with a simulator and a database of its own."""
    with ExitStack() as stack:

        def make(size: Size) -> Moving:
            folder, lists = tmp_path / "installed", tmp_path / "lists"
            folder.mkdir()
            lists.mkdir()
            postgres = PostgresStore(postgres_url, f"move_{size.crowd.count}")
            stack.callback(postgres.gone)
            simulator = new_simulator("--latency", "0")
            installation = Installation(folder, simulator, stack)
            store = SqliteStore(folder / "syncd.db")
            bench = Bench(size.crowd, store, simulator, installation, lists)
            return Moving(bench, postgres, size.words)

        yield make


@pytest.mark.timeout(1_800)
def test_a_store_that_was_moved_sends_nothing_and_the_move_is_streamed(
    new_moving: Callable[[Size], Moving], pytestconfig: pytest.Config
) -> None:
    full = bool(pytestconfig.getoption("full_size"))
    size = FULL if full else SHORT
    moving = new_moving(size)

    rounds = [moving.round() for _ in range(size.rounds)]

    print(f"\n{moving.rows:,} rows\n{shown(rounds)}")
    assert moving.rows > size.words
    assert max(each.cost.peak for costs in rounds for each in costs) < MOST
    if full:
        assert multiple(rounds, THERE) < TIMES
