"""A worker: runs what daemons defer to it, on any machine beside the same Postgres.

It looks at no schedule. Whatever it runs it runs as a daemon would: under the sync's
lease, and after a look whether it is paused, in a blackout or held. Its stop is a
daemon's: no new jobs, requests in flight finish within the grace, and who was cut off
is queued again, so that another worker goes on at once.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from signal import SIGHUP
from typing import Any

from syncd import events, metrics
from syncd.app.beating import beat
from syncd.app.build import blueprint
from syncd.app.engine import Engine
from syncd.app.gauges import expect
from syncd.app.health import Health
from syncd.app.jobs import open_queue
from syncd.app.probed import Probed
from syncd.app.reloading import Load, Reloads, Replacing
from syncd.app.resting import Resting
from syncd.app.signals import STOP, end_at_once, next_signal, say_refused
from syncd.app.slots import Slots
from syncd.app.store import OpenStore
from syncd.clock import Clock
from syncd.cluster.job import Job
from syncd.config.settings import Listen, Loaded, Settings
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.model import Trigger
from syncd.scheduler import PULSE, Ticker
from syncd.store import runs
from syncd.store.installation import Role

HEARTBEAT = timedelta(seconds=10)
REFUSED = timedelta(seconds=60)
FOLLOW = timedelta(seconds=5)
"""Until this process knows whom another one was told to forget."""
LOOK = 5.0
"""Real seconds between two looks of the main thread."""


class NoWorkers(SyncdError):
    """The daemon runs everything by itself."""

    code = "cluster.embedded"


def require_workers(settings: Settings) -> None:
    """Raise `NoWorkers` where nothing is ever queued for one."""
    if settings.cluster == "embedded":
        raise NoWorkers(
            "this configuration has no workers: the daemon runs everything by itself "
            "(cluster: embedded)",
            hint="syncd serve",
        )


class Working:
    """One worker process."""

    def __init__(
        self,
        loaded: Loaded,
        load: Load,
        store: OpenStore,
        clock: Clock,
        at_once: int,
        listen: Listen | None = None,
    ) -> None:
        """`at_once`: runs that it carries out at the same time; `listen`: where probes
        and Prometheus find it."""
        self._clock = clock
        self._at_once = at_once
        self._jobs = open_queue(loaded.settings, store.database)
        built = blueprint(loaded.settings, loaded.config_hash, clock, store.database)
        self._engine = Engine(built, store, clock)
        self._ticker = Ticker(clock, due=_nothing, overlapped=_nothing)
        self._slots = Slots(self._engine, clock, _right_here)
        from syncd.cluster.taking import Taking  # the library is an extra

        self._taking = Taking(
            store.database, at_once, carry_out=self._carry_out, left=self._left
        )
        self._started_at = clock.wall()
        self._reloads = Reloads(self._engine.stop_event, clock)
        self._configuration = Replacing(self._engine, load)
        self._health = Health(
            store.database, clock, accepting=lambda: self._taking.is_taking
        )
        self._probed = Probed(self._engine, self._health, listen) if listen else None

    def work(self) -> None:
        """Work until a signal says stop. Call it in the main thread, after `block`."""
        with ExitStack() as stack:
            stack.callback(self._engine.close)
            self._engine.start()
            self._health.tick()
            self._beat()
            expect(self._engine.blueprint.settings)
            if self._probed is not None:
                self._probed.open(stack)
            self._ticker.start(())
            self._ticker.every(HEARTBEAT, PULSE, self._tick)
            self._ticker.every(HEARTBEAT, "heartbeat", partial(say_refused, self._beat))
            follow = partial(say_refused, self._engine.remembered.follow)
            self._ticker.every(FOLLOW, "forgotten", follow)
            if self._probed is not None:
                self._ticker.every(REFUSED, "refused", self._probed.say_refused)
            self._say_started()
            self._taking.start()
            forced = self._stop(self._watch())
        if forced:
            end_at_once()

    # ---- jobs ------------------------------------------------------------------------

    def _carry_out(self, job: Job) -> None:
        """In a thread of the queue's worker."""
        say_refused(partial(self._slots.carry_out, job), sync=job.sync)
        if self._engine.stop_event.is_set():
            say_refused(partial(self._hand_on, job.sync), sync=job.sync)

    def _hand_on(self, sync: str) -> None:
        """Whoever was cut off here is gone on with elsewhere, at once."""
        if sync in self._engine.close_abandoned():
            self._jobs.put(Job(sync=sync, trigger=Trigger.RESUME), instead=True)

    def _left(self, job: Job) -> bool:
        """A silent worker had this job: whether another one is to have it.

        Not where its run began: that is gone on with by a job of its own. Raises
        `StoreError`.
        """
        for sync in self._engine.close_abandoned():
            self._jobs.put(Job(sync=sync, trigger=Trigger.RESUME))
        if job.slot is None:
            return True
        with self._engine.database.read() as connection:
            return not runs.is_taken(connection, job.sync, job.slot)

    # ---- housekeeping ----------------------------------------------------------------

    def _beat(self) -> None:
        if not self._is_beyond_help():
            beat(self._engine, self._clock, self._started_at, Role.WORKER)

    def _tick(self) -> None:
        if not self._is_beyond_help():
            self._health.tick()

    def _is_beyond_help(self) -> bool:
        """By a bug: whoever looks after this process starts another one."""
        return self._taking.has_ended and not self._engine.stop_event.is_set()

    def _say_started(self) -> None:
        metrics.config_read(good=True, at=self._clock.wall().timestamp())
        emit(
            events.WORKER_STARTED,
            config_hash=self._engine.blueprint.config_hash,
            syncs=len(self._engine.blueprint.specs),
            at_once=self._at_once,
            pid=os.getpid(),
            store=self._engine.database.library,
            speed=self._clock.speed if self._clock.speed != 1 else None,
        )

    # ---- signals and the end ---------------------------------------------------------

    def _watch(self) -> int:
        """Wait for signals; returns the one that ends it."""
        while True:
            number = next_signal(LOOK)
            if number in STOP:
                return number
            if number == SIGHUP:
                self._reloads.answer(self._reload)

    def _reload(self) -> Mapping[str, Any]:
        """Use the changed configuration. Raises `SyncdError`, and the old one stays."""
        done = self._configuration.replace(_as_it_is)
        expect(self._engine.blueprint.settings)
        return done

    def _stop(self, number: int) -> bool:
        """Come to rest; True when requests or reads had to be left alone."""
        resting = Resting(self._engine, self._clock, number)
        self._taking.stop()
        self._engine.stop()
        self._ticker.stop(wait=False)
        resting.wait_for_runs()
        rested = self._taking.is_at_rest(resting.left)
        rested = self._ticker.is_at_rest(resting.left) and rested
        return resting.end(rested=rested, close=self._configuration.close)


def _right_here(_name: str, action: Callable[[], object]) -> None:
    """A job has a thread already."""
    action()


def _as_it_is(_settings: Settings) -> None:
    """A worker has no door that would have to follow."""


def _nothing(_sync: str) -> None:
    """A worker is told what to run."""
