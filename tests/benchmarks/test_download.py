"""A packed file of a cohort, from Amplitude to an acknowledged snapshot.

`--full-size -s` takes 200,000 and 2,000,000 rows, prints the table that README.md shows
and holds the real `syncd run` against what unpacking and reading the same file costs in
the same round. Without it 20,000 rows: counts, and no more memory than is decent.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import pytest

from syncd.sources.files import FileList
from tests.benchmarks import packed
from tests.benchmarks.baselines import SqliteStore, adopt
from tests.benchmarks.bench import BATCH, FIRST, PREFIX, Bench, Floor, Told
from tests.benchmarks.measured import measured
from tests.benchmarks.table import load, table
from tests.installed import Installation
from tests.simulated import Simulator

SHORT, LONG, ROUNDS = (20_000,), (200_000, 2_000_000), 5
DECENT = 200.0
"""MB that no run may exceed, on any machine and Python."""
PEAK, GROWTH = 150.0, 40.0
"""MB: the goal whatever the cohort's size, and what tenfold rows may cost."""
MOVED, SAME = "1 % in, 1 % out", "computed anew, same people"
CEILINGS = {MOVED: 3.0, SAME: 2.0}
"""CPU at 2,000,000 rows, start and imports included, as multiples of `csv`."""
FLOORS = ("fetch", "unpack", "csv", "split")
PEERS = ("duckdb",) if find_spec("duckdb") else ()
HEAD = "rows, what, wall s, CPU s, CPU / csv, peak MB, requests, phases s"

Line = Floor | Told
NewLife = Callable[[int], "Life"]


class Life:
    """A cohort whose people are all acknowledged, and what comes of its next files."""

    def __init__(self, rows: int, simulator: Simulator, made: Installation) -> None:
        self.bench = Bench(rows, simulator, made)
        self.store = SqliteStore(made.database)
        self.folder = made.folder
        everybody = self.bench.crowd(0)
        simulator.change("big", generate=everybody | {"count": 10})
        self.bench.run("ten people")
        self._adopt()
        self.store.keep()
        self.rounds: list[list[Line]] = []

    def _adopt(self) -> None:
        """What a first sync of everybody leaves behind."""
        people = range(FIRST, FIRST + self.bench.people)
        path = self.folder / "everybody.csv"
        path.write_text(
            "user_id\n" + "".join(f"{PREFIX}{number}\n" for number in people)
        )
        files = FileList(pattern=str(path), audience="big")
        adopt(self.store, "big", files, self.folder)
        path.unlink()

    def round(self) -> None:
        """Both runs and all floors, on one file."""
        bench = self.bench
        self.store.fresh()
        bench.simulator.change("big", generate=bench.crowd(bench.moved))
        moved = bench.run(MOVED)
        floors = self._floors()
        bench.simulator.change("big", add=[])
        self.rounds.append([*floors, moved, bench.run(SAME)])

    def _floors(self) -> list[Line]:
        bench, packed_file = self.bench, str(self.folder / "cohort.csv.gz")
        origin = bench.simulator.amplitude_url
        url = origin + bench.simulator.log("file")[-1]["path"]
        more = {"fetch": [url], "unpack": []}
        return [
            self._timed(each, [packed_file, *more.get(each, ["user_id"])])
            for each in (*FLOORS, *PEERS)
        ]

    def _timed(self, verb: str, args: list[str]) -> Floor:
        script = [sys.executable, str(packed.__file__), verb, *args]
        cost = measured(script, self.folder, 300.0)
        assert cost.code == 0, cost.err[-4000:]
        kind = "peer" if verb in PEERS else "floor"
        return Floor(name=f"{kind}: {verb}", peak=cost.peak, **json.loads(cost.out))

    # ---- what came of it ------------------------------------------------------------

    def all(self, name: str) -> list[Line]:
        """That line of every round."""
        return [each for lines in self.rounds for each in lines if each.name == name]

    def multiple(self, name: str) -> float:
        """CPU as a multiple of the floor `csv` in the same round; the median."""
        pairs = zip(self.all(name), self.all("floor: csv"), strict=True)
        return median(cpu(one) / cpu(floor) for one, floor in pairs)

    @property
    def runs(self) -> list[Told]:
        """Every run."""
        return [
            each for lines in self.rounds for each in lines if isinstance(each, Told)
        ]

    @property
    def peak(self) -> float:
        """MB of the largest run."""
        return max(peak(each) for each in self.runs)


