"""First syncs that wait for the other side: how much of the least time they take.

`--full-size -s` prints the tables that README.md shows and holds ratios against the
goals. Without it a few batches: everything is sent once, and what a kill has sent again
is little. Times are never asserted by themselves.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from os import getloadavg
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.benchmarks.sending import BATCH, Load, Sending, Sent
from tests.simulated import Simulator

SHORT = (
    Load(name="1 cohort", cohorts=1, batches=8, latency=0.02),
    Load(name="4 cohorts", cohorts=4, batches=12, latency=0.02),
)
SHORT_LIST = (Load(name="1 list", cohorts=0, batches=8, latency=0.02),)
LONG = (
    Load(name="1 cohort, 0 ms", cohorts=1, batches=1_000, latency=0.0),
    Load(name="12 cohorts, 0 ms", cohorts=12, batches=996, latency=0.0),
    Load(name="1 cohort, 50 ms", cohorts=1, batches=100, latency=0.05, floor=50),
    Load(name="4 cohorts, 50 ms", cohorts=4, batches=200, latency=0.05),
    Load(name="12 cohorts, 50 ms", cohorts=12, batches=396, latency=0.05),
)
FIRST_SYNCS = (
    Load(name="1 list, 200 ms", cohorts=0, batches=100, latency=0.2),
    Load(name="1 cohort, 200 ms", cohorts=1, batches=100, latency=0.2, floor=25),
    Load(name="12 cohorts, 200 ms", cohorts=12, batches=120, latency=0.2),
)
KILLED = Load(name="killed", cohorts=4, batches=80, latency=0.05)
AGAIN = 4_000
"""Ids that a kill may have sent again: what four requests name."""
DECENT = 150.0
"""MB that no command may take, on any machine and Python."""
EFFICIENT = 0.95
"""Of the least time; or what the floor reaches where a machine is too busy for that."""
OF_FLOOR = 0.98
LIST_BESIDE, COHORT_BESIDE = 1.10, 1.05
"""A first sync of 100,000, as multiples of the floor, and of one request after the
other."""
ROUNDS = 5
HEAD = "what, who, requests, wall s, ideal s, efficiency, of floor, gap ms, "
HEAD += "CPU ms / request, simulator ms / request, whole s, peak MB"

Rounds = dict[Load, list[tuple[Sent, Sent]]]


@pytest.fixture
def new_sending(
    new_simulator: Callable[..., Simulator], tmp_path: Path
) -> Iterator[Callable[[int], Sending]]:
    """Makes a simulator that knows everybody in so many batches."""
    with ExitStack() as stack:

        def make(most: int) -> Sending:
            ready = tmp_path / "ready"
            simulator = new_simulator("--latency", "0", "--ready-file", str(ready))
            pid = json.loads(ready.read_text(encoding="utf-8"))["pid"]
            return Sending(simulator, pid, tmp_path, most, stack)

        yield make


# ---- the table ----------------------------------------------------------------------


def shown(rounds: Rounds) -> str:
    """Medians of the rounds, as README.md has them."""
    head = HEAD.split(", ")
    lines = [head, ["---"] * len(head)]
    for load, pairs in rounds.items():
        lines.append(line_of(load, "floor", [floor for floor, _ in pairs], ""))
        of_floor = f"{median(syncd.rate / floor.rate for floor, syncd in pairs):.3f}"
        lines.append(line_of(load, "syncd", [syncd for _, syncd in pairs], of_floor))
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    load_average = ", ".join(f"{each:.1f}" for each in getloadavg())
    return f"{table}\nload: {load_average}"


def line_of(load: Load, who: str, sent: list[Sent], of_floor: str) -> list[str]:
    """One sender's line."""
    requests = sent[0].requests
    ideal = load.ideal(round(median(each.steady for each in sent)))
    return [
        load.name,
        who,
        f"{requests:,}",
        f"{median(each.wall for each in sent):.2f}",
        f"{ideal:.2f}" if ideal else "",
        f"{efficiency(load, sent):.3f}" if ideal else "",
        of_floor,
        f"{1e3 * median(each.gap for each in sent):.1f}" if load.has_gaps else "",
        f"{median(each.cost for each in sent):.2f}",
        f"{median(1e3 * each.simulator / each.requests for each in sent):.2f}",
        f"{median(each.whole for each in sent):.1f}" if who == "syncd" else "",
        f"{median(each.peak for each in sent):.0f}" if who == "syncd" else "",
    ]


