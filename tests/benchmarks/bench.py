"""One sync of one cohort of many rows, run by the real command and measured."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.measured import Measured, measured
from tests.installed import Installation, log_lines
from tests.simulated import Simulator

BATCH = 1_000
PACE = 1_000_000
"""Events a second: the most that the configuration takes."""
PATIENCE = 1_800.0
"""Real seconds for one command."""
PREFIX = "5f0c9a3e-8d51-4b7e-9c1f-"
"""Before a number: ids nearly as long as a UUID."""
FIRST = 1_000_000
"""The first number; all have seven digits."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What the other side saw, so far or during a run."""

    requests: int
    events: int
    downloads: int
    files: int
    """Times that the file of a download was asked for."""

    def since(self, before: "Counted") -> "Counted":
        """What came on top."""
        return Counted(
            requests=self.requests - before.requests,
            events=self.events - before.events,
            downloads=self.downloads - before.downloads,
            files=self.files - before.files,
        )


@dataclass(frozen=True, kw_only=True)
class Told:
    """One run: what it cost, what it said at its end, what the other side saw."""

    name: str
    cost: Measured
    finished: dict[str, Any]
    counted: Counted


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What floors.py timed; the peak is of its whole process."""

    name: str
    seconds: float
    cpu: float
    peak: float
    count: int


class Bench:
    """An installation with one sync of one cohort of so many rows.

    Of the rows 1 % are of people without a user id, and 0.05 % name somebody twice.
    """

    def __init__(
        self, rows: int, simulator: Simulator, installation: Installation
    ) -> None:
        self.rows, self.simulator, self.installation = rows, simulator, installation
        self.anonymous, self.duplicates = rows // 100, rows // 2_000
        self.people = rows - self.anonymous - self.duplicates
        self.moved = self.people // 100
        simulator.post("/_sim/config", {"job_seconds": 0})
        simulator.cohort("big", generate=self.crowd(0))
        installation.cohort_sync("big", "big", max_runtime="1h")
        connections = installation.config["connections"]
        connections["segment"]["max_events_per_second"] = PACE
        # The simulator answers nobody else while it makes the file.
        connections["amplitude"]["request_deadline"] = "60s"

    def crowd(self, start: int) -> dict[str, Any]:
        """As many people as ever, but for the first so many."""
        return {
            "prefix": PREFIX,
            "first": FIRST + start,
            "count": self.people,
            "anonymous": self.anonymous,
            "duplicates": self.duplicates,
        }

    def run(self, name: str) -> Told:
        """`syncd run`, and what it cost."""
        before = self._counted()
        cost = self._measured(self.installation.command("run", "--json", "-v", "big"))
        lines = log_lines(cost.err.splitlines())
        (finished,) = [each for each in lines if each["event"] == "run.finished"]
        counted = self._counted().since(before)
        return Told(name=name, cost=cost, finished=finished, counted=counted)

    def read_floor(self) -> Floor:
        """The rows of the cohort read with the csv module, the ids put into a set."""
        path = self.installation.folder / "rows.csv"
        with path.open("w", encoding="utf-8") as file:
            file.write('"amplitude_id","user_id"\n')
            for number in range(FIRST, FIRST + self.people):
                file.write(f'"{356000000000 + number}","{PREFIX}{number}"\n')
            for number in range(self.anonymous + self.duplicates):
                file.write(f'"{357000000000 + number}",""\n')
        return self._floor("read", path, "user_id")

    def post_floor(self) -> Floor:
        """As many bodies as the first sync sends, 500 at most, made beforehand."""
        url = self.simulator.origins["segment"]
        events = min(self.people // BATCH, 500) * BATCH
        return self._floor("post", url, "demo-write-key", "floor", events)

    def held(self, value: bool, start: int, count: int) -> dict[str, Any]:
        """Whom Segment holds the trait's value of, against these people."""
        people = range(FIRST + start, FIRST + start + count)
        answer = self.simulator.control.post(
            "/_sim/segment/compare",
            params={"trait": "big", "value": str(value).lower()},
            content="\n".join(f"{PREFIX}{number}" for number in people),
            headers={"content-type": "text/plain"},
        )
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def _floor(self, verb: str, *args: object) -> Floor:
        script = Path(__file__).with_name("floors.py")
        cost = self._measured([sys.executable, str(script), verb, *map(str, args)])
        return Floor(name=f"floor: {verb}", peak=cost.peak, **json.loads(cost.out))

    def _measured(self, command: list[str]) -> Measured:
        cost = measured(command, self.installation.folder, PATIENCE)
        assert cost.code == 0, cost.err[-4000:]
        return cost

    def _counted(self) -> Counted:
        segment = self.simulator.get("/_sim/segment")
        calls = self.simulator.get("/_sim/stats")["by_endpoint"]
        return Counted(
            requests=segment["requests"],
            events=segment["events"],
            downloads=self.simulator.downloads()["counted"],
            files=calls.get("file", 0),
        )
