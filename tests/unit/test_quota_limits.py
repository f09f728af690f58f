"""One more download: the month, the budget, the pace, the rate limits, by figures."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.clients import quota
from syncd.clients.quota import (
    Admitted,
    Budget,
    Denied,
    Later,
    Reading,
    Rules,
    Spend,
    Wish,
    decide,
    used,
)

NOW = datetime(2026, 5, 12, 9, 0, tzinfo=UTC)
RESET = datetime(2026, 6, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR = (timedelta(seconds=s) for s in (1, 60, 3600))
DAY = 24 * HOUR
READING = Reading(limit=500, used=0, resets_at=RESET, estimated=False)
RULES = Rules(reserve=50, budget=None, period=HOUR, demand=0.0)
WISH = Wish(sync="vip", by_person=False, last_at=None, size_moved=True)
PERSON = replace(WISH, by_person=True)


def spend(number: int, at: datetime, **values: Any) -> Spend:
    given: dict[str, Any] = {
        "sync": "other",
        "cohort_id": "c1",
        "answered": True,
        "confirmed": True,
        "running": False,
    }
    return Spend(id=number, at=at, **(given | values))


def spends(count: int, ago: timedelta, **values: Any) -> list[Spend]:
    return [spend(number, NOW - ago, **values) for number in range(count)]


def verdict(
    wish: Wish = WISH,
    rules: Rules = RULES,
    reading: Reading = READING,
    past: Sequence[Spend] = (),
    now: datetime = NOW,
) -> Admitted | Later | Denied:
    return decide(wish, rules, reading, past, now)


def test_with_nothing_spent_a_download_is_admitted():
    assert verdict() == Admitted()


# ---- the month ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "spent", "admitted"),
    [(WISH, 449, True), (WISH, 450, False), (PERSON, 499, True), (PERSON, 500, False)],
)
def test_schedules_leave_the_reserve_to_people(wish, spent, admitted):
    answer = verdict(wish, reading=replace(READING, used=spent))

    assert isinstance(answer, Admitted) == admitted
    if not admitted:
        assert isinstance(answer, Denied)
        assert (answer.reason, answer.until) == ("quota", RESET)
        assert f"{spent} of 500 downloads" in answer.message


def test_a_refusal_names_the_reserve_to_whom_it_is_kept_from():
    full = replace(READING, used=500)

    assert "50 are kept in reserve" in denied(verdict(reading=full)).message
    assert "reserve" not in denied(verdict(PERSON, reading=full)).message
    assert "estimated" not in denied(verdict(reading=full)).message


def denied(answer: Admitted | Later | Denied) -> Denied:
    assert isinstance(answer, Denied)
    return answer


def test_what_was_not_answered_before_the_reading_is_added_to_it():
    past = spends(10, DAY)
    reading = replace(READING, used=100, included=frozenset(range(7)))

    assert used(reading, past) == 103


def test_our_own_confirmed_count_is_the_least_that_is_used():
    past = [*spends(10, DAY), spend(10, NOW - DAY, confirmed=False, refused=True)]
    reading = replace(READING, used=2, included=frozenset(range(11)))

    assert used(reading, past) == 10


def test_last_months_requests_are_not_counted_but_for_one_still_on_its_way():
    before = datetime(2026, 4, 30, 23, 59, 59, tzinfo=UTC)
    past = [spend(1, before), spend(2, before, answered=False, confirmed=False)]

    assert used(READING, past) == 1


def test_without_a_reading_everything_that_may_have_been_counted_is():
    past = [*spends(3, DAY), spend(9, NOW - DAY, confirmed=False, answered=False)]
    reading = replace(READING, limit=4, estimated=True)

    answer = denied(verdict(PERSON, reading=reading, past=past))

    assert used(reading, past) == 4
    assert "4 of 4 downloads of this month are used (estimated)" in answer.message


@pytest.mark.parametrize("estimated", [True, False])
def test_a_request_that_was_refused_was_not_counted(estimated):
    """150 hours of hourly 429s leave the month as it was (contract R7)."""
    refused = [
        spend(number, NOW - number * HOUR, confirmed=False, refused=True)
        for number in range(150)
    ]
    reading = replace(READING, estimated=estimated)

    assert used(reading, refused) == 0
    assert quota.counted(reading, [*refused, spend(999, NOW)]) == [spend(999, NOW)]


@pytest.mark.parametrize(
    ("reset", "begun"),
    [
        (datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC)),
        (datetime(2026, 3, 31, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC)),
    ],
)
def test_a_month_begins_amonth_before_its_reset(reset, begun):
    reading = replace(READING, resets_at=reset)

    assert used(reading, [spend(1, begun)]) == 1
    assert used(reading, [spend(1, begun - SECOND)]) == 0


@pytest.mark.parametrize(
    ("now", "first"),
    [
        (NOW, RESET),
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (RESET, datetime(2026, 7, 1, tzinfo=UTC)),
    ],
)
def test_the_quota_is_reset_on_the_first(now, first):
    assert quota.next_month(now) == first


# ---- one sync's budget --------------------------------------------------------------

BUDGETED = replace(RULES, budget=Budget(downloads=2, per=DAY))


def test_a_budget_is_a_rolling_window_over_one_sync():
    past = [
        spend(1, NOW - DAY, sync="vip"),
        spend(2, NOW - 5 * HOUR, sync="vip"),
        spend(3, NOW - HOUR, sync="other"),
        spend(4, NOW - HOUR, sync="vip", refused=True),
    ]
    assert verdict(rules=BUDGETED, past=past) == Admitted()

    answer = denied(
        verdict(rules=BUDGETED, past=[*past, spend(5, NOW - HOUR, sync="vip")])
    )

    assert answer.reason == "budget"
    assert answer.until == NOW + 19 * HOUR
    assert "2 downloads in 1 d" in answer.message
    assert "2026-05-13 04:00 UTC" in answer.message


def test_a_person_is_not_held_to_the_budget():
    past = spends(2, HOUR, sync="vip")

    assert verdict(PERSON, rules=BUDGETED, past=past) == Admitted()
    assert denied(verdict(rules=BUDGETED, past=past)).reason == "budget"


# ---- the pace when the month is scarce ----------------------------------------------

SCARCE = replace(RULES, demand=48.0)
"""19.625 days are left: 942 are wanted, 450 are there: 2.09 times too many."""


def last(ago: timedelta, **values: Any) -> Wish:
    return replace(WISH, last_at=NOW - ago, **values)


def test_schedules_are_stretched_when_they_want_more_than_is_left():
    assert verdict(last(126 * MINUTE), SCARCE) == Admitted()

    answer = denied(verdict(last(2 * HOUR), SCARCE))

    assert answer.reason == "quota"
    assert answer.until is not None
    assert NOW < answer.until < NOW + 6 * MINUTE
    assert "450 downloads are left" in answer.message
    assert "48.0 a day" in answer.message


def test_a_cohort_whose_size_did_not_move_waits_twice_as_long():
    assert isinstance(verdict(last(3 * HOUR, size_moved=False), SCARCE), Denied)
    assert verdict(last(252 * MINUTE, size_moved=False), SCARCE) == Admitted()


def test_a_first_download_and_a_person_are_not_stretched():
    assert verdict(WISH, SCARCE) == Admitted()
    assert verdict(last(MINUTE, by_person=True), SCARCE) == Admitted()


def test_nothing_is_stretched_while_there_is_enough_or_no_schedule():
    assert verdict(last(MINUTE), replace(RULES, demand=22.0)) == Admitted()
    assert verdict(last(MINUTE), replace(SCARCE, period=None)) == Admitted()
    past_reset = replace(READING, resets_at=NOW - SECOND)
    assert verdict(last(MINUTE), SCARCE, past_reset) == Admitted()


def test_a_budget_is_the_pace_that_is_stretched():
    rules = replace(SCARCE, budget=Budget(downloads=4, per=DAY))

    assert isinstance(verdict(last(12 * HOUR), rules), Denied)
    assert verdict(last(13 * HOUR), rules) == Admitted()


def test_a_stretched_download_waits_no_longer_than_to_the_reset():
    rules = replace(SCARCE, demand=48_000.0)

    assert denied(verdict(last(HOUR), rules)).until == RESET


def test_a_month_of_busy_schedules_ends_with_downloads_left_to_give():
    """Five cohorts that change every hour want 3,720 downloads; they get 450."""
    names = [f"s{number}" for number in range(5)]
    rules = replace(RULES, demand=120.0)
    past: list[Spend] = []
    got: dict[str, list[datetime]] = {name: [] for name in names}
    now = datetime(2026, 5, 1, tzinfo=UTC)
    while now < RESET:
        for name in names:
            at = got[name][-1] if got[name] else None
            reading = replace(READING, used=len(past), included=frozenset(range(999)))
            wish = Wish(sync=name, by_person=False, last_at=at, size_moved=True)
            if decide(wish, rules, reading, past, now) == Admitted():
                past.append(spend(len(past), now, sync=name))
                got[name].append(now)
            now += MINUTE
        now += HOUR - 5 * MINUTE

    assert 400 <= len(past) <= 450
    for times in got.values():
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert max(gaps) <= 12 * HOUR
        assert RESET - times[-1] <= 12 * HOUR


# ---- the rate limits ----------------------------------------------------------------


def later(answer: Admitted | Later | Denied) -> Later:
    assert isinstance(answer, Later)
    return answer


def test_four_are_started_in_a_minute():
    assert verdict(past=spends(3, SECOND)) == Admitted()

    answer = later(verdict(past=spends(4, 20 * SECOND)))

    assert answer.until == NOW + 42 * SECOND
    assert "4 downloads were started in 1 min" in answer.message
    assert verdict(past=spends(4, 62 * SECOND)) == Admitted()


def test_sixty_are_started_in_ten_minutes():
    assert verdict(past=spends(59, 2 * MINUTE)) == Admitted()

    assert later(verdict(past=spends(60, 2 * MINUTE))).until == NOW + 482 * SECOND
    assert verdict(past=spends(60, 602 * SECOND)) == Admitted()


def test_four_run_at_once_and_one_older_than_an_hour_is_forgotten():
    assert verdict(past=spends(3, 5 * MINUTE, running=True)) == Admitted()
    assert verdict(past=spends(4, HOUR, running=True)) == Admitted()

    answer = later(verdict(past=spends(4, 5 * MINUTE, running=True)))

    assert answer.until == NOW + quota.LOOK_AGAIN
    assert "4 downloads of the project are running" in answer.message


def test_people_keep_the_rate_limits_too():
    assert isinstance(verdict(PERSON, past=spends(4, SECOND)), Later)


# ---- what people are told -----------------------------------------------------------


@pytest.mark.parametrize(
    ("spent", "demand", "low"),
    [(399, 0, False), (400, 0, True), (100, 20, False), (100, 21, True)],
)
def test_low_is_much_used_or_more_wanted_than_there_is(spent, demand, low):
    assert quota.is_low(READING, spent, demand, NOW) == low


def test_a_forecast_adds_what_the_schedules_want_until_the_reset():
    assert quota.forecast(READING, 100, 4.0, NOW) == 100 + 79
    assert quota.forecast(READING, 100, 4.0, RESET + DAY) == 100


@pytest.mark.parametrize(("spent", "gone"), [(449, False), (450, True)])
def test_exhausted_is_when_only_the_reserve_is_left(spent, gone):
    assert quota.is_exhausted(READING, spent, 50) == gone


@pytest.mark.parametrize(
    ("per", "shown"), [(6 * HOUR, "6 h"), (90 * MINUTE, "90 min"), (7 * DAY, "7 d")]
)
def test_spans_are_shown_as_people_write_them(per, shown):
    rules = replace(RULES, budget=Budget(downloads=1, per=per))

    answer = denied(verdict(rules=rules, past=spends(1, MINUTE, sync="vip")))

    assert f"1 downloads in {shown}," in answer.message
