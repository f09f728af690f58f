"""What must hold, judged from outside: by the simulator's log, the store and the logs.

The store is read before and after the destination, as both move: whoever is wrong by
either reading of it, and uncertain by neither, is looked at again.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg

from tests.reliability.replicas.crowd import PERIOD, Crowd

LOOKS = 4
"""Times that somebody must be wrong in a row."""
GRAIN = timedelta(milliseconds=200)
"""How exactly this process knows when a list was there, in real time."""
MADE_UP = "made up for by a later one"
RARE = 0.02
"""The share of due times that a later one may make up for."""
_MEMBERS = "SELECT sync, member_id FROM member"
_UNCERTAIN = """
SELECT g.sync, p.ids FROM batch b JOIN batch_ids p ON p.batch_id = b.id
JOIN binding g ON g.id = b.binding_id WHERE b.state IN ('open', 'dead')
"""
_DOUBTFUL = "SELECT g.sync, d.ids FROM doubt d JOIN binding g ON g.id = d.binding_id"
_RUNS = """
SELECT sync, slot, trigger, outcome, reason, started_at, finished_at FROM run
ORDER BY started_at, id
"""


@dataclass(frozen=True)
class Run:
    """A run's row."""

    sync: str
    slot: datetime | None
    trigger: str
    outcome: str | None
    reason: str | None
    started_at: datetime
    finished_at: datetime | None


@dataclass
class Store:
    """The store at one instant."""

    now: datetime
    """Real time, by its own clock."""
    members: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    uncertain: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))


def read(url: str) -> Store:
    """All that is judged, from one snapshot."""
    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        ((now,),) = connection.execute("SELECT clock_timestamp()")
        found = Store(now)
        for sync, member in connection.execute(_MEMBERS):
            found.members[sync].add(member)
        for query in (_UNCERTAIN, _DOUBTFUL):
            for sync, ids in connection.execute(query):
                found.uncertain[sync] |= set(ids.split("\n"))
        for row in connection.execute(_RUNS):
            found.runs[row[0]].append(Run(*row))
    return found


