"""What other threads have finished comes home: results, errors, and nobody waits on."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from syncd.web.homecoming import Homecoming, Late

PATIENCE = 30.0


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(coroutine, PATIENCE)

    return asyncio.run(limited())


def test_thousands_that_several_threads_finish_all_come_home() -> None:
    count, threads = 4_000, 4
    futures: list[Future[int]] = [Future() for _ in range(count)]
    begin = threading.Barrier(threads)

    def finish(first: int) -> None:
        begin.wait(PATIENCE)
        for number in range(first, count, threads):
            futures[number].set_result(number)

    async def wait_for_all() -> list[int]:
        home = Homecoming(PATIENCE)
        waiting = [asyncio.ensure_future(home.wait(each)) for each in futures]
        with ThreadPoolExecutor(threads) as pool:
            for first in range(threads):
                pool.submit(finish, first)
            return list(await asyncio.gather(*waiting))

    assert run(wait_for_all()) == list(range(count))


def test_an_error_of_the_other_thread_is_raised_to_whoever_waits() -> None:
    failed: Future[int] = Future()
    failed.set_exception(OSError("the disk is full"))

    with pytest.raises(OSError, match="the disk is full"):
        run(Homecoming(PATIENCE).wait(failed))


def test_what_was_not_begun_is_called_off_once_it_is_late() -> None:
    never: Future[int] = Future()

    with pytest.raises(Late):
        run(Homecoming(0.01).wait(never))

    assert never.cancelled()


def test_what_was_begun_may_end_after_nobody_waits_and_the_loop_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun: Future[int] = Future()
    assert begun.set_running_or_notify_cancel()

    with pytest.raises(Late):
        run(Homecoming(0.01).wait(begun))
    begun.set_result(1)

    assert caplog.records == []


def test_what_others_call_off_is_not_waited_for() -> None:
    future: Future[int] = Future()

    async def wait() -> None:
        waiting = asyncio.ensure_future(Homecoming(PATIENCE).wait(future))
        await asyncio.sleep(0)
        future.cancel()
        await waiting

    with pytest.raises(asyncio.CancelledError):
        run(wait())


def test_whoever_is_called_off_calls_off_what_was_not_begun() -> None:
    future: Future[int] = Future()

    async def give_up() -> None:
        waiting = asyncio.ensure_future(Homecoming(PATIENCE).wait(future))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

    run(give_up())

    assert future.cancelled()
