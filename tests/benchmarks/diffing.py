"""One sync of one large list into one cohort, and what its runs cost beside others.

The bench makes the lists, the state that a run begins with, and the truth: who left and
who entered, which is what the simulator must have been told.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from syncd.sources.files import FileList, Shape
from syncd.store.codec import Codec
from tests.benchmarks import comparers
from tests.benchmarks.baselines import PostgresStore, SqliteStore, adopt
from tests.benchmarks.crowds import Crowd
from tests.benchmarks.measured import Measured, measured
from tests.installed import Installation, log_lines
from tests.simulated import Simulator

PATIENCE = 600.0
"""Real seconds for one command."""
PIECE = 50_000
"""People made known to the simulator by one request."""
MEMBERS = 10
"""Of the sync that shows what a run costs which has nearly nothing to do."""
FIRST = "first load"
MOVED = "some in, as many out"
PACKED = f"{MOVED}: zstd"
SAME = "no change: the same file"
OTHERWISE = "no change: another order"
START = "start: a sync of 10"
DUCKDB = "DuckDB EXCEPT"
"""Compared where the extra `bench` is installed."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One command of one round."""

    name: str
    cost: Measured
    served: float = 0.0
    """CPU seconds of the database's server meanwhile."""
    finished: dict[str, Any] | None = None
    """A run's canonical line."""
    size: int = 0
    """Bytes on disk that the state takes afterwards."""

    @property
    def cpu(self) -> float:
        """All of it, in seconds."""
        return self.cost.cpu + self.served


