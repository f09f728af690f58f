"""Everything one simulator process remembers, and how it is put back.

Only the loop's thread touches it; the threads of the senders read the clock.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from syncd.simulator.calls import LOCKING, NAMES
from syncd.simulator.clock import VirtualClock
from syncd.simulator.engage_world import EngageWorld
from syncd.simulator.faults import Faults
from syncd.simulator.late import LateCommits
from syncd.simulator.leaks import Leaks
from syncd.simulator.log import RequestLog
from syncd.simulator.partner_calls import NAMES as PARTNER
from syncd.simulator.partner_world import PartnerWorld
from syncd.simulator.public_calls import NAMES as PUBLIC
from syncd.simulator.quota import DownloadStats
from syncd.simulator.segment_calls import NAMES as SEGMENT
from syncd.simulator.segment_calls import WRITES as SEGMENT_WRITES
from syncd.simulator.segment_world import SegmentWorld
from syncd.simulator.senders import Senders
from syncd.simulator.switches import Switches
from syncd.simulator.traffic import Busy, Traffic
from syncd.simulator.world import World

PARTS = (
    *("world", "segment", "partner", "engage", "senders"),
    *("faults", "log", "config", "latency", "clock"),
)

SLOW = LOCKING | SEGMENT_WRITES | set(PARTNER)
"""Endpoints that take the service time of the command line."""


class Simulator:
    """The state behind all origins."""

    def __init__(
        self,
        *,
        region: str = "us",
        seed: int = 1,
        speed: float = 1.0,
        origin: datetime | None = None,
        latency: float = 0.2,
    ) -> None:
        self._region, self._seed = region, seed
        self._speed, self._origin, self._latency = speed, origin, latency
        self.origins: dict[str, str] = {}
        """Where each origin listens; filled in when the ports are open."""
        self.released = asyncio.Event()
        """Ends the hangs of the current faults."""
        self.senders = Senders()
        self.reset(PARTS)

    def reset(self, parts: Collection[str]) -> None:
        """Put parts back to how the process started. A running request keeps the old
        ones and cannot touch the new."""
        self._reset_systems(parts)
        if "faults" in parts:
            self.clear_faults()
        if "log" in parts:
            self._forget()
        if "config" in parts:
            self.switches = Switches()
        if "latency" in parts:
            self.service_times = {
                name: self._latency if name in SLOW else 0.0
                for name in (*NAMES, "storage", *SEGMENT, *PARTNER, *PUBLIC)
            }
        if "clock" in parts:
            self.clock = VirtualClock(speed=self._speed, origin=self._origin)

    def _reset_systems(self, parts: Collection[str]) -> None:
        """What the outside systems know."""
        if "world" in parts:
            self.world = World(region=self._region, seed=self._seed)
            self.busy = Busy()
            self.late = LateCommits()
        if "segment" in parts:
            self.segment = SegmentWorld(region=self._region)
        if "partner" in parts:
            self.partner = PartnerWorld()
        if "senders" in parts:
            self.senders.clear()
        if "engage" in parts:
            self.engage = EngageWorld()

    def _forget(self) -> None:
        """Start the log and all counters anew."""
        self.log = RequestLog()
        self.traffic = Traffic()
        self.segment_traffic = Traffic()
        self.partner_traffic = Traffic()
        self.leaks = Leaks()
        self.downloads: defaultdict[int, DownloadStats] = defaultdict(DownloadStats)
        """By app id."""

    def moment(self) -> float:
        """The clock, epoch seconds; senders' threads read it too."""
        return self.clock.moment()

    def settle(self) -> None:
        """Let everything happen that the clock has passed; before each look."""
        for project in self.world.projects.values():
            project.settle(self.clock.moment())

    def clear_faults(self) -> None:
        """Remove all fault scripts and end the silences they caused."""
        self.released.set()
        self.released = asyncio.Event()
        self.faults = Faults(seed=self._seed)
