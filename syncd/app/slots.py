"""Slots: which due time a sync runs for, which it skips, which it missed.

A slot is a due time of the schedule. It ends as a row, run or skipped with a reason;
after downtime one run makes up for all the slots that passed (a diff needs no
backfill), and only the newest of them gets a row. What a pause or a blackout puts off
has its rows, and one run makes up for it when that is over.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from syncd import events, metrics
from syncd.app.engine import Engine, UnknownSync
from syncd.app.turns import one_at_a_time
from syncd.clock import Clock
from syncd.cluster.job import Job, Jobs, Queued
from syncd.config.settings import Settings, SyncSettings
from syncd.errors import PutOff, StoreError, SyncdError
from syncd.events import emit
from syncd.model import Outcome, Trigger
from syncd.schedule import Once, latest_at_or_before, next_after, offset
from syncd.scheduler import Timing
from syncd.store import latest_runs, runs
from syncd.store.database import Connection
from syncd.sync.beginning import Busy, WaitsForPerson

PATIENCE = timedelta(seconds=60)
"""Real time after which a slot nobody handled is no longer just about to run."""
ONCE_AGAIN = timedelta(minutes=15)
"""Pause between the tries of a one-time sync that failed."""
FORGOTTEN = 100
"""Runs that only forget people, at most, before one that read the source."""
COUNTED = 1_000
"""Missed slots are counted up to this many."""

Soon = Callable[[str, Callable[[], object]], None]
"""Calls an action in a thread of the scheduler, now."""


def timings(settings: Settings) -> list[Timing]:
    """When each enabled sync is due."""
    return [
        Timing(
            sync=sync.name,
            schedule=sync.schedule,
            shift=shift(settings, sync),
            blackout=sync.blackout,
        )
        for sync in settings.syncs
        if sync.enabled
    ]


def shift(settings: Settings, sync: SyncSettings) -> timedelta:
    """The sync's share of its jitter: stable, added to each due time."""
    return offset(settings.instance, sync.name, sync.jitter)


