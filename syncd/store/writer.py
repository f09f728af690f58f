"""One thread that commits what is queued together (group commit).

Delivery workers hand in their acknowledgements and wait for the durable commit; a
full-sync commit costs the same for one row or for fifty. A write that fails takes
only itself along: each runs in its own savepoint. Nobody waits for ever: a write
that comes too early or too late is refused. Others wait for what it locks (the inbox's
position): where this process stands still, the database soon lets go of it.

The leases under which is written are kept beside it, by a thread of their own.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from typing import Generic, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    ProgrammingError,
)

from syncd.clock import Clock
from syncd.errors import StoreUnavailable
from syncd.store.database import Database
from syncd.store.failures import as_store_error
from syncd.store.leases import TTL, Lease
from syncd.store.renewing import Renewals

T = TypeVar("T")
GROUP = 256


class _Write(Generic[T]):
    """One queued write and whoever waits for it."""

    def __init__(self, action: Callable[[Connection], T]) -> None:
        self.action = action
        self.future: Future[T] = Future()
        self.result: T | None = None
        self.error: Exception | None = None


class Writer:
    """The group-committing thread. Every method may be called from any thread."""

    def __init__(
        self, database: Database, clock: Clock, lease_ttl: timedelta = TTL
    ) -> None:
        self._database = database
        self._renewals = Renewals(database, clock, lease_ttl)
        self._queue: queue.SimpleQueue[_Write[object] | None] = queue.SimpleQueue()
        self._door = threading.Lock()
        self._accepts = False
        self._thread = threading.Thread(
            target=self._loop, name="store-writer", daemon=True
        )

    def start(self) -> None:
        """Start the threads; once in a writer's life."""
        self._thread.start()
        self._renewals.start()
        self._accepts = True

    def stop(self, patience: float | None = None) -> bool:
        """Refuse new writes, commit what is queued, then end.

        False where that took more than `patience` seconds: the store hangs, and who
        waits for it is left to the end of the process.
        """
        with self._door:
            was_open, self._accepts = self._accepts, False
            if was_open:
                self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join(patience)
        # Last: what was queued is written under leases.
        renewed = self._renewals.stop(patience)
        return renewed and not self._thread.is_alive()

    def write(self, action: Callable[[Connection], T]) -> T:
        """Run `action` in the next transaction; returns once that is durable.

        Raises what the action raised, or `StoreUnavailable` when the transaction
        failed: then nothing of the group was kept (on Postgres, where the connection
        was lost while it committed, perhaps all of it).
        """
        entry = _Write(action)
        with self._door:  # nothing may be queued behind the end
            if not self._accepts:
                raise StoreUnavailable("the store's writer is not running")
            self._queue.put(entry)  # type: ignore[arg-type]  # handed back typed
        return entry.future.result()

    @property
    def backlog(self) -> int:
        """Writes queued behind the transaction that is under way."""
        return self._queue.qsize()

    def keep(self, lease: Lease) -> None:
        """Renew this lease until `let_go`: reading a source may take longer than it."""
        self._renewals.keep(lease)

    def let_go(self, lease: Lease) -> None:
        """Do not renew this lease any more."""
        self._renewals.let_go(lease)

    def _loop(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            group, last = self._gather(first)
            self._commit(group)
            if last:
                return

    def _gather(self, first: _Write[object]) -> tuple[list[_Write[object]], bool]:
        group = [first]
        while len(group) < GROUP:
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                break
            if entry is None:
                return group, True
            group.append(entry)
        return group, False

    def _commit(self, group: list[_Write[object]], *, again: bool = True) -> None:
        try:
            with self._database.begin(brief=True) as connection, _deadlocks_told():
                if len(group) == 1:
                    # It is the transaction: a savepoint would only cost.
                    group[0].result = group[0].action(connection)
                else:
                    for entry in group:
                        _perform(entry, connection)
        except Exception as error:  # noqa: BLE001  # a worker must never wait for ever
            if again and isinstance(error, _Deadlock):
                for entry in group:
                    entry.error = None
                    self._commit([entry], again=False)
                return
            for entry in group:
                entry.error = entry.error or error
        _answer(group)


class _Deadlock(StoreUnavailable):
    """Another replica's transaction and ours waited for each other, and ours gave way.

    A group locks what its writes lock, in the order in which they came, and that
    differs between replicas: each write by itself does not meet the same again.
    """


@contextmanager
def _deadlocks_told() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _DEADLOCK_DETECTED:
            raise
        failure = as_store_error(error)
        raise _Deadlock(str(failure), hint=failure.hint) from None


_DEADLOCK_DETECTED = "40P01"


def _answer(group: list[_Write[object]]) -> None:
    for entry in group:
        if entry.error is not None:
            entry.future.set_exception(entry.error)
        else:
            entry.future.set_result(entry.result)


def _perform(entry: _Write[object], connection: Connection) -> None:
    """Run one write in a savepoint; raises only what ends the whole transaction."""
    try:
        with connection.begin_nested():
            entry.result = entry.action(connection)
    except _ITS_OWN as error:
        entry.error = as_store_error(error)
    except DBAPIError:
        raise
    except Exception as error:  # noqa: BLE001  # whoever asked for it gets it
        entry.error = error


_ITS_OWN = (DataError, IntegrityError, ProgrammingError, InvalidRequestError)
"""Errors of one write. Others (disk, connection, damage) are the transaction's."""
