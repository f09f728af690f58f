"""APScheduler as the ticker, behind start, stop and trigger. Its only importer.

Jobs live in memory and are built from the configuration at every start; what was run
and what is due is known from our own tables, so nothing here is worth keeping. The
trigger asks `syncd.schedule` on the daemon's clock, which may run fast.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from syncd.clock import Clock
from syncd.schedule import Schedule, next_after
from syncd.windows import Window, next_end

_GRAIN = timedelta(microseconds=1)
"""What rounding may lose between a due time and its wall instant, so that going back
from there cannot find the same due time again."""

RUN_THREADS = 1_000
"""More than there are syncs: a run waits in its thread for its batches. Threads are
made when they are needed."""
HOUSE_THREADS = 2
"""Of their own, so that no number of long runs keeps the heartbeat waiting."""
PULSE = "pulse"
"""The action that asks nobody, in a thread of its own: where the store hangs, all that
keep the house hang with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When one sync is due."""

    sync: str
    schedule: Schedule
    shift: timedelta
    """The sync's share of its jitter, added to each due time."""
    blackout: tuple[Window, ...] = ()
    """Its end is a time to look, too: for what was put off."""

    def after(self, moment: datetime) -> datetime | None:
        """The first start after `moment`."""
        due = next_after(self.schedule, moment - self.shift)
        if due is None:
            return None
        end = next_end(self.blackout, moment)
        return min(due + self.shift, end) if end is not None else due + self.shift


class _DueTimes(BaseTrigger):  # type: ignore[misc]  # the library is not typed
    """Our schedule as APScheduler sees it: wall instants of virtual due times."""

    def __init__(self, timing: Timing, clock: Clock) -> None:
        self._timing = timing
        self._clock = clock

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """The first due time after the previous one, and never one that has passed.

        The library walks through all that passed, to announce one: after a clock was
        set to the year 2200 it would walk for hours and keep every step in memory. It
        asks several times for the same one, so nothing is remembered here.
        """
        moment = max(previous_fire_time, now) + _GRAIN if previous_fire_time else now
        due = self._timing.after(self._clock.to_virtual(moment))
        return self._clock.to_machine(due) if due is not None else None


class _Regularly(BaseTrigger):  # type: ignore[misc]  # the library is not typed
    """Each `period`; what passed while nobody could look is not made up for."""

    def __init__(self, period: timedelta) -> None:
        self._period = period

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime:
        """In the rhythm of the previous time, after now."""
        due = (previous_fire_time or now) + self._period
        return due if due > now else now + self._period - (now - due) % self._period


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]  # not typed
    """Ends with its jobs, also while its thread looks at one: that is gone, then."""

    def remove_job(self, job_id: str, jobstore: str | None = None) -> None:
        with suppress(JobLookupError):
            super().remove_job(job_id, jobstore)


class Ticker:
    """Calls `due(sync)` in a thread of its own whenever a sync is due.

    `overlapped(sync)` is called instead while the last call has not returned.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        due: Callable[[str], None],
        overlapped: Callable[[str], None],
    ) -> None:
        # Its warnings about overlaps are our `run.skipped` events.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._clock = clock
        self._due = due
        self._overlapped = overlapped
        self._timings: tuple[Timing, ...] = ()
        self._house: dict[str, tuple[timedelta, Callable[[], None]]] = {}
        self._scheduler: BackgroundScheduler | None = None
        self._returned = threading.Condition()
        self._calls = 0
        """That have not returned."""

    def start(self, timings: Iterable[Timing]) -> None:
        """Start ticking for these syncs."""
        self._timings = tuple(timings)
        self._scheduler = _Scheduler(
            # A zone without clock changes: its own arithmetic is wrong across them.
            timezone=UTC,
            executors={
                "default": ThreadPoolExecutor(RUN_THREADS),
                "house": ThreadPoolExecutor(HOUSE_THREADS),
                PULSE: ThreadPoolExecutor(1),
            },
            job_defaults={"misfire_grace_time": None, "coalesce": True},
        )
        self._scheduler.add_listener(self._on_overlap, EVENT_JOB_MAX_INSTANCES)
        self._add_syncs()
        self._scheduler.start()

    def replace(self, timings: Iterable[Timing]) -> None:
        """Tick for these syncs from now on; also after the clock was stepped."""
        self._timings = tuple(timings)
        for job in self._running().get_jobs():
            if job.id.startswith("sync:"):
                job.remove()
        self._add_syncs()

    def rebuild(self) -> None:
        """Compute every due time anew, after the machine's clock was stepped.

        The house's as well: set back by a year, it would be quiet for as long.
        """
        self.replace(self._timings)
        for name, (period, action) in self._house.items():
            self.every(period, name, action)

    def soon(self, name: str, action: Callable[[], None]) -> None:
        """Call `action` once, in a thread, now."""
        self._running().add_job(
            self._call, args=(action,), id=f"once:{name}", replace_existing=True
        )

    def every(self, period: timedelta, name: str, action: Callable[[], None]) -> None:
        """Call `action` each `period` of real time, the first time after one; instead
        of what had this name. The action named `PULSE` waits for no other."""
        self._house[name] = period, action
        self._running().add_job(
            self._call,
            _Regularly(period),
            args=(action,),
            id=f"every:{name}",
            executor=PULSE if name == PULSE else "house",
            max_instances=1,
            replace_existing=True,
        )

    def stop(self, *, wait: bool) -> None:
        """No more calls; `wait` for those in progress."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=wait)

    def is_at_rest(self, patience: float) -> bool:
        """Whether every call returned, within that many real seconds.

        A process whose threads wait for a store that hangs would never end by itself.
        """
        with self._returned:
            return self._returned.wait_for(lambda: self._calls == 0, patience)

    def _call(self, action: Callable[[], None]) -> None:
        with self._returned:
            self._calls += 1
        try:
            action()
        finally:
            with self._returned:
                self._calls -= 1
                self._returned.notify_all()

    def _add_syncs(self) -> None:
        for timing in self._timings:
            self._running().add_job(
                self._call,
                _DueTimes(timing, self._clock),
                args=(partial(self._due, timing.sync),),
                id=f"sync:{timing.sync}",
                max_instances=1,
            )

    def _on_overlap(self, event: JobSubmissionEvent) -> None:
        kind, _, name = event.job_id.partition(":")
        if kind == "sync":
            self._overlapped(name)

    def _running(self) -> BackgroundScheduler:
        if self._scheduler is None:
            raise RuntimeError("the ticker was not started")
        return self._scheduler