class Slots:
    """Turns due times into runs and rows."""

    def __init__(
        self, engine: Engine, clock: Clock, soon: Soon, jobs: Jobs | None = None
    ) -> None:
        """`jobs`: where runs are deferred to; without it they are run here."""
        self._engine = engine
        self._jobs = jobs
        self._clock = clock
        self._soon = soon

    def due(self, name: str) -> None:
        """A sync's time has come: run its newest slot, or record why not."""
        slot = self._slot_to_settle(name)
        if slot is not None:
            self._run_slot(name, slot, Trigger.SCHEDULE)
        else:
            self.make_up_put_off(name)

    def make_up_put_off(self, name: str) -> None:
        """One run for the due times that a pause or a blackout put off, once over."""
        try:
            # Of several replicas that see it, one runs; the others then see its run.
            what, database = f"make up {name}", self._engine.database
            with one_at_a_time(database, what, PATIENCE) as alone:
                if alone and self._has_put_off(name):
                    with suppress(Busy, PutOff, WaitsForPerson):
                        self._begin(Job(sync=name, trigger=Trigger.CATCH_UP))
        except SyncdError as error:
            emit(events.STORE_UNAVAILABLE, operation="run", error=str(error))

    def _has_put_off(self, name: str) -> bool:
        sync = self._sync(name)
        if sync is None:
            return False
        with self._engine.database.read() as connection:
            return name in self._all_put_off(connection, [sync])

    def _all_put_off(
        self, connection: Connection, syncs: Sequence[SyncSettings]
    ) -> set[str]:
        """Those of them that have due times to make up for."""
        now, names = self._clock.now(), [sync.name for sync in syncs]
        paused = [sync.name for sync in syncs if sync.catch_up == "once"]
        # What a blackout puts off is no downtime: a daily run in a nightly window
        # would never come.
        found = latest_runs.put_off(connection, [runs.BLACKOUT], now, names)
        return found | latest_runs.put_off(connection, [runs.PAUSED], now, paused)

    def _run_slot(self, name: str, slot: datetime, trigger: Trigger) -> None:
        lag = self._clock.now() - slot
        metrics.SCHEDULE_LAG.observe(max(0.0, lag.total_seconds()))
        emit(
            events.SCHEDULE_DUE,
            sync=name,
            due_at=slot,
            lag_ms=round(lag.total_seconds() * 1000),
        )
        self._begin_slot(name, slot, trigger)

    def _begin_slot(self, name: str, slot: datetime, trigger: Trigger) -> None:
        """Run a due time, or record why not."""
        try:
            self._begin(Job(sync=name, trigger=trigger, slot=slot))
        except PutOff as why:
            self._put_off(name, slot, why)
        except WaitsForPerson:
            self._skip(name, slot, "held")
        except Busy:
            self._skip(name, slot, "overlap")
        except SyncdError as error:
            emit(events.STORE_UNAVAILABLE, operation="run", error=str(error))

    def _begin(self, job: Job) -> None:
        """Run it here, or have a worker do so. Raises what `Engine.run` does."""
        if self._jobs is None:
            self._engine.run(job.sync, job.trigger, job.slot)
        elif self._jobs.put(job) is Queued.OVERLAP:
            raise Busy(f"{job.sync} waits or runs", hint=f"syncd show {job.sync}")

    def carry_out(self, job: Job) -> None:
        """What a process without `jobs` does for one that has them.

        Its reason is looked at again: another process may have been faster. Raises
        `UnknownSync` where a daemon has newer files: it queues the due time again.
        """
        sync = self._sync(job.sync)
        if sync is None:
            raise UnknownSync(job.sync)
        if job.slot is not None:
            self._begin_slot(job.sync, job.slot, job.trigger)
        elif job.trigger is Trigger.RESUME:
            self.resume(job.sync)
        elif job.trigger is Trigger.CATCH_UP:
            self.make_up_put_off(job.sync)
        elif job.trigger is Trigger.SCHEDULE:
            self._run_once(sync)
        else:
            with suppress(Busy, PutOff, WaitsForPerson):
                self._begin(job)

    def overlapped(self, name: str) -> None:
        """A sync's time has come while its last run goes on: record that."""
        slot = self._slot_to_settle(name)
        if slot is not None:
            self._skip(name, slot, "overlap")

    def _put_off(self, name: str, slot: datetime, why: PutOff) -> None:
        """Every slot is recorded, but only the first of them is said aloud."""
        until = why.until.isoformat() if why.until is not None else None
        with self._engine.database.read() as connection:
            newest = runs.latest(connection, sync_name=name)
        said = any(
            (each.reason, each.summary.get("until")) == (why.reason, until)
            for each in newest
        )
        level = events.Level.DEBUG if said else None
        self._skip(name, slot, why.reason, until=why.until, level=level)

    def _skip(
        self,
        name: str,
        slot: datetime,
        reason: str,
        *,
        until: datetime | None = None,
        level: events.Level | None = None,
    ) -> None:
        try:
            recorded = self._engine.skip(name, slot, reason, until)
        except SyncdError as error:
            emit(events.STORE_UNAVAILABLE, operation="skip", error=str(error))
            return
        if recorded:
            metrics.RUNS.labels(name, Outcome.SKIPPED.value).inc()
            metrics.run_skipped(name, reason)
            emit(
                events.RUN_SKIPPED,
                level=level,
                sync=name,
                reason=reason,
                until=until,
                due_at=slot,
            )

    def _slot_to_settle(self, name: str) -> datetime | None:
        """The newest slot, or None while the store is away: it stays to be settled."""
        try:
            return self._newest_slot(name)
        except StoreError as error:
            emit(events.STORE_UNAVAILABLE, operation="slot", error=str(error))
            return None

    def _newest_slot(self, name: str) -> datetime | None:
        """The newest due time that nobody has run, skipped or queued yet."""
        sync = self._sync(name)
        slot = self._newest_due(sync) if sync is not None else None
        slot = self._unless_settled(name, slot) if slot is not None else None
        if slot is not None and self._jobs is not None and self._jobs.waits(name, slot):
            return None
        return slot

    def _newest_due(self, sync: SyncSettings) -> datetime | None:
        """The newest due time, handled or not."""
        added = shift(self._engine.blueprint.settings, sync)
        due = latest_at_or_before(sync.schedule, self._clock.now() - added)
        return due + added if due is not None else None

    def _is_settled(self, sync: SyncSettings, since: datetime | None) -> bool:
        """Whether its newest due time is certainly handled, as `since` shows."""
        slot = self._newest_due(sync)
        if slot is None or since is None:
            return slot is None
        return slot <= since <= self._clock.now()

    def _unless_settled(self, name: str, slot: datetime) -> datetime | None:
        with self._engine.database.read() as connection:
            known_since = runs.last_slot(connection, name)
            if known_since is None:
                known_since = runs.first_seen(connection, name)
            soon = self._clock.now() + PATIENCE * self._clock.speed
            if known_since is not None and known_since > soon:
                # The clock was ahead, by years perhaps, and was put right: what was
                # settled by it says nothing about the present.
                return None if runs.is_taken(connection, name, slot) else slot
        return slot if known_since is None or slot > known_since else None

    def start(self, cut_off: Collection[str]) -> None:
        """Make up for the time before: runs that were cut off, slots that passed."""
        for sync in self._enabled():
            resume = sync.name in cut_off
            self._soon(f"start:{sync.name}", partial(self._start, sync, resume))

    def catch_up(self) -> None:
        """Look for slots that nobody handled, as when the store was away.

        Of hundreds of syncs hardly any has one: only those are looked at one by one.
        Nothing is run in the caller's thread, which the whole house shares.
        """
        syncs = self._enabled()
        with self._engine.database.read() as connection:
            settled = runs.settled_until(connection)
            put_off = self._all_put_off(connection, syncs)
        for sync in syncs:
            name, done = sync.name, self._is_settled(sync, settled.get(sync.name))
            slot = None if done else self._newest_slot(name)
            waited = self._clock.now() - slot if slot else timedelta(0)
            if slot is not None and waited > PATIENCE * self._clock.speed:
                self._soon(f"missed:{name}", partial(self._make_up, sync, slot))
            elif isinstance(sync.schedule, Once):
                if self._is_wanted_once(sync):
                    self._soon(f"one-time:{name}", partial(self._run_once, sync))
            elif slot is None and name in put_off:
                self._soon(f"put-off:{name}", partial(self.make_up_put_off, name))

    def resume(self, name: str) -> None:
        """Go on where a run was cut off. While the sync is put off, that waits too."""
        if self._jobs is not None:
            if self._engine.put_off(name) is None:
                self._jobs.put(Job(sync=name, trigger=Trigger.RESUME))
            return
        with suppress(PutOff):
            self._engine.resume(name)

    def _start(self, sync: SyncSettings, resume: bool) -> None:
        # One after the other: the slot would be skipped as an overlap otherwise.
        if resume:
            self.resume(sync.name)
        slot = self._newest_slot(sync.name)
        if slot is not None:
            self._make_up(sync, slot)
        elif isinstance(sync.schedule, Once):
            self._run_once(sync)
        else:
            self.make_up_put_off(sync.name)

    def _make_up(self, sync: SyncSettings, slot: datetime) -> None:
        if sync.name in self._engine.active():
            return  # it may be about to take just this one; whoever looks again knows
        if sync.catch_up == "skip":
            self._skip(sync.name, slot, "catch_up: skip")
            return
        why = self._engine.put_off(sync.name)
        if why is not None:
            self._put_off(sync.name, slot, why)
            return
        missed = self._missed(sync, slot)
        emit(events.RUN_MISSED, sync=sync.name, due_at=slot, missed=missed)
        self._run_slot(sync.name, slot, Trigger.CATCH_UP)

    def _enabled(self) -> list[SyncSettings]:
        return [s for s in self._engine.blueprint.settings.syncs if s.enabled]

    def _missed(self, sync: SyncSettings, slot: datetime) -> int:
        with self._engine.database.read() as connection:
            moment = runs.last_slot(connection, sync.name)
        count, added = 0, shift(self._engine.blueprint.settings, sync)
        moment = moment or slot - timedelta(seconds=1)
        while moment < slot and count < COUNTED:
            due = next_after(sync.schedule, moment - added)
            if due is None:
                break
            moment, count = due + added, count + 1
        return count

    def _run_once(self, sync: SyncSettings) -> None:
        """A one-time sync: at once, then now and again until it succeeded."""
        if self._is_wanted_once(sync):
            with suppress(Busy, PutOff, WaitsForPerson):
                self._begin(Job(sync=sync.name, trigger=Trigger.SCHEDULE))

    def _is_wanted_once(self, sync: SyncSettings) -> bool:
        """Whether it did not succeed yet, and was not tried just now."""
        with self._engine.database.read() as connection:
            well = runs.latest(
                connection, sync_name=sync.name, outcomes=runs.OK, limit=FORGOTTEN + 1
            )
            last = runs.latest(connection, sync_name=sync.name)
        pause = last and _is_within(ONCE_AGAIN, self._clock.now() - last[0].started_at)
        # Who was only removed since they asked for it, was never read from the source.
        done = any(each.trigger is not Trigger.FORGET for each in well)
        return not done and not pause

    def _sync(self, name: str) -> SyncSettings | None:
        for sync in self._engine.blueprint.settings.syncs:
            if sync.name == name and sync.enabled:
                return sync
        return None


def _is_within(span: timedelta, age: timedelta) -> bool:
    """Not so where the age is negative: the clock was put right since."""
    return timedelta(0) <= age < span
