"""Blackout windows are wall-clock time: over midnight, over changes of clocks."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from syncd.windows import (
    LONGEST,
    Window,
    closed_until,
    longest,
    next_end,
    window_at,
)

HOUR = timedelta(hours=1)
BERLIN = "Europe/Berlin"
WEEKDAYS = (0, 1, 2, 3, 4)


def window(name: str = "etl", zone: str = "UTC", **changes: Any) -> Window:
    return Window(name=name, zone=zone, **changes)


def at(text: str) -> datetime:
    """`2026-03-02 01:30` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHTLY = window(days=WEEKDAYS, start=time(1, 30), end=time(2, 45))


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-03-02 01:29:59", False),
        ("2026-03-02 01:30", True),
        ("2026-03-02 02:44:59", True),
        ("2026-03-02 02:45", False),
        ("2026-03-07 02:00", False),
    ],
)
def test_it_is_open_from_its_start_until_just_before_its_end(
    moment: str, inside: bool
) -> None:
    found = window_at([NIGHTLY], at(moment))

    assert (found is not None) == inside
    assert (closed_until([NIGHTLY], at(moment)) is not None) == inside


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens() -> None:
    friday = window(days=(4,), start=time(23), end=time(2))

    assert closed_until([friday], at("2026-03-07 01:00")) == at("2026-03-07 02:00")
    assert closed_until([friday], at("2026-03-06 01:00")) is None


def test_dates_cover_whole_days_of_their_zone() -> None:
    quarter = window(zone=BERLIN, first=date(2026, 6, 29), last=date(2026, 7, 1))

    assert closed_until([quarter], at("2026-06-28 21:59:59")) is None
    assert closed_until([quarter], at("2026-06-28 22:00")) == at("2026-07-01 22:00")
    assert next_end([quarter], at("2026-01-01 00:00")) == at("2026-07-01 22:00")
    assert next_end([quarter], at("2026-07-01 22:00")) is None
    assert longest([quarter]) == 72 * HOUR


def test_windows_that_touch_are_one_blackout() -> None:
    first = window(start=time(1), end=time(2))
    second = window(name="backup", start=time(2), end=time(4))

    assert closed_until([first, second], at("2026-03-02 01:10")) == at(
        "2026-03-02 04:00"
    )
    assert longest([first, second]) == 3 * HOUR
    inside = window_at([first, second], at("2026-03-02 02:00"))
    assert inside is not None
    assert inside.name == "backup"


def test_the_next_end_is_that_of_the_next_opening() -> None:
    assert next_end([NIGHTLY], at("2026-03-06 03:00")) == at("2026-03-09 02:45")
    assert next_end([NIGHTLY], at("2026-03-09 02:00")) == at("2026-03-09 02:45")
    assert next_end([], at("2026-03-09 02:00")) is None


def test_in_spring_a_window_within_the_skipped_hour_does_not_exist() -> None:
    gap = window(zone=BERLIN, start=time(2, 15), end=time(2, 45))

    assert closed_until([gap], at("2026-03-29 00:50")) is None
    assert closed_until([gap], at("2026-03-29 01:00")) is None
    assert closed_until([gap], at("2026-03-30 00:20")) == at("2026-03-30 00:45")


def test_in_spring_a_skipped_start_or_end_is_the_end_of_the_gap() -> None:
    starts = window(zone=BERLIN, start=time(2, 30), end=time(4))
    ends = window(zone=BERLIN, start=time(1, 30), end=time(2, 30))

    assert closed_until([starts], at("2026-03-29 00:59")) is None
    assert closed_until([starts], at("2026-03-29 01:00")) == at("2026-03-29 02:00")
    assert closed_until([ends], at("2026-03-29 00:30")) == at("2026-03-29 01:00")


def test_in_autumn_it_opens_the_first_time_and_closes_the_second_time() -> None:
    repeated = window(zone=BERLIN, start=time(2, 15), end=time(2, 45))

    assert closed_until([repeated], at("2026-10-25 00:14")) is None
    assert closed_until([repeated], at("2026-10-25 00:15")) == at("2026-10-25 01:45")
    assert closed_until([repeated], at("2026-10-25 00:50")) == at("2026-10-25 01:45")
    assert closed_until([repeated], at("2026-10-25 01:45")) is None


def test_a_blackout_without_an_end_is_longer_than_any() -> None:
    always = window()

    assert longest([always]) > LONGEST
    assert closed_until([always], at("2026-03-02 00:00")) is not None
    weekend = window(days=(5, 6))
    assert longest([weekend]) == 48 * HOUR
