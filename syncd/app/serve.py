"""The daemon: everything that goes on while nobody looks.

Start: store, engine, control socket, recovery, scheduler. Stop, in reverse: no new
runs, requests in flight finish within the grace, goodbye row, exit 0. A second
signal, or the end of the grace, leaves the requests in flight alone: their ids are
uncertain and the next start asserts them again.
"""

import gc
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from syncd import events, metrics
from syncd.app import pausing, pruning
from syncd.app.beating import beat
from syncd.app.build import blueprint
from syncd.app.control_socket import open_control_socket
from syncd.app.engine import Engine
from syncd.app.forgetting import LettingGo
from syncd.app.gauges import StoreGauges, expect
from syncd.app.health import Health
from syncd.app.jobs import Unattended, open_jobs
from syncd.app.listening import Listening
from syncd.app.reacting import Reacting
from syncd.app.reloading import Load, Reloads, Replacing
from syncd.app.resting import Resting
from syncd.app.signals import STOP, end_at_once, next_signal, say_refused
from syncd.app.slots import Slots, timings
from syncd.app.store import OpenStore
from syncd.app.telling import Telling
from syncd.clock import Clock
from syncd.config.settings import Loaded, Settings
from syncd.events import emit
from syncd.scheduler import PULSE, Ticker
from syncd.store import leases
from syncd.store.installation import Role

HEARTBEAT = timedelta(seconds=10)
PROBE = timedelta(seconds=60)
PRUNE = timedelta(hours=24)
"""On the daemon's clock, as all that is pruned grows by it."""
REFUSED = timedelta(seconds=60)
RECOVER = timedelta(seconds=60)
"""Between two looks for what nobody went on with."""
HAND_OVER = timedelta(seconds=5)
"""The same where others may die, or give back what they hold as they end."""
FORGET = timedelta(seconds=60)
"""Between two looks for syncs that have to let go of somebody."""
FOLLOW = timedelta(seconds=5)
"""Until this process knows whom another one was told to forget."""
PAUSES = timedelta(seconds=5)
"""On the daemon's clock: how late the end of a pause is noticed."""
SHORTEST = timedelta(milliseconds=200)
"""Real time between two looks, however fast that clock runs."""
LOOK = timedelta(seconds=5)
"""The main thread looks at its signals and at the machine's clock this often."""
CLOCK_STEP = timedelta(seconds=30)
"""A wall clock that moved this much more or less than timers did was set; or the
machine slept."""


