"""Numbers, spans and moments as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from syncd.report.words import (
    dated,
    moment,
    number,
    plural,
    relative,
    signed,
    span,
    unchanged_words,
    utc_clock,
)

NOW = datetime(2026, 5, 12, 9, 41, tzinfo=UTC)  # Tuesday, 11:41 in Berlin
BERLIN = "Europe/Berlin"


def test_numbers_have_thousands_commas_and_signs() -> None:
    assert number(48489) == "48,489"
    assert [signed(value) for value in (412, -9870, 0)] == ["+412", "-9,870", "0"]
    assert plural(1, "batch") == "1 batch"
    assert plural(1000, "batch") == "1,000 batches"
    assert plural(2, "sync") == "2 syncs"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(milliseconds=84), "84 ms"),
        (timedelta(seconds=1.6), "1.6 s"),
        (timedelta(seconds=31), "31 s"),
        (timedelta(seconds=65), "1 m 05 s"),
        (timedelta(minutes=4), "4 m"),
        (timedelta(hours=4, minutes=45, seconds=9), "4 h 45 m"),
        (timedelta(hours=28), "1 d 4 h"),
        (timedelta(days=6, minutes=59), "6 d"),
    ],
)
def test_a_span_has_at_most_two_units(value: timedelta, text: str) -> None:
    assert span(value) == text


def test_relative_times_point_both_ways() -> None:
    assert relative(NOW - timedelta(hours=1, minutes=37), NOW) == "1 h 37 m ago"
    assert relative(NOW + timedelta(minutes=31), NOW) == "in 31 m"
    assert relative(NOW + timedelta(milliseconds=3), NOW) == "now"


@pytest.mark.parametrize(
    ("away", "text"),
    [
        (timedelta(minutes=31), "12:12 CEST"),
        (timedelta(hours=15, minutes=20), "Wed 03:01 CEST"),
        (timedelta(days=6), "Mon 11:41 CEST"),
        (timedelta(days=7), "Tue 19 May 11:41 CEST"),
        (timedelta(days=78), "Wed 29 Jul 11:41 CEST"),
        (timedelta(days=-200), "Fri 24 Oct 2025 11:41 CEST"),
    ],
)
def test_a_moment_is_as_short_as_it_stays_clear(away: timedelta, text: str) -> None:
    assert moment(NOW + away, NOW, BERLIN) == text


def test_a_local_time_and_its_utc_clock() -> None:
    t = datetime(2026, 5, 12, 22, 1, 5, tzinfo=UTC)

    assert dated(t, BERLIN) == "Wed 13 May 00:01:05 CEST"
    assert utc_clock(t, BERLIN) == "Tue 22:01:05Z"
    assert utc_clock(t - timedelta(hours=3), BERLIN) == "19:01:05Z"
    assert dated(t, "Asia/Kathmandu") == "Wed 13 May 03:46:05 +0545"


def test_a_source_that_was_not_read_may_not_say_since_when() -> None:
    assert unchanged_words("2026-07-29T03:01:05+02:00") == (
        "unchanged since 2026-07-29 01:01 UTC, not read again"
    )
    assert unchanged_words("") == "unchanged since the last plan, not read again"
