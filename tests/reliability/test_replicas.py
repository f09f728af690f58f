"""Three replicas on one Postgres keep forty cohorts right while they are struck down.

`kill -9`, a stop longer than the lease, a cut and a silent network, a restart, on three
machines two of which have wrong clocks, which are set meanwhile: whoever is struck,
another replica takes its syncs over, and the one that comes to itself sends and writes
nothing of them. `README.md` beside this file has numbers.
"""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncd.clock import elapsed
from tests.installed import Installation
from tests.reliability.replicas.blows import Blow, strike, until
from tests.reliability.replicas.crowd import DEADLINE, LEASE, SPEED, Crowd
from tests.reliability.replicas.judging import Judge
from tests.reliability.replicas.one_clock import require_one_clock
from tests.reliability.replicas.places import Replica, replicas
from tests.reliability.replicas.pooling import WAYS, reached
from tests.reliability.replicas.skewing import LIBRARY, WrongClock, sweep
from tests.reliability.replicas.telling import Story, first_requests, said_of
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


def set_a_clock(there: list[Replica], dice: random.Random) -> str:
    """One of the wrong clocks shows another time from now on; what was done."""
    wrong = {each.name: each.clock for each in there if each.clock is not None}
    if not wrong:
        return "no clock is wrong"
    name = dice.choice(sorted(wrong))
    wrong[name].set_by(dice)
    return f"the clock of {name} is {wrong[name].ahead:+d} s ahead"


def test_whoever_is_struck_down_another_replica_goes_on_and_no_cohort_suffers(
    crowd: Crowd, store_url: str, postgres_database: str, pytestconfig: pytest.Config
) -> None:
    count = wanted(pytestconfig, SHORT if store_url == postgres_database else POOLED)
    with (
        replicas(crowd.installation, store_url, crowd.fast) as there,
        watching(postgres_database) as watch,
    ):
        judge, story = Judge(crowd, postgres_database), Story(count, watch)
        try:
            assert until(judge.is_settled, 3 * PATIENCE), judge.unsettled()
            story.tell("forty cohorts are there")
            for blow in blows(crowd.dice, count):
                crowd.change_some()
                one = busiest(there, watch)
                story.tell(set_a_clock(there, crowd.dice))
                story.add(strike(one, blow, watch, crowd), crowd, there)
                judge.look()
            assert until(judge.is_settled, 3 * PATIENCE), judge.unsettled()
            judge.look()
            story.tell("all is right")
            requests = judge.require_no_overlap()
            judge.require_nobody_wrongly_removed()
            first = first_requests(story, judge.requests())
            assert watch.steps_back() == []
            assert all(each.is_up() for each in there)
            require_one_clock(there, crowd, watch, postgres_database)
            assert ended(there) == [0] * len(there)
            ends = judge.require_every_slot_once(
                [line for one in there for line in one.said()]
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{story.why(there)}") from error

    story.tell(f"{count} blows, {requests} requests, lease {LEASE} + {DEADLINE} s")
    story.tell(f"looks: {dict(judge.looks)}")
    story.tell(f"slots: {dict(ends)}")
    for line in story.hand_overs():
        story.tell(line)
    story.tell(said_of("any, first request", first))


def ended(there: list[Replica]) -> list[int]:
    """Asked to stop, all at once: how each ended."""
    for each in there:
        each.signal(signal.SIGTERM)
    codes = [each.process.process.wait(PATIENCE) for each in there]
    for each in there:
        each.process.reader.join(PATIENCE)
    return codes


SHOWN = """
import json, sys, threading, time
for _ in range(2):
    begun = time.monotonic()
    threading.Event().wait(0.2)
    waited = time.monotonic() - begun
    clocks = time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)
    print(json.dumps([*clocks, waited]), flush=True)
    sys.stdin.readline()
    threading.Event().wait(1.5)
"""
"""What a process sees of time, twice."""


@pytest.mark.system
@pytest.mark.skipif(LIBRARY is None, reason="needs the package faketime")
def test_a_wrong_clock_is_wrong_and_may_be_set_and_no_other_clock_is_touched(
    tmp_path: Path,
) -> None:
    clock = WrongClock(tmp_path / "clock", 90)
    command = [*clock.before(), sys.executable, "-c", SHOWN]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for ahead in (90, -3600):
            wall, monotonic, boot, waited = json.loads(process.stdout.readline())

            assert wall - time.time() == pytest.approx(ahead, abs=5)
            assert monotonic - time.monotonic() == pytest.approx(0, abs=5)
            assert boot - elapsed() == pytest.approx(0, abs=5)
            assert 0.19 < waited < 5
            clock.set(-3600)
            process.stdin.write("\n")
            process.stdin.flush()
    sweep(process.pid)