class Server:
    """One daemon process."""

    def __init__(
        self, loaded: Loaded, load: Load, store: OpenStore, clock: Clock
    ) -> None:
        self._clock = clock
        self._files = loaded.files
        built = blueprint(loaded.settings, loaded.config_hash, clock, store.database)
        self._engine = Engine(built, store, clock)
        jobs = open_jobs(loaded.settings, store.database)
        self._slots = Slots(self._engine, clock, self._soon, jobs)
        self._reacting = Reacting(self._engine, clock, self._soon, jobs)
        self._unattended = Unattended(store.database, clock, jobs) if jobs else None
        self._ticker = Ticker(
            clock, due=self._slots.due, overlapped=self._slots.overlapped
        )
        self._health = Health(
            store.database, clock, accepting=lambda: self._listening.is_accepting
        )
        self._listening = Listening(
            self._engine, clock, self._health, again=self._again
        )
        self._started_at = clock.wall()
        self._configuration = Replacing(self._engine, load)
        self._letting_go = LettingGo(self._engine, self._soon)
        self._reloads = Reloads(self._engine.stop_event, clock)
        refusal = self._reloads.why_refused
        self._telling = Telling(self._engine, clock, self._health, refusal)

    def serve(self) -> None:
        """Work until a signal says stop. Call it in the main thread, after `block`."""
        with ExitStack() as stack:
            stack.callback(self._engine.close)
            self._engine.start()
            self._health.tick()
            self._beat()
            cut_off = self._engine.close_abandoned()
            # Only now: a run asked for earlier would look like one of a dead process.
            open_control_socket(
                stack, self._engine, self._health, self._reloads, self._again
            )
            # Before anything is sent: who stops here has nothing in flight.
            stack.callback(self._listening.stop)
            self._listening.start()
            gauges = StoreGauges(self._engine.database, self._settings, self._clock)
            metrics.REGISTRY.register(gauges)
            stack.callback(metrics.REGISTRY.unregister, gauges)
            expect(self._settings())
            metrics.config_read(good=True, at=self._clock.wall().timestamp())
            # It takes a moment, in which nobody watches the clock.
            shorten_pauses()
            # Due times are computed by the clock as it is: set later, it is noticed.
            shown = _shown(self._clock)
            self._ticker.start(timings(self._engine.blueprint.settings))
            self._say_started()
            self._keep_house()
            stack.callback(self._telling.stop)
            self._telling.start()
            self._slots.start(cut_off)
            forced = self._stop(self._watch(shown))
        if forced:
            end_at_once()

    def _settings(self) -> Settings:
        return self._engine.blueprint.settings

    def _soon(self, name: str, action: Callable[[], object]) -> None:
        self._ticker.soon(name, partial(say_refused, action))

    # ---- housekeeping --------------------------------------------------------------

    def _keep_house(self) -> None:
        self._ticker.every(HEARTBEAT, PULSE, self._health.tick)
        self._ticker.every(HEARTBEAT, "heartbeat", partial(say_refused, self._beat))
        probe = self._engine.probe_connections
        self._ticker.every(PROBE, "probe", partial(say_refused, probe))
        prune = max(PRUNE / self._clock.speed, HEARTBEAT)
        pruned = partial(pruning.prune, self._engine)
        self._ticker.every(prune, "prune", partial(self._soon, "prune", pruned))
        recover = partial(say_refused, self._recover)
        self._ticker.every(self._recover_every(), "recover", recover)
        if self._unattended is not None:
            unattended = partial(say_refused, self._unattended.look)
            self._ticker.every(RECOVER, "unattended", unattended)
        missed = partial(say_refused, self._slots.catch_up)
        self._ticker.every(RECOVER, "missed", missed)
        self._ticker.every(REFUSED, "refused", self._listening.say_refused)
        pauses = max(PAUSES / self._clock.speed, SHORTEST)
        self._ticker.every(pauses, "pauses", partial(say_refused, self._end_pauses))
        letting_go = partial(say_refused, self._letting_go.look)
        self._ticker.every(FORGET, "forget", letting_go)
        self._ticker.every(FOLLOW, "forgotten", partial(say_refused, self._follow))
        self._soon("prune", pruned)
        self._react()

    def _react(self) -> None:
        """Look for news, from now on where a configuration asks for it first."""
        if self._reacting.is_wanted:
            self._ticker.every(self._reacting.period(), "news", self._reacting.look)

    def _recover_every(self) -> timedelta:
        if self._engine.database.dialect == "sqlite":
            return RECOVER
        return min(HAND_OVER, leases.renew_every(self._settings().store.lease))

    def _recover(self) -> None:
        """Go on where another process died meanwhile (several on one Postgres)."""
        for name in self._engine.close_abandoned():
            self._soon(f"resume:{name}", partial(self._slots.resume, name))

    def _end_pauses(self) -> None:
        """What a pause put off runs as soon as its time is over."""
        for name in pausing.end_pauses(self._engine.database, self._clock.now()):
            self._again(name)

    def _follow(self) -> None:
        """Another process may have been told whom to forget."""
        self._engine.remembered.follow()

    def _again(self, name: str) -> None:
        self._soon(f"again:{name}", partial(self._slots.make_up_put_off, name))

    def _beat(self) -> None:
        beat(self._engine, self._clock, self._started_at, Role.DAEMON)

    def _say_started(self) -> None:
        emit(
            events.CONFIG_LOADED,
            files=list(self._files),
            config_hash=self._engine.blueprint.config_hash,
            syncs=len(self._engine.blueprint.specs),
        )
        emit(
            events.DAEMON_STARTED,
            config_hash=self._engine.blueprint.config_hash,
            syncs=len(self._engine.blueprint.specs),
            pid=os.getpid(),
            store=self._engine.database.library,
            speed=self._clock.speed if self._clock.speed != 1 else None,
        )

    # ---- signals -------------------------------------------------------------------

    def _watch(self, shown: "Shown") -> int:
        """Wait for signals in short steps; notice when a clock was set since `shown`.

        Returns the signal that ends it.
        """
        while True:
            number = next_signal(LOOK.total_seconds())
            if number in STOP:
                return number
            if number == signal.SIGHUP:
                self._reloads.answer(self._reload)
            before, shown = shown, _shown(self._clock)
            if _was_set(before, shown):
                self._ticker.rebuild()
                self._soon("clock", self._engine.put_right)

    def _reload(self) -> Mapping[str, Any]:
        """Use the changed configuration; returns what changed.

        Raises `SyncdError`, and the old one stays.
        """
        done = self._configuration.replace(self._listening.follow)
        expect(self._settings())
        self._ticker.replace(timings(self._settings()))
        self._react()
        self._soon("catch-up", self._slots.catch_up)
        return done

    # ---- the end --------------------------------------------------------------------

    def _stop(self, number: int) -> bool:
        """Come to rest; True when requests or reads had to be left alone."""
        resting = Resting(self._engine, self._clock, number)
        self._engine.stop()
        self._ticker.stop(wait=False)
        rested = self._listening.stop(resting.left)
        resting.wait_for_runs()
        rested = self._ticker.is_at_rest(resting.left) and rested
        return resting.end(rested=rested, close=self._configuration.close)


Shown = tuple[datetime, datetime, float]
"""The clock that counts, the machine's, and the one that waits go by."""


def _shown(clock: Clock) -> Shown:
    return clock.wall(), clock.machine(), clock.awake()


def _was_set(before: Shown, now: Shown) -> bool:
    passed = timedelta(seconds=now[2] - before[2])
    drifts = (now[0] - before[0] - passed, now[1] - before[1] - passed)
    return any(abs(drift) > CLOCK_STEP for drift in drifts)


def shorten_pauses() -> None:
    """What is loaded by now stays for good: the collector need not look at it again.

    Otherwise each full collection holds up every thread for some 40 ms, and at
    thousands of events a second there are several in a minute.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
