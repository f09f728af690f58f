"""How much may be under way at once at a vendor, whoever asks for it.

Five requests of one Amplitude project, whichever connection, client or thread they come
from (contract/amplitude.md section 3); a sixth is refused when it is about a download.
Whoever waits here has not begun: the request's deadline starts with its turn.

One process counts for itself (`Turns`). Several on one Postgres take places in the
store (`SharedTurns`), and agree there on a connection's ids a second (`SharedPace`).
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

from syncd.clients.http import Answer, HttpClient, TransportError
from syncd.clock import Clock
from syncd.delivery.turn import Wait
from syncd.errors import SourceUnavailable, StoreError
from syncd.store import places
from syncd.store.database import Database
from syncd.store.places import NoPlaces, Place

AT_ONCE = 5
FRESH = 5.0
"""Real seconds after which a place is not begun with any more, but taken anew."""
LEFT_OVER = timedelta(seconds=2 * FRESH)
"""How much longer than a request's deadline its place is taken for."""
LOOK = (0.02, 0.06)
"""Real seconds between two looks for a place; at random, so that nobody is last."""


class Seats(Protocol):
    """The places of one project."""

    def taken(self, deadline: timedelta) -> AbstractContextManager[None]:
        """Have one for a request; waits for it."""


class Turns:
    """The places that one process has for itself."""

    def __init__(self, places: int = AT_ONCE) -> None:
        self._places = threading.BoundedSemaphore(places)

    @contextmanager
    def taken(self, deadline: timedelta) -> Iterator[None]:
        """See `Seats`."""
        del deadline  # it is given back whatever happens
        with self._places:
            yield


class SharedTurns:
    """The places that all processes of one Postgres have together.

    A thread that asked for its turn before (`ask`) has its place for all requests that
    it makes until it leaves; any other has one for each request.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        scope: str,
        count: int = AT_ONCE,
        stop: threading.Event | None = None,
    ) -> None:
        """`scope` names the project, and is the same in every process; `stop` is set
        when this one comes to its end."""
        self._database = database
        self._clock = clock
        self._scope = scope
        self._count = count
        self._own = _Own()
        self._stop = stop or threading.Event()

    def ask(self, deadline: timedelta, *, waited: bool) -> bool:
        """Take a place for this thread, if there is one, for requests that begin soon.

        Raises `StoreError`.
        """
        at = self._clock.monotonic()
        self._own.place, self._own.at = self._take(deadline, waited=waited), at
        return self._own.place is not None

    def leave(self) -> None:
        """Give this thread's place back, if it has one."""
        place, self._own.place = self._own.place, None
        if place is None:
            return
        # Where the store is away it comes back by itself, once its time is over.
        with suppress(StoreError), self._database.begin() as connection:
            places.give_back(connection, place)

    @contextmanager
    def taken(self, deadline: timedelta) -> Iterator[None]:
        """See `Seats`. Raises `StoreError`, `TransportError` where a place was lost,
        `SourceUnavailable` where the process is to stop before it had one."""
        if self._own.place is not None:
            self._refresh(self._own.place, deadline)
            yield
            return
        try:
            self._wait_for_one(deadline)
            yield
        finally:
            self.leave()

    def _wait_for_one(self, deadline: timedelta) -> None:
        waited = False
        # A process that stood still in between may have lost it.
        while not (self.ask(deadline, waited=waited) and self._is_fresh()):
            self.leave()
            if self._stop.wait(pause()):
                raise SourceUnavailable(
                    "stopped while it waited for its turn", code="source.interrupted"
                )
            waited = True

    def _refresh(self, place: Place, deadline: timedelta) -> None:
        """A place that was taken some time ago is taken on for one more request."""
        if self._is_fresh():
            return
        at = self._clock.monotonic()
        with self._database.begin() as connection:
            kept = places.keep(connection, place, deadline + LEFT_OVER)
        self._own.place, self._own.at = (place if kept else None), at
        if not kept or not self._is_fresh():
            raise TransportError(
                "the turn of this request was over before it began",
                kind="timeout",
                sent=False,
            )

    def _is_fresh(self) -> bool:
        return self._clock.monotonic() - self._own.at <= FRESH

    def _take(self, deadline: timedelta, *, waited: bool) -> Place | None:
        with self._database.begin() as connection:
            take = partial(
                places.take,
                connection,
                self._scope,
                deadline + LEFT_OVER,
                waited=waited,
            )
            try:
                return take()
            except NoPlaces:
                places.prepare(connection, self._scope, self._count)
                return take()


class _Own(threading.local):
    """What a thread has."""

    place: Place | None = None
    at: float = 0.0
    """When it began to be taken, monotonic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPlace:
    """Turns of batches of which each needs a place (`delivery.turn.Turn`)."""

    turns: SharedTurns
    deadline: timedelta
    """Of a request."""

    def ask(self, ids: int, *, waited: bool) -> Wait:
        """See `Turn`."""
        del ids  # a request is a request
        if self.turns.ask(self.deadline, waited=waited):
            return Wait(granted=True)
        return Wait(granted=False, seconds=pause())

    def leave(self) -> None:
        """See `Turn`."""
        self.turns.leave()


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPace:
    """Turns of batches that together may name so many ids a second.

    Each gets the time after those who asked before it, so none waits for ever. What is
    not sent then is lost, a batch's time at most.
    """

    database: Database
    clock: Clock
    scope: str
    """The same in every process."""
    ids_per_second: float
    """On the clock, which may run fast."""

    def ask(self, ids: int, *, waited: bool) -> Wait:
        """See `Turn`."""
        del waited  # it never has to ask twice
        seconds = ids / self.ids_per_second / self.clock.speed
        with self.database.begin() as connection:
            wait = places.in_turn(connection, self.scope, timedelta(seconds=seconds))
        return Wait(granted=True, seconds=wait.total_seconds())

    def leave(self) -> None:
        """See `Turn`: a time is not given back."""


@contextmanager
def one_at_a_time(database: Database, what: str, lasts: timedelta) -> Iterator[bool]:
    """Whether this process alone does `what` now, of all that share the store.

    One that dies over it keeps the others from it for `lasts` at most. Who is alone
    asks nothing. Raises `StoreError`.
    """
    if database.dialect == "sqlite":
        yield True
        return
    with database.begin() as connection:
        places.prepare(connection, what, 1)
        place = places.take(connection, what, lasts, waited=True)
    try:
        yield place is not None
    finally:
        if place is not None:
            with suppress(StoreError), database.begin() as connection:
                places.give_back(connection, place)


class InTurn(HttpClient):
    """An HTTP client whose requests wait for a place of their project."""

    def __init__(
        self, base_url: str, *, turns: Seats, deadline: float, **more: Any
    ) -> None:
        """The rest as for `HttpClient`."""
        super().__init__(base_url, deadline=deadline, **more)
        self._turns = turns
        self._usual = timedelta(seconds=deadline)

    def request(self, method: str, path: str, **more: Any) -> Answer:
        """See `HttpClient.request`."""
        with self._turns.taken(self._usual):
            return super().request(method, path, **more)

    def stream(
        self,
        method: str,
        path: str,
        take: Callable[[bytes], object],
        *,
        deadline: float,
        **more: Any,
    ) -> Answer:
        """See `HttpClient.stream`."""
        with self._turns.taken(timedelta(seconds=deadline)):
            return super().stream(method, path, take, deadline=deadline, **more)


def pause() -> float:
    """Real seconds until somebody who waits for a place looks again."""
    return random.uniform(*LOOK)  # noqa: S311 - nothing secret
