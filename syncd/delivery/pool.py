"""Four threads for each connection, which serve its lanes: one request at a time for
one cohort.

`settle` is called by a run and returns when its batches came to rest. Batches are
claimed only for a run in progress, so between runs nothing of a sync is on the wire.

What hangs delays as few others as it can. A connection that hangs has threads of its
own, so no batch ever waits for a request of another connection. Among the syncs of one
connection, those whose last request was slow never have all threads: one is left for
the others, so a batch waits for at most one deadline of each that begins to hang, and
for none of those that are known to.
"""

import contextvars
import threading
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

from syncd import events
from syncd.clock import Clock
from syncd.delivery.endings import (
    interrupted,
    knows_nobody,
    outcome_of,
    rejects_everybody,
)
from syncd.delivery.lane import Lane, Route
from syncd.delivery.pacing import Pacing
from syncd.delivery.step import Step, ended
from syncd.delivery.turn import Wait
from syncd.delivery.way import Way
from syncd.delivery.worker import Worker
from syncd.errors import StoreError
from syncd.events import emit
from syncd.log import bound
from syncd.model import Settled, Settlement
from syncd.store import bindings, connections, outbox
from syncd.store.database import Database
from syncd.store.leases import Lease
from syncd.store.outbox import Waiting

MAX_EMPTY_CREATIONS = 10
"""Batches of strangers after which a creation is given up for this run."""
MAX_REJECTIONS = 100
"""Ids refused one by one, none accepted in between, after which a run gives up: the
list is gone or nobody is known there, and every batch would be halved to bits."""
IDLE = 5.0
"""Real seconds a thread waits at most before it looks at the clock again."""
SLOW = 0.5
"""A request that took more than this share of its deadline was slow."""


