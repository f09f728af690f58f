"""The words for how a sync is doing: each has one meaning, and the worst one wins."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from syncd.cli.healthcheck import verdict
from syncd.cli.status_page import STYLES
from syncd.report.daemons import SILENT_AFTER, alive
from syncd.report.overview import summary
from syncd.report.phrases import about
from syncd.report.states import (
    GLYPHS,
    NEEDS_A_PERSON,
    PUNCTUAL,
    WORST_FIRST,
    Promise,
    Seen,
    State,
    overdue,
    state_of,
)
from syncd.schedule import Every, Manual, Once
from syncd.store.installation import Daemon
from syncd.windows import Window

NOW = datetime(2026, 5, 12, 9, 41, tzinfo=UTC)
DUE = datetime(2026, 5, 12, 9, 0, tzinfo=UTC)
HOUR, MINUTE, SECOND = (
    timedelta(hours=1),
    timedelta(minutes=1),
    timedelta(seconds=1),
)


def promise(**changes: Any) -> Promise:
    """An hourly sync that must be fresh within three hours."""
    values: dict[str, Any] = {
        "enabled": True,
        "schedule": Every(HOUR),
        "jitter": timedelta(0),
        "fresh_within": 3 * HOUR,
    }
    return Promise(**(values | changes))


def seen(**changes: Any) -> Seen:
    """A sync that succeeded after its last due time."""
    values: dict[str, Any] = {
        "first_seen_at": NOW - 30 * 24 * HOUR,
        "last_success_at": DUE + MINUTE,
    }
    return Seen(**(values | changes))


def test_a_sync_that_kept_its_promise_is_on_time() -> None:
    assert state_of(promise(), seen(), NOW) is State.ON_TIME


def test_a_sync_that_is_switched_off_is_off_whatever_else_is_wrong() -> None:
    everything = seen(held=True, failures_in_a_row=9, connection_stopped=True)

    assert state_of(promise(enabled=False), everything, NOW) is State.OFF
    assert overdue(promise(enabled=False), seen(last_success_at=None), NOW) is None


def test_held_comes_before_failing_and_failing_before_stale() -> None:
    old = NOW - 100 * HOUR

    states = [
        state_of(promise(), seen(last_success_at=old, **trouble), NOW)
        for trouble in (
            {"held": True, "failures_in_a_row": 3},
            {"failures_in_a_row": 3},
            {},
        )
    ]

    assert states == [State.HELD, State.FAILING, State.STALE]


@pytest.mark.parametrize(
    ("failures", "state"), [(0, "on time"), (2, "on time"), (3, "failing")]
)
def test_three_failures_in_a_row_are_failing(failures: int, state: str) -> None:
    assert state_of(promise(), seen(failures_in_a_row=failures), NOW) == state


def test_a_paused_sync_is_paused_whatever_else_is_wrong() -> None:
    everything = seen(paused=True, held=True, failures_in_a_row=9, last_success_at=None)

    assert state_of(promise(), everything, NOW) is State.PAUSED
    assert state_of(promise(enabled=False), everything, NOW) is State.OFF
    assert overdue(promise(), everything, NOW) is not None, "freshness still counts"


def test_a_due_time_in_a_blackout_is_late_only_after_its_end() -> None:
    window = Window(name="etl", zone="UTC", start=time(8, 30), end=time(10))
    closed = promise(blackout=(window,))
    done_before = seen(last_success_at=DUE - HOUR + MINUTE)

    assert state_of(closed, done_before, NOW) is State.ON_TIME
    assert state_of(closed, done_before, DUE + HOUR) is State.ON_TIME
    assert state_of(closed, done_before, DUE + HOUR + PUNCTUAL) is State.LATE
    missed_one_before = seen(last_success_at=DUE - HOUR - MINUTE)
    assert state_of(closed, missed_one_before, NOW) is State.LATE


def test_rejected_credentials_are_failing_at_once() -> None:
    assert state_of(promise(), seen(connection_stopped=True), NOW) is State.FAILING


def test_a_sync_is_stale_only_beyond_its_fresh_within() -> None:
    edge = seen(last_success_at=NOW - 3 * HOUR)
    beyond = seen(last_success_at=NOW - 3 * HOUR - SECOND)

    assert state_of(promise(), edge, NOW) is State.LATE
    assert overdue(promise(), edge, NOW) is None
    assert state_of(promise(), beyond, NOW) is State.STALE
    assert overdue(promise(), beyond, NOW) == SECOND


def test_a_held_sync_says_how_long_it_is_overdue() -> None:
    waiting = seen(held=True, last_success_at=NOW - 7 * HOUR)

    assert state_of(promise(), waiting, NOW) is State.HELD
    assert overdue(promise(), waiting, NOW) == 4 * HOUR


def test_a_due_run_that_did_not_succeed_is_late_after_a_minute() -> None:
    missed = seen(last_success_at=DUE - SECOND)

    assert state_of(promise(), missed, DUE + PUNCTUAL - SECOND) is State.ON_TIME
    assert state_of(promise(), missed, DUE + PUNCTUAL) is State.LATE


def test_jitter_is_no_lateness() -> None:
    shifted, missed = promise(jitter=5 * MINUTE), seen(last_success_at=DUE - SECOND)

    assert state_of(shifted, missed, DUE + 5 * MINUTE) is State.ON_TIME
    assert state_of(shifted, missed, DUE + 6 * MINUTE) is State.LATE


def test_a_run_in_progress_is_not_late_but_can_be_stale() -> None:
    running = {"running": True}

    late = seen(last_success_at=DUE - SECOND, **running)
    stale = seen(last_success_at=DUE - 9 * HOUR, **running)

    assert state_of(promise(), late, NOW) is State.ON_TIME
    assert state_of(promise(), stale, NOW) is State.STALE


def test_a_new_sync_is_pending_until_its_first_run_is_due() -> None:
    new = Seen(first_seen_at=NOW - MINUTE)

    assert state_of(promise(), new, NOW) is State.PENDING
    assert state_of(promise(), Seen(), NOW) is State.PENDING
    assert state_of(promise(), new, NOW + HOUR) is State.LATE
    assert state_of(promise(), new, NOW + 3 * HOUR) is State.STALE


@pytest.mark.parametrize("schedule", [Manual(), Once()])
def test_a_sync_without_due_times_is_never_late_nor_stale(
    schedule: Manual | Once,
) -> None:
    free = promise(schedule=schedule, fresh_within=None)
    ages_ago = seen(last_success_at=NOW - 1000 * HOUR)

    assert state_of(free, ages_ago, NOW) is State.ON_TIME
    assert state_of(free, seen(last_success_at=None), NOW) is State.PENDING


def test_each_state_has_a_glyph_and_a_colour_and_a_place() -> None:
    assert set(GLYPHS) == set(STYLES) == set(WORST_FIRST) == set(State)
    assert len(set(GLYPHS.values())) == len(State)
    assert WORST_FIRST[:3] == NEEDS_A_PERSON


# --- the first sentence ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        ("held,on time,on time,on time", "1 of 4 syncs needs you."),
        ("held,stale,failing,late", "3 of 4 syncs need you."),
        ("on time,on time", "All 2 syncs are on time."),
        ("on time", "1 sync, on time."),
        ("late,pending,on time,on time,off", "5 syncs, none needs you: "),
        ("off", "1 sync, none needs you: 1 off."),
        ("", "No sync is configured."),
    ],
)
def test_one_sentence_says_whether_somebody_is_needed(
    states: str, sentence: str
) -> None:
    said = summary([State(word) for word in states.split(",") if word])

    assert said.startswith(sentence)


def test_the_sentence_counts_what_is_not_on_time() -> None:
    states = [State.ON_TIME, State.LATE, State.ON_TIME, State.OFF]

    assert summary(states) == "4 syncs, none needs you: 1 late, 2 on time, 1 off."


def test_how_long_it_is_overdue_is_one_unit_in_a_narrow_column() -> None:
    assert about(4 * HOUR + 45 * MINUTE) == "4 h"
    assert about(30 * HOUR) == "1 d"


# --- the daemon's heartbeat -----------------------------------------------------------


def daemon(ago: timedelta, pid: int = 7) -> Daemon:
    return Daemon(
        holder=f"host/{pid}",
        host="host",
        pid=pid,
        version="0.1.0",
        started_at=NOW - HOUR,
        heartbeat_at=NOW - ago,
    )


def test_a_daemon_is_alive_for_less_than_a_minute_after_its_heartbeat() -> None:
    young, old = daemon(SILENT_AFTER - SECOND), daemon(SILENT_AFTER)

    assert verdict([young], NOW)[0] is True
    assert verdict([old], NOW)[0] is False
    assert alive([young, old], NOW) == [young]


def test_a_restarted_daemon_is_judged_by_its_own_heartbeat() -> None:
    healthy, why = verdict([daemon(SILENT_AFTER * 9, pid=1), daemon(SECOND)], NOW)

    assert healthy
    assert why == "daemon 7 gave its last sign of life 1 s ago"


def test_without_any_daemon_it_says_what_to_start() -> None:
    assert verdict([], NOW) == (False, "no daemon runs (syncd serve)")


def test_a_heartbeat_from_a_clock_that_is_ahead_counts() -> None:
    assert verdict([daemon(-5 * SECOND)], NOW)[0] is True
