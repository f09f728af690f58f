"""What commands say about a schedule: next starts, and changes of clocks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncd.config import Settings, load
from syncd.report.clock_changes import notes
from syncd.report.due import next_times, shift
from syncd.schedule import Cron, Every

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
BERLIN = "Europe/Berlin"
TEXT = """\
version: 1
connections:
  e: {type: engage, snapshot: {type: files, path: "{audience}.csv"}}
  a: {type: amplitude, region: us, app_id: 1, api_key_file: k, secret_key_file: s}
syncs:
  - name: hourly-one
    from: {connection: e, audience: x}
    to: {connection: a, cohort_id: abc}
    schedule: hourly
    jitter: 30m
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "syncd.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return load([path], {}).settings


def test_a_start_that_only_waits_for_its_jitter_is_the_next_one(
    settings: Settings,
) -> None:
    (sync,) = settings.syncs
    jitter = shift(settings, sync)
    assert timedelta(seconds=1) < jitter < timedelta(minutes=30)
    start = NOW + jitter

    just_before = next_times(settings, sync, start - timedelta(seconds=1), 2)
    at = next_times(settings, sync, start, 1)

    assert just_before == [start, start + timedelta(hours=1)]
    assert at == [start + timedelta(hours=1)]


def test_both_changes_of_clocks_are_noted_for_a_time_they_touch() -> None:
    assert notes(Cron("30 2 * * *", BERLIN), NOW) == [
        "02:30 does not exist on Sun 29 Mar 2026: runs once, at 03:00",
        "02:30 comes twice on Sun 25 Oct 2026: runs the first time",
    ]
    assert notes(Cron("*/15 2 * * *", BERLIN), NOW)[0] == (
        "02:00, 02:15, 02:30 and 1 more do not exist on Sun 29 Mar 2026: "
        "runs once, at 03:00"
    )


def test_the_hour_that_moves_begins_at_two_and_ends_before_three() -> None:
    assert len(notes(Cron("0 2 * * *", BERLIN), NOW)) == 2
    assert notes(Cron("0 3 * * *", BERLIN), NOW) == []
    assert notes(Cron("59 1 * * *", BERLIN), NOW) == []


@pytest.mark.parametrize(
    "schedule",
    [
        Cron("30 2 * * 1", BERLIN),
        Cron("30 2 * * *", "UTC"),
        Cron("*/15 * * * *", BERLIN),
        Every(timedelta(hours=1)),
    ],
)
def test_a_schedule_that_no_change_touches_has_no_note(schedule: Cron | Every) -> None:
    assert notes(schedule, NOW) == []
