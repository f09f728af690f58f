"""The queue that due runs are deferred to, where the configuration asks for one.

The library is an extra: its modules are loaded where they are asked for, and no sooner.
"""

from typing import TYPE_CHECKING, Literal

from syncd import events
from syncd.clock import Clock
from syncd.config.settings import Settings
from syncd.errors import StoreRefused
from syncd.events import emit
from syncd.report.daemons import alive
from syncd.store import installation
from syncd.store.database import Database
from syncd.store.installation import Role

if TYPE_CHECKING:
    from syncd.cluster.queue import Queue


def open_jobs(settings: Settings, database: Database) -> "Queue | None":
    """The queue, its tables brought up to date as `store.migrate` says.

    None where the daemon runs everything by itself. Raises `StoreRefused`.
    """
    return None if settings.cluster == "embedded" else open_queue(settings, database)


def open_queue(settings: Settings, database: Database) -> "Queue":
    """The queue whose tables are as this program needs them. Raises `StoreRefused`."""
    bring_up_to_date(database, settings.store.migrate)
    from syncd.cluster.queue import Queue

    return Queue(database)


def bring_up_to_date(
    database: Database, migration: Literal["auto", "manual"]
) -> tuple[str | None, str]:
    """Make or migrate the queue's tables; returns (step before, step after).

    `manual` only looks whether they are as this program needs them.
    """
    if database.dialect != "postgresql":
        raise StoreRefused(
            "jobs for workers are rows of Postgres, and this store is a SQLite file",
            hint="store.url: postgresql://…, or cluster: embedded",
        )
    from syncd.cluster import schema

    if migration == "manual":
        schema.require_current(database)
        return schema.newest(), schema.newest()
    before, after = schema.migrate(database)
    if before != after:
        emit(events.JOBS_MIGRATED, from_version=before or "none", to_version=after)
    return before, after


class Unattended:
    """Tells that runs wait for workers of which none lives."""

    def __init__(self, database: Database, clock: Clock, jobs: "Queue") -> None:
        self._database = database
        self._clock = clock
        self._jobs = jobs

    def look(self) -> None:
        """To be called now and then. Raises `StoreUnavailable`."""
        waiting = self._jobs.waiting()
        if waiting and not self._is_worked():
            emit(events.JOBS_UNATTENDED, jobs=waiting)

    def _is_worked(self) -> bool:
        with self._database.read() as connection:
            known = installation.daemons(connection)
        return any(
            each.role is Role.WORKER for each in alive(known, self._clock.wall())
        )