class Judge:
    """Holds what it saw to the laws. Raises `AssertionError`."""

    def __init__(self, crowd: Crowd, url: str) -> None:
        self._crowd = crowd
        self._simulator = crowd.simulator
        self._url = url
        self.looks = Counter[str]()

    # ---- while all goes on -------------------------------------------------------

    def look(self) -> None:
        """I-2 of every cohort, and I-1 of those whose newest run says it is right."""
        suspects = set(self._crowd.audiences)
        for _ in range(LOOKS):
            suspects = self._wrong(suspects)
            if not suspects:
                return
        raise AssertionError(f"wrong for good: {sorted(suspects)}")

    def _wrong(self, names: set[str]) -> set[str]:
        before = read(self._url)
        there = self._there(names)
        after = read(self._url)
        found = set()
        for name in names & set(there):
            truth = there[name]
            surely = (truth ^ before.members[name]) & (truth ^ after.members[name])
            if surely - before.uncertain[name] - after.uncertain[name]:
                found.add(name)
            if self._claims_to_be_right(name, before, after):
                self.looks["a run said it is right"] += 1
                if truth != self._crowd.audiences[name].now:
                    found.add(name)
            self.looks["whoever is wrong is uncertain"] += 1
        return found

    def _claims_to_be_right(self, name: str, before: Store, after: Store) -> bool:
        """Nothing is under way, and the newest run that read the list ended well."""
        runs = [each for each in after.runs[name] if each.outcome != "skipped"]
        if before.runs[name] != after.runs[name] or not runs:
            return False
        if any(each.outcome is None for each in runs):
            return False
        newest = runs[-1]
        if newest.trigger not in ("schedule", "catch_up"):
            return False
        changed = self._crowd.audiences[name].changed_at + GRAIN
        since = newest.started_at > self._crowd.virtual(changed)
        return since and newest.outcome in ("success", "no_change")

    def _there(self, names: set[str]) -> dict[str, set[str]]:
        cohorts = {each["name"]: each["id"] for each in self._simulator.cohorts()}
        return {
            name: self._simulator.members(cohorts[f"Cohort {name}"])
            for name in sorted(names)
            if f"Cohort {name}" in cohorts
        }

    # ---- in the end --------------------------------------------------------------

    def unsettled(self) -> list[str]:
        """Cohorts that are not their audience, or of which somebody is uncertain
        (doubts aside: those last as long as a request may land late)."""
        store = read(self._url)
        there = self._there(set(self._crowd.audiences))
        return [
            name
            for name, audience in self._crowd.audiences.items()
            if not there.get(name) == store.members[name] == audience.now
            or any(each.outcome is None for each in store.runs[name])
        ]

    def is_settled(self) -> bool:
        """Nothing of that is left. While the store knows of something, nobody else is
        asked: the replicas need this machine, too."""
        store, audiences = read(self._url), self._crowd.audiences
        there = all(store.members[name] == audiences[name].now for name in audiences)
        return there and not self.unsettled()

    def require_no_overlap(self) -> int:
        """No two requests about one cohort were ever under way together; by the times
        of arrival and answer, so also where the first one's client was gone."""
        stats = self._simulator.get("/_sim/stats")
        last: dict[str, dict[str, Any]] = {}
        wrong = []
        requests = [
            each
            for kind in ("upload", "membership")
            for each in self._simulator.log(kind)
        ]
        for each in sorted(requests, key=lambda entry: entry["started"]):
            before = last.get(each["cohort_id"])
            if before and (before["ended"] or each["started"]) >= each["started"]:
                wrong.append((_told(before), _told(each)))
            last[each["cohort_id"]] = each
        assert not wrong, f"{len(wrong)} requests overlapped: {wrong[:5]}"
        assert stats["overlaps"] == 0
        assert stats["status_429"] == 0
        return len(requests)

    def requests(self) -> dict[str, list[float]]:
        """When requests about each sync's cohort began, on the monotonic clock."""
        names = {each["id"]: each["name"] for each in self._simulator.cohorts()}
        found: dict[str, list[float]] = defaultdict(list)
        for each in self._simulator.log("membership"):
            name = names[each["cohort_id"]].removeprefix("Cohort ")
            found[name].append(each["started"])
        return found

    def require_nobody_wrongly_removed(self) -> None:
        """I-7: nobody whom every list named was asked to leave."""
        names = {each["id"]: each["name"] for each in self._simulator.cohorts()}
        for entry in self._simulator.log("membership"):
            name = names[entry["cohort_id"]].removeprefix("Cohort ")
            staying = self._crowd.audiences[name].staying
            for part in entry["sent"]:
                if part["operation"] == "REMOVE":
                    assert not staying & set(part["ids"]), f"{name}: {_told(entry)}"

    def require_every_slot_once(self, said: list[dict[str, Any]]) -> Counter[str]:
        """I-21: one row for each due time, and nobody ran it twice.

        Who could not settle one before the next one came settles the newer: a diff
        needs no backfill. Rare, or this machine cannot keep up with the schedule.
        """
        store, ends = read(self._url), Counter[str]()
        for name, runs in store.runs.items():
            slots = sorted(each.slot for each in runs if each.slot is not None)
            steps = [(b - a) / PERIOD for a, b in pairwise(slots)]
            assert all(each in range(1, 4) for each in steps), f"{name}: {slots}"
            if passed := round(sum(steps)) - len(steps):
                ends[MADE_UP] += passed
            ends.update(
                f"{each.outcome} {each.reason or ''}".strip()
                for each in runs
                if each.slot is not None
            )
        started = Counter(
            (line["sync"], line["due_at"])
            for line in said
            if line["event"] == "run.started" and line.get("due_at")
        )
        twice = [each for each, count in started.items() if count > 1]
        assert not twice, f"run by two replicas: {twice[:5]}"
        assert ends[MADE_UP] <= ends.total() * RARE, f"due times are missing: {ends}"
        return ends


def _told(entry: dict[str, Any]) -> dict[str, Any]:
    names = ("seq", "started", "ended", "cohort_id", "operation", "status", "effect")
    return {name: entry[name] for name in names}
