"""Is this process alive, and may it be sent to?

*Alive* means that a restart would not help: the scheduler ticks, whatever the store
does. *Healthy* means that the store answers as well: where a database is away, every
daemon is not, and killing them all would leave nobody to tell senders to come again.
*Ready* means that what is sent here will be stored. A failing sync is no matter of any.
All are for machines: whoever asks gets a yes or a no.
"""

from collections.abc import Callable

from syncd.clock import Clock
from syncd.errors import SyncdError
from syncd.report.daemons import SILENT_AFTER
from syncd.store import installation, leases
from syncd.store.database import Database
from syncd.store.migrate import require_current

STORE_PATIENCE = 1.0
"""Real seconds for a read of one row; a store that takes longer hangs."""


class Health:
    """What `/-/live`, `/-/healthy` and `/-/ready` ask. Thread-safe; the last two may
    take as long as the store: whoever asks does so with a limit of its own."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        accepting: Callable[[], bool],
    ) -> None:
        """`accepting`: the intake takes what arrives, where anything is received."""
        self._database = database
        self._clock = clock
        self._accepting = accepting
        self._holder = leases.holder_name()
        self._ticked_at: float | None = None

    def tick(self) -> None:
        """The scheduler does its work: to be called each time, whatever comes of it."""
        self._ticked_at = self._clock.monotonic()

    def alive(self) -> bool:
        """Whether this process's scheduler ticks."""
        if self._ticked_at is None:
            return False
        silent = self._clock.monotonic() - self._ticked_at
        return silent < SILENT_AFTER.total_seconds()

    def healthy(self) -> bool:
        """Whether this process's scheduler ticks and the store answers soon."""
        started = self._clock.monotonic()
        try:
            with self._database.read() as connection:
                daemons = installation.daemons(connection)
        except SyncdError:
            return False
        if self._clock.monotonic() - started > STORE_PATIENCE:
            return False
        # On Postgres the others' heartbeats are in the same table.
        oldest = self._clock.wall() - SILENT_AFTER
        return any(
            each.holder == self._holder and each.heartbeat_at > oldest
            for each in daemons
        )

    def ready(self) -> bool:
        """Whether the schema is ours, the intake open and the last write was taken.

        The heartbeat writes every ten seconds: it is ready again soon after it can.
        """
        if not self._accepting() or not self._database.takes_writes:
            return False
        try:
            require_current(self._database)
        except SyncdError:
            return False
        return True
