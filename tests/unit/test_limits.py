"""A Retry-After header is outside data: read, clamped, or ignored."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncd.clients.limits import MAX_WAIT, retry_after

NOW = datetime(2026, 5, 12, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("17", 17.0),
        (" 0 ", 0.0),
        ("000000017", 17.0),
        ("900", 900.0),
        ("901", 900.0),
        ("9" * 5000, 900.0),
    ],
)
def test_seconds_are_read_and_clamped_to_fifteen_minutes(header, wait):
    assert retry_after(header, NOW) == wait


@pytest.mark.parametrize(
    ("ahead", "wait"), [(30, 30.0), (-30, 0.0), (0, 0.0), (86_400, 900.0)]
)
def test_an_http_date_is_read_and_clamped(ahead, wait):
    header = format_datetime(NOW + timedelta(seconds=ahead), usegmt=True)

    assert retry_after(header, NOW) == wait


def test_a_date_without_a_zone_is_read_as_utc():
    assert retry_after("Tue, 12 May 2026 09:01:00 -0000", NOW) == 60.0


@pytest.fixture
def far_from_utc(monkeypatch):
    """The zone of the machine, for this process, is eleven hours ahead."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "AHEAD-11")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
def test_a_date_means_the_same_in_every_zone_the_daemon_runs_in():
    assert retry_after("Tue, 12 May 2026 09:01:00 -0000", NOW) == 60.0
    assert retry_after("Tue, 12 May 2026 09:01:00 GMT", NOW) == 60.0


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "   ",
        "soon",
        "-5",
        "+5",
        "1.5",
        "1e3",
        "٣",
        "NaN",
        "inf",
        "5, 10",
        "Tue, 99 May 2026 09:01:00 GMT",
        "Tue, 12 May 99999 09:01:00 GMT",
        "Tue, 12 May 2026 09:01:00 +9999999",
        "Fri, 31 Dec 9999 23:59:59 -2300",
    ],
)
def test_garbage_is_no_wait_at_all(header):
    assert retry_after(header, NOW) is None


@given(st.one_of(st.text(), st.from_regex(r"\w{3}, \d+ \w{3} \d+ [\d:]+ [+-]?\w*")))
@example("\x00")
def test_no_header_breaks_the_reader_or_exceeds_the_clamp(header):
    wait = retry_after(header, NOW)

    assert wait is None or 0.0 <= wait <= MAX_WAIT
