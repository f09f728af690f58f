"""SIGKILL at random moments: nobody is lost, nobody is wrongly removed.

Each round changes the source, starts the product and kills it at a moment drawn from
a seed: some milliseconds after its start, after a line of its log, or after its n-th
request. After each kill I-2 of the reliability page is checked against the store and
the simulator; after some kills a run is let finish and the cohort must be the
audience. `README.md` beside this file says what that proves and gives numbers.
"""

import random
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from tests.reliability.killing.beside import certain, uncertain

SEED = 20260512
KNOWN = 1200
STRANGERS = 40
SIZE = 600
CHURN = 30
BATCH = 10
LATENCY = 0.02
SPEED = 3600
CHECK_EVERY = 5


def seeded(stream: int) -> random.Random:
    return random.Random(SEED + stream)  # noqa: S311  # repeatable, guards nothing


@dataclass
class Audience:
    """The source, and everything it ever said."""

    dice: random.Random
    pool: list[str] = field(
        default_factory=lambda: [f"person-{number:05d}" for number in range(KNOWN)]
    )
    strangers: list[str] = field(
        default_factory=lambda: [
            f"stranger-{number:03d}" for number in range(STRANGERS)
        ]
    )
    now: set[str] = field(default_factory=set)
    versions: list[set[str]] = field(default_factory=list)

    def change(self) -> None:
        """Some leave, some enter; strangers come and go among them."""
        everybody = self.pool + self.strangers
        if not self.now:
            self.now = set(self.dice.sample(everybody, SIZE))
        leaving = self.dice.sample(sorted(self.now), CHURN)
        entering = self.dice.sample(sorted(set(everybody) - self.now), CHURN)
        self.now = (self.now - set(leaving)) | set(entering)
        self.versions.append(set(self.now))

    @property
    def wanted(self) -> set[str]:
        """Whom the cohort must hold: the listed people whom Amplitude knows."""
        return self.now - set(self.strangers)


def require_uncertainty_contains_error(url: str, simulator) -> None:
    """I-2: whoever is in the cohort or the store only is marked as uncertain."""
    cohorts = simulator.cohorts()
    assert len(cohorts) <= 1
    there = simulator.members(cohorts[0]["id"]) if cohorts else set()
    assert (there ^ certain(url)) <= uncertain(url)


def require_no_wrongful_removal(since: int, simulator, said: list[set[str]]) -> None:
    """I-7: whoever was removed was missing from a list the product may have read."""
    always = set.intersection(*said)
    assert set(simulator.sent("REMOVE", since)) & always == set()


def kill_moment(dice: random.Random) -> tuple[str, int, float]:
    """A log event, how many of them, and the seconds after it; no event is the start.

    The delivery of a run after a kill starts a request deadline later, so many moments
    are counted in requests.
    """
    kind = dice.random()
    if kind < 0.15:
        return "", 0, dice.uniform(0, 1.2)
    if kind < 0.3:
        return "run.started", 1, dice.uniform(0, 0.4)
    if kind < 0.4:
        return "changes.committed", 1, dice.uniform(0, 0.05)
    return "batch.sent", dice.randint(1, 8), dice.uniform(0, 2 * LATENCY)


def killed(running, dice: random.Random) -> bool:
    """Kill it at a random moment; False if it had come to its end before."""
    event, count, delay = kill_moment(dice)
    if event:
        running.reached(event, count)
    threading.Event().wait(delay)
    was_killed: bool = running.kill()
    return was_killed


def came_home(daemon) -> bool:
    """Whether one of its runs left nothing open."""
    outcomes = {each["outcome"] for each in daemon.events("run.finished")}
    return not outcomes.isdisjoint({"success", "no_change"})


def no_overlaps(simulator) -> None:
    stats = simulator.get("/_sim/stats")
    assert stats["overlaps"] == 0
    assert stats["status_429"] == 0


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request, tmp_path) -> str:
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres_database")
        return url
    return f"sqlite:///{tmp_path / 'syncd.db'}"


def prepared(installation, simulator, store_url: str) -> Audience:
    """An installation whose guard lets a day of many changes pass, and its first list.

    Each list has 5 % other people, and a hundred of them may come within minutes.
    """
    installation.config["store"]["url"] = store_url
    installation.config["defaults"]["delivery"]["batch_size"] = BATCH
    installation.config["defaults"]["guard"] = {
        "max_exit": "60%",
        "max_exit_24h": "never",
    }
    audience = Audience(seeded(0))
    simulator.users(audience.pool)
    simulator.post("/_sim/latency", {"all": LATENCY})
    audience.change()
    return audience


def test_killed_runs_leave_the_cohort_right(
    installation, simulator, store_url, pytestconfig
):
    installation.sync()
    audience = prepared(installation, simulator, store_url)
    dice, wanted_kills = seeded(1), pytestconfig.getoption("--kills")
    kills, checks, since = 0, 0, simulator.last()

    while kills < wanted_kills - wanted_kills // 3:
        audience.change()
        installation.audience(sorted(audience.now))
        running = installation.start("run", "-vv")
        was_killed = killed(running, dice)
        kills += was_killed

        require_uncertainty_contains_error(store_url, simulator)
        if was_killed and kills % CHECK_EVERY == 0:
            installation.start("run").process.wait(60)
        else:
            assert was_killed or running.process.returncode == 0, running.text
        if not was_killed or kills % CHECK_EVERY == 0:
            checks += 1
            assert simulator.members() == audience.wanted
        require_no_wrongful_removal(since, simulator, [audience.now])
        since = simulator.last()

    assert installation.run().code == 0
    assert simulator.members() == audience.wanted
    no_overlaps(simulator)
    print(f"{kills} kills, {len(audience.versions)} lists, {checks + 1} comparisons")


def test_a_killed_daemon_goes_on_where_it_was(
    new_installation, new_simulator, store_url, pytestconfig
):
    origin = datetime.now(UTC).isoformat()
    simulator = new_simulator("--speed", str(SPEED), "--origin", origin)
    installation = new_installation(simulator)
    installation.sync(schedule="every 1h", max_runtime="1d")
    audience = prepared(installation, simulator, store_url)
    fast = ("--speed", str(SPEED), "--origin", origin)
    dice = seeded(2)
    kills, since = 0, simulator.last()
    settled = 0  # the newest list that a run brought home; older plans are gone

    while kills < pytestconfig.getoption("--kills") // 3:
        audience.change()
        installation.audience(sorted(audience.now))
        daemon = installation.start("serve", *fast)
        kills += killed(daemon, dice)

        require_uncertainty_contains_error(store_url, simulator)
        # A run that was cut off is resumed with its own plan, of an older list.
        require_no_wrongful_removal(since, simulator, audience.versions[settled:])
        since = simulator.last()
        if came_home(daemon):
            settled = len(audience.versions) - 1

    daemon = installation.start("serve", *fast)
    assert daemon.reached("run.finished", outcome="no_change")
    assert daemon.stop() == 0

    assert simulator.members() == audience.wanted
    require_uncertainty_contains_error(store_url, simulator)
    no_overlaps(simulator)
    print(f"{kills} kills of the daemon, {len(audience.versions)} lists")
