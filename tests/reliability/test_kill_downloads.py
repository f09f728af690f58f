"""SIGKILL at random moments of a download: nothing is paid for twice, nobody is lost.

Each round starts the product on a cohort that has changed and kills it at a moment
drawn from a seed: while it asks, reads, plans or delivers. After each kill the store's
requests are held against what the simulator counted, and its members against the
traits that Segment holds. `README.md` beside this file says what that proves and gives
numbers.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.reliability.killing.beside import certain, rows, uncertain
from tests.simulated import PATIENCE

SEED = 20260519
SIZE = 300
CHURN = 30
BATCH = 10
LATENCY = 0.02
SPEED = 3600
FINISH_EVERY = 3
"""After so many kills a run may come to its end."""
PLACE = 90.0
"""Real seconds that a run may wait for a place among 4 downloads a minute."""
QUARTER_OF_AN_HOUR = 15 * 60 / SPEED
LOOK = 0.02

REQUESTS = 'SELECT state, count(*) FROM "fetch" GROUP BY state'
ACCEPTED = ("running", "ready", "completed")
UNANSWERED = ("asking", "lost")


def seeded(stream: int) -> random.Random:
    return random.Random(SEED + stream)  # noqa: S311  # repeatable, guards nothing


@dataclass
class Crowd:
    """A cohort, and how often it was another one."""

    simulator: Any
    dice: random.Random
    changes: int = 0

    def make(self) -> None:
        """Let it be, computed."""
        self.simulator.cohort("crowd", members=self._pool()[:SIZE])
        self.changes += 1

    def change(self) -> None:
        """Some leave, some enter."""
        inside = self.now()
        outside = sorted(set(self._pool()) - inside)
        self.simulator.change(
            "crowd",
            remove=self.dice.sample(sorted(inside), CHURN),
            add=self.dice.sample(outside, CHURN),
        )
        self.changes += 1

    def now(self) -> set[str]:
        members: set[str] = self.simulator.members("crowd")
        return members

    @staticmethod
    def _pool() -> list[str]:
        return [f"person-{number:05d}" for number in range(2 * SIZE)]


# ---- what is known, and what must hold ----------------------------------------------


def require_paid_once(url: str, crowd: Crowd) -> int:
    """No change is paid for twice; returns how many requests died unanswered.

    Those may or may not have been counted: nobody can say, and nobody can resume them.
    """
    states: dict[str, int] = dict(rows(url, REQUESTS))
    assert set(states) <= {*ACCEPTED, *UNANSWERED}
    accepted = sum(states.get(state, 0) for state in ACCEPTED)
    unanswered = sum(states.get(state, 0) for state in UNANSWERED)
    assert accepted <= crowd.changes
    counted = crowd.simulator.downloads()["counted"]
    assert accepted <= counted <= accepted + unanswered
    return unanswered


def require_uncertainty_contains_error(url: str, simulator) -> None:
    """Whose trait and whose place in the store differ is in an open batch."""
    there = simulator.with_trait("crowd") if simulator.log("segment_batch") else set()
    assert (there ^ certain(url)) <= uncertain(url)


def require_discreet_and_within_limits(simulator, *texts: str) -> None:
    assert simulator.get("/_sim/leaks")["leaks"] == []
    spent = simulator.downloads()
    assert set(spent["refused"].values()) == {0}
    assert spent["most_in_60_seconds"] <= 4
    assert spent["most_running_jobs"] <= 4
    assert simulator.get("/_sim/segment/dropped")["total"] == 0
    for text in texts:
        assert "person-" not in text
        assert simulator.origins["storage"] not in text


def killed(running, dice: random.Random) -> bool:
    """Kill it at a random moment; False if it had come to its end before.

    A request takes 20 ms: list, usage, request, poll, list, file and storage are the
    first 140 ms of a run.
    """
    kind = dice.random()
    moments = [
        (0.1, "", 0, 1.2),
        (0.55, "run.started", 1, 0.2),
        (0.7, "snapshot.taken", 1, 0.03),
        (1.0, "batch.sent", dice.randint(1, 5), 2 * LATENCY),
    ]
    event, count, latest = next(m[1:] for m in moments if kind < m[0])
    if event:
        running.reached(event, count, timeout=PLACE)
    threading.Event().wait(dice.uniform(0, latest))
    was_killed: bool = running.kill()
    return was_killed


def reach(true: Callable[[], bool]) -> None:
    """Look until it is true."""
    never = threading.Event()
    for _ in range(round(PATIENCE / LOOK)):
        if true():
            return
        never.wait(LOOK)
    pytest.fail(f"it did not happen within {PATIENCE} s")


# ---- the rounds ---------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request, tmp_path) -> str:
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres_database")
        return url
    return f"sqlite:///{tmp_path / 'syncd.db'}"


def prepared(installation, store_url: str, **sync: Any) -> Crowd:
    """An installation with one sync of a cohort that was computed once."""
    simulator = installation.simulator
    installation.config["store"]["url"] = store_url
    installation.config["defaults"]["delivery"]["batch_size"] = BATCH
    installation.config["defaults"]["guard"] = {"max_exit": "60%"}
    installation.cohort_sync("crowd", "crowd", **sync)
    installation.config["connections"]["segment"]["request_deadline"] = "1s"
    simulator.post("/_sim/latency", {"all": LATENCY})
    crowd = Crowd(simulator, seeded(0))
    crowd.make()
    return crowd


def test_killed_runs_resume_what_was_paid_for(
    installation, simulator, store_url, pytestconfig
):
    crowd = prepared(installation, store_url)
    simulator.post("/_sim/config", {"job_seconds": 0, "always_redirect": True})
    dice, wanted = seeded(1), 3 * pytestconfig.getoption("--kills") // 10
    kills, finished = 0, 0

    while kills < wanted:
        running = installation.start("run", "-vv")
        was_killed = killed(running, dice)
        kills += was_killed

        require_paid_once(store_url, crowd)
        require_uncertainty_contains_error(store_url, simulator)
        require_discreet_and_within_limits(simulator, running.text)
        assert was_killed or running.process.returncode == 0, running.text
        if was_killed and kills % FINISH_EVERY:
            continue
        finished += 1
        if was_killed:
            assert installation.run().code == 0
        assert simulator.with_trait("crowd") == crowd.now()
        # lastComputed has whole seconds: two computations in one look like one.
        simulator.post("/_sim/clock", {"advance": 2})
        crowd.change()

    assert installation.run().code == 0
    assert simulator.with_trait("crowd") == crowd.now()
    unanswered = require_paid_once(store_url, crowd)
    require_discreet_and_within_limits(simulator)
    paid = simulator.downloads()["counted"]
    print(
        f"{kills} kills, {finished + 1} comparisons, {crowd.changes} lists,"
        f" {paid} counted requests, {unanswered} died unanswered"
    )


def test_a_killed_daemon_catches_up_with_a_cohort_that_goes_on_changing(
    new_installation, new_simulator, store_url, pytestconfig
):
    fast = ("--speed", str(SPEED), "--origin", datetime.now(UTC).isoformat())
    simulator = new_simulator(*fast)
    installation = new_installation(simulator)
    hourly = {"schedule": "every 1h", "budget": "14/day", "max_runtime": "1d"}
    crowd = prepared(installation, store_url, **hourly)
    dice, wanted = seeded(2), pytestconfig.getoption("--kills") // 5
    kills = 0

    while kills < wanted:
        daemon = installation.start("serve", *fast)
        kills += killed(daemon, dice)

        require_paid_once(store_url, crowd)
        require_uncertainty_contains_error(store_url, simulator)
        require_discreet_and_within_limits(simulator, daemon.text)
        # Closer to a request than its job may take, a change can be taken for its own.
        threading.Event().wait(QUARTER_OF_AN_HOUR)
        crowd.change()

    daemon = installation.start("serve", *fast)
    reach(lambda: simulator.with_trait("crowd") == crowd.now())
    assert daemon.reached("run.finished", outcome="no_change")
    assert daemon.stop() == 0

    assert simulator.with_trait("crowd") == crowd.now()
    unanswered = require_paid_once(store_url, crowd)
    require_uncertainty_contains_error(store_url, simulator)
    require_discreet_and_within_limits(simulator, daemon.text)
    paid = simulator.downloads()["counted"]
    print(
        f"{kills} kills of the daemon, {crowd.changes} lists,"
        f" {paid} counted requests, {unanswered} died unanswered"
    )
