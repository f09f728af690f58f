"""Many syncs of one daemon, fed by files: an installation, its lists, its floors.

A few lists are distinct, of as many people each; every sync reads a copy of one of
them (a hard link), so that the lists of an hour are made in a moment.
"""

import os
import random
import subprocess
from pathlib import Path
from time import thread_time

from tests.benchmarks.comparers import read, sorting_both, sorting_new
from tests.benchmarks.measured import measured
from tests.installed import Installation
from tests.simulated import PATIENCE, Simulator

DISTINCT = 4
"""Lists that differ."""
PREFIX = "5f0c9a3e-8d51-4b7e-9c1f-"
"""Before a number of twelve digits: ids as long as a UUID."""
APART = 10**9
"""Between the numbers of two lists."""


class Many:
    """So many syncs of so many people each; in an hour 1 % of a list change."""

    def __init__(
        self,
        syncs: int,
        people: int,
        simulator: Simulator,
        installation: Installation,
        schedule: str = "every 1h",
    ) -> None:
        self.people, self.moved = people, people // 100
        self.simulator, self.installation = simulator, installation
        self.names = [f"audience-{number:03d}" for number in range(syncs)]
        # What an operator has; the tests' own is debug.
        installation.config["log"]["level"] = "info"
        transport = installation.config["connections"]["amplitude"]
        # The simulator shares two cores with all of this.
        transport["request_deadline"] = "60s"
        for name in self.names:
            # A run is no later than its hour on a clock that runs fast, and who is not
            # run is not made up for: a daemon that starts would be busy with that.
            installation.sync(
                name, schedule=schedule, max_runtime="30d", catch_up="skip"
            )

    def known(self, hours: int) -> None:
        """Let Amplitude know everybody who is in a list until then."""
        self.simulator.post("/_sim/config", {"record_ids": False})
        for number in range(DISTINCT):
            self.simulator.users(self._ids(number, 0, self.people + hours * self.moved))

    def lists(self, hour: int) -> None:
        """The lists of that hour, in an order of their own, each in its place at once.

        Written anew also where nobody moved.
        """
        folder = self.installation.folder
        for number in range(DISTINCT):
            ids = self._ids(number, hour * self.moved, self.people)
            random.Random(hour).shuffle(ids)  # noqa: S311  # repeatable, guards nothing
            self._distinct(number).unlink(missing_ok=True)
            text = "".join(f"{one}\n" for one in ids)
            self._distinct(number).write_text(f"user_id\n{text}", encoding="utf-8")
        for number, name in enumerate(self.names):
            new = folder / "audiences" / f"{name}.new"
            os.link(self._distinct(number % DISTINCT), new)
            new.replace(new.with_suffix(".csv"))

    def members(self, cohort_id: str, name: str, hour: int) -> bool:
        """Whether a cohort is the list of that hour."""
        number = self.names.index(name) % DISTINCT
        answer = self.simulator.control.post(
            f"/_sim/cohorts/{cohort_id}/compare",
            content="\n".join(self._ids(number, hour * self.moved, self.people)),
            headers={"content-type": "text/plain"},
        )
        return bool(answer.raise_for_status().json()["equal"])

    # ---- floors, in seconds of CPU for all syncs -------------------------------------

    def read_floor(self) -> float:
        """Every list read in blocks and split into lines."""
        before = thread_time()
        for number in range(DISTINCT):
            read(self._distinct(number), self._distinct(number))
        return (thread_time() - before) * self._copies

    def sort_floor(self) -> float:
        """Every list sorted by `sort`, and compared by `comm` with the old one."""
        folder, used = self.installation.folder, 0.0
        for number in range(DISTINCT):
            now = self._distinct(number)
            # Outside of what is measured: an old list that is sorted.
            subprocess.run(
                sorting_both(now, now, folder), check=True, stdout=subprocess.DEVNULL
            )
            cost = measured(sorting_new(now, folder), folder, PATIENCE)
            assert cost.code == 0, cost.err
            used += cost.cpu
        return used * self._copies

    @property
    def _copies(self) -> float:
        return len(self.names) / DISTINCT

    def _distinct(self, number: int) -> Path:
        return self.installation.folder / f"distinct-{number}"

    def _ids(self, number: int, start: int, count: int) -> list[str]:
        first = number * APART + start
        return [f"{PREFIX}{one:012d}" for one in range(first, first + count)]
