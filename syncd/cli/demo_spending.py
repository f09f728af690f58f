"""What the demo's downloads cost: by the fake Amplitude's count and by syncd's."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from syncd.cli.demo_vendors import FakeVendors
from syncd.cli.demo_watch import Records, Watch
from syncd.cli.demo_world import World
from syncd.report.words import number, plural

_HOUR = timedelta(hours=1)
_MONTH = 31 * 24
"""Hours of a long month."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Downloads so far, beside what a daemon without a gate would have spent."""

    counted: Mapping[str, int]
    """Cohort id -> downloads, as the fake Amplitude counts them for the month."""
    recorded: Mapping[str, int]
    """The same, as syncd's store says."""
    limit: int
    """Downloads a month."""
    hours: int
    """Full hours that have struck since the first cohort was asked about."""
    cohorts: int
    """How many cohorts are wanted."""
    pushed: Mapping[str, str]
    """Cohort id -> name of those that are pushed to us."""
    gates: int
    """How often syncd asked whether one of the others changed."""
    lists: int
    """Free list calls of all syncs, as Amplitude counts them."""

    @property
    def used(self) -> int:
        """What it cost, by Amplitude's own count."""
        return sum(self.counted.values())

    @property
    def naive(self) -> int:
        """What it had cost to download every cohort every hour."""
        return self.hours * self.cohorts

    @property
    def holds(self) -> bool:
        """Amplitude and syncd count alike, and what is pushed cost nothing."""
        return dict(self.counted) == dict(self.recorded) and not self.wasted

    @property
    def wasted(self) -> int:
        """Downloads of cohorts that are pushed to us."""
        return sum(self.counted.get(each, 0) for each in self.pushed)

    def difference(self) -> str:
        """What is wrong, in a sentence."""
        recorded = sum(self.recorded.values())
        return (
            f"Amplitude counts {plural(self.used, 'download')}, syncd's store "
            f"{number(recorded)}; {number(self.wasted)} were of cohorts that are pushed"
        )

    def lines(self) -> list[str]:
        """The quota, for people."""
        used, recorded = number(self.used), number(sum(self.recorded.values()))
        hours, cohorts = plural(self.hours, "hour"), plural(self.cohorts, "cohort")
        asked, lists = plural(self.gates, "time"), plural(self.lists, "list call")
        spent = f"Used: {used} of {number(self.limit)} downloads a month"
        names, wasted = ", ".join(self.pushed.values()), number(self.wasted)
        known = f"syncd asked {asked} whether the other one changed"
        naive = f"A naive hourly daemon: {number(self.naive)} ({hours} x {cohorts})"
        return [
            f"{spent}, by Amplitude's count; {recorded} by syncd's.",
            f"{wasted} of them for {names}: Amplitude pushes it to us.",
            f"{naive}, and {number(_MONTH * self.cohorts)} a month.",
            f"{known}; all {lists} were free.",
        ]

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "used": self.used,
            "limit": self.limit,
            "naive": self.naive,
            "hours": self.hours,
            "gates": self.gates,
            "list_calls": self.lists,
            "by_cohort": dict(self.counted),
            "recorded": dict(self.recorded),
            "of_pushed": self.wasted,
            "equal": self.holds,
        }


def add_up(
    world: World, records: Records, vendors: FakeVendors, watch: Watch
) -> Spending:
    """Read both counts now."""
    traffic, now = vendors.traffic(), watch.clock.now()
    pushed = {each.id: each.name for each in world.cohorts if each.pushed}
    gates = [
        run
        for each in world.cohorts
        if not each.pushed
        for run in records.runs(each.sync)
    ]
    began = min((run.started_at for run in gates), default=now)
    return Spending(
        counted=traffic.downloads,
        recorded=records.downloads(),
        limit=vendors.download_limit(),
        hours=_hour(now) - _hour(began) + 1,
        cohorts=len(world.cohorts),
        pushed=pushed,
        gates=len(gates),
        lists=traffic.lists,
    )


def _hour(at: datetime) -> int:
    """The number of the hour it is in."""
    return int(at.timestamp() // _HOUR.total_seconds())
