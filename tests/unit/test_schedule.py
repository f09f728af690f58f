"""The written examples of `syncd/schedule.py`: dates that people can look up."""

from datetime import UTC, datetime, timedelta

import pytest

from syncd.schedule import (
    Cron,
    Every,
    Manual,
    Once,
    Schedule,
    describe,
    duration_text,
    explain,
    latest_at_or_before,
    next_after,
    offset,
    shortest_period,
    validate_cron,
)

BERLIN = "Europe/Berlin"
HOUR = timedelta(hours=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def dues(schedule: Schedule, start: str, count: int) -> list[str]:
    found = []
    t = utc(start)
    for _ in range(count):
        due = next_after(schedule, t)
        assert due is not None
        found.append(f"{due:%m-%d %H:%M}")
        t = due
    return found


def test_a_skipped_local_time_runs_at_the_first_instant_after_the_gap() -> None:
    daily = Cron("30 2 * * *", BERLIN)

    runs = dues(daily, "2026-03-27T12:00", 3)

    assert runs == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_a_repeated_local_time_runs_once_the_first_time() -> None:
    daily = Cron("30 2 * * *", BERLIN)

    runs = dues(daily, "2026-10-24T12:00", 2)

    assert runs == ["10-25 00:30", "10-26 01:30"]


def test_midnight_that_does_not_exist_runs_when_the_day_begins() -> None:
    daily = Cron("0 0 * * *", "America/Havana")

    runs = dues(daily, "2026-03-07T12:00", 2)

    assert runs == ["03-08 05:00", "03-09 04:00"]


def test_several_times_inside_one_gap_make_one_run() -> None:
    quarters_after_two = Cron("*/15 2 * * *", BERLIN)

    runs = dues(quarters_after_two, "2026-03-29T00:00", 2)

    assert runs == ["03-29 01:00", "03-30 00:00"]


def test_quarters_run_in_both_passes_of_a_repeated_hour() -> None:
    quarters = Cron("*/15 * * * *", BERLIN)

    runs = dues(quarters, "2026-10-25T00:50", 5)

    assert runs == [
        f"10-25 {clock}" for clock in "01:00 01:15 01:30 01:45 02:00".split()
    ]


def test_the_newest_quarter_is_found_inside_the_second_pass() -> None:
    quarters = Cron("*/15 * * * *", BERLIN)

    latest = latest_at_or_before(quarters, utc("2026-10-25T01:20"))

    assert latest == utc("2026-10-25T01:15")


def test_an_hourly_cron_runs_twice_in_the_repeated_half_hour_of_lord_howe() -> None:
    hourly = Cron("45 * * * *", "Australia/Lord_Howe")

    runs = dues(hourly, "2026-04-04T14:00", 3)

    assert runs == ["04-04 14:45", "04-04 15:15", "04-04 16:15"]


def test_sunday_is_0_and_7() -> None:
    for sunday in ("0", "7", "SUN"):
        assert dues(Cron(f"0 9 * * {sunday}", "UTC"), "2026-11-22T00:00", 2) == [
            "11-22 09:00",
            "11-29 09:00",
        ]


def test_the_newest_due_time_is_found_years_back() -> None:
    leap_day = Cron("0 0 29 2 *", "UTC")

    latest = latest_at_or_before(leap_day, utc("2031-12-31T00:00"))

    assert latest == utc("2028-02-29T00:00")


def test_a_due_time_counts_at_its_own_instant_but_not_a_moment_before() -> None:
    daily = Cron("0 3 * * *", "UTC")
    due = utc("2026-05-12T03:00")

    assert latest_at_or_before(daily, due) == due
    assert latest_at_or_before(daily, due - timedelta(microseconds=1)) == utc(
        "2026-05-11T03:00"
    )
    assert next_after(daily, due - timedelta(microseconds=1)) == due
    assert next_after(daily, due) == utc("2026-05-13T03:00")


def test_an_interval_is_anchored_at_the_epoch() -> None:
    assert dues(Every(HOUR, HOUR / 6), "2026-05-12T11:10", 2) == [
        "05-12 12:10",
        "05-12 13:10",
    ]
    every_7h = next_after(Every(7 * HOUR), utc("2026-05-12T11:10"))
    assert every_7h is not None
    assert every_7h.timestamp() % (7 * 3600) == 0


@pytest.mark.parametrize("schedule", [Once(), Manual()])
def test_once_and_manual_have_no_due_times(schedule: Schedule) -> None:
    now = utc("2026-05-12T00:00")

    assert next_after(schedule, now) is None
    assert latest_at_or_before(schedule, now) is None
    assert shortest_period(schedule) is None


@pytest.mark.parametrize(
    ("expression", "shortest"),
    [
        ("*/5 * * * *", timedelta(minutes=5)),
        ("0,10 9 * * *", timedelta(minutes=10)),
        ("55 23 1 * *", timedelta(days=28)),
        ("0 0,23 * * *", HOUR),
        ("0 3 * * 1-5", timedelta(days=1)),
        ("0 0 1 1 *", timedelta(days=365)),
    ],
)
def test_shortest_period_of_cron(expression: str, shortest: timedelta) -> None:
    assert shortest_period(Cron(expression, BERLIN)) == shortest


@pytest.mark.parametrize(
    ("schedule", "normal_form"),
    [
        (Every(HOUR), "every 1h"),
        (Every(HOUR, HOUR / 6), "every 1h at :10"),
        (Every(1.5 * HOUR), "every 1h30m"),
        (Every(1.5 * HOUR, HOUR / 60), "every 1h30m + 1m"),
        (Cron("0 3 * * *", BERLIN), "daily at 03:00 Europe/Berlin"),
        (Cron("30 6 * * 1-5", BERLIN), "mon..fri at 06:30 Europe/Berlin"),
        (Cron("15 7 * * MON,THU", BERLIN), "mon,thu at 07:15 Europe/Berlin"),
        (Cron("25 */6 * * *", "UTC"), "cron 25 */6 * * * UTC"),
        (Cron("0 9 * * MON#2", "UTC"), "cron 0 9 * * MON#2 UTC"),
        (Once(), "once"),
        (Manual(), "manual"),
    ],
)
def test_the_normal_form_reads_like_the_config(
    schedule: Schedule, normal_form: str
) -> None:
    assert describe(schedule) == normal_form


def test_cron_is_explained_in_words() -> None:
    assert explain(Cron("25 */6 * * *", "UTC")) == (
        "At minute 25 past every sixth hour, UTC"
    )
    assert explain(Cron("0 0 1 * 1", "UTC")).endswith("(either day matches)")
    assert explain(Every(HOUR)) == "Every 1h of elapsed time, in any zone"
    assert "until it succeeded" in explain(Once())
    assert "runs it" in explain(Manual())


@pytest.mark.parametrize(
    ("expression", "zone", "says"),
    [
        ("* * * *", "UTC", "five fields .* got 4"),
        ("* * * * * *", "UTC", "five fields .* got 6"),
        ("61 * * * *", "UTC", "bad minute in cron '61 "),
        ("0 0 * * fri-mon", "UTC", "bad day-of-week"),
        ("0 0 31 2 *", "UTC", "bad day-of-month"),
        ("0 0 * 2 MON#5/50", "UTC", "bad day-of-week"),
        ("0 3 * * *", "Mars/Base", "'Mars/Base' is no IANA time zone"),
        ("0 3 * * *", "Europe", "no IANA time zone"),
        ("0 3 * * *", "", "no IANA time zone"),
        ("0 3 * * *", "../../etc/passwd", "no IANA time zone"),
    ],
)
def test_a_bad_cron_is_refused_in_words(expression: str, zone: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        validate_cron(expression, zone)


def test_a_good_cron_is_accepted() -> None:
    validate_cron("25 */6 * JAN-MAR mon", BERLIN)


def test_jitter_differs_between_syncs_and_is_whole_seconds() -> None:
    five = timedelta(minutes=5)
    shifts = {offset("prod-eu", f"sync-{n}", five) for n in range(100)}

    seconds = {
        offset("prod-eu", f"sync-{n}", 2 * timedelta(seconds=1)) for n in range(99)
    }

    assert len(shifts) > 70
    assert seconds == {timedelta(0), timedelta(seconds=1)}
    assert all(shift.microseconds == 0 for shift in shifts)
    assert offset("prod-eu", "vip", timedelta(0)) == timedelta(0)


def test_durations_read_like_the_config() -> None:
    assert duration_text(timedelta(days=1, hours=2, minutes=3, seconds=4)) == "1d2h3m4s"
    assert duration_text(timedelta(0)) == "0s"
