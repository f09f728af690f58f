"""Three replicas on one Postgres keep forty cohorts right while they are struck down.

`kill -9`, a stop longer than the lease, a cut and a silent network, a restart: whoever
is struck, another replica takes its syncs over, and the one that comes to itself sends
and writes nothing of them. `README.md` beside this file has numbers.
"""

import random
import statistics
from collections.abc import Callable, Iterator

import pytest

from tests.installed import Installation
from tests.reliability.replicas.blows import Blow, Struck, strike, until
from tests.reliability.replicas.crowd import DEADLINE, LEASE, SPEED, Crowd
from tests.reliability.replicas.judging import Judge
from tests.reliability.replicas.places import Replica, replicas
from tests.reliability.replicas.pooling import WAYS, reached
from tests.reliability.replicas.watching import Watch, watching
from tests.simulated import PATIENCE, Simulator

SEED = 20261123
SHORT, POOLED, LONG = 5, 3, 200
"""Blows: every kind, the first kinds where there is a PgBouncer, many."""
UNSAID = 10
"""What `--kills` is where nobody says it."""


@pytest.fixture(params=WAYS)
def store_url(request: pytest.FixtureRequest, postgres_database: str) -> Iterator[str]:
    """As the replicas see it; the tests look past the pool."""
    with reached(request.param, postgres_database) as url:
        yield url


@pytest.fixture
def crowd(
    new_installation: Callable[..., Installation],
    new_simulator: Callable[..., Simulator],
    pytestconfig: pytest.Config,
) -> Crowd:
    dice = random.Random(pytestconfig.getoption("--seed") or SEED)  # noqa: S311
    simulator = new_simulator("--speed", str(SPEED))
    return Crowd(new_installation(simulator), simulator, dice)


def wanted(config: pytest.Config, few: int) -> int:
    """How many blows: few, many, or as many as `--long --kills` says."""
    if not config.getoption("--long"):
        return few
    said = int(config.getoption("--kills"))
    return LONG if said == UNSAID else said


def blows(dice: random.Random, count: int) -> list[Blow]:
    """Every kind at least once where there are so many, then as the dice say."""
    drawn = list(Blow) + [dice.choice(list(Blow)) for _ in range(count)]
    chosen = drawn[:count]
    dice.shuffle(chosen)
    return chosen


def busiest(there: list[Replica], watch: Watch) -> Replica:
    """The one with the most in its hands, once that is more than one sync."""
    assert all(each.is_up() for each in there)
    chosen = there[0]

    def found() -> bool:
        nonlocal chosen
        chosen = max(there, key=lambda each: len(watch.held_by(each.holds)))
        return len(watch.held_by(chosen.holds)) > 1

    until(found, PATIENCE)
    return chosen


def told(struck: list[Struck], watch: Watch, there: list[Replica]) -> str:
    """What is needed to see why."""
    lines = ["the blows:", *(each.told() for each in struck), "the leases:"]
    lines += [
        f"{each.at:.3f} {each.sync} #{each.fence} {each.holder.split('/')[1]}"
        f"{' released' if each.released else ''}"
        for each in watch.changes[-400:]
    ]
    for one in there:
        lines += [f"{one.name}:", one.process.text[-6000:]]
    return "\n".join(lines)


def waits(
    struck: list[Struck], watch: Watch, requests: dict[str, list[float]]
) -> dict[str, list[float]]:
    """Seconds from a blow until another replica had a sync, by the kind of blow; and
    until it made its first request for it, which most runs do."""
    found: dict[str, list[float]] = {}
    for each in struck:
        kind = each.blow.name + (", elsewhere" if each.foreign else "")
        for lost in each.lost:
            at = watch.taken_over(lost)
            assert at is not None, f"nobody took {lost.sync} over: {each.told()}"
            found.setdefault(kind, []).append(at - each.at)
            first = next((one for one in requests[lost.sync] if one >= at), None)
            if first is not None and first - at < LEASE + DEADLINE:
                found.setdefault("any, first request", []).append(first - each.at)
    return found


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def said_of(kind: str, values: list[float]) -> str:
    return (
        f"{kind}: {len(values)} syncs, median {statistics.median(values):.2f} s,"
        f" p99 {percentile(values, 0.99):.2f}, max {max(values):.2f}"
    )


def test_whoever_is_struck_down_another_replica_goes_on_and_no_cohort_suffers(
    crowd: Crowd, store_url: str, postgres_database: str, pytestconfig: pytest.Config
) -> None:
    count = wanted(pytestconfig, SHORT if store_url == postgres_database else POOLED)
    struck: list[Struck] = []
    with (
        replicas(crowd.installation, store_url, crowd.fast) as there,
        watching(postgres_database) as watch,
    ):
        judge = Judge(crowd, postgres_database)
        try:
            assert until(judge.is_settled, 3 * PATIENCE), judge.unsettled()
            for blow in blows(crowd.dice, count):
                crowd.change_some()
                one = busiest(there, watch)
                struck.append(strike(one, blow, watch, crowd))
                print(struck[-1].told(), flush=True)
                judge.look()
            assert until(judge.is_settled, 3 * PATIENCE), judge.unsettled()
            judge.look()
            requests = judge.require_no_overlap()
            judge.require_nobody_wrongly_removed()
            found = waits(struck, watch, judge.requests())
            assert watch.steps_back() == []
            for one in there:
                assert one.is_up()
                assert one.process.stop() == 0
            ends = judge.require_every_slot_once(
                [line for one in there for line in one.said()]
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{told(struck, watch, there)}") from error

    print(f"{len(struck)} blows, {requests} requests, lease {LEASE} + {DEADLINE} s")
    print(f"looks: {dict(judge.looks)}")
    print(f"slots: {dict(ends)}")
    for kind, values in sorted(found.items()):
        print(said_of(kind, values))