class Pool:
    """The delivery threads. Every public method may be called from any thread."""

    def __init__(
        self, *, database: Database, worker: Worker, clock: Clock, threads: int
    ) -> None:
        self._database = database
        self._worker = worker
        self._clock = clock
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        """For the delivery threads: there may be something to send."""
        self._rested: dict[str, threading.Condition] = {}
        """For the run that waits for its lane, by run id: with hundreds of runs, each
        answer would wake all of them otherwise."""
        self._lock = lock
        self._lanes: list[Lane] = []
        self._pacing = Pacing()
        self._slow: set[str] = set()
        """Syncs whose last request was slow, of whatever run."""
        self._stopping = False
        self._abandoned = False
        self._threads = threads
        """The most that one connection has."""
        self._working: Counter[str] = Counter()
        """Threads there are, by connection."""

    def stop(self) -> None:
        """Take no new batch; requests in flight may finish."""
        with self._changed:
            self._stopping = True
            for lane in self._lanes:
                lane.end(interrupted())
            self._changed.notify_all()
            self._wake_runs()

    def abandon(self) -> None:
        """The grace is over: do not wait for the requests in flight any longer.

        Safe: their ids are uncertain until an answer is durable.
        """
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
            self._wake_runs()

    def _wake_runs(self) -> None:
        for rested in self._rested.values():
            rested.notify_all()

    def settle(
        self,
        *,
        route: Route,
        lease: Lease,
        run_id: str,
        not_before: datetime,
        until: datetime,
    ) -> Settlement:
        """Send the open batches of a run, in order; returns when they came to rest.

        Nothing goes before `not_before`; after `until` no further batch is sent.
        """
        lane = self._open_lane(route, lease, run_id, not_before)
        try:
            self._wait_for(lane, until)
        finally:
            with self._changed:
                self._lanes.remove(lane)
                self._rested.pop(run_id, None)
                in_flight = not lane.at_rest()
        return replace(outcome_of(lane), in_flight=in_flight)

    def _open_lane(
        self, route: Route, lease: Lease, run_id: str, not_before: datetime
    ) -> Lane:
        with self._database.read() as connection:
            waiting = outbox.waiting(connection, run_id)
            state = connections.get(connection, route.connection)
            worked_on = {each.binding_id for each in waiting}
            unbound = any(
                bindings.get(connection, each).external_id is None for each in worked_on
            )
        lane = Lane(
            run_id=run_id,
            lease=lease,
            route=route,
            not_before=not_before,
            unbound=unbound,
            mixed=len(worked_on) > 1,
        )
        lane.queue.extend(waiting)
        if any(each.retry_at is None for each in waiting):
            lane.end(Settlement(state=Settled.WAITING, code="retries"))
        with self._changed:
            if state.throttled_until is not None:
                now = self._clock.now()
                self._pacing.throttle(route.connection, state.throttled_until, now)
            if self._stopping:
                lane.end(interrupted())
            self._employ(lane)
            self._lanes.append(lane)
            self._rested[run_id] = threading.Condition(self._lock)
            self._changed.notify_all()
        return lane

    def _wait_for(self, lane: Lane, until: datetime) -> None:
        with self._changed:
            while not lane.settled() and not self._abandoned:
                left = until - self._clock.now()
                if left <= timedelta(0) and not lane.ended:
                    lane.end(Settlement(state=Settled.WAITING, code="max_runtime"))
                    continue  # it may be settled by that
                rested = self._rested[lane.run_id]
                rested.wait(self._real(left) if not lane.ended else IDLE)

    # ---- the threads ----------------------------------------------------------

    def _employ(self, lane: Lane) -> None:
        """Start the threads that this lane and its connection's others have work for.

        They end when the connection has no lane any more. One is enough where the
        system gives no more; raises `RuntimeError` where it gives none.
        """
        name = lane.route.connection
        lanes = [*self._of(name), lane]
        # One more for each lane: it sends while what was answered is made durable.
        most = sum(each.route.sink.capabilities.max_in_flight + 1 for each in lanes)
        while self._working[name] < min(self._threads, most):
            number = self._working[name] + 1
            thread = threading.Thread(
                target=self._work,
                args=(name,),
                name=f"delivery-{name}-{number}",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError:
                if self._working[name]:
                    return
                raise
            self._working[name] = number

    def _work(self, connection: str) -> None:
        while (job := self._next_job(connection)) is not None:
            lane, waiting = job
            with bound(sync=lane.lease.sync, run_id=lane.run_id):
                step = contextvars.copy_context().run(self._safely, lane, waiting)
            self._apply(lane, step)

    def _note_speed(self, lane: Lane, seconds: float) -> None:
        limit = lane.route.request_deadline.total_seconds() * SLOW
        with self._changed:
            if seconds > limit:
                self._slow.add(lane.lease.sync)
            else:
                self._slow.discard(lane.lease.sync)

    def _safely(self, lane: Lane, waiting: Waiting) -> Step:
        way = Way(lane, self._changed)
        step = self._carried_out(lane, waiting, way)
        return replace(step, made_way=way.made)

    def _carried_out(self, lane: Lane, waiting: Waiting, way: Way) -> Step:
        try:
            if not self._has_turn(lane, waiting):
                return Step(put_back=[waiting])
            started = self._clock.monotonic()
            step = self._worker.step(lane, waiting, way.make)
            self._note_speed(lane, self._clock.monotonic() - started)
            return step
        except StoreError as error:
            emit(events.STORE_UNAVAILABLE, operation="deliver", error=str(error))
            return ended(Settled.LOST, error)
        except Exception as error:  # noqa: BLE001  # one bug must not stop every lane
            emit(
                events.DAEMON_CRASHED,
                thread=threading.current_thread().name,
                error=f"{type(error).__name__} while delivering",
                error_type="internal",
                exc_info=True,
            )
            return Step(ended=Settlement(state=Settled.LOST, code="internal"))
        finally:
            if lane.route.turn is not None:
                lane.route.turn.leave()

    def _has_turn(self, lane: Lane, waiting: Waiting) -> bool:
        """Wait until the batch may go among those of all processes; False: not now."""
        turn, wait, waited = lane.route.turn, Wait(granted=False), False
        if turn is None:
            return True
        while not wait.granted and self._goes_on(lane):
            wait = turn.ask(waiting.n, waited=waited)
            waited = self._sit_out(lane, waiting, wait)
        return wait.granted and self._goes_on(lane)

    def _sit_out(self, lane: Lane, waiting: Waiting, wait: Wait) -> bool:
        """Let the time pass, unless the lane ends; True when it has."""
        until = self._clock.monotonic() + wait.seconds
        with self._changed:
            if wait.granted:
                # Whoever of this process is next asks when this one's time is over.
                behind = timedelta(seconds=wait.seconds * self._clock.speed)
                self._pacing.sent(lane.route, waiting.n, self._clock.now(), behind)
            while (left := until - self._clock.monotonic()) > 0:
                if not self._goes_on(lane):
                    return False
                self._changed.wait(min(left, IDLE))
        return True

    def _goes_on(self, lane: Lane) -> bool:
        return not self._stopping and lane.ended is None

    def _next_job(self, connection: str) -> tuple[Lane, Waiting] | None:
        """The next batch of a connection; None when it has no lane any more."""
        with self._changed:
            while not self._stopping and self._of(connection):
                now = self._clock.now()
                if (job := self._take(now, connection)) is not None:
                    return job
                self._changed.wait(self._pause(now, connection))
            self._working[connection] -= 1
        return None

    def _take(
        self, now: datetime, connection: str | None = None
    ) -> tuple[Lane, Waiting] | None:
        """A batch that may go now; it leaves its lane's queue. None if none may."""
        for lane in self._of(connection):
            if self._free_at(lane, now) > now or self._must_yield(lane):
                continue
            waiting = lane.next_ready(now)
            if waiting is not None:
                self._pacing.sent(lane.route, waiting.n, now)
                # The next thread starts with the next lane.
                self._lanes.remove(lane)
                self._lanes.append(lane)
                return lane, waiting
        return None

    def _of(self, connection: str | None) -> list[Lane]:
        """The lanes of a connection, or all of them."""
        if connection is None:
            return self._lanes
        return [lane for lane in self._lanes if lane.route.connection == connection]

    def _must_yield(self, lane: Lane) -> bool:
        """Whether it is slow, and the slow ones have all threads that they may have."""
        if lane.lease.sync not in self._slow:
            return False
        busy = sum(
            each.in_flight
            for each in self._of(lane.route.connection)
            if each.lease.sync in self._slow
        )
        return busy >= max(1, self._threads - 1)

    def _pause(self, now: datetime, connection: str | None = None) -> float:
        """Real seconds until some batch may go, at most `IDLE`."""
        times = [
            max(ready, self._free_at(lane, now))
            for lane in self._of(connection)
            if (ready := lane.ready_at()) is not None and not self._must_yield(lane)
        ]
        return self._real(min(times) - now) if times else IDLE

    def _real(self, virtual: timedelta) -> float:
        seconds = virtual.total_seconds() / self._clock.speed
        return min(max(seconds, 0.0), IDLE)

    def _free_at(self, lane: Lane, now: datetime) -> datetime:
        """When the lane's next request may go."""
        return max(lane.not_before, self._pacing.free_at(lane.route.connection, now))

    def _apply(self, lane: Lane, step: Step) -> None:
        with self._changed:
            if step.made_way:
                lane.recording -= 1
            else:
                lane.in_flight -= 1
            lane.put_back(step.put_back)
            if step.throttled_until is not None:
                now, name = self._clock.now(), lane.route.connection
                self._pacing.throttle(name, step.throttled_until, now)
            if step.ended is not None:
                lane.end(step.ended)
                self._end_neighbours(lane, step.ended)
            if step.bound:
                lane.unbound = False
            if step.empty_creation:
                self._count_empty_creation(lane)
            self._count_rejections(lane, step)
            self._changed.notify_all()
            if lane.settled() and (rested := self._rested.get(lane.run_id)):
                rested.notify_all()

    def _end_neighbours(self, lane: Lane, settlement: Settlement) -> None:
        """Refused credentials stop every lane of the connection at once."""
        if settlement.state is not Settled.CREDENTIALS:
            return
        for other in self._lanes:
            if other.route.connection == lane.route.connection:
                other.end(settlement)
        self._wake_runs()

    def _count_empty_creation(self, lane: Lane) -> None:
        lane.empty_creations += 1
        if lane.empty_creations >= MAX_EMPTY_CREATIONS and lane.queue:
            lane.end(knows_nobody(MAX_EMPTY_CREATIONS))

    def _count_rejections(self, lane: Lane, step: Step) -> None:
        lane.accepted += step.accepted
        lane.rejected += step.rejected
        lane.rejections = 0 if step.accepted else lane.rejections + step.rejected
        if lane.rejections >= MAX_REJECTIONS and lane.queue:
            lane.end(rejects_everybody(Settled.REFUSED, lane.rejections))
