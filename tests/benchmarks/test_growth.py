"""10, 100 and 300 syncs, every hour, in one daemon: does it grow with their number?

`--full-size` takes 30,000 people a sync, prints the table that README.md shows and
holds it against the goals; `--long` besides takes 100,000 people. Without either: 10
syncs of 1,000, two hours, counts alone. An hour takes seconds on the daemon's clock.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pytest

from tests.benchmarks.cycles import Cycle, Daemon
from tests.benchmarks.many import Many
from tests.benchmarks.table import load, table
from tests.installed import Installation
from tests.simulated import Simulator

MOVING = 3
"""Hours in which 1 % of every list change."""
GROWTH = 1.2
"""CPU of one sync among 300, as a multiple of one among 10."""
ROOM = 60.0
"""MB that the daemon of 300 may take beyond that of 10."""
HEAD = "syncs, people, hour, wall s, CPU s, CPU ms a sync, CPU / read, CPU / sort, "
HEAD += "lag s: median, worst, RSS MB, database MB, WAL MB, descriptors, threads"


@dataclass(frozen=True, kw_only=True)
class Size:
    """So many syncs of so many people."""

    syncs: int
    people: int
    first: float
    """Real seconds that the hour of the first sync takes."""
    hour: float
    """And every other one."""


SHORT = (Size(syncs=10, people=1_000, first=12, hour=12),)
FULL = (
    Size(syncs=10, people=30_000, first=60, hour=12),
    Size(syncs=100, people=30_000, first=400, hour=40),
    Size(syncs=300, people=30_000, first=900, hour=80),
)
LONG = (
    Size(syncs=10, people=100_000, first=60, hour=20),
    Size(syncs=100, people=100_000, first=900, hour=60),
    Size(syncs=300, people=100_000, first=1_800, hour=180),
)


@dataclass(frozen=True, kw_only=True)
class Life:
    """The hours of one size, and the floors beside each."""

    size: Size
    first: Cycle
    cycles: tuple[Cycle, ...]
    floors: tuple[tuple[float, float], ...]
    """Seconds of CPU of `read` and of `sort`, for all syncs, in each hour."""

    def costs(self, what: str) -> float:
        """Seconds of CPU for one sync, in the median hour of that kind."""
        hours = [each.cpu for each in self.cycles if each.what == what]
        return median(hours) / self.size.syncs


NewMany = Callable[[Size], Many]


@pytest.fixture
def new_many(
    new_simulator: Callable[..., Simulator], tmp_path: Path
) -> Iterator[NewMany]:
    """Makes so many syncs, with a simulator of their own."""
    with ExitStack() as stack:

        def make(size: Size) -> Many:
            folder = tmp_path / f"{size.syncs}-{size.people}"
            folder.mkdir()
            simulator = new_simulator("--latency", "0")
            installation = Installation(folder, simulator, stack)
            return Many(size.syncs, size.people, simulator, installation)

        yield make


def live(many: Many, size: Size, *, moving: int, resting: bool) -> Life:
    """The first sync by one daemon; by another one the hours after it."""
    many.known(moving)
    many.lists(0)
    begin = Daemon(many, size.first, after=datetime.now(UTC))
    first = begin.cycle("first sync")
    daemon = Daemon(many, size.hour, after=begin.stop())
    cycles, floors = [], []
    for hour in range(1, moving + 1):
        many.lists(hour)
        cycles.append(daemon.cycle("1 % in, 1 % out"))
        floors.append((many.read_floor(), many.sort_floor()))
    if resting:
        many.lists(moving)
        cycles.append(daemon.cycle("written anew"))
        floors.append((many.read_floor(), many.sort_floor()))
        cycles.append(daemon.cycle("untouched"))
        floors.append((many.read_floor(), many.sort_floor()))
    daemon.stop()
    return Life(size=size, first=first, cycles=tuple(cycles), floors=tuple(floors))


# ---- the table ----------------------------------------------------------------------


def lines_of(life: Life) -> Iterator[list[str]]:
    """The lines of one size; the first sync has no floor."""
    yield [
        *line_of(life.size, life.first)[:6],
        "",
        "",
        *line_of(life.size, life.first)[6:],
    ]
    for cycle, (read, sort) in zip(life.cycles, life.floors, strict=True):
        line = line_of(life.size, cycle)
        ratios = f"{cycle.cpu / read:.1f}", f"{cycle.cpu / sort:.2f}"
        yield [*line[:6], *ratios, *line[6:]]


def line_of(size: Size, cycle: Cycle) -> list[str]:
    """A line without the floors."""
    middle, worst = cycle.lag
    return [
        f"{size.syncs}",
        f"{size.people:,}",
        cycle.what,
        f"{cycle.wall:.1f}",
        f"{cycle.cpu:.1f}",
        f"{1000 * cycle.cpu / size.syncs:.0f}",
        f"{middle:.1f}",
        f"{worst:.1f}",
        f"{cycle.rss:.0f}",
        f"{cycle.database / 1e6:.0f}",
        f"{cycle.wal / 1e6:.0f}",
        f"{cycle.descriptors}",
        f"{cycle.threads}",
    ]


# ---- what must hold -----------------------------------------------------------------


def expect_every_sync_once(life: Life) -> None:
    """Each sync runs once in each hour, and moves who moved."""
    syncs, people = life.size.syncs, life.size.people
    moved = syncs * (people // 100)
    whole = {"success": syncs}, (syncs * people, 0)
    kinds = {
        "1 % in, 1 % out": ({"success": syncs}, (moved, moved)),
        "written anew": ({"no_change": syncs}, (0, 0)),
        "untouched": ({"no_change": syncs}, (0, 0)),
    }

    assert (dict(life.first.outcomes), life.first.moved) == whole
    for cycle in life.cycles:
        assert (dict(cycle.outcomes), cycle.moved) == kinds[cycle.what]
        assert len(cycle.lags) == syncs


def expect_the_last_lists(many: Many, hour: int) -> None:
    """Every cohort is what its list says."""
    cohorts = {each["name"]: each["id"] for each in many.simulator.cohorts()}

    assert len(cohorts) == len(many.names)
    for name in many.names:
        assert many.members(cohorts[f"Cohort {name}"], name, hour)


def expect_no_more_than_more_syncs(few: Life, many: Life) -> None:
    """A sync costs among many what it costs among few, and memory is flat."""
    for what in {each.what for each in few.cycles}:
        assert many.costs(what) <= GROWTH * few.costs(what), what
    assert many.cycles[-1].rss <= few.cycles[-1].rss + ROOM


@pytest.mark.timeout(3_600)
def test_a_sync_costs_among_many_what_it_costs_among_few(new_many, pytestconfig):
    full = pytestconfig.getoption("--full-size")
    sizes = LONG if pytestconfig.getoption("--long") else FULL if full else SHORT
    moving, lives = (1 if sizes is SHORT else MOVING), []

    for size in sizes:
        many = new_many(size)
        lives.append(live(many, size, moving=moving, resting=sizes is not SHORT))
        expect_every_sync_once(lives[-1])
        expect_the_last_lists(many, moving)

    print(
        load(),
        table(HEAD, (line for life in lives for line in lines_of(life))),
        sep="\n",
    )
    if sizes is not SHORT:
        expect_no_more_than_more_syncs(lives[0], lives[-1])
