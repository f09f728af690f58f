"""One thread that commits what is queued together (group commit).

Delivery workers hand in their acknowledgements and wait for the durable commit; a
full-sync commit costs the same for one row or for fifty. A write that fails takes
only itself along: each runs in its own savepoint.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from sqlalchemy import Connection

from syncd.errors import StoreError
from syncd.store.database import Database

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
    """The group-committing thread. `write` may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: queue.SimpleQueue[_Write[object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._loop, name="store-writer", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what is queued, then end."""
        self._queue.put(None)
        self._thread.join()

    def write(self, action: Callable[[Connection], T]) -> T:
        """Run `action` in the next transaction; returns once that is durable.

        Raises what the action raised, or `StoreUnavailable` when the commit failed
        (then nothing of the group was kept).
        """
        entry = _Write(action)
        self._queue.put(entry)  # type: ignore[arg-type]  # results are handed back typed
        return entry.future.result()

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

    def _commit(self, group: list[_Write[object]]) -> None:
        try:
            with self._database.begin() as connection:
                for entry in group:
                    _perform(entry, connection)
        except Exception as error:  # noqa: BLE001  # a worker must never wait for ever
            for entry in group:
                entry.error = error
        for entry in group:
            if entry.error is not None:
                entry.future.set_exception(entry.error)
            else:
                entry.future.set_result(entry.result)


def _perform(entry: _Write[object], connection: Connection) -> None:
    try:
        with connection.begin_nested():
            entry.result = entry.action(connection)
    except StoreError as error:
        entry.error = error