def efficiency(load: Load, sent: list[Sent]) -> float:
    """The median of the rounds."""
    return median(each.efficiency(load) for each in sent)


# ---- what must hold -----------------------------------------------------------------


def expect_everybody_sent_once(load: Load, syncd: Sent) -> None:
    """One request for each batch and one that makes each target."""
    ids = load.each * BATCH

    assert syncd.requests == load.batches + (load.cohorts or 1)
    assert len(syncd.runs) == (load.cohorts or 1)
    for run in syncd.runs:
        assert (run["outcome"], run["accepted"], run["retries"]) == ("success", ids, 0)


def expect_efficient(load: Load, pairs: list[tuple[Sent, Sent]]) -> None:
    """Nearly all of the time is the other side's."""
    floor, syncd = ([pair[at] for pair in pairs] for at in (0, 1))

    least = min(EFFICIENT, OF_FLOOR * efficiency(load, floor))
    assert efficiency(load, syncd) >= least, load.name


def lived_through(
    sending: Sending, loads: tuple[Load, ...], rounds_wanted: int
) -> Rounds:
    """Each load by the floor and by syncd, in turn; prints the table."""
    rounds: Rounds = {load: [] for load in loads}
    for _ in range(rounds_wanted):
        for load in loads:
            rounds[load].append((sending.floor(load), sending.run(load)))
    print("\n" + shown(rounds))
    for load, pairs in rounds.items():
        for _, syncd in pairs:
            expect_everybody_sent_once(load, syncd)
            assert syncd.peak <= DECENT
    return rounds


@pytest.mark.timeout(900)
def test_a_first_sync_waits_for_little_but_the_other_side(
    new_sending: Callable[[int], Sending], pytestconfig: Any
) -> None:
    full = pytestconfig.getoption("--full-size")
    loads = LONG if full else SHORT
    sending = new_sending(max(load.each for load in loads))

    rounds = lived_through(sending, loads, ROUNDS if full else 1)

    for load, pairs in rounds.items():
        if full and load.latency:
            expect_efficient(load, pairs)


@pytest.mark.timeout(900)
def test_a_hundred_thousand_are_sent_in_the_time_of_their_requests(
    new_sending: Callable[[int], Sending], pytestconfig: Any
) -> None:
    full = pytestconfig.getoption("--full-size")
    loads = FIRST_SYNCS if full else SHORT_LIST
    sending = new_sending(max(load.each for load in loads))

    rounds = lived_through(sending, loads, ROUNDS if full else 1)

    if full:
        to_list, to_cohort, to_twelve = rounds
        pairs = rounds[to_list]
        beside = [syncd.wall / floor.wall for floor, syncd in pairs]
        assert median(beside) <= LIST_BESIDE
        serial = to_cohort.ideal(to_cohort.batches)
        alone = median(syncd.wall for _, syncd in rounds[to_cohort])
        assert alone <= COHORT_BESIDE * serial
        expect_efficient(to_twelve, rounds[to_twelve])


@pytest.mark.timeout(600)
def test_a_kill_has_no_more_sent_again_than_was_under_way(
    new_sending: Callable[[int], Sending], pytestconfig: Any
) -> None:
    full = pytestconfig.getoption("--full-size")
    kills = [0.1 + 0.07 * number for number in range(10 if full else 1)]

    again = new_sending(KILLED.each).sent_again(KILLED, kills)

    print(f"\nids sent again after each kill: {', '.join(map(str, again))}")
    assert max(again) <= AGAIN
