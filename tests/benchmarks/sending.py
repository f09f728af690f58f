"""First syncs as a benchmark sees them: one run of the real command, and its floor.

What was sent, when, and how long each lane paused between an answer and its next
request is read from the simulator's log, whose clock is this machine's.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from tests.benchmarks.courier import CONTEXT
from tests.benchmarks.watched import Watched, cpu_of
from tests.installed import Installation, log_lines
from tests.simulated import Simulator

BATCH = 1_000
LANES = 4
"""Requests at once: threads of a connection."""
PATIENCE = 100.0
"""Real seconds for one command."""
PREFIX = "5f0c9a3e-8d51-4b7e-9c1f-0000"
FIRST = 10_000_000
WRITES = ("upload", "membership", "partner_add", "partner_lists")


def people(number: int) -> list[str]:
    """Ids as long as a UUID."""
    return [f"{PREFIX}{each}" for each in range(FIRST, FIRST + number)]


@dataclass(frozen=True, kw_only=True)
class Load:
    """So many batches of 1,000, each answered after so many seconds."""

    name: str
    cohorts: int
    """Amplitude cohorts that share the batches evenly; 0: one list of a partner."""
    batches: int
    """Of all together."""
    latency: float
    floor: int = 0
    """Batches of the floor; 0: as many. One lane costs the same for each."""

    @property
    def lanes(self) -> int:
        """Requests that may be under way at once: one for a cohort."""
        return min(self.cohorts or LANES, LANES)

    @property
    def each(self) -> int:
        """Batches for one cohort."""
        return self.batches // (self.cohorts or 1)

    @property
    def has_gaps(self) -> bool:
        """Whether a lane is one request after the other, with a thread of its own."""
        return 0 < self.cohorts <= LANES

    def ideal(self, requests: int) -> float:
        """Seconds that so many requests take at least."""
        return requests * self.latency / self.lanes


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What one sender did."""

    requests: int
    steady: int
    """Requests of the time in which as many lanes as there are had work."""
    wall: float
    """Seconds of that time."""
    cpu: float
    """Seconds of the sender, meanwhile."""
    gap: float
    """Median seconds of a lane between an answer and its next request; 0 where a lane
    is not one request after the other."""
    simulator: float
    """Seconds of the simulator's CPU, meanwhile."""
    whole: float = 0.0
    """Seconds of the whole command."""
    peak: float = 0.0
    """MB."""
    runs: tuple[dict[str, Any], ...] = ()
    """Canonical lines of the runs."""

    def efficiency(self, load: Load) -> float:
        """The least time that its requests take, as a share of the time they took."""
        return load.ideal(self.steady) / self.wall

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.steady / self.wall

    @property
    def cost(self) -> float:
        """Milliseconds of CPU for a request."""
        return 1e3 * self.cpu / self.requests


