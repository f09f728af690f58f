"""The lock that is handed on: whoever came first gets it first."""

import threading
import time
from collections.abc import Callable
from functools import partial

from syncd.store.in_order import InOrder

PATIENCE = 10.0


def test_it_is_handed_to_whoever_has_waited_longest() -> None:
    lock, order = InOrder(), list[int]()
    lock.acquire(PATIENCE)
    threads = []
    for number in range(5):
        waiting = threading.Event()
        threads.append(
            threading.Thread(target=_take, args=(lock, number, order, waiting))
        )
        threads[-1].start()
        waiting.wait(PATIENCE)
        _until(partial(_waits, lock, number + 1))

    lock.release()
    for thread in threads:
        thread.join(PATIENCE)

    assert order == [0, 1, 2, 3, 4]


def test_whoever_gives_up_is_skipped() -> None:
    lock = InOrder()
    lock.acquire(PATIENCE)

    came = lock.acquire(0.0)
    lock.release()

    assert came is False
    assert lock.acquire(PATIENCE)


def _take(
    lock: InOrder, number: int, order: list[int], waiting: threading.Event
) -> None:
    waiting.set()
    assert lock.acquire(PATIENCE)
    order.append(number)
    lock.release()


def _waits(lock: InOrder, count: int) -> bool:
    return len(lock._waiting) == count  # noqa: SLF001  # nothing else shows it


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
