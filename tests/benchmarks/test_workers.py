"""Several worker processes on one Postgres: how much more they do, within the limits.

`--full-size -s` prints the tables of workers.md and holds ratios against the goals.
Without it a few cohorts: everything is sent once, and the vendor's limits hold.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import pytest

from tests.benchmarks.crew import AT_A_PROJECT, Crew, Done, Task
from tests.benchmarks.table import load, table
from tests.simulated import Simulator

SHORT = Task(cohorts=4, projects=2, batches=3, size=20, latency=0.05)
SPREAD = Task(cohorts=60, projects=12, batches=8, size=200, latency=0.2)
"""More places than three processes have runs at once: only those limit it."""
ALONE = Task(cohorts=60, projects=1, batches=3, size=200, latency=0.2)
"""One account: two processes could send more than it takes."""
CREWS = (1, 2, 3)
"""Workers."""
ROUNDS = 5
SCALED = {2: 1.7, 3: 2.4}
"""Requests a second, as multiples of one worker's."""
HEAD = "who, requests, wall s, ideal s, efficiency, of one worker, CPU ms / request"


@pytest.fixture
def new_crew(
    new_simulator: Callable[..., Simulator], postgres_url: str, tmp_path: Path
) -> Callable[[Task], Crew]:
    return lambda task: Crew(
        new_simulator("--latency", "0"), tmp_path, postgres_url, task
    )


def require_limits(crew: Crew) -> None:
    """One thing at a time to a cohort, no more at once to a project than it takes."""
    stats = crew.simulator.get("/_sim/stats")
    assert stats["overlaps"] == 0
    assert stats["status_429"] == 0
    assert crew.most_at_once() <= AT_A_PROJECT


def rate(done: Sequence[Done]) -> float:
    """Requests a second, the median of the rounds."""
    return median(each.requests / each.wall for each in done)


def shown(task: Task, rounds: dict[int, list[Done]]) -> str:
    """Medians of the rounds, as workers.md has them."""
    rows = []
    for workers, done in rounds.items():
        who = f"{workers} worker{'s'[: workers > 1]}"
        requests = done[0].requests
        cpu = median(each.cpu / each.requests for each in done)
        rows.append(
            [
                who,
                f"{requests:,}",
                f"{median(each.wall for each in done):.1f}",
                f"{task.ideal(requests, workers):.1f}",
                f"{median(each.efficiency for each in done):.2f}",
                f"{rate(done) / rate(rounds[1]):.2f}",
                f"{1e3 * cpu:.0f}",
            ]
        )
    return f"{table(HEAD, rows)}\n{load()}"


@pytest.mark.timeout(2_400)
def test_workers_share_first_syncs_and_the_limits_hold(
    new_crew: Callable[[Task], Crew], pytestconfig: pytest.Config
) -> None:
    if pytestconfig.getoption("--full-size"):
        require_three_to_do_three_times_as_much(new_crew(SPREAD))
        require_no_more_than_an_account_takes(new_crew(ALONE))
        return
    crew = new_crew(SHORT)

    done = crew.round(2)

    # Each batch once, after an upload that makes the cohort.
    assert done.requests == SHORT.cohorts * (SHORT.batches + 1)
    require_limits(crew)


def require_three_to_do_three_times_as_much(crew: Crew) -> None:
    """Nearly; the table is printed first."""
    rounds: dict[int, list[Done]] = {workers: [] for workers in CREWS}
    for _ in range(ROUNDS):
        for workers in CREWS:
            rounds[workers].append(crew.round(workers))

    print("\n" + shown(SPREAD, rounds))
    require_limits(crew)
    for workers, least in SCALED.items():
        assert rate(rounds[workers]) >= least * rate(rounds[1])


def require_no_more_than_an_account_takes(crew: Crew) -> None:
    """And that it is used up; the table is printed first."""
    rounds = {workers: [crew.round(workers)] for workers in CREWS}

    print("\n" + shown(ALONE, rounds))
    require_limits(crew)
    assert crew.most_at_once() == AT_A_PROJECT
