"""What a command costs before it does anything, beside `python -c 'import sqlalchemy'`.

All commands are the real ones, on a store with a few syncs, in the same rounds as the
floor. `--full-size` prints the table and holds CPU and memory against the goals;
without it fewer rounds are made and a loose ratio is asked for.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import monotonic
from typing import Any

from tests.benchmarks.measured import Measured, measured
from tests.benchmarks.table import load, table
from tests.benchmarks.watched import cpu_of, peak_of
from tests.installed import Installation
from tests.simulated import PATIENCE, Simulator

ROUNDS, FEW = 9, 3
FLOOR = "import sqlalchemy"
MEMBERS = 10
SYNCS = ("vip", "churned", "trial")
HEAD = "what, wall s, CPU s, CPU / floor, peak MB"
GOALS: Mapping[str, float] = {
    "syncd --version": 0.5,
    "syncd status": 3.0,
    "syncd run, unchanged": 3.5,
}
"""CPU of a command, as a multiple of the floor's in the same round, at most."""
ROOM = 75.0
"""MB of a run without data, at most."""
LOOSE = 1.5
"""Times the goals, in the short form: few rounds, on a machine that does other work."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What starting took once."""

    wall: float
    cpu: float
    """Seconds of the process and its threads."""
    peak: float
    """Largest resident set in MB (10**6 bytes)."""


Costs = Mapping[str, list[Cost]]


def test_a_command_costs_little_more_than_what_it_stands_on(
    simulator: Simulator, installation: Installation, pytestconfig: Any
) -> None:
    full = pytestconfig.getoption("full_size")
    _furnish(simulator, installation)

    costs: dict[str, list[Cost]] = {}
    for _ in range(ROUNDS if full else FEW):
        for name, command in _commands(installation).items():
            costs.setdefault(name, []).append(_cost(command, installation))
        costs.setdefault("syncd serve, until ready", []).append(_serving(installation))

    if full:
        print("\n" + table(HEAD, [_row(name, costs) for name in costs]))
        print(load())
        assert median(each.peak for each in costs["syncd run, unchanged"]) <= ROOM
    loose = 1.0 if full else LOOSE
    for name, goal in GOALS.items():
        assert _ratio(name, costs) <= goal * loose, _row(name, costs)


def _furnish(simulator: Simulator, installation: Installation) -> None:
    """A store with a few syncs, of which nothing is due and nothing has changed."""
    people = [f"user-{number}" for number in range(MEMBERS)]
    simulator.users(people)
    for name in SYNCS:
        installation.sync(name)
        installation.audience(people, name)
    assert installation.run().code == 0


def _commands(installation: Installation) -> Mapping[str, Sequence[str]]:
    bare = [sys.executable, "-m", "syncd"]
    return {
        "pass": [sys.executable, "-c", "pass"],
        FLOOR: [sys.executable, "-c", "import sqlalchemy"],
        "syncd --version": [*bare, "--version"],
        "syncd --help": [*bare, "--help"],
        "syncd check": installation.command("check"),
        "syncd status": installation.command("status"),
        "syncd healthcheck": installation.command("healthcheck"),
        "syncd run, unchanged": installation.command("run", SYNCS[0]),
    }


def _cost(command: Sequence[str], installation: Installation) -> Cost:
    ended: Measured = measured(command, installation.folder, PATIENCE)
    # No daemon works on this store, and that is what a healthcheck says.
    expected = 1 if "healthcheck" in command else 0
    assert ended.code == expected, ended.err[-2000:]
    if "run" in command:
        assert "0 entered, 0 exited" in ended.out
    return Cost(wall=ended.wall, cpu=ended.cpu, peak=ended.peak)


def _serving(installation: Installation) -> Cost:
    """A daemon from its beginning until it says that it serves."""
    began = monotonic()
    daemon = installation.start("serve")
    assert daemon.reached("daemon.started"), daemon.text[-2000:]
    pid = daemon.process.pid
    cost = Cost(wall=monotonic() - began, cpu=cpu_of(pid), peak=peak_of(pid))
    assert daemon.stop() == 0
    return cost


def _ratio(name: str, costs: Costs) -> float:
    pairs = zip(costs[name], costs[FLOOR], strict=True)
    return median(each.cpu / floor.cpu for each, floor in pairs)


def _row(name: str, costs: Costs) -> Sequence[str]:
    return (
        name,
        f"{median(each.wall for each in costs[name]):.2f}",
        f"{median(each.cpu for each in costs[name]):.3f}",
        f"{_ratio(name, costs):.2f}",
        f"{max(each.peak for each in costs[name]):.0f}",
    )
