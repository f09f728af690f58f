"""Places for runs that read and diff: a few for each connection that is read from.

A source that hangs keeps its places until its own time-out, so they are its own: who
reads from another connection never waits for it. Those that read from the same one wait
for a place, at most as long as the two before them may take.
"""

import threading

READERS = 2
"""Runs at once for one connection: its owner and our cores are shared with others."""


class Readers:
    """The places of all connections. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[str, threading.Semaphore] = {}

    def of(self, connection: str) -> threading.Semaphore:
        """The places of a connection; one is taken for the length of a `with`."""
        with self._lock:
            return self._places.setdefault(connection, threading.Semaphore(READERS))
