"""What other threads have finished comes home to a server's loop.

asyncio has this for one future at a time. Here one wake-up of the loop brings home all
that is there by then, as a group that was committed together is, and each wait costs
half as much.
"""

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Late(Exception):
    """It was not finished in time."""


class Homecoming:
    """Waits for futures of other threads; to be used on one loop."""

    def __init__(self, patience: float) -> None:
        """`patience` in seconds, for each of them."""
        self._patience = patience
        self._arrived: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        # The loop was told of an arrival, and did not look since.
        self._told = False

    async def wait(self, future: Future[T]) -> T:
        """Its result, or what it raised. Raises `Late`.

        Whoever gives up, or is called off, calls off what was not begun.
        """
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()

        def arrive(done: Future[T]) -> None:
            self._arrived.append((waiting, done))
            # Two threads may both tell it, which is once too often and no harm.
            if not self._told and not loop.is_closed():
                self._told = True
                loop.call_soon_threadsafe(self._hand_over)

        timer = loop.call_later(self._patience, _give_up, waiting)
        future.add_done_callback(arrive)
        try:
            return await waiting
        finally:
            timer.cancel()
            future.cancel()

    def _hand_over(self) -> None:
        # First of all: what arrives from now on is told again.
        self._told = False
        while self._arrived:
            waiting, done = self._arrived.popleft()
            if not waiting.done():
                _settle(waiting, done)


def _settle(waiting: asyncio.Future[Any], done: Future[Any]) -> None:
    if done.cancelled():
        waiting.cancel()
    elif (error := done.exception()) is not None:
        waiting.set_exception(error)
    else:
        waiting.set_result(done.result())


def _give_up(waiting: asyncio.Future[Any]) -> None:
    if not waiting.done():
        waiting.set_exception(Late())
