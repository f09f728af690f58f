"""Threads of the web server: bounded, shared, and never waited for."""

import threading
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_all
from queue import SimpleQueue

import pytest

from syncd.web.threads import Busy, Threads
from tests.builders import PATIENCE


def name() -> str:
    return threading.current_thread().name


def failing() -> str:
    raise ZeroDivisionError


def held(threads: Threads, count: int) -> tuple[threading.Event, list[Future[bool]]]:
    """Calls that go on until the event is set, each on its own thread."""
    go_on = threading.Event()
    return go_on, [threads.submit(go_on.wait, PATIENCE) for _ in range(count)]


def test_a_call_is_made_on_a_thread_of_that_name() -> None:
    assert Threads("t", size=1).submit(name).result(PATIENCE) == "t-1"


def test_an_error_is_the_callers() -> None:
    threads = Threads("t", size=1)

    failed = threads.submit(failing)

    assert isinstance(failed.exception(PATIENCE), ZeroDivisionError)
    assert threads.submit(name).result(PATIENCE) == "t-1", "the thread lives on"


def test_who_asks_again_as_soon_as_it_is_answered_finds_the_thread_free() -> None:
    threads = Threads("t", size=1)
    go_on, (first,) = held(threads, 1)
    again: SimpleQueue[Future[str]] = SimpleQueue()
    first.add_done_callback(lambda _: again.put(threads.submit(name)))

    go_on.set()

    assert again.get(timeout=PATIENCE).result(PATIENCE) == "t-1"


def test_there_are_never_more_threads_than_its_size() -> None:
    threads = Threads("t", size=2, waiting=50)

    names = [
        call.result(PATIENCE) for call in [threads.submit(name) for _ in range(50)]
    ]

    assert set(names) <= {"t-1", "t-2"}


@pytest.mark.parametrize(("size", "waiting"), [(1, 0), (1, 1), (3, 2)])
def test_so_many_run_and_so_many_wait_and_one_more_is_busy(
    size: int, waiting: int
) -> None:
    threads = Threads("t", size=size, waiting=waiting)
    go_on, calls = held(threads, size + waiting)

    with pytest.raises(Busy):
        threads.submit(name)
    go_on.set()
    done, late = wait_for_all(calls, PATIENCE)

    assert len(done) == size + waiting
    assert not late


def test_a_call_that_was_called_off_is_not_made() -> None:
    threads = Threads("t", size=1, waiting=2)
    go_on, _ = held(threads, 1)
    called = threading.Event()

    off = threads.submit(called.set)
    after = threads.submit(name)
    assert off.cancel()
    go_on.set()
    after.result(PATIENCE)

    assert not called.is_set()


def test_stopped_threads_begin_nothing_and_do_not_wait_for_what_hangs() -> None:
    threads = Threads("t", size=1, waiting=1)
    go_on, calls = held(threads, 1)

    threads.stop()

    with pytest.raises(Busy):
        threads.submit(name)
    assert not calls[0].done()
    go_on.set()


def test_no_thread_keeps_the_process() -> None:
    threads = Threads("t", size=1)

    assert threads.submit(lambda: threading.current_thread().daemon).result(PATIENCE)
