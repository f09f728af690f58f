"""Threads for what must not hold up a server's loop: bounded, and never waited for.

They are daemon threads: a command may take hours and a store may hang, and neither may
keep the process from ending.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import ParamSpec, TypeVar

from syncd.errors import SyncdError

IDLE = 30.0
"""Seconds after which a thread without a call ends."""

P = ParamSpec("P")
T = TypeVar("T")


class Busy(SyncdError):
    """As much is waiting already as may wait; nothing was begun."""

    code = "web.busy"


class Threads:
    """Up to `size` threads, and up to `waiting` calls that wait for one."""

    def __init__(self, name: str, *, size: int, waiting: int = 0) -> None:
        self._name = name
        self._size = size
        self._waiting = waiting
        # Each returns what tells its caller how it went.
        self._calls: deque[Callable[[], Callable[[], None]]] = deque()
        self._something = threading.Condition()
        self._threads = 0
        # Threads at no call: they take those that wait, then the next ones.
        self._free = 0
        self._stopped = False

    def submit(
        self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Have it called on one of our threads. Raises `Busy`."""
        future: Future[T] = Future()

        def work() -> Callable[[], None]:
            if not future.set_running_or_notify_cancel():
                return lambda: None
            try:
                return partial(future.set_result, call(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001  # raised again by result()
                return partial(future.set_exception, error)

        with self._something:
            self._make_room()
            self._calls.append(work)
            self._something.notify()
        return future

    def stop(self) -> None:
        """Begin nothing more; threads end as soon as they are free."""
        with self._something:
            self._stopped = True
            self._calls.clear()
            self._something.notify_all()

    def _make_room(self) -> None:
        without_thread = len(self._calls) - self._free
        if without_thread < 0 and not self._stopped:
            return
        if self._threads < self._size and not self._stopped:
            self._threads += 1
            self._free += 1
            name = f"{self._name}-{self._threads}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        elif self._stopped or without_thread >= self._waiting:
            raise Busy("too much is in progress", hint="try again in a few seconds")

    def _work(self) -> None:
        while True:
            with self._something:
                self._something.wait_for(lambda: self._calls or self._stopped, IDLE)
                self._free -= 1
                if self._stopped or not self._calls:
                    self._threads -= 1
                    return
                call = self._calls.popleft()
            tell = call()
            with self._something:
                self._free += 1
            # Not before: whoever is told may ask again at once, and finds us free.
            tell()
