"""Places for runs that read, a few for each connection, and for runs that compare.

A source that hangs keeps its places until its own time-out, so they are its own: who
reads from another connection never waits for it. Those that read from the same one wait
for a place, at most as long as the two before them may take. Comparing waits for nobody
outside, and takes a core and most of a run's memory: there its places are few in all.
"""

import threading

READERS = 2
"""Runs that read at once from one connection: its owner has others to serve."""
COMPARING = 2
"""Runs that compare at once in the whole process."""


class Readers:
    """The places of all connections. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[str, threading.Semaphore] = {}
        self.comparing = threading.Semaphore(COMPARING)
        """One is taken for the length of a `with`, after that of the connection."""

    def of(self, connection: str) -> threading.Semaphore:
        """The places of a connection; one is taken for the length of a `with`."""
        with self._lock:
            return self._places.setdefault(connection, threading.Semaphore(READERS))
