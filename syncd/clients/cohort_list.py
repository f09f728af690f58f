"""The cohorts of a project as they were listed a moment ago.

Every run looks whether its cohort may be written to, and the list is of all cohorts:
when 300 syncs are due together, that is 90,000 cohorts to send and to read. So runs
that begin within a few seconds share one list, of which they may only believe that all
is well: who misses something there, or finds something odd, asks for a list anew.
"""

import threading
from collections.abc import Callable

from syncd.clients.amplitude_answers import Cohort
from syncd.clock import Clock

FRESH = 5.0
"""Seconds of the daemon's clock for which a list is shared."""
PATIENCE = 2.0
"""Real seconds that a run waits for another one's list; then it asks for its own, so
that a vendor who hangs keeps nobody waiting for more than one request."""


class CohortList:
    """Shares the lists that `ask` gets. Thread-safe; a failure is nobody else's."""

    def __init__(self, ask: Callable[[], tuple[Cohort, ...]], clock: Clock) -> None:
        """`ask` raises `DeliveryError`, and so does `recent`."""
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[Cohort, ...] = ()
        self._kept_until = float("-inf")

    def recent(self) -> tuple[Cohort, ...]:
        """All cohorts, as listed at most `FRESH` seconds ago."""
        if not self._lock.acquire(timeout=PATIENCE):
            return self._ask()
        try:
            began = self._clock.monotonic()
            if began >= self._kept_until:
                self._kept = self._ask()
                self._kept_until = began + FRESH / self._clock.speed
            return self._kept
        finally:
            self._lock.release()