def cpu(line: Line) -> float:
    """Seconds: of a run with its start and imports, of a floor without."""
    return line.cost.cpu if isinstance(line, Told) else line.cpu


def wall(line: Line) -> float:
    """Seconds, as `cpu`."""
    return line.cost.wall if isinstance(line, Told) else line.seconds


def peak(line: Line) -> float:
    """MB of the whole process."""
    return line.cost.peak if isinstance(line, Told) else line.peak


@pytest.fixture
def new_life(
    new_simulator: Callable[..., Simulator], tmp_path: Path
) -> Iterator[NewLife]:
    """Makes a cohort of so many rows, each with a simulator of its own."""
    with ExitStack() as stack:

        def make(rows: int) -> Life:
            folder = tmp_path / str(rows)
            folder.mkdir()
            simulator = new_simulator("--latency", "0")
            return Life(rows, simulator, Installation(folder, simulator, stack))

        yield make


# ---- the table ----------------------------------------------------------------------


def lines_of(life: Life) -> Iterator[list[str]]:
    """Medians of the rounds; phases of the last run of each kind."""
    for name in [each.name for each in life.rounds[0]]:
        found = life.all(name)
        last = found[-1]
        phases = last.finished["phase_ms"].items() if isinstance(last, Told) else ()
        yield [
            f"{life.bench.rows:,}",
            name,
            f"{median(map(wall, found)):.2f}",
            f"{median(map(cpu, found)):.2f}",
            f"{life.multiple(name):.2f}",
            f"{max(map(peak, found)):.0f}",
            f"{last.counted.requests}" if isinstance(last, Told) else "",
            " ".join(f"{phase} {ms / 1000:.2f}" for phase, ms in phases),
        ]


# ---- what must hold -----------------------------------------------------------------


def expect_only_who_moved(life: Life) -> None:
    """One download and one file a run; nobody is told twice."""
    bench = life.bench
    for moved, same in zip(life.all(MOVED), life.all(SAME), strict=True):
        assert isinstance(moved, Told)
        assert isinstance(same, Told)
        ends = moved.finished["entered"], moved.finished["exited"]
        assert ends == (bench.moved, bench.moved)
        assert moved.counted.events == 2 * bench.moved
        assert moved.counted.requests == 2 * -(-bench.moved // BATCH)
        assert (same.finished["outcome"], same.counted.requests) == ("no_change", 0)
        for told in (moved, same):
            assert (told.counted.downloads, told.counted.files) == (1, 1)


def expect_the_same_people(life: Life) -> None:
    """Floors and peers counted those whom the runs saw."""
    for name in ("floor: csv", "floor: split", *(f"peer: {each}" for each in PEERS)):
        for each in life.all(name):
            assert isinstance(each, Floor)
            assert each.count == life.bench.people


def expect_goals(small: Life, large: Life) -> None:
    """Memory does not grow with the rows, and CPU stays near the floor."""
    assert max(small.peak, large.peak) <= PEAK
    assert large.peak <= small.peak + GROWTH
    for name, ceiling in CEILINGS.items():
        assert large.multiple(name) <= ceiling, name


@pytest.mark.timeout(1_800)
def test_a_file_is_compared_for_little_more_than_reading_it(new_life, pytestconfig):
    full = pytestconfig.getoption("--full-size")

    lives = [new_life(rows) for rows in (LONG if full else SHORT)]
    for _ in range(ROUNDS if full else 1):
        for life in lives:
            life.round()

    print(table(HEAD, [line for life in lives for line in lines_of(life)]))
    print(load())
    for life in lives:
        expect_only_who_moved(life)
        expect_the_same_people(life)
        assert life.peak <= DECENT
    if full:
        expect_goals(*lives)