class Bench:
    """A crowd's two lists, an installation and a simulator that knows everybody."""

    def __init__(
        self,
        crowd: Crowd,
        store: SqliteStore | PostgresStore,
        simulator: Simulator,
        installation: Installation,
        lists: Path,
        codec: Codec = "text",
    ) -> None:
        self.crowd, self.store, self.codec = crowd, store, codec
        self.simulator, self.installation, self.lists = simulator, installation, lists
        self.before, self.now = lists / "before.csv", lists / "now.csv"
        self.otherwise = lists / "otherwise.csv"
        self.left, self.entered = crowd.left(), crowd.entered()
        self._configure()

    def _configure(self) -> None:
        config, lists = self.installation.config, self.lists
        config["store"] |= {"url": self.store.url, "codec": self.codec}
        # What an operator has; the tests' own is debug.
        config["log"]["level"] = "info"
        snapshot = config["connections"]["engage"]["snapshot"]
        snapshot["path"] = f"{lists}/{{audience}}.csv"
        # The simulator shares two cores with all of this.
        config["connections"]["amplitude"]["request_deadline"] = "60s"
        config["store"]["spool_dir"] = str(lists)
        self.installation.sync("crowd", max_runtime="1h")
        self.installation.sync("few", max_runtime="1h")

    # ---- what a round begins with ---------------------------------------------------

    def write_lists(self) -> None:
        """Both lists, and the small one."""
        self.crowd.write_before(self.before)
        self.crowd.write_now(self.now)
        some = sorted(self.left)[:MEMBERS]
        text = "".join(f"{one}\n" for one in ["user_id", *some])
        (self.lists / "few.csv").write_text(text, encoding="utf-8")

    def prepare(self) -> None:
        """The cohorts exist, and the state holds everybody of the first list."""
        self.store.empty()
        self.simulator.users(self.left)
        self.simulator.users(self.entered)
        self._list(self.lists / "few.csv")
        for sync in ("crowd", "few"):
            self._syncd(sync)
        self._list(self.before)
        files = FileList(
            pattern=f"{self.lists}/{{audience}}.csv", audience="crowd", shape=Shape.AUTO
        )
        adopt(self.store, "crowd", files, self.lists, self.codec)
        self._back()
        self.store.keep()

    def know_everybody(self) -> None:
        """Amplitude knows everybody of the first list, for a first load."""
        self.simulator.post("/_sim/config", {"record_ids": False})
        with self.before.open(encoding="utf-8") as file:
            next(file)
            while piece := file.readlines(37 * PIECE):
                self.simulator.users(one.rstrip("\n") for one in piece)

    def _list(self, path: Path) -> None:
        """What the large sync reads. A symbolic link: another hard one would change
        the file, as far as anybody can see without reading it."""
        link = self.lists / "crowd.csv"
        link.unlink(missing_ok=True)
        link.symlink_to(path)

    # ---- what is measured -----------------------------------------------------------

    def moved(self) -> Cost:
        """The run that finds who left and who entered; the simulator was told so."""
        self.store.fresh()
        self._list(self.now)
        since = self.simulator.last()
        told = self._run(MOVED if self.codec == "text" else PACKED, "crowd")
        assert _as_set(self.simulator.sent("ADD", since)) == self.entered
        assert _as_set(self.simulator.sent("REMOVE", since)) == self.left
        self._expect(told, "success", len(self.entered), len(self.left))
        self._back()
        return told

    def _back(self) -> None:
        """The cohort holds those who are about to leave, and nobody of the new ones."""
        (cohort,) = [
            one
            for one in self.simulator.cohorts()
            if one["name"].endswith("Cohort crowd")
        ]
        self.simulator.change(
            cohort["id"], remove=sorted(self.entered), add=sorted(self.left)
        )
        self.simulator.control.delete("/_sim/log").raise_for_status()

    def same(self) -> Cost:
        """The run that finds the file as it was."""
        self.store.fresh()
        self._list(self.before)
        told = self._run(SAME, "crowd")
        self._expect(told, "no_change", 0, 0, read=False)
        return told

    def same_otherwise(self) -> Cost:
        """The run that finds the same people in another order."""
        if not self.otherwise.exists():
            self.crowd.write_otherwise(self.otherwise)
        self.store.fresh()
        self._list(self.otherwise)
        told = self._run(OTHERWISE, "crowd")
        self._expect(told, "no_change", 0, 0)
        return told

    def few(self) -> Cost:
        """The run of a small list that is as it was: what starting costs."""
        self.store.fresh()
        return self._run(START, "few")

    def first(self) -> Cost:
        """The run that sends everybody to a new cohort."""
        self.store.empty()
        self._list(self.before)
        since = self.simulator.last()
        told = self._run(FIRST, "crowd")
        self._expect(told, "success", self.crowd.count, 0)
        asked = self.simulator.get(f"/_sim/log?endpoint=membership&since={since}")
        assert sum(one["id_count"] for one in asked["entries"]) == self.crowd.count
        (cohort,) = self.simulator.cohorts()
        self._require_everybody(cohort["id"])
        where = f"/_sim/cohorts/{cohort['id']}"
        self.simulator.control.delete(where).raise_for_status()
        return told

    def _require_everybody(self, cohort: str) -> None:
        """The cohort holds the people of the first list, by name, and nobody else."""
        with self.before.open("rb") as file:
            next(file)
            found = self.simulator.control.post(
                f"/_sim/cohorts/{cohort}/compare",
                content=iter(partial(file.read, 1 << 20), b""),
                headers={"content-type": "text/plain"},
            )
        told = found.raise_for_status().json()
        assert told["equal"], told
        assert told["actual"] == self.crowd.count

    def others(self) -> list[Cost]:
        """The peers, in this round; all count who differs."""
        before, now, folder = self.before, self.now, self.lists
        commands = {
            "A: sort both, comm": comparers.sorting_both(before, now, folder),
            "B: sort new, comm": comparers.sorting_new(now, folder),
            "read and split": comparers.in_python("read", before, now),
            "two Python sets": comparers.in_python("sets", before, now),
        }
        if comparers.has_duckdb():
            commands[DUCKDB] = comparers.in_python("duckdb", before, now)
        found = [
            Cost(name=name, cost=self._measured(command))
            for name, command in commands.items()
        ]
        for each in found:
            differ = 0 if each.name == "read and split" else 2 * self.crowd.moved
            assert int(each.cost.out) == differ, each.name
        return found

    def _syncd(self, sync: str) -> Measured:
        return self._measured(self.installation.command("run", "--json", "-v", sync))

    def _run(self, name: str, sync: str) -> Cost:
        before = self.store.cpu()
        cost = self._syncd(sync)
        served = self.store.cpu() - before
        lines = log_lines(cost.err.splitlines())
        (finished,) = [each for each in lines if each["event"] == "run.finished"]
        size = self.store.size()
        return Cost(name=name, cost=cost, served=served, finished=finished, size=size)

    def _measured(self, command: list[str]) -> Measured:
        cost = measured(command, self.installation.folder, PATIENCE)
        assert cost.code == 0, cost.err[-4000:]
        return cost

    def _expect(
        self, told: Cost, outcome: str, entered: int, exited: int, *, read: bool = True
    ) -> None:
        end = told.finished
        assert end is not None
        assert (end["outcome"], end["entered"], end["exited"]) == (
            outcome,
            entered,
            exited,
        )
        assert end.get("snapshot") == (self.crowd.count if read else None)
        assert ("unchanged_since" in json.loads(told.cost.out)["runs"][0]) is not read


def _as_set(sent: list[str]) -> set[str]:
    """Whom requests named; nobody twice."""
    assert len(set(sent)) == len(sent)
    return set(sent)
