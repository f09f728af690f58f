"""Procrastinate's statements for one worker, which bear that the database is away.

Its own worker ends with the first look for jobs, or sign of life, that fails, and could
begin anew only once the longest of its runs is over. Here such a moment is told once
and waited out, while runs go on. Whatever else goes wrong is raised as ever.
"""

from collections.abc import Iterable

from procrastinate.connector import BaseConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from procrastinate.manager import JobManager

from syncd import events
from syncd.events import emit

_PASSING = frozenset({"OperationalError", "InterfaceError", "InternalError"})
"""PEP 249's words for what has its cause in the database, not in a statement: it does
not answer, shuts down, or is a standby for the moment."""
_NO_SUCH_WORKER = "23503"
"""SQLSTATE: the row that a job would name as its worker's is gone."""


class PatientJobs(JobManager):
    """The jobs as one worker knows them, by whatever number it is registered."""

    def __init__(self, connector: BaseConnector) -> None:
        super().__init__(connector)
        self.known_as: int | None = None
        """The worker's number; None: others took it for dead, it is given a new one."""
        self.is_away = False
        """The last look for jobs, or sign of life, failed."""

    async def register_worker(self) -> int:
        """Have a number of its own."""
        self.known_as = await super().register_worker()
        return self.known_as

    async def unregister_worker(self, worker_id: int) -> None:
        """See `JobManager`."""
        await super().unregister_worker(self.known_as or worker_id)

    async def fetch_job(
        self, queues: Iterable[str] | None, worker_id: int
    ) -> Job | None:
        """See `JobManager`; None, too, while the database is away."""
        del worker_id  # the one that it began with
        try:
            found = await super().fetch_job(
                queues, self.known_as or await self.register_worker()
            )
        except ConnectorException as error:
            self._bear(error)
            return None
        self.is_away = False
        return found

    async def update_heartbeat(self, worker_id: int) -> None:
        """See `JobManager`; none is given while the database is away."""
        try:
            await super().update_heartbeat(self.known_as or worker_id)
        except ConnectorException as error:
            self._bear(error)
            return
        self.is_away = False

    def _bear(self, error: ConnectorException) -> None:
        """Raises what will not pass."""
        if getattr(error.__cause__, "sqlstate", None) == _NO_SUCH_WORKER:
            self.known_as = None
            return
        if not is_passing(error):
            raise error
        if not self.is_away:
            name = type(error.__cause__).__name__
            emit(events.STORE_UNAVAILABLE, operation="jobs", error=name)
        self.is_away = True


def is_passing(error: ConnectorException) -> bool:
    """Whether the same statement may well succeed a moment later. Pure."""
    kinds = type(error.__cause__).__mro__
    return any(kind.__name__ in _PASSING for kind in kinds)
