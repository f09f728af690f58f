"""The ticker: our due times, asked in time, on a frozen clock and on a fast one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from freezegun import freeze_time

from syncd.clock import Clock
from syncd.schedule import Cron, Every, Manual, Once
from syncd.scheduler import PULSE, Ticker, Timing
from tests.builders import PATIENCE

HOUR = timedelta(hours=1)
NONE = timedelta(0)
HALF_PAST_TWELVE = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)


class Calls:
    """What the ticker said, for a test that waits for it."""

    def __init__(self) -> None:
        self.due: list[str] = []
        self.overlapped: list[str] = []
        self._news = threading.Condition()

    def note(self, where: list[str]) -> Callable[[str], None]:
        def noted(name: str) -> None:
            with self._news:
                where.append(name)
                self._news.notify_all()

        return noted

    def wait_for(self, holds: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(holds, PATIENCE)


def timing(name: str = "vip", schedule: Any = None, shift: timedelta = NONE) -> Timing:
    return Timing(sync=name, schedule=schedule or Every(HOUR), shift=shift)


@contextmanager
def ticking(
    calls: Calls, *timings: Timing, clock: Clock | None = None
) -> Iterator[Ticker]:
    ticker = Ticker(
        clock or Clock(),
        due=calls.note(calls.due),
        overlapped=calls.note(calls.overlapped),
    )
    ticker.start(timings)
    try:
        yield ticker
    finally:
        ticker.stop(wait=True)


nudges = count()


def look(ticker: Ticker) -> None:
    """Let the ticker look at its (frozen) clock, and wait until it has.

    Two small jobs, one after the other: whatever was due with the first is under way
    when the second is done.
    """
    for _ in range(2):
        done = threading.Event()
        ticker.soon(f"nudge-{next(nudges)}", done.set)
        assert done.wait(PATIENCE)


# ---- a frozen clock -----------------------------------------------------------------


def test_a_sync_is_announced_when_it_is_due_and_not_before() -> None:
    calls = Calls()
    with freeze_time(HALF_PAST_TWELVE) as frozen, ticking(calls, timing()) as ticker:
        frozen.move_to(HALF_PAST_TWELVE + timedelta(minutes=29, seconds=59))
        look(ticker)
        early = list(calls.due)
        frozen.move_to(HALF_PAST_TWELVE + timedelta(minutes=30))
        look(ticker)
        calls.wait_for(lambda: calls.due == ["vip"])

    assert early == []


def test_a_shift_is_added_to_every_due_time() -> None:
    calls = Calls()
    shifted = timing(shift=timedelta(minutes=7))
    with freeze_time(HALF_PAST_TWELVE) as frozen, ticking(calls, shifted) as ticker:
        frozen.move_to(HALF_PAST_TWELVE + timedelta(minutes=36))
        look(ticker)
        early = list(calls.due)
        frozen.move_to(HALF_PAST_TWELVE + timedelta(minutes=37))
        look(ticker)
        calls.wait_for(lambda: calls.due == ["vip"])

    assert early == []


def test_a_machine_that_slept_for_hours_announces_once_however_late() -> None:
    calls = Calls()
    with freeze_time(HALF_PAST_TWELVE) as frozen, ticking(calls, timing()) as ticker:
        frozen.move_to(HALF_PAST_TWELVE + timedelta(hours=9, minutes=12))
        look(ticker)
        calls.wait_for(lambda: bool(calls.due))
        look(ticker)
        after_sleep = list(calls.due)
        frozen.move_to(HALF_PAST_TWELVE + timedelta(hours=9, minutes=31))
        look(ticker)
        calls.wait_for(lambda: len(calls.due) == 2)

    assert after_sleep == ["vip"]


def test_a_clock_that_was_set_back_is_followed_after_a_rebuild() -> None:
    calls = Calls()
    three_hours_back = HALF_PAST_TWELVE - 3 * HOUR
    with freeze_time(HALF_PAST_TWELVE) as frozen, ticking(calls, timing()) as ticker:
        frozen.move_to(three_hours_back)
        ticker.rebuild()
        frozen.move_to(three_hours_back + timedelta(minutes=31))
        look(ticker)
        calls.wait_for(lambda: calls.due == ["vip"])


def test_a_clock_that_was_set_years_ahead_announces_nothing_twice() -> None:
    calls = Calls()
    with freeze_time(HALF_PAST_TWELVE) as frozen, ticking(calls, timing()) as ticker:
        frozen.move_to(HALF_PAST_TWELVE.replace(year=2200))
        ticker.rebuild()
        look(ticker)
        assert calls.due in ([], ["vip"])
        before = len(calls.due)
        frozen.move_to(HALF_PAST_TWELVE.replace(year=2200) + HOUR)
        look(ticker)
        calls.wait_for(lambda: len(calls.due) == before + 1)


def test_syncs_that_are_replaced_are_forgotten_and_new_ones_known() -> None:
    calls = Calls()
    old, new = timing("old"), timing("new")
    with freeze_time(HALF_PAST_TWELVE) as frozen, ticking(calls, old) as ticker:
        ticker.replace([new])
        frozen.move_to(HALF_PAST_TWELVE + HOUR)
        look(ticker)
        calls.wait_for(lambda: bool(calls.due))
        look(ticker)

    assert calls.due == ["new"]


@pytest.mark.parametrize("schedule", [Manual(), Once()])
def test_a_sync_without_due_times_is_never_announced(schedule: object) -> None:
    calls = Calls()
    never = timing("never", schedule)
    with freeze_time(HALF_PAST_TWELVE) as frozen:
        with ticking(calls, never, timing("hourly")) as ticker:
            frozen.move_to(HALF_PAST_TWELVE + 48 * HOUR)
            look(ticker)
            calls.wait_for(lambda: bool(calls.due))

    assert calls.due == ["hourly"]


def test_a_sync_that_is_still_running_is_told_to_overlap() -> None:
    calls, began, finish = Calls(), threading.Event(), threading.Event()

    def run_long(_: str) -> None:
        began.set()
        finish.wait(PATIENCE)

    ticker = Ticker(Clock(), due=run_long, overlapped=calls.note(calls.overlapped))
    with freeze_time(HALF_PAST_TWELVE) as frozen:
        ticker.start([timing()])
        frozen.move_to(HALF_PAST_TWELVE + HOUR)
        look(ticker)
        assert began.wait(PATIENCE)
        frozen.move_to(HALF_PAST_TWELVE + 2 * HOUR)
        look(ticker)
        calls.wait_for(lambda: calls.overlapped == ["vip"])
        finish.set()
        ticker.stop(wait=True)


# ---- a fast clock -------------------------------------------------------------------


def test_on_a_fast_clock_every_hour_is_announced_once_and_never_early() -> None:
    origin = datetime.now(UTC)
    clock = Clock(speed=36_000, origin=origin)  # an hour in a tenth of a second
    calls = Calls()
    moments: list[datetime] = []

    def due(name: str) -> None:
        moments.append(clock.now())
        calls.note(calls.due)(name)

    ticker = Ticker(clock, due=due, overlapped=calls.note(calls.overlapped))
    ticker.start([timing(schedule=Cron("0 * * * *", "Europe/Berlin"))])
    calls.wait_for(lambda: len(calls.due) >= 5)
    ticker.stop(wait=True)

    hours = [moment.replace(minute=0, second=0, microsecond=0) for moment in moments]
    assert len(set(hours)) == len(hours)
    assert hours == sorted(hours)


# ---- small things -------------------------------------------------------------------


def test_an_action_is_repeated_and_a_failing_one_stops_nobody() -> None:
    calls, more = Calls(), Calls()
    fail_first = iter([True])

    def sometimes() -> None:
        if next(fail_first, False):
            raise ZeroDivisionError
        more.note(more.due)("again")

    with ticking(calls) as ticker:
        ticker.every(timedelta(seconds=0.05), "heartbeat", sometimes)
        more.wait_for(lambda: len(more.due) >= 2)


def test_where_all_that_keeps_the_house_hangs_the_pulse_goes_on() -> None:
    """The store hangs, and whoever watches this process would kill it for nothing."""
    hang, pulse = threading.Event(), Calls()

    def hangs() -> None:
        hang.wait()

    with ticking(Calls()) as ticker:
        for number in range(9):
            ticker.every(timedelta(seconds=0.01), f"house-{number}", hangs)
        ticker.every(
            timedelta(seconds=0.01), PULSE, partial(pulse.note(pulse.due), "x")
        )
        pulse.wait_for(lambda: len(pulse.due) >= 3)
        hang.set()


def test_a_ticker_that_was_not_started_refuses_and_stops_quietly() -> None:
    ticker = Ticker(Clock(), due=Calls().due.append, overlapped=Calls().due.append)

    with pytest.raises(RuntimeError, match="not started"):
        ticker.rebuild()
    ticker.stop(wait=True)
