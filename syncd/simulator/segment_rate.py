"""How fast events come: the limit of T4, and the peaks that tests read.

Seconds are those of the simulator's clock.
"""

import math
from collections import deque

WINDOWS = (1, 10, 60)
"""Seconds over which the peaks are taken."""


class Peaks:
    """The most events in any window of a length."""

    def __init__(self) -> None:
        self._recent: dict[int, deque[tuple[float, int]]] = {
            seconds: deque() for seconds in WINDOWS
        }
        self._sum = dict.fromkeys(WINDOWS, 0)
        self.most = dict.fromkeys(WINDOWS, 0)
        """Events by window length; the window is half open."""

    def note(self, now: float, events: int) -> None:
        """Some events have arrived."""
        for seconds, recent in self._recent.items():
            recent.append((now, events))
            self._sum[seconds] += events
            while recent[0][0] <= now - seconds:
                self._sum[seconds] -= recent.popleft()[1]
            self.most[seconds] = max(self.most[seconds], self._sum[seconds])


class Limit:
    """A queue that drains at a rate; it takes a batch while it is under a second long.

    So a client that keeps the mean rate is never refused, whatever its batches.
    """

    def __init__(self) -> None:
        self._empty_at = -math.inf

    def admit(self, now: float, events: int, rate: int) -> int | None:
        """Take events (None), or say in how many whole seconds to ask again."""
        wait = self._empty_at - now - 1
        if wait > 0:
            return max(1, math.ceil(wait))
        self._empty_at = max(self._empty_at, now) + events / rate
        return None
