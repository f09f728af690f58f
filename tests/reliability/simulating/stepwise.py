"""One process of ours in the caller's thread, on a clock that only it moves.

Engine, runs, pool decisions, worker, recorder and store are the product's. Replaced
are only the threads: who waits for a lane does its work, who hands in a write commits
it, and where nothing may go now the clock jumps to when something may. So what happens
depends on nothing but what a test drew, and 128 seconds of back-off cost microseconds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar

from sqlalchemy import Connection

from syncd.app.build import Blueprint
from syncd.app.engine import Engine
from syncd.app.store import OpenStore
from syncd.clock import Clock
from syncd.delivery.lane import Lane
from syncd.delivery.pool import Pool
from syncd.delivery.record import Recorder
from syncd.delivery.worker import Worker
from syncd.errors import StoreUnavailable
from syncd.model import Settled, Settlement
from syncd.store.database import Database
from syncd.store.leases import TTL, renew_every
from syncd.store.writer import Writer
from tests.builders import HASH_KEY, NOW, ManualClock, Mortal

T = TypeVar("T")


class VirtualClock(ManualClock):
    """Moves when it is told to; also its durations. It may be set wrong."""

    def __init__(self, at: datetime = NOW) -> None:
        super().__init__(at)
        object.__setattr__(self, "_ran", [0.0])

    def advance(self, by: timedelta) -> None:
        """Time passes."""
        super().advance(by)
        self.__dict__["_ran"][0] += by.total_seconds()

    def step(self, by: timedelta) -> None:
        """Somebody sets the clock; no time passes."""
        super().advance(by)

    def monotonic(self) -> float:
        """Seconds that passed, whatever the clock was set to."""
        ran: float = self.__dict__["_ran"][0]
        return ran

    def true(self) -> datetime:
        """What a clock shows that nobody ever set."""
        return NOW + timedelta(seconds=self.monotonic())


class FaultyStore(Mortal):
    """The store as one process sees it: chosen transactions of it go wrong.

    `orders` says what becomes of the n-th write transaction from now:
    `die` before it, `die_inside` before its commit, `die_after`; `fail` before it
    (locked), `fail_inside` (disk full), `fail_after` (it took place, and the connection
    broke before that was told). `committed` is called after each that took place.
    """

    def __init__(self, whole: Database, committed: Callable[[], None]) -> None:
        super().__init__(whole)
        self._store = whole
        self._committed = committed
        self.orders: dict[int, str] = {}
        self._unreadable = 0

    def order(self, transaction: int, what: str) -> None:
        """What becomes of the n-th write transaction from now."""
        self.orders.setdefault(transaction, what)

    def fail_reads(self, count: int) -> None:
        """The next reads fail."""
        self._unreadable = count

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.orders.clear()
        self._unreadable = 0

    @contextmanager
    def begin(self, *, brief: bool = False) -> Iterator[Connection]:
        self._alive()
        what = self._next_order()
        if what in ("die", "fail"):
            self._end(what)
        with self._store.begin(brief=brief) as connection:
            yield connection
            if what in ("die_inside", "fail_inside"):
                self._end(what)
            self._alive()
        self._committed()
        if what in ("die_after", "fail_after"):
            self._end(what)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self._alive()
        if self._unreadable:
            self._unreadable -= 1
            raise StoreUnavailable("the store failed: database is locked")
        with self._store.read() as connection:
            yield connection

    def _next_order(self) -> str:
        self.orders = {n - 1: what for n, what in self.orders.items()}
        return self.orders.pop(0, "")

    def _end(self, what: str) -> None:
        if what.startswith("die"):
            self.die()
            self._alive()
        raise StoreUnavailable("the store failed: database or disk is full")

    def _alive(self) -> None:
        if self.dead:
            raise StoreUnavailable("this process is dead")


class DirectWriter(Writer):
    """Commits what is handed in at once; renews leases when it is told that it may."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._clock = clock
        self._renewed_at = clock.monotonic()

    def start(self) -> None:
        """No thread."""
        self._accepts = True

    def write(self, action: Callable[[Connection], T]) -> T:
        """See `Writer.write`."""
        if not self._accepts:
            raise StoreUnavailable("the store's writer is not running")
        with self._database.begin() as connection:
            return action(connection)

    def renew(self) -> None:
        """Renew every lease that is kept, if it is time to."""
        if (
            self._clock.monotonic() - self._renewed_at
            < renew_every(TTL).total_seconds()
        ):
            return
        self._renewed_at = self._clock.monotonic()
        self._renewals.renew()


class StepPool(Pool):
    """Whoever waits for a lane does the work; `overlap` does some in between."""

    def __init__(
        self,
        *,
        database: Database,
        worker: Worker,
        clock: VirtualClock,
        writer: DirectWriter,
    ) -> None:
        super().__init__(database=database, worker=worker, clock=clock, threads=4)
        self._virtual = clock
        self._renewing = writer

    def _employ(self, lane: Lane) -> None:
        """No threads."""

    def _wait_for(self, lane: Lane, until: datetime) -> None:
        while not lane.settled() and not self._abandoned:
            left = until - self._clock.now()
            if left <= timedelta(0) and not lane.ended:
                lane.end(Settlement(state=Settled.WAITING, code="max_runtime"))
                continue
            self._renewing.renew()
            if not self.overlap():
                pause = self._pause(self._clock.now())
                self._virtual.advance(timedelta(seconds=max(pause, 0.001)))

    def overlap(self) -> bool:
        """Carry one batch out that may go now; False where none may."""
        job = None if self._stopping else self._take(self._clock.now())
        if job is None:
            return False
        lane, waiting = job
        self._apply(lane, self._safely(lane, waiting))
        return True


class Process(Engine):
    """An engine without threads."""

    def __init__(
        self,
        blueprint: Blueprint,
        store: FaultyStore,
        clock: VirtualClock,
        *,
        holder: str,
        chance: Random,
    ) -> None:
        opened = OpenStore(database=store, hash_key=HASH_KEY)
        super().__init__(blueprint, opened, clock)
        self.store = store
        self.holder = holder
        self._writer: DirectWriter = DirectWriter(store, clock)
        self._pool: StepPool = StepPool(
            database=store,
            worker=Worker(
                database=store,
                recorder=Recorder(writer=self._writer, clock=clock),
                clock=clock,
                hash_key=HASH_KEY,
                chance=chance.random,
            ),
            clock=clock,
            writer=self._writer,
        )

    def overlap(self) -> bool:
        """Another request while one is under way."""
        return self._pool.overlap()