class Sending:
    """A simulator with people, and installations that send them, one after another."""

    def __init__(
        self, simulator: Simulator, pid: int, folder: Path, most: int, stack: ExitStack
    ) -> None:
        """`pid` is the simulator's; `most` batches are sent in one go."""
        self.simulator, self._pid = simulator, pid
        self.folder, self._stack = folder, stack
        self.people = people(most * BATCH)
        self._list = folder / "people"
        self._list.write_text("\n".join(self.people), encoding="utf-8")
        self._numbers = count(1)
        simulator.post("/_sim/config", {"record_ids": False, "job_seconds": 0})
        simulator.users(self.people)

    # ---- the product ---------------------------------------------------------------

    def run(self, load: Load) -> Sent:
        """A first sync of everybody: `syncd run`, or a daemon for several cohorts."""
        installation = self.installation(load)
        since, spent = self._begin(load)
        verb = "run" if load.cohorts < 2 else "serve"
        args = ["-v", "big-1"] if verb == "run" else []
        with Watched(installation.command(verb, *args), installation.folder) as syncd:
            if verb == "serve":
                self._finished(syncd, load.cohorts)
                syncd.process.terminate()
            code = syncd.ended(PATIENCE)
        assert code == 0, syncd.said[-4000:]
        return self._told(load, syncd, since, cpu_of(self._pid) - spent)

    def installation(self, load: Load, deadline: str = "30s") -> Installation:
        """A new one, with a new store and new targets."""
        folder = self.folder / f"installation-{next(self._numbers)}"
        folder.mkdir()
        made = Installation(folder, self.simulator, self._stack)
        made.config["log"]["level"] = "info"
        made.config["connections"]["amplitude"]["request_deadline"] = deadline
        if not load.cohorts:
            self._dynamic(folder.name, load.each * BATCH)
            made.cohort_sync("big-1", folder.name, to={"connection": "partner-lists"})
            return made
        for number in range(1, load.cohorts + 1):
            name = f"big-{number}"
            schedule = "manual" if load.cohorts < 2 else "once"
            cohort = f"{folder.name} {name}"
            made.sync(name, schedule=schedule, max_runtime="1h", to={"cohort": cohort})
            made.audience(self.people[: load.each * BATCH], name)
        return made

    def sent_again(self, load: Load, kills: Iterable[float]) -> list[int]:
        """Ids sent a second time because of each SIGKILL, so long after a first sync of
        its own began to send."""
        self.simulator.post("/_sim/config", {"record_ids": True})
        try:
            return [self._sent_again(load, seconds) for seconds in kills]
        finally:
            self.simulator.post("/_sim/config", {"record_ids": False})

    def _sent_again(self, load: Load, seconds: float) -> int:
        # What was killed waits for its requests' deadline before it sends again.
        installation = self.installation(load, deadline="5s")
        since, _ = self._begin(load)
        command = installation.command("serve")
        with Watched(command, installation.folder) as killed:
            self._waited(killed, lambda: len(self._sent(since)) >= load.cohorts)
            killed.rest(seconds)
            killed.process.kill()
            killed.ended(PATIENCE)
        assert not _finished(killed)
        with Watched(command, installation.folder) as again:
            self._finished(again, load.cohorts)
            again.process.terminate()
            assert again.ended(PATIENCE) == 0
        named = [
            (each["cohort_id"], one)
            for each in self._sent(since)
            for one in each["ids"]
        ]
        assert len(set(named)) == load.batches * BATCH
        return len(named) - len(set(named))

    def _sent(self, since: int) -> list[dict[str, Any]]:
        """Who was named by which change."""
        return [
            {"cohort_id": each["cohort_id"], "ids": part["ids"]}
            for each in self.simulator.log("membership", since)
            for part in each["sent"]
        ]

    def _dynamic(self, cohort_id: str, number: int) -> None:
        crowd = {"prefix": PREFIX, "first": FIRST, "count": number}
        self.simulator.cohort(cohort_id, generate=crowd)

    def _finished(self, syncd: Watched, runs: int) -> None:
        """Wait until so many runs of a daemon are over."""
        self._waited(syncd, lambda: len(_finished(syncd)) >= runs)

    def _waited(self, syncd: Watched, come: Callable[[], bool]) -> None:
        while not come():
            try:
                syncd.process.wait(0.05)
            except subprocess.TimeoutExpired:
                assert syncd.wall < PATIENCE, syncd.said[-4000:]
                continue
            raise AssertionError(syncd.said[-4000:])

    def _told(self, load: Load, syncd: Watched, since: int, spent: float) -> Sent:
        entries = self._writes(since)
        begun, over = entries[0]["started"], max(each["ended"] for each in entries)
        return Sent(
            requests=len(entries),
            **_steady(load, entries),
            cpu=syncd.cpu_between(begun, over),
            gap=_gap(load, entries),
            simulator=spent,
            whole=syncd.wall,
            peak=syncd.peak,
            runs=tuple(_finished(syncd)),
        )

    # ---- its floor -----------------------------------------------------------------

    def floor(self, load: Load) -> Sent:
        """The same requests, by courier.py."""
        each = (load.floor or load.batches) // (load.cohorts or LANES)
        lanes = list(self._lanes(load, each))
        partner = not load.cohorts
        origin = "partner" if partner else "amplitude"
        auth = ["demo-partner-key", ""] if partner else _PROJECT
        errand = {
            "url": self.simulator.origins[origin],
            "auth": auth,
            "people": str(self._list),
            "threads": load.lanes,
            "lanes": lanes,
        }
        since, spent = self._begin(load)
        ended = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("courier.py"))],
            input=json.dumps(errand),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        timed = json.loads(ended.stdout)
        entries = self._writes(since)
        return Sent(
            requests=timed["requests"],
            **_steady(load, entries),
            cpu=timed["cpu"],
            gap=_gap(load, entries),
            simulator=cpu_of(self._pid) - spent,
        )

    def _lanes(self, load: Load, each: int) -> Iterator[dict[str, Any]]:
        """One for each cohort; of a list, one for each thread."""
        if not load.cohorts:
            key = next(self._numbers)
            made = self._partner_list(f"floor {key}")
            for at in range(LANES):
                first, path = at * each * BATCH, f"/lists/{made}/add"
                lane = {"path": path, "cohort_id": None}
                yield lane | {"first": first, "batches": each}
            return
        for _ in range(load.cohorts):
            shape = {"name": f"floor {next(self._numbers)}", "type": "manual_upload"}
            cohort_id = self.simulator.post("/_sim/cohorts", shape)["id"]
            path = "/api/3/cohorts/membership"
            lane = {"path": path, "cohort_id": cohort_id}
            yield lane | {"first": 0, "batches": each}

    # ---- the other side ------------------------------------------------------------

    def _begin(self, load: Load) -> tuple[int, float]:
        """The newest request so far, and the CPU."""
        times = dict.fromkeys(WRITES, load.latency)
        self.simulator.post("/_sim/latency", times)
        return self.simulator.last(), cpu_of(self._pid)

    def _writes(self, since: int) -> list[dict[str, Any]]:
        """The writing requests, each answered with a 200."""
        entries = self.simulator.get(f"/_sim/log?since={since}")["entries"]
        writes = [each for each in entries if each["endpoint"] in WRITES]
        assert {each["status"] for each in writes} == {200}
        return writes

    def _partner_list(self, name: str) -> str:
        """A list of the partner's, made as its API has it."""
        answer = httpx.post(
            self.simulator.origins["partner"] + "/lists",
            json={"name": name, "context": CONTEXT},
            auth=("demo-partner-key", ""),
        )
        return str(answer.raise_for_status().json()["listId"])


