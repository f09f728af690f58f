"""Procrastinate's worker: takes jobs and has them carried out, each in a thread.

It polls, so that it works through PgBouncer in transaction mode: LISTEN would not. It
is asynchronous, and has an event loop in a thread of its own; nothing else of syncd
runs there. While the database is away it takes nothing; what it has taken goes on.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import DeleteJobCondition, Status
from procrastinate.jobs import Job as Row
from procrastinate.worker import Worker

from syncd import events
from syncd.cluster.job import QUEUE, TASK, Job
from syncd.cluster.patient import PatientJobs
from syncd.errors import StoreError
from syncd.events import emit
from syncd.store.database import Database

POLL = 1.0
"""Real seconds between two looks for a job where none was found."""
BEAT = 3.0
"""Real seconds between two signs of life, and between two looks for workers that
give none."""
LOOKS = 4
"""Without a sign of life for so many beats, a worker's jobs are given to others. Who
could not look itself waits for as many: the others may be back as it is."""
AGAIN = 2.0
"""Real seconds until it begins anew where it could not begin, or met a bug."""
ANSWER = 5.0
"""Real seconds for a connection, after which the database counts as away."""
RECONNECTED = 3.0
"""Real seconds of tries after which the pool forgets how long it waited between them:
the longer the database is away, the later it would be back otherwise."""
_NEVER = 3600.0
"""Nobody asks for a job to be aborted."""
_AT_ONCE = datetime(2000, 1, 1, tzinfo=UTC)
"""Due by anybody's clock."""

CarryOut = Callable[[Job], object]
"""Carries a job out to its end, whatever that is; must not raise."""


