"""A lock whose waiters get it in the order in which they came.

The standard lock goes to whoever asks first once it is free, and that is nearly always
the thread that just gave it back: one that takes it many times in a row (a prune, a
compaction) keeps all others out until it is done.
"""

import threading
from collections import deque
from contextlib import suppress


class InOrder:
    """A lock that is handed on. Not reentrant."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, patience: float) -> bool:
        """Wait for our turn, so many seconds; False if it did not come."""
        with self._mutex:
            if not self._taken:
                self._taken = True
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=patience):
            return True
        with self._mutex, suppress(ValueError):
            self._waiting.remove(turn)
            return False
        return True  # it came at the last moment

    def release(self) -> None:
        """Hand it on to whoever has waited longest."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