_PROJECT = ["demo-api-key", "demo-secret-key"]


def _finished(syncd: Watched) -> list[dict[str, Any]]:
    """The canonical lines so far; the last line may not be whole yet."""
    whole = syncd.said.rpartition("\n")[0]
    lines = log_lines(whole.splitlines())
    return [each for each in lines if each["event"] == "run.finished"]


def _lanes(load: Load, entries: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The requests of each cohort; a list has one lane, in which several go at once."""
    lanes: dict[str, list[dict[str, Any]]] = {}
    for each in entries:
        lanes.setdefault(each["cohort_id"] if load.cohorts else "", []).append(each)
    return list(lanes.values())


def _steady(load: Load, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The time in which no thread need be idle for want of a lane: from when as many
    lanes as can go together have begun, until fewer than that have work left."""
    lanes = _lanes(load, entries)
    together = min(load.lanes, len(lanes))
    begun = sorted(lane[0]["started"] for lane in lanes)[together - 1]
    over = sorted(max(each["ended"] for each in lane) for lane in lanes)[-together]
    within = [each for each in entries if begun <= each["started"] < over]
    return {"steady": len(within), "wall": over - begun}


def _gap(load: Load, entries: list[dict[str, Any]]) -> float:
    """The median over all lanes, where none waits for a thread."""
    if not load.has_gaps:
        return 0.0
    gaps = [
        after["started"] - before["ended"]
        for lane in _lanes(load, entries)
        for before, after in pairwise(lane)
    ]
    return float(median(gaps))