class Taking:
    """Takes jobs from its start until it is stopped."""

    def __init__(
        self,
        database: Database,
        at_once: int,
        carry_out: CarryOut,
        left: Callable[[Job], bool],
        *,
        beat: float = BEAT,
    ) -> None:
        """`left` says whether a job that a silent worker had is for others to do; it
        may raise `StoreError`. `beat` must be the same for all that share a queue."""
        # What matters of their own logs is told by events of ours.
        for name in ("procrastinate", "psycopg"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._arguments = database.driver_arguments()
        self._at_once = at_once
        self._carry_out = carry_out
        self._left_behind = left
        self._every = beat
        self._silent = LOOKS * beat
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._story: asyncio.Task[None] | None = None
        self._manager: PatientJobs | None = None
        self._carried: set[int] = set()
        """The ids of the jobs that are being carried out here."""
        self._left: set[int] = set()
        """Those whose end could not be written down, as of the last look."""

    def start(self) -> None:
        """Take jobs from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more; those taken come to their end."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        loop, story = self._loop, self._story
        if loop is not None and story is not None:
            with suppress(RuntimeError):  # it has just come to its end
                loop.call_soon_threadsafe(story.cancel)

    def is_at_rest(self, patience: float) -> bool:
        """Whether all is over, within that many real seconds."""
        self._thread.join(patience)
        return not self._thread.is_alive()

    @property
    def has_ended(self) -> bool:
        """Whether it was started, and is over."""
        return self._thread.ident is not None and not self._thread.is_alive()

    @property
    def is_taking(self) -> bool:
        """Whether it would take a job now: nothing failed at its last look."""
        is_on = self._thread.is_alive() and not self._stopping.is_set()
        return is_on and self._manager is not None and not self._manager.is_away

    # ---- in its own thread -------------------------------------------------------

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._take())

    async def _take(self) -> None:
        self._loop, self._story = asyncio.get_running_loop(), asyncio.current_task()
        threads = ThreadPoolExecutor(self._at_once + 1, thread_name_prefix="job")
        self._loop.set_default_executor(threads)
        # A job whose end could not be written down is found by `_finish_left`.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        while not self._stopping.is_set():
            try:
                await self._take_until_it_fails()
            except Exception as error:  # noqa: BLE001  # whatever a driver may raise
                name = type(error.__cause__ or error).__name__
                emit(events.STORE_UNAVAILABLE, operation="jobs", error=name)
            self._manager = None
            if not self._stopping.is_set():
                # Without an error it ends where a sign of life met a bug.
                await asyncio.sleep(AGAIN)

    async def _take_until_it_fails(self) -> None:
        connector = PsycopgConnector(
            min_size=1,
            max_size=4,
            timeout=ANSWER,
            reconnect_timeout=RECONNECTED,
            kwargs=self._arguments,
        )
        app = App(connector=connector)
        jobs = app.job_manager = PatientJobs(connector)
        app.task(name=TASK, queue=QUEUE, pass_context=True)(self._carry)
        async with app.open_async():
            worker = Worker(
                app,
                queues=[QUEUE],
                concurrency=self._at_once,
                fetch_job_polling_interval=POLL,
                abort_job_polling_interval=_NEVER,
                listen_notify=False,
                delete_jobs=DeleteJobCondition.ALWAYS,
                install_signal_handlers=False,
                update_heartbeat_interval=self._every,
                stalled_worker_timeout=self._silent,
            )
            looking = asyncio.create_task(self._look_after_others(jobs))
            self._manager = jobs
            try:
                await worker.run()  # type: ignore[no-untyped-call]
            finally:
                looking.cancel()

    def _carry(self, context: JobContext, /, **arguments: Any) -> None:
        number = context.job.id or 0
        self._carried.add(number)
        try:
            self._carry_out(Job.of(arguments))
        except Exception as error:  # noqa: BLE001  # one bug must not take a worker down
            name = type(error).__name__
            emit(events.DAEMON_CRASHED, error=name, thread="job", exc_info=True)
        finally:
            self._carried.discard(number)

    # ---- what workers left -------------------------------------------------------

    async def _look_after_others(self, jobs: PatientJobs) -> None:
        steady = 0
        while True:
            await asyncio.sleep(self._every)
            try:
                await self._finish_left(jobs)
                steady = 0 if jobs.is_away else steady + 1
                if steady >= LOOKS:
                    await self._give_back(jobs)
            except (ConnectorException, StoreError):
                steady = 0  # the worker itself says so
            except Exception as error:  # noqa: BLE001  # one odd job must not end this
                name = type(error).__name__
                emit(events.DAEMON_CRASHED, error=name, thread="jobs", exc_info=True)

    async def _give_back(self, jobs: PatientJobs) -> None:
        """Let others have the jobs of workers that gave no sign of life."""
        silent = await jobs.get_stalled_jobs(
            queue=QUEUE, seconds_since_heartbeat=self._silent
        )
        for row in silent:
            if row.id in self._carried:
                continue  # our own, while no sign of life could be given
            emit(events.JOB_GIVEN_BACK, sync=row.lock)
            if not await self._is_wanted(row):
                await self._drop(jobs, row)
                continue
            try:
                await jobs.retry_job(row, retry_at=_AT_ONCE)
            except UniqueViolation:
                await self._drop(jobs, row)  # the same waits already
            except ConnectorException:
                continue  # another worker was faster

    async def _is_wanted(self, row: Row) -> bool:
        try:
            job = Job.of(row.task_kwargs)
        except ValueError:
            return False  # of another version: whoever queued it finds its cause again
        return await asyncio.to_thread(self._left_behind, job)

    async def _finish_left(self, jobs: PatientJobs) -> None:
        """End own jobs whose end could not be written down: they lock their sync."""
        if jobs.known_as is None:
            return
        rows = await jobs.list_jobs_async(
            queue=QUEUE, status="doing", worker_id=jobs.known_as
        )
        idle = {row.id: row for row in rows if row.id not in self._carried}
        for row in idle.values():
            # Not at first sight: one that was just taken is about to begin.
            if row.id in self._left:
                await self._drop(jobs, row)
        self._left = {number for number in idle if number is not None}

    async def _drop(self, jobs: PatientJobs, row: Row) -> None:
        with suppress(ConnectorException):
            await jobs.finish_job(row, Status.FAILED, delete_job=True)
