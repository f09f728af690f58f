"""The parts of one process put together: runs, approvals, recovery.

A sync is run once at a time in a process (`Busy`), and once at a time anywhere (its
lease).
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self

from syncd.app import blackouts
from syncd.app.build import Blueprint
from syncd.app.cut_off import CutOff
from syncd.app.remembering import Remembered
from syncd.app.store import OpenStore, spool_folder
from syncd.clock import Clock
from syncd.delivery.lane import Route
from syncd.delivery.pool import Pool
from syncd.delivery.record import Recorder
from syncd.delivery.worker import Worker
from syncd.errors import PutOff, StoreUnavailable, SyncdError
from syncd.model import Trigger
from syncd.sources import Answer, Question
from syncd.store import (
    clock_steps,
    leases,
    pauses,
    runs,
    shared_clock,
)
from syncd.store.leases import Lease
from syncd.store.unsettled import Unsettled
from syncd.store.writer import Writer
from syncd.sync import credentials, decide, finish, letting_go, run_id
from syncd.sync import outbox as outbox_choice
from syncd.sync.beginning import Busy, leased
from syncd.sync.decide import Decision, NotDecidable
from syncd.sync.outbox import Choice
from syncd.sync.readers import Readers
from syncd.sync.run import run
from syncd.sync.spec import Report, Spec
from syncd.sync.steps import Parts

LAST_WRITES = 1.0
"""Seconds for what waits to be written, once the grace is over."""
LATE = timedelta(hours=1)
"""How long requests of a sync that this process does not know may land: the usual time,
as another process has newer files."""
MOMENT = 3.0
"""Seconds that a person's decision waits for a due run, which sees the held plan and
goes."""


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class UnknownSync(SyncdError):
    """The configuration has no such sync, or it is switched off."""

    code = "sync.unknown"

    def __init__(self, name: str) -> None:
        super().__init__(f"no enabled sync {name}", hint="syncd check")


class Engine:
    """Runs the syncs of a blueprint. Thread-safe."""

    def __init__(self, blueprint: Blueprint, store: OpenStore, clock: Clock) -> None:
        self.clock = clock
        self.database = store.database
        self.stop_event = blueprint.stop
        self._blueprint = blueprint
        # Whose lease is over may be taken over: what it locked must not be in the way.
        store.database.free_after(blueprint.settings.store.lease)
        self._writer = Writer(store.database, clock, blueprint.settings.store.lease)
        self._pool = Pool(
            database=store.database,
            worker=Worker(
                database=store.database,
                recorder=Recorder(writer=self._writer, clock=clock),
                clock=clock,
                hash_key=store.hash_key,
            ),
            clock=clock,
            threads=blueprint.settings.delivery_workers,
        )
        settings = blueprint.settings.store
        self._spool = spool_folder(settings.read_url(), settings.spool_dir)
        self.holder = leases.holder_name()
        self.remembered = Remembered(store.database)
        self._readers = Readers()
        self._quiet_until: dict[str, datetime] = {}
        self._cut_off = CutOff(store.database)
        self._active: set[str] = set()
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._abandoned = False
        self._away_at: float | None = None
        """When a look for abandoned runs last found no store."""

    # ---- life ------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads, and know every sync by name."""
        shared_clock.follow(self.database, self.clock)
        self._writer.start()
        self.remembered.follow()
        now = self.clock.now()
        with self.database.begin() as connection:
            for name in sorted(self._blueprint.specs):
                runs.know_sync(connection, name, now)
        self.put_right()

    def put_right(self) -> None:
        """The clock was put right, or may have been: nobody waits for years.

        By the database's, asked now: what was known of it may be older than the step.
        """
        with self.database.begin() as connection:
            shared_clock.follow_by(connection, self.clock)
            clock_steps.put_right(connection, self.clock.now())

    def stop(self) -> None:
        """Ask every run to come to rest; requests in flight may finish."""
        self.stop_event.set()
        self._pool.stop()

    def abandon(self) -> None:
        """The grace is over: leave requests in flight alone (safe by design)."""
        self._abandoned = True
        self._pool.abandon()

    def close(self) -> None:
        """Stop the threads. Every run has come to rest or was abandoned."""
        self._pool.stop()
        self._writer.stop(LAST_WRITES if self._abandoned else None)
        self._blueprint.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def replace(self, blueprint: Blueprint) -> None:
        """Use another configuration for runs that begin from now on."""
        now = self.clock.now()
        with self.database.begin() as connection:
            for name in sorted(blueprint.specs):
                runs.know_sync(connection, name, now)
        self._blueprint = blueprint

    @property
    def writer(self) -> Writer:
        """What commits small writes together."""
        return self._writer

    # ---- what it knows -----------------------------------------------------------

    @property
    def blueprint(self) -> Blueprint:
        """The configuration in use."""
        return self._blueprint

    @property
    def lossless(self) -> bool:
        """The database loses no commit when it fails over."""
        return self._blueprint.settings.store.replication == "synchronous"

    def active(self) -> list[str]:
        """The syncs being worked on in this process."""
        with self._lock:
            return sorted(self._active)

    # ---- runs ----------------------------------------------------------------------

    def run(
        self, name: str, trigger: Trigger, slot: datetime | None = None
    ) -> Report | None:
        """Run a sync now; None when its slot was taken, or it waits for a person.

        Raises `Busy` when the sync is already being run, `PutOff` while it is paused
        or, unless a person asks, in a blackout.
        """
        if trigger is not Trigger.MANUAL:
            blackouts.require_none(self._blueprint.settings, name, self.clock.now())
        with self.alone(name) as (parts, spec):
            return run(parts, spec, trigger, slot=slot)

    def skip(
        self, name: str, slot: datetime, reason: str, until: datetime | None = None
    ) -> bool:
        """Record a slot that is not run, and why; False when it was already taken."""
        now = self.clock.now()
        with self.database.begin() as connection:
            return runs.skip(
                connection,
                run_id=run_id.run_id(now, int.from_bytes(os.urandom(10))),
                sync_name=name,
                slot=slot,
                reason=reason,
                config_hash=self._blueprint.config_hash,
                now=now,
                until=until,
            )

    def put_off(self, name: str) -> PutOff | None:
        """Why no run of this sync may begin by itself now; None: it may."""
        now = self.clock.now()
        try:
            blackouts.require_none(self._blueprint.settings, name, now)
            with self.database.read() as connection:
                pauses.require_none(connection, name, now)
        except PutOff as why:
            return why
        return None

    def fetch(self, name: str) -> Answer:
        """Have a sync's list prepared for reading, for a person; reads nothing itself.

        Spends at most one download, and what it prepares is there for the next run.
        Raises `Busy`, `SourceError`, `DeliveryError`.
        """
        with self._alone(name) as (parts, spec), leased(parts, spec):
            now = self.clock.now()
            return spec.source.ask(
                Question(
                    sync=name,
                    run_id=run_id.run_id(now, int.from_bytes(os.urandom(10))),
                    database=parts.database,
                    mark=None,
                    by_person=True,
                    stop=parts.stop,
                    until=now + spec.max_runtime,
                )
            )

    @contextmanager
    def at_rest(self, name: str) -> Iterator[tuple[Parts, Lease]]:
        """The sync for the caller alone, anywhere: nothing of it is on the wire.

        What is written meanwhile is written under the lease. Raises `Busy` while it is
        being run.
        """
        with self._alone(name) as (parts, spec), leased(parts, spec) as lease:
            yield parts, lease

    @contextmanager
    def alone(self, name: str) -> Iterator[tuple[Parts, Spec]]:
        """The sync for the caller alone in this process, to begin a run of it.

        A plan that nobody decided on in time is dropped first. Raises `Busy`.
        """
        with self._alone(name) as alone:
            decide.expire(self.database, name, self.clock.now())
            yield alone

    def approve(self, decision: Decision) -> Report | None:
        """Send exactly the held plan. Raises `NotDecidable`, `Busy`."""
        with self._alone(self._sync_of(decision), MOMENT) as (parts, spec):
            return decide.approve(parts, spec, decision)

    def reject(self, decision: Decision) -> None:
        """Drop the held plan and keep the baseline. Raises `NotDecidable`, `Busy`."""
        with self._alone(self._sync_of(decision), MOMENT) as (parts, spec):
            decide.reject(parts, spec, decision)

    def let_go(self, name: str) -> Report | None:
        """Have a sync let go of who is to be forgotten; None where no run was needed.

        Raises `Busy`, `PutOff` while it is paused, `WaitsForPerson` while it is held.
        """
        with self._alone(name) as (parts, spec):
            decide.expire(self.database, name, self.clock.now())
            return letting_go.let_go(parts, spec)

    def retry_batches(self, name: str, choice: Choice) -> Report | None:
        """Send open and dead batches again. Raises `NotSteerable`, `Busy`."""
        with self._alone(name) as (parts, spec):
            return outbox_choice.try_again(parts, spec, choice)

    def drop_batches(self, name: str, choice: Choice) -> Sequence[Unsettled]:
        """Give open batches up. Raises `NotSteerable`, `Busy`."""
        with self._alone(name) as (parts, spec):
            return outbox_choice.drop(parts, spec, choice)

    def close_abandoned(self) -> list[str]:
        """Close the runs that a dead process left; returns the syncs to go on with.

        A run of another live process, or one in progress here, is left alone. Back from
        a while without the store, so is that of one that may live: it had no way to
        renew its lease either.
        """
        try:
            with self.database.read() as connection:
                unfinished = runs.unfinished(connection)
        except StoreUnavailable:
            self._away_at = self.clock.monotonic()
            raise
        # Asked after the rows: whoever made a row in this process is active by now, or
        # has closed it.
        active = self.active()
        for each in unfinished:
            if each.sync not in active and self._dead(each):
                spec = self.blueprint.specs.get(each.sync)
                late = spec.late_landings if spec is not None else LATE
                finish.close_abandoned(
                    self.database,
                    each,
                    clock=self.clock,
                    holder=self.holder,
                    late_landings=late,
                )
        return self._cut_off.among(self._blueprint.specs)

    def resume(self, name: str) -> Report | None:
        """Go on where a run was cut off: its open batches, or else a new run."""
        rest = self._cut_off.rest(name)
        if rest is None:
            return None
        made = self.run(name, rest.trigger)
        if made is not None:
            self._cut_off.was_gone_on(rest)
        return made

    def probe_connections(self) -> None:
        """Try the credentials of stopped connections whose probe is due."""
        probes = {
            name: free_call
            for spec in self._blueprint.specs.values()
            for name, free_call in spec.probes.items()
        }
        for name, free_call in probes.items():
            credentials.probe(self.database, self.clock, name, free_call)

    # ---- inside ----------------------------------------------------------------------

    @contextmanager
    def _alone(self, name: str, patience: float = 0.0) -> Iterator[tuple[Parts, Spec]]:
        """The sync for this thread alone, with the routes it begins with.

        A configuration that is replaced meanwhile counts for the next run. Raises
        `Busy` where it is not free after `patience` seconds.
        """
        blueprint = self._blueprint
        spec = blueprint.specs.get(name)
        if spec is None:
            raise UnknownSync(name)
        with self._lock:
            if not self._left.wait_for(lambda: name not in self._active, patience):
                raise Busy(f"{name} is already running", hint=f"syncd show {name}")
            self._active.add(name)
        try:
            yield self._parts(blueprint.routes[name]), spec
        finally:
            with self._lock:
                self._active.discard(name)
                self._left.notify_all()

    def _parts(self, route: Route) -> Parts:
        return Parts(
            database=self.database,
            writer=self._writer,
            settle=partial(self._pool.settle, route=route),
            clock=self.clock,
            spool=self._spool,
            holder=self.holder,
            lease_ttl=self._blueprint.settings.store.lease,
            lossless=self.lossless,
            stop=self.stop_event,
            readers=self._readers,
            quiet_until=self._quiet_until,
        )

    def _sync_of(self, decision: Decision) -> str:
        with self.database.read() as connection:
            found = runs.find(connection, decision.run_id)
        if len(found) != 1:
            raise NotDecidable(
                f"no run {decision.run_id}", code="hold.none", hint="syncd runs"
            )
        return found[0].sync

    def _dead(self, found: runs.Run) -> bool:
        now, away_at = self.clock.wall(), self._away_at
        soon = leases.renew_every(self._blueprint.settings.store.lease)
        if (
            away_at is not None
            and self.clock.monotonic() - away_at < soon.total_seconds()
        ):
            now = _LONG_AGO  # by then every lease was good
        with self.database.read() as connection:
            return not leases.in_other_hands(connection, found.sync, self.holder, now)
