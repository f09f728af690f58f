"""Jobs put into the queue: by any number of processes, each due time once.

Nothing is opened for it: a job is a row that one of the store's own transactions
inserts, by Procrastinate's own statements.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from procrastinate import SyncPsycopgConnector
from procrastinate import jobs as engine_jobs
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.manager import JobManager
from procrastinate.sql import queries

from syncd.cluster.job import QUEUE, TASK, Job, Queued
from syncd.errors import StoreUnavailable
from syncd.model import Trigger
from syncd.store.database import Connection, Database

TRIES = 3
"""Another process may queue the same between our look and our insert."""
_OPEN = ("todo", "doing")


class Queue:
    """The queue of one store; thread-safe. Implements `Jobs`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connector = SyncPsycopgConnector()
        self._manager = JobManager(self._connector)

    def put(self, job: Job, *, instead: bool = False) -> Queued:
        """See `Jobs`. Raises `StoreUnavailable`."""
        for _ in range(TRIES):
            with self._database.begin() as connection:
                others = self._open(connection, job.sync)
                if instead:  # no more than one of a sync is under way
                    others = [(each, waits) for each, waits in others if waits]
                found = standing(job, others)
                if found is not Queued.NEW or self._defer(connection, job):
                    return found
        return Queued.BEFORE

    def waits(self, sync: str, slot: datetime) -> bool:
        """Whether the run of this due time waits or is under way."""
        with self._database.begin() as connection:
            found = self._open(connection, sync)
        return any(each.slot == slot for each, _ in found)

    def waiting(self) -> int:
        """How many jobs no worker has taken yet."""
        with self._database.begin() as connection:
            return len(self._rows(connection, queue_name=QUEUE, status="todo"))

    def _defer(self, connection: Connection, job: Job) -> bool:
        """False where another process queued the same meanwhile."""
        row = engine_jobs.Job(
            queue=QUEUE,
            task_name=TASK,
            lock=job.sync,
            queueing_lock=job.queueing_lock,
            task_kwargs=dict(job.arguments),
        )
        try:
            with _unavailable(), connection.begin_nested():
                self._manager.defer_job(row, connection=_driver(connection))
        except AlreadyEnqueued:
            return False
        return True

    def _open(self, connection: Connection, sync: str) -> list[tuple[Job, bool]]:
        """The jobs of a sync that are not finished, and whether each still waits.

        Without those that nobody here understands: what is queued beside them comes
        after them, and finds done what they did.
        """
        found = []
        for row in self._rows(connection, lock=sync):
            with suppress(ValueError):
                if row["status"] in _OPEN:
                    found.append((Job.of(row["args"]), row["status"] == "todo"))
        return found

    def _rows(self, connection: Connection, **wanted: str) -> list[dict[str, Any]]:
        keys = ("id", "queue_name", "task_name", "status")
        filters: dict[str, Any] = dict.fromkeys(keys)
        filters |= dict.fromkeys(("lock", "queueing_lock", "worker_id")) | wanted
        with _unavailable():
            return self._connector.execute_query_all_with_connection(
                _driver(connection), queries["list_jobs"], **filters
            )


def standing(job: Job, found: list[tuple[Job, bool]]) -> Queued:
    """How a job stands to those of its sync that are queued or under way. Pure.

    `found`: each with whether it still waits. A due time overlaps with one before it,
    waiting or not, as without a queue. Who goes on where a run was cut off does so
    once; any other run that is under way may have begun before its cause.
    """
    for other, waits in found:
        if job.slot is not None and other.slot is not None:
            return Queued.BEFORE if other.slot == job.slot else Queued.OVERLAP
        same = (other.slot, other.trigger) == (job.slot, job.trigger)
        if same and (waits or job.trigger is Trigger.RESUME):
            return Queued.BEFORE
    return Queued.NEW


def _driver(connection: Connection) -> Any:
    """psycopg's connection below, in the transaction that is open on it."""
    # So that there is one: the transaction begins with the first statement.
    return connection.connection.driver_connection


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except ConnectorException as error:
        name = type(error.__cause__ or error).__name__
        raise StoreUnavailable(f"the job queue does not answer: {name}") from None
