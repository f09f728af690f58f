"""Everything one simulator process remembers, and how it is put back.

Only the loop's thread touches it.
"""

import asyncio
from collections.abc import Collection
from datetime import datetime

from syncd.simulator.calls import NAMES, WRITES
from syncd.simulator.clock import VirtualClock
from syncd.simulator.faults import Faults
from syncd.simulator.late import LateCommits
from syncd.simulator.log import RequestLog
from syncd.simulator.switches import Switches
from syncd.simulator.traffic import Busy, Traffic
from syncd.simulator.world import World

PARTS = ("world", "faults", "log", "config", "latency", "clock")


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
        self.released = asyncio.Event()
        """Ends the hangs of the current faults."""
        self.reset(PARTS)

    def reset(self, parts: Collection[str]) -> None:
        """Put parts back to how the process started. A running request keeps the old
        ones and cannot touch the new."""
        if "world" in parts:
            self.world = World(region=self._region, seed=self._seed)
            self.busy = Busy()
            self.late = LateCommits()
        if "faults" in parts:
            self.clear_faults()
        if "log" in parts:
            self.log = RequestLog()
            self.traffic = Traffic()
        if "config" in parts:
            self.switches = Switches()
        if "latency" in parts:
            self.service_times = {
                name: self._latency if name in WRITES else 0.0 for name in NAMES
            }
        if "clock" in parts:
            self.clock = VirtualClock(speed=self._speed, origin=self._origin)

    def clear_faults(self) -> None:
        """Remove all fault scripts and end the silences they caused."""
        self.released.set()
        self.released = asyncio.Event()
        self.faults = Faults(seed=self._seed)
