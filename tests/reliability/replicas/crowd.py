"""Forty audiences that keep changing, and the installation that has them synced.

The cohorts lie in four projects of the simulator, as each lets only five requests go at
once, and each request takes a while: whenever a replica is struck, some are under way.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.installed import Installation
from tests.simulated import Simulator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SYNCS = 40
PROJECTS = 4
SPEED = 60
PERIOD = timedelta(minutes=10)
"""By the fast clock: ten real seconds."""
LEASE = 4.0
"""Real seconds, like all that follows."""
DEADLINE = 2.0
LATENCY, SLOW = 0.4, 1.2
"""What the simulator takes for a request, and while somebody is being struck."""
KNOWN = 120
STAYING = 10
"""People of each audience who never leave it."""
SIZE = 30
CHURN = 8
"""How many enter and how many leave at a change."""
BATCH = 5


@dataclass
class Audience:
    """Who belongs to one cohort, as the source says."""

    name: str
    number: int
    people: list[str]
    now: set[str] = field(default_factory=set)
    changed_at: datetime = EPOCH
    """Real time at which the last list was there."""

    @property
    def staying(self) -> set[str]:
        """Nobody may ever ask for their removal."""
        return set(self.people[:STAYING])

    def change(self, dice: random.Random) -> None:
        """Some leave, as many enter."""
        moving = self.people[STAYING:]
        if not self.now:
            self.now = self.staying | set(dice.sample(moving, SIZE - STAYING))
            return
        inside = [one for one in moving if one in self.now]
        outside = [one for one in moving if one not in self.now]
        self.now -= set(dice.sample(inside, CHURN))
        self.now |= set(dice.sample(outside, CHURN))


class Crowd:
    """All of them, and the installation's configuration."""

    def __init__(
        self, installation: Installation, simulator: Simulator, dice: random.Random
    ) -> None:
        self.installation = installation
        self.simulator = simulator
        self.dice = dice
        self.origin = datetime.now(UTC)
        people = [f"person-{number:05d}" for number in range(KNOWN)]
        self.audiences = {
            name: Audience(name, number, people)
            for number in range(SYNCS)
            for name in [f"list{number:02d}"]
        }
        self._configure(people)
        self.change(self.audiences.values())

    @property
    def fast(self) -> tuple[str, ...]:
        """Options of `serve`."""
        return "--speed", str(SPEED), "--origin", self.origin.isoformat()

    def virtual(self, real: datetime) -> datetime:
        """What the fast clock shows at a real time."""
        return self.origin + (real - self.origin) * SPEED

    def real(self, virtual: datetime) -> datetime:
        """When the fast clock shows that."""
        return self.origin + (virtual - self.origin) / SPEED

    def change(self, which: Iterable[Audience]) -> None:
        """Other people belong to these audiences from now on."""
        for each in which:
            each.change(self.dice)
            self.installation.audience(sorted(each.now), each.name)
            each.changed_at = datetime.now(UTC)

    def change_some(self) -> None:
        """Most of them."""
        some = self.dice.sample(sorted(self.audiences), SYNCS * 3 // 4)
        self.change(self.audiences[name] for name in some)

    def answer_in(self, seconds: float) -> None:
        """How long a request takes that arrives from now on."""
        pace = {"membership": seconds, "upload": seconds}
        self.simulator.post("/_sim/latency", pace)

    def _configure(self, people: list[str]) -> None:
        config = self.installation.config
        config["store"]["lease"] = f"{LEASE:.0f}s"
        config["defaults"]["jitter"] = f"{PERIOD.seconds // 60}m"
        config["defaults"]["delivery"]["batch_size"] = BATCH
        config["defaults"]["guard"] = {"max_exit": "90%", "max_exit_24h": "never"}
        for number in range(PROJECTS):
            self._add_project(number, people)
        self.answer_in(LATENCY)
        for each in self.audiences.values():
            self.installation.sync(
                each.name,
                schedule=f"every {PERIOD.seconds // 60}m",
                max_runtime="1d",
                to={"connection": f"amplitude{each.number % PROJECTS}"},
            )

    def _add_project(self, number: int, people: list[str]) -> None:
        """A project with these users, and a connection to it."""
        app_id, key, secret = 200_000 + number, f"key{number}", f"secret{number}"
        project = {"app_id": app_id, "region": "us"}
        project |= {"api_key": f"demo-{key}-key", "secret_key": f"demo-{secret}-key"}
        project["owners"] = ["growth-ops@acme.example"]
        self.simulator.post("/_sim/projects", project)
        self.simulator.post(f"/_sim/users?project={app_id}", {"user_ids": people})
        self.installation.secret(key, f"demo-{key}-key")
        self.installation.secret(secret, f"demo-{secret}-key")
        connections = self.installation.config["connections"]
        connections[f"amplitude{number}"] = connections["amplitude"] | {
            "app_id": app_id,
            "api_key_file": key,
            "secret_key_file": secret,
            "request_deadline": f"{DEADLINE * 1000:.0f}ms",
        }
