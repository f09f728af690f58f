"""The same first sync by syncd, drt and dlt, beside bare requests; and later days.

`--full-size --peers DIR -s` prints the tables that README.md shows and holds the ratio
against the goal; `python -m tests.benchmarks.peers --make DIR` makes DIR. Without
peers their rows are left out; without `--full-size` few people: what was sent is
counted. Times are never asserted by themselves.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.benchmarks.attempts import Attempt, Ground
from tests.benchmarks.contest import LANES, named
from tests.benchmarks.habits import STORIES, Habit, told
from tests.benchmarks.table import load, table
from tests.simulated import Simulator

MAKE = "no --peers DIR; python -m tests.benchmarks.peers --make DIR makes one"
BATCH = 1_000
SHORT, LONG = 5_000, 100_000
"""People of a first sync."""
FEW, SOME = 8_000, 20_000
"""People of a story."""
QUICK = ("1 % left, 1 % entered", "kill -9")
"""Stories of the short form."""
ROUNDS = {0.2: 5, 0.05: 3, 0.0: 3}
"""Seconds that the partner takes for an answer, and how often everybody has a go."""
SLOW, SLOW_EVERY = ("drt", "dlt"), 5
"""With one lane 100 answers of 200 ms take 20 s, so that those rows have fewer."""
BAR = 1.10
"""Times what the bare requests take on the wire, at most, at 200 ms."""
AGAIN = {
    "nothing changed": 0,
    "1 % left, 1 % entered": 0,
    "one 500": 1,
    "kill -9": LANES,
}
"""Batches that syncd may send again, at most: the refused one, those under way."""
DECENT = 150.0
"""MB that syncd may take, on any machine and Python."""
HEAD = (
    "latency ms, who, goes, whole s, sending s, sending / bare, whole / bare, CPU s, "
)
HEAD += "peak MB, requests, ids sent"
DAYS = (
    "what happened, who, exits, ids sent, of them again, removes sent, missing, extra"
)

Goes = dict[str, list[Attempt]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One latency is enough to count what is sent."""
    if "latency" in metafunc.fixturenames:
        full = metafunc.config.getoption("--full-size")
        metafunc.parametrize("latency", list(ROUNDS) if full else [0.05])


@pytest.fixture
def ground(
    new_simulator: Callable[..., Simulator], tmp_path: Path, pytestconfig: Any
) -> Iterator[Ground]:
    """With the peers if they are at hand, else their rows are left out."""
    peers = pytestconfig.getoption("--peers")
    if not peers:
        print(f"\nleft out: drt and dlt: {MAKE}")
    with ExitStack() as stack:
        yield Ground(
            simulator=new_simulator("--latency", "0"),
            folder=tmp_path,
            peers=Path(peers).absolute() if peers else None,
            stack=stack,
            numbers=count(1),
        )


# ---- the first sync -----------------------------------------------------------------


def shown(goes: Goes, latency: float) -> str:
    """Medians, and ratios to the bare requests of the same rounds."""
    rows = []
    for name, attempts in goes.items():
        rows.append(
            [
                f"{1000 * latency:.0f}",
                name,
                str(len(attempts)),
                f"{median(map(whole, attempts)):.2f}",
                f"{median(map(sending, attempts)):.2f}",
                f"{of_bare(goes, name, sending):.2f}",
                f"{of_bare(goes, name, whole):.2f}",
                f"{median(each.cost.cpu for each in attempts):.2f}",
                f"{max(each.cost.peak for each in attempts):.0f}",
                f"{attempts[-1].sent.requests:,}",
                f"{len(attempts[-1].sent.added):,}",
            ]
        )
    return f"{table(HEAD, rows)}\n{load()}"


def sending(one: Attempt) -> float:
    """Seconds between the first request about members and the last answer."""
    return one.sent.seconds


def whole(one: Attempt) -> float:
    """Seconds of the whole command."""
    return one.cost.wall


def of_bare(goes: Goes, name: str, measure: Callable[[Attempt], float]) -> float:
    """The median of the ratios within a round."""
    every = SLOW_EVERY if name in SLOW else 1
    pairs = zip(goes[name], goes["bare"][::every], strict=True)
    return median(measure(one) / measure(bare) for one, bare in pairs)


def expect_everybody_once(name: str, attempts: list[Attempt], people: range) -> None:
    """Whoever does the job: it is the same job."""
    for each in attempts:
        assert each.cost.code == 0, f"{name}: {each.cost.err[-2000:]}"
        assert each.exact
        assert sorted(each.sent.added) == named(people)
        assert each.sent.requests <= len(people) // BATCH + LANES


@pytest.mark.timeout(900)
def test_a_first_sync_is_as_quick_as_bare_requests(
    ground: Ground, pytestconfig: Any, latency: float
) -> None:
    full = pytestconfig.getoption("--full-size")
    people = range(LONG if full else SHORT)
    peers = ["drt, 4 slices", "dlt, 4 files", *SLOW] if ground.peers else []
    goes: Goes = {name: [] for name in ("bare", "syncd", *peers)}

    for number in range(ROUNDS[latency] if full else 1):
        for name, attempts in goes.items():
            if name not in SLOW or number % SLOW_EVERY == 0:
                attempts.append(ground.enter(name, latency).run(people))

    print("\n" + shown(goes, latency))
    for name, attempts in goes.items():
        expect_everybody_once(name, attempts, people)
    assert max(each.cost.peak for each in goes["syncd"]) <= DECENT
    if full and latency == max(ROUNDS):
        assert of_bare(goes, "syncd", sending) <= BAR


# ---- later days ---------------------------------------------------------------------


def line_of(story: str, name: str, habit: Habit) -> list[str]:
    """A line of the second table."""
    numbers = habit.added, habit.again, habit.removed, habit.missing, habit.extra
    return [story, name, habit.exits, *(f"{each:,}" for each in numbers)]


def expect_only_what_changed(habits: dict[str, Habit], people: range) -> None:
    """What is promised of syncd; how others do it is shown, not judged."""
    one_percent = len(people) // 100
    changes = dict.fromkeys(STORIES, (len(people), 0))
    changes["nothing changed"] = 0, 0
    changes["1 % left, 1 % entered"] = one_percent, one_percent
    for story, habit in habits.items():
        assert habit.missing == habit.extra == 0
        assert habit.exits.endswith("0")
        # Who left after a kill may have been sent before it, or not.
        if story != "kill -9, then 1 % moved":
            assert (habit.added - habit.again, habit.removed) == changes[story]
    for story in habits.keys() & AGAIN.keys():
        assert habits[story].again <= AGAIN[story] * BATCH


@pytest.mark.timeout(900)
def test_later_runs_send_what_changed_and_what_was_under_way(
    ground: Ground, pytestconfig: Any
) -> None:
    full = pytestconfig.getoption("--full-size")
    people = range(SOME if full else FEW)
    peers = ["drt, 4 slices", "dlt, 4 files"] if ground.peers else []
    stories = STORIES if full or peers else QUICK

    habits = {
        (story, name): told(ground, name, story, people)
        for story in stories
        for name in ("syncd", *peers)
    }

    rows = [line_of(*who, habit) for who, habit in habits.items()]
    print(f"\n{table(DAYS, rows)}\n{load()}")
    ours = {story: habits[story, "syncd"] for story in stories}
    expect_only_what_changed(ours, people)
