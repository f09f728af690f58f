"""The thread that renews leases while their syncs are worked on.

A lease that is not renewed in time is another's, so nothing may be in its way: it waits
for no lock. An acknowledgement may queue behind whatever the store is busy with; a
renewal must not. So it is this thread, too, that ends whoever stands still with
something locked (`store.stuck`): every other one may be waiting for just that.
"""

import threading
from contextlib import suppress
from datetime import timedelta

from syncd import events
from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.events import emit
from syncd.store import leases, stuck
from syncd.store.database import AT_LEAST, Database
from syncd.store.leases import Lease, renew_every

AGAIN = 1.0
"""Real seconds until what could not be renewed is tried again: the store was away, or
the row was locked."""


class Renewals:
    """Renews what is kept. Every method may be called from any thread."""

    def __init__(self, database: Database, clock: Clock, ttl: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._ttl = ttl
        self._every = renew_every(ttl).total_seconds()
        self._leases: dict[str, Lease] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._loop, name="store-leases", daemon=True
        )

    def start(self) -> None:
        """Start the thread; once."""
        self._thread.start()

    def stop(self, patience: float | None = None) -> bool:
        """Renew nothing more; False where that took more than `patience` seconds."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(patience)
        return not self._thread.is_alive()

    def keep(self, lease: Lease) -> None:
        """Renew this lease until `let_go`."""
        self._leases[lease.sync] = lease

    def let_go(self, lease: Lease) -> None:
        """Do not renew this lease any more."""
        self._leases.pop(lease.sync, None)

    def renew(self) -> bool:
        """Renew all that are kept; False where one of them was not.

        One that is lost, or a store that is, shows at the next write of the run itself.
        """
        kept = list(self._leases.values())
        if not kept:
            return True
        try:
            with self._database.begin(brief=True) as connection:
                now = self._clock.wall()
                renewed = [leases.renew(connection, each, now) for each in kept]
        except StoreError:
            return False
        return all(renewed)

    def end_the_stuck(self) -> None:
        """End processes that stand still in the middle of a message for a lease."""
        if self._database.dialect == "sqlite":
            return
        # A store that is away has nobody who could be.
        with suppress(StoreError):
            with self._database.begin(brief=True) as connection:
                ended = stuck.end(connection, max(self._ttl, AT_LEAST))
            if ended:
                emit(events.STORE_STUCK, connections=ended)

    def _loop(self) -> None:
        pause = self._every
        while not self._ended.wait(pause):
            pause = self._every if self.renew() else min(AGAIN, self._every)
            self.end_the_stuck()
