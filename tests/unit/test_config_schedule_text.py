"""The schedule grammar of the config: each form means exactly one value."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.config.schedule_text import BadSchedule, cron, parse
from syncd.schedule import Cron, Every, Manual, Once, Schedule, describe

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hourly", Every(timedelta(hours=1))),
        ("hourly at :10", Every(timedelta(hours=1), timedelta(minutes=10))),
        ("every 1h", Every(timedelta(hours=1))),
        ("every 1h at :10", Every(timedelta(hours=1), timedelta(minutes=10))),
        ("every 2h at :05", Every(timedelta(hours=2), timedelta(minutes=5))),
        ("every 90m", Every(timedelta(minutes=90))),
        ("every 1h30m", Every(timedelta(minutes=90))),
        ("every 5m", Every(timedelta(minutes=5))),
        ("every 2d", Every(timedelta(days=2))),
        ("Every  1h", Every(timedelta(hours=1))),
        ("daily", Cron("0 0 * * *", BERLIN)),
        ("daily UTC", Cron("0 0 * * *", "UTC")),
        ("daily at 03:00", Cron("0 3 * * *", BERLIN)),
        ("daily at 3:07", Cron("7 3 * * *", BERLIN)),
        ("daily at 03:00 America/New_York", Cron("0 3 * * *", "America/New_York")),
        ("weekdays at 06:30", Cron("30 6 * * 1-5", BERLIN)),
        ("mon,thu at 07:15", Cron("15 7 * * 1,4", BERLIN)),
        ("mon..fri at 07:15", Cron("15 7 * * 1-5", BERLIN)),
        ("Mon..Sun at 07:15", Cron("15 7 * * *", BERLIN)),
        ("sat..mon at 23:59 UTC", Cron("59 23 * * 0,1,6", "UTC")),
        ("sun at 00:00", Cron("0 0 * * 0", BERLIN)),
        ("once", Once()),
        ("manual", Manual()),
    ],
)
def test_a_schedule_text_means_one_value(text: str, expected: Schedule) -> None:
    assert parse(text, timezone=BERLIN) == expected


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        (
            "every 1h at 03:00",
            "schedule.mixed",
            "'every 1h', 'every 1h at :00' or 'daily at 03:00'",
        ),
        ("hourly at 03:00", "schedule.mixed", "daily at 03:00"),
        ("every 1h at :10 UTC", "schedule.mixed", "'every 1h'"),
        ("every 90", "duration.no_unit", "'every 90m'"),
        ("every 90m at :10", "schedule.offset", "every 1h at :10"),
        ("every 4m", "schedule.too_short", "every 5m"),
        ("every 299s", "schedule.too_short", "every 5m"),
        ("every day", "schedule.unknown", "daily at 03:00"),
        ("", "schedule.unknown", "hourly"),
        ("mon..fri", "schedule.no_time", "weekdays at 06:30"),
        ("monday at 07:00", "schedule.unknown", "mon..fri"),
        ("daily at 25:00", "schedule.time", "24 hours"),
        ("daily at 3pm", "schedule.time", "24 hours"),
        ("daily at 03:00 CEST", "timezone.unknown", "Europe/Berlin"),
        ("daily at 03:00 ../../etc/passwd", "timezone.unknown", "Europe/Berlin"),
        ("25 */6 * * *", "schedule.unknown", "hourly"),
    ],
)
def test_a_wrong_schedule_text_names_the_right_one(
    text: str, code: str, hint: str
) -> None:
    with pytest.raises(BadSchedule) as caught:
        parse(text, timezone="UTC")

    assert caught.value.code == code
    assert hint in caught.value.hint


def test_cron_needs_five_fields_and_five_minutes() -> None:
    assert cron("25 */6 * * *", timezone="UTC") == Cron("25 */6 * * *", "UTC")

    for expression, code in [
        ("* * * * *", "schedule.too_short"),
        ("0,4 * * * *", "schedule.too_short"),
        ("0 3 * *", "schedule.cron"),
        ("61 3 * * *", "schedule.cron"),
        ("0 0 31 2 *", "schedule.cron"),
    ]:
        with pytest.raises(BadSchedule) as caught:
            cron(expression, timezone="UTC")
        assert caught.value.code == code, expression


@given(
    st.builds(
        lambda days, hour, minute: f"{','.join(days)} at {hour:02d}:{minute:02d}",
        st.lists(
            st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]),
            min_size=1,
            max_size=7,
            unique=True,
        ),
        st.integers(0, 23),
        st.integers(0, 59),
    )
)
def test_the_normal_form_of_a_schedule_means_the_same(text: str) -> None:
    schedule = parse(text, timezone=BERLIN)

    again = parse(describe(schedule), timezone="UTC")

    assert describe(again) == describe(schedule)


@given(st.text(max_size=40))
def test_no_text_does_anything_but_mean_a_schedule_or_be_refused(text: str) -> None:
    try:
        outcome: Schedule | BadSchedule = parse(text, timezone="UTC")
    except BadSchedule as error:
        outcome = error

    assert isinstance(outcome, Every | Cron | Once | Manual | BadSchedule)
