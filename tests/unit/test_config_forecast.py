"""The month's downloads: what schedules need, what fits, what is proposed."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from syncd.config import Budget, InvalidConfig, Loaded, QuotaSettings, load
from syncd.config.forecast import (
    ROUND_INTERVALS,
    Demand,
    allowed,
    downloads_of,
    due_times,
    excesses,
    fastest_interval,
    finest_budget,
    forecast,
)
from syncd.config.schedule_text import parse
from syncd.errors import Problem
from syncd.schedule import Cron, Every, Schedule, next_after

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def demand(
    schedule: Schedule | str, budget: Budget | None = None, name: str = "one"
) -> Demand:
    if isinstance(schedule, str):
        schedule = parse(schedule, timezone="UTC")
    return Demand(sync=name, project="eu:1", schedule=schedule, budget=budget)


def quota(limit: int = 500, reserve: int = 50) -> QuotaSettings:
    return QuotaSettings(downloads_per_month=limit, reserve=reserve)


def config(*syncs: str, quota: str = "{reserve: 50}", more: str = "") -> str:
    """Each sync is the text after `schedule: `; its name is a, b, c …

    The first `schedule:` stands in line 8, each further sync four lines below.
    """
    head = (
        "version: 1\nconnections:\n"
        "  engage: {type: engage, write_key_file: k}\n"
        "  amplitude: {type: amplitude, region: eu, app_id: 1, api_key_file: a, "
        f"secret_key_file: b, quota: {quota}}}\n"
        f"{more}syncs:\n"
    )
    return head + "".join(
        f"  - from: {{connection: amplitude, cohort_id: {name}}}\n"
        f"    to: {{connection: engage, trait: {name}}}\n"
        f"    schedule: {sync}\n"
        f"    name: {name}\n"
        for name, sync in zip("abcdefghij", syncs, strict=False)
    )


def load_text(folder: Path, text: str) -> Loaded:
    (folder / "syncd.yaml").write_text(text)
    return load([folder / "syncd.yaml"], {})


def problems(folder: Path, text: str) -> list[Problem]:
    with pytest.raises(InvalidConfig) as caught:
        load_text(folder, text)
    return list(caught.value.problems)


# ---- counting ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "downloads"),
    [
        ("hourly", 744),
        ("every 1h at :10", 744),
        ("every 90m", 496),
        ("every 5m", 8928),
        ("every 10d", 4),
        ("every 100d", 1),
        ("daily", 31),
        ("daily at 03:00 Europe/Berlin", 31),
        ("weekdays at 06:30", 23),
        ("mon at 06:30", 5),
        ("once", 1),
        ("manual", 0),
    ],
)
def test_a_schedule_needs_its_due_times_of_the_longest_month(
    schedule: str, downloads: int
) -> None:
    assert downloads_of(demand(schedule)) == downloads


@pytest.mark.parametrize(
    ("expression", "downloads"),
    [
        ("25 */6 * * *", 124),
        ("*/5 * * * *", 8928),
        ("0 0 1 * *", 1),
        ("0 4 29 2 *", 1),
        ("0 0 1-7 * 1", 11),
        ("*/30 8-17 * * 1-5", 460),
    ],
)
def test_a_cron_needs_its_fullest_month(expression: str, downloads: int) -> None:
    assert due_times(Cron(expression, "America/New_York")) == downloads


crons = st.builds(
    lambda minute, hour, day, weekday: f"{minute} {hour} {day} * {weekday}",
    st.sampled_from(("0", "0,30", "*/20")),
    st.sampled_from(("3", "*/4", "22-23", "0,12")),
    st.sampled_from(("*", "1", "1-7", "31", "*/2")),
    st.sampled_from(("*", "1", "1-5", "0")),
)


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(
        st.sampled_from(ROUND_INTERVALS).map(Every), crons.map(lambda e: Cron(e, "UTC"))
    ),
    st.integers(min_value=0, max_value=23),
)
def test_no_month_has_more_due_times_than_the_forecast(
    schedule: Schedule, month: int
) -> None:
    assume(schedule not in [Every(one) for one in ROUND_INTERVALS[:5]])
    start = datetime(2027 + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    end = (start + 32 * DAY).replace(day=1)

    due, seen = next_after(schedule, start - timedelta(seconds=1)), 0
    while due is not None and due < end:
        seen, due = seen + 1, next_after(schedule, due)

    assert seen <= due_times(schedule)


@pytest.mark.parametrize(
    ("budget", "downloads"),
    [
        (Budget(downloads=4, per=DAY), 124),
        (Budget(downloads=4, per=7 * DAY), 20),
        (Budget(downloads=4, per=31 * DAY), 4),
    ],
)
def test_a_budget_caps_what_a_schedule_needs(budget: Budget, downloads: int) -> None:
    assert allowed(budget) == downloads
    assert downloads_of(demand("hourly", budget)) == downloads
    assert downloads_of(demand("every 16d", budget)) == 2


# ---- what fits -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cohorts", "interval"),
    [
        (1, 1.5 * HOUR),
        (2, 3 * HOUR),
        # On average 4 h 28 m would do; in a month that starts with a due time, three
        # cohorts of 167 downloads are one too many.
        (3, 4.5 * HOUR),
        (4, 6 * HOUR),
        (6, 9 * HOUR),
        (10, 15 * HOUR),
    ],
)
def test_what_fits_in_500_downloads_a_month(cohorts: int, interval: timedelta) -> None:
    assert fastest_interval(500 // cohorts) == interval
    assert cohorts * due_times(Every(interval)) <= 500


def test_the_average_of_three_cohorts_is_one_download_too_many() -> None:
    assert 3 * due_times(Every(timedelta(hours=4, minutes=28))) == 501


@settings(max_examples=200)
@given(st.integers(min_value=0, max_value=10_000))
def test_what_is_proposed_fits_and_the_next_faster_one_does_not(left: int) -> None:
    interval, budget = fastest_interval(left), finest_budget(left)

    if interval is None:
        assert left < due_times(Every(ROUND_INTERVALS[-1]))
    else:
        assert due_times(Every(interval)) <= left
        faster = ROUND_INTERVALS.index(interval) - 1
        assert faster < 0 or due_times(Every(ROUND_INTERVALS[faster])) > left
    if budget is None:
        assert left == 0
    else:
        assert allowed(budget) <= left
        assert allowed(Budget(downloads=budget.downloads + 1, per=budget.per)) > left


schedules = st.one_of(
    st.integers(min_value=5, max_value=5000).map(
        lambda minutes: Every(timedelta(minutes=minutes))
    ),
    crons.map(lambda expression: Cron(expression, "Europe/Berlin")),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(schedules, min_size=1, max_size=6),
    st.integers(min_value=1, max_value=900),
    st.booleans(),
)
def test_whoever_follows_every_proposal_has_a_month_that_fits(
    wanted: list[Schedule], limit: int, by_interval: bool
) -> None:
    demands = [demand(schedule) for schedule in wanted]

    for excess in excesses(demands, quota(limit, limit // 10)):
        old = demands[excess.index]
        if by_interval and excess.interval is not None:
            demands[excess.index] = demand(Every(excess.interval))
        elif excess.budget is not None:
            demands[excess.index] = demand(old.schedule, excess.budget)
        else:
            demands[excess.index] = demand("manual")

    assert excesses(demands, quota(limit, limit // 10)) == []
    assert sum(map(downloads_of, demands)) <= limit - limit // 10


def test_a_sync_that_does_not_fit_pushes_nobody_out() -> None:
    demands = [demand("daily"), demand("hourly"), demand("every 6h")]

    (excess,) = excesses(demands, quota())

    assert (excess.index, excess.downloads, excess.left) == (1, 744, 295)


# ---- check ---------------------------------------------------------------------------


def test_a_sync_that_does_not_fit_is_refused_at_its_schedule(tmp_path: Path) -> None:
    text = config('{cron: "25 */6 * * *"}', "daily", "every 75h", "hourly")

    (problem,) = problems(tmp_path, text)

    assert (problem.line, problem.column, problem.code) == (20, 15, "quota.exceeded")
    assert problem.message == (
        "'hourly' needs 744 downloads a month; 285 of 500 are left (50 are reserved)"
    )
    assert problem.hint == "fits: every 3h, or budget: 9/day"


def test_the_proposal_makes_check_pass(tmp_path: Path) -> None:
    first, second = "hourly", "every 2h"
    found = problems(tmp_path, config("daily", first, second))
    hints = [problem.hint.removeprefix("fits: ") for problem in found]

    intervals = [hint.partition(", or ")[0] for hint in hints]
    budgets = [f"hourly\n    budget: {hint.rpartition(': ')[2]}" for hint in hints]

    assert len(found) == 1
    for fixed in (intervals, budgets):
        assert load_text(tmp_path, config("daily", *fixed, second)) is not None


@pytest.mark.parametrize(
    ("left", "hint"),
    [
        ("{downloads_per_month: 20, reserve: 0}", "fits: every 2d, or budget: 4/week"),
        ("{downloads_per_month: 4, reserve: 0}", "fits: every 10d, or budget: 4/month"),
        ("{downloads_per_month: 2, reserve: 0}", "fits: budget: 2/month"),
    ],
)
def test_a_small_quota_is_spread_wide(tmp_path: Path, left: str, hint: str) -> None:
    (problem,) = problems(tmp_path, config("daily", quota=left))

    assert problem.hint == hint
    assert "reserved" not in problem.message


def test_where_nothing_is_left_nothing_is_proposed(tmp_path: Path) -> None:
    text = config("daily", "once", quota="{downloads_per_month: 31, reserve: 0}")

    (problem,) = problems(tmp_path, text)

    assert problem.message == "'once' needs 1 download a month; 0 of 31 are left"
    assert problem.hint == "nothing fits: slow down or leave out another sync"


def test_a_budget_that_is_too_big_is_named(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, config("hourly\n    budget: 20/day"))

    assert problem.message.startswith("'hourly', 20/day needs 620 downloads a month;")


def test_it_is_said_beside_other_mistakes(tmp_path: Path) -> None:
    text = config("hourly\n    schedul: daily", "every 3x", more="log: {level: loud}\n")

    codes = sorted(problem.code for problem in problems(tmp_path, text))

    assert codes == [
        "key.unknown",
        "quota.exceeded",
        "schedule.unknown",
        "value.choice",
    ]


def test_disabled_syncs_and_audiences_cost_nothing(tmp_path: Path) -> None:
    text = config("hourly\n    enabled: false") + (
        "  - name: up\n"
        "    from: {connection: engage, audience: up}\n"
        "    to: {connection: amplitude, cohort_id: up}\n"
        "    schedule: every 5m\n"
    )
    text = text.replace("write_key_file: k", "snapshot: {type: files, path: x}")
    text = text.replace("path: x}", "path: x}, write_key_file: k")

    assert forecast(load_text(tmp_path, text).settings) == ()


def test_two_connections_of_one_project_share_its_quota(tmp_path: Path) -> None:
    again = (
        "  same: {type: amplitude, region: eu, app_id: 1, api_key_file: c, "
        "secret_key_file: d, quota: {reserve: 50}}\n"
        "  other: {type: amplitude, region: us, app_id: 1, api_key_file: c, "
        "secret_key_file: d}\n"
    )
    text = config("every 6h", "every 2h", "every 3h", more=again)
    text = text.replace("amplitude, cohort_id: b", "same, cohort_id: b")
    text = text.replace("amplitude, cohort_id: c", "other, cohort_id: c")

    (problem,) = problems(tmp_path, text)

    assert (problem.line, problem.code) == (14, "quota.exceeded")
    fixed = load_text(tmp_path, text.replace("every 2h", "daily"))
    eu, us = forecast(fixed.settings)
    assert (eu.project, eu.connections, eu.total) == (
        "eu:1",
        ("amplitude", "same"),
        155,
    )
    assert (us.project, us.connections, us.total) == ("us:1", ("other",), 248)
    assert [(one.name, one.downloads, one.schedule) for one in eu.syncs] == [
        ("a", 124, "every 6h"),
        ("b", 31, "daily at 00:00 UTC"),
    ]


def test_one_project_has_one_quota(tmp_path: Path) -> None:
    again = (
        "  same: {type: amplitude, region: eu, app_id: 1, api_key_file: c, "
        "secret_key_file: d, quota: {reserve: 60}}\n"
    )

    (problem,) = (
        one
        for one in problems(tmp_path, config("daily", more=again))
        if one.severity == "error"
    )

    assert (problem.line, problem.code) == (5, "quota.conflict")


def test_a_month_that_is_nearly_full_is_a_warning(tmp_path: Path) -> None:
    calm = load_text(tmp_path, config("every 3h", "every 7h"))
    tight = load_text(tmp_path, config("every 3h", "every 6h"))

    assert calm.warnings == ()
    (warning,) = tight.warnings
    assert (warning.line, warning.code) == (4, "quota.tight")
    assert warning.message == "the schedules may spend 372 of 450 downloads"


def test_a_reserve_is_a_tenth_unless_it_is_given(tmp_path: Path) -> None:
    text = config("daily", quota="{downloads_per_month: 99}")

    (project,) = forecast(load_text(tmp_path, text).settings)

    assert (project.limit, project.reserve, project.spendable) == (99, 9, 90)


def test_check_prints_the_forecast(tmp_path: Path) -> None:
    config_ = config("daily", "hourly\n    budget: 4/day")
    (tmp_path / "syncd.yaml").write_text(config_)
    command = [sys.executable, "-m", "syncd", "check", "syncd.yaml"]
    environ = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"}

    text, document = (
        subprocess.run(
            [*command, *flags],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for flags in ([], ["--json"])
    )

    assert (
        "Quota forecast, worst case: 31 days, every due download happens "
        "(the free change check saves some)\n"
        "  amplitude  downloads   155 of 500  ██████░░░░░░░░░░░░░░  reserve 50\n"
        "             a 31 · b 124\n"
        "\n0 errors, 0 warnings."
    ) in text
    assert json.loads(document)["quota"] == [
        {
            "project": "eu:1",
            "connections": ["amplitude"],
            "limit": 500,
            "reserve": 50,
            "downloads": 155,
            "syncs": [
                {"name": "a", "downloads": 31, "schedule": "daily at 00:00 UTC"},
                {"name": "b", "downloads": 124, "schedule": "every 1h, at most 4/day"},
            ],
        }
    ]
