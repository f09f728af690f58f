"""What a run of the suite says of itself: as it goes, in the end, where it fails."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from tests.reliability.replicas.blows import Struck
from tests.reliability.replicas.crowd import DEADLINE, LEASE, Crowd
from tests.reliability.replicas.places import Replica
from tests.reliability.replicas.watching import Watch

OFTEN = 10
"""Blows between two lines that say how far it is."""


@dataclass
class Story:
    """What was done, line by line, each said at once."""

    count: int
    """Blows that will be."""
    watch: Watch
    struck: list[Struck] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def tell(self, line: str) -> None:
        """One line more."""
        self.lines.append(f"{time.monotonic() - self.began:6.1f} s  {line}")
        print(self.lines[-1], flush=True)

    def add(self, struck: Struck, crowd: Crowd, there: list[Replica]) -> None:
        """One blow more, and now and then all so far."""
        self.struck.append(struck)
        self.tell(struck.told())
        if len(self.struck) % OFTEN == 0:
            self.tell(f"{len(self.struck)} of {self.count}: {_so_far(crowd, there)}")
            for line in self.hand_overs():
                self.tell(line)

    def hand_overs(self) -> Iterator[str]:
        """By the kind of blow, how long syncs were without anybody so far."""
        by_kind = sorted(self.struck, key=_kind)
        for kind, blows in groupby(by_kind, key=_kind):
            waits = [
                at - each.at
                for each in blows
                for lost in each.lost
                if (at := self.watch.taken_over(lost)) is not None
            ]
            if waits:
                yield said_of(kind, waits)

    def why(self, there: list[Replica]) -> str:
        """What is needed to see why it failed."""
        lines = [*self.lines, "the leases:"]
        lines += [
            f"{each.at:.3f} {each.sync} #{each.fence} {each.holder.split('/')[1]}"
            f"{' released' if each.released else ''}"
            for each in self.watch.changes[-400:]
        ]
        for one in there:
            lines += [f"{one.name}:", one.process.text[-6000:]]
        return "\n".join(lines)


def _kind(struck: Struck) -> str:
    return struck.blow.name + (", elsewhere" if struck.foreign else "")


def _so_far(crowd: Crowd, there: list[Replica]) -> str:
    stats = crowd.simulator.get("/_sim/stats")
    largest = max(_resident(one.process.process.pid) for one in there)
    return (
        f"{stats['requests']} requests, {stats['overlaps']} overlaps,"
        f" {stats['status_429']} times 429, the largest replica {largest} MiB"
    )


def _resident(pid: int) -> int:
    """MiB of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


def first_requests(story: Story, requests: dict[str, list[float]]) -> list[float]:
    """Seconds from each blow until another replica made its first request for a sync,
    which most runs do. Raises `AssertionError` where nobody had the sync."""
    found = []
    for each in story.struck:
        for lost in each.lost:
            at = story.watch.taken_over(lost)
            assert at is not None, f"nobody took {lost.sync} over: {each.told()}"
            first = next((one for one in requests[lost.sync] if one >= at), None)
            if first is not None and first - at < LEASE + DEADLINE:
                found.append(first - each.at)
    return found


def said_of(kind: str, values: list[float]) -> str:
    """A line of a table."""
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return (
        f"{kind}: {len(ordered)} syncs, median {statistics.median(ordered):.2f} s,"
        f" p99 {p99:.2f}, max {ordered[-1]:.2f}"
    )
