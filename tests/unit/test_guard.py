"""Every guard at its exact boundary: what goes out, what is held, and what is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.model import Moved, SnapshotDigest
from syncd.sync.guard import Guard, Limits, Trip, judge
from syncd.sync.identity import Aspect, Change
from syncd.sync.plan import Plan

DEFAULTS = Limits()
OTHER_SOURCE = Change(aspect=Aspect.SOURCE, sentence="the source changed")


def planned(
    *,
    union: int = 10_000,
    members: int = 10_000,
    entered: int = 0,
    exited: int = 0,
    acknowledged: int | None = None,
    batches: int = 1,
) -> Plan:
    return Plan(
        members=members,
        acknowledged=union if acknowledged is None else acknowledged,
        union=union,
        entered=entered,
        exited=exited,
        reasserted=0,
        batches=batches,
        hash="ab12",
        digest=SnapshotDigest(count=members, total=0),
    )


def judged(
    plan: Plan,
    limits: Limits = DEFAULTS,
    *,
    baseline_intact: bool = True,
    change: Change | None = None,
) -> tuple[Trip, ...]:
    return judge(plan, limits, baseline_intact=baseline_intact, change=change)


def guards(trips: tuple[Trip, ...]) -> list[Guard]:
    return [trip.guard for trip in trips]


def test_the_defaults_are_20_percent_10_times_and_50_ids():
    assert (DEFAULTS.max_exit, DEFAULTS.max_enter) == (0.20, 10.0)
    assert DEFAULTS.ignore_below == 50


def test_the_codes_people_look_up_stay():
    assert list(Guard) == [
        "guard.empty_source",
        "guard.max_exit",
        "guard.max_exit_24h",
        "guard.max_enter",
        "guard.baseline",
        "guard.identity",
        "guard.replace",
    ]


def test_a_plan_without_changes_goes_out():
    assert judged(planned()) == ()


@pytest.mark.parametrize("union", [250, 255, 1_000, 10_000, 33_335, 2_000_000])
def test_a_fifth_may_leave_and_one_person_more_may_not(union):
    fifth = union // 5

    assert judged(planned(union=union, exited=fifth)) == ()
    assert guards(judged(planned(union=union, exited=fifth + 1))) == [Guard.MAX_EXIT]


@pytest.mark.parametrize("union", [50, 51, 60, 100])
def test_fifty_people_may_leave_whatever_share_they_are(union):
    assert judged(planned(union=union, members=1, exited=50)) == ()


def test_of_few_people_the_51st_trips_the_guard():
    assert guards(judged(planned(union=100, exited=51))) == [Guard.MAX_EXIT]


def test_more_than_fifty_may_leave_when_they_are_a_small_share():
    assert judged(planned(union=10_000, exited=51)) == ()


@pytest.mark.parametrize("union", [6, 7, 1_000, 123_457])
def test_ten_times_as_many_may_enter_and_one_person_more_may_not(union):
    tenfold = union * 10

    assert judged(planned(union=union, entered=tenfold)) == ()
    assert guards(judged(planned(union=union, entered=tenfold + 1))) == [
        Guard.MAX_ENTER
    ]


def test_fifty_people_may_enter_whatever_share_they_are():
    assert judged(planned(union=1, entered=50)) == ()
    assert guards(judged(planned(union=1, entered=51))) == [Guard.MAX_ENTER]


@pytest.mark.parametrize("members", [1, 51, 5_000_000])
def test_the_first_run_sends_however_many_enter(members):
    assert judged(planned(union=0, members=members, entered=members)) == ()


def test_an_empty_source_of_a_new_sync_is_nothing_to_hold():
    assert judged(planned(union=0, members=0)) == ()


@pytest.mark.parametrize("union", [1, 50, 51, 10_000])
def test_an_empty_source_holds_even_if_few_people_would_leave(union):
    trips = judged(planned(union=union, members=0, exited=union))

    assert guards(trips) == [Guard.EMPTY_SOURCE]


def test_an_empty_source_holds_when_all_that_is_there_is_uncertain():
    trips = judged(planned(union=7, acknowledged=0, members=0, exited=7))

    assert guards(trips) == [Guard.EMPTY_SOURCE]


def test_one_person_in_the_source_is_not_an_empty_source():
    assert judged(planned(union=40, members=1, exited=39)) == ()
    assert guards(judged(planned(union=400, members=1, exited=399))) == [Guard.MAX_EXIT]


def test_an_empty_source_is_held_with_any_limits():
    loose = Limits(max_exit=1.0, max_enter=1e6, ignore_below=10**9)

    trips = judged(planned(union=5, members=0, exited=5), loose)

    assert guards(trips) == [Guard.EMPTY_SOURCE]


def test_shares_are_of_who_may_be_there_uncertain_people_included():
    plan = planned(union=1_000, acknowledged=500, exited=200)

    assert judged(plan) == ()
    assert plan.exit_share == 0.2


def test_the_share_of_nobody_is_none():
    plan = planned(union=0, entered=9, exited=9)

    assert (plan.exit_share, plan.enter_share) == (0.0, 0.0)


def test_a_lost_baseline_holds_a_plan_that_changes_nothing():
    (trip,) = judged(planned(acknowledged=12), baseline_intact=False)

    assert trip == Trip(
        guard=Guard.BASELINE,
        value=12,
        limit=0,
        reason="the stored members do not add up to the stored count",
    )


def test_a_changed_identity_holds_a_first_run_too_and_says_what_changed():
    (trip,) = judged(planned(union=0, entered=100), change=OTHER_SOURCE)

    assert trip == Trip(
        guard=Guard.IDENTITY, value=1, limit=0, reason="the source changed"
    )


def test_another_query_that_lists_the_same_people_needs_no_approval():
    assert judged(planned(batches=0), change=OTHER_SOURCE) == ()


@pytest.mark.parametrize(
    "aspect", [each for each in Aspect if each is not Aspect.SOURCE]
)
def test_any_other_change_of_identity_is_approved_even_if_nothing_is_sent(aspect):
    change = Change(aspect=aspect, sentence="another cohort")

    assert guards(judged(planned(batches=0), change=change)) == [Guard.IDENTITY]


def test_all_guards_that_trip_are_named_at_once():
    plan = planned(union=100, members=2_000, entered=1_951, exited=51)

    trips = judged(plan, baseline_intact=False, change=OTHER_SOURCE)

    assert guards(trips) == [
        Guard.BASELINE,
        Guard.IDENTITY,
        Guard.MAX_EXIT,
        Guard.MAX_ENTER,
    ]


def test_an_empty_source_is_not_said_twice():
    plan = planned(union=10_000, members=0, exited=10_000)

    trips = judged(plan, baseline_intact=False)

    assert guards(trips) == [Guard.BASELINE, Guard.EMPTY_SOURCE]


def test_too_many_exits_are_said_with_numbers_and_the_limit():
    (trip,) = judged(planned(union=10_000, exited=2_347))

    assert (trip.value, trip.limit) == (0.2347, 0.20)
    assert trip.reason == ("2,347 of 10,000 people would leave (23.5%, limit 20%)")


def test_too_many_entries_are_said_with_numbers_and_the_limit():
    (trip,) = judged(planned(union=1_000, entered=12_345))

    assert (trip.value, trip.limit) == (12.345, 10.0)
    assert trip.reason == (
        "12,345 people would enter, 1,000 are there (1234%, limit 1000%)"
    )


def test_an_empty_source_is_said_with_how_many_would_leave():
    (trip,) = judged(planned(union=10_000, members=0, exited=10_000))

    assert (trip.value, trip.limit) == (0, 1)
    assert trip.reason == "the source is empty, 10,000 people would leave"


def test_a_limit_is_shown_as_it_was_configured():
    limits = Limits(max_exit=0.025, max_enter=0.125)

    exits = judged(planned(exited=251), limits)
    entries = judged(planned(entered=1_251), limits)

    assert "limit 2.5%" in exits[0].reason
    assert "limit 12.5%" in entries[0].reason


@given(
    union=st.integers(0, 500),
    members=st.integers(0, 500),
    entered=st.integers(0, 6_000),
    exited=st.integers(0, 500),
    ignore_below=st.integers(0, 100),
    percent=st.integers(0, 100),
    times=st.integers(0, 12),
)
def test_a_plan_goes_out_only_within_every_limit(
    union, members, entered, exited, ignore_below, percent, times
):
    plan = planned(union=union, members=members, entered=entered, exited=exited)
    limits = Limits(
        max_exit=percent / 100, max_enter=float(times), ignore_below=ignore_below
    )

    held = guards(judged(plan, limits))

    emptied = members == 0 and union > 0
    too_many_exits = exited > ignore_below and exited * 100 > percent * union > 0
    no_exits_allowed = exited > ignore_below and union > 0 and percent == 0
    too_many_entries = entered > ignore_below and entered > times * union and union > 0
    assert (Guard.EMPTY_SOURCE in held) == emptied
    assert (Guard.MAX_EXIT in held) == (
        (too_many_exits or no_exits_allowed) and not emptied
    )
    assert (Guard.MAX_ENTER in held) == too_many_entries


# ---- 24 hours ------------------------------------------------------------------------


def judged_after(plan: Plan, lately: Moved, limits: Limits = DEFAULTS) -> list[Guard]:
    trips = judge(plan, limits, baseline_intact=True, change=None, lately=lately)
    return guards(trips)


def test_many_small_exits_of_a_day_are_held_where_one_more_passes_40_percent():
    # 1,000 people were there: 399 left and nobody entered, so 601 are there now.
    at_the_limit = planned(union=601, members=600, exited=1)
    above = planned(union=601, members=599, exited=2)

    assert judged_after(at_the_limit, Moved(exited=399)) == []
    assert judged_after(above, Moved(exited=399)) == [Guard.MAX_EXIT_24H]


def test_the_day_began_with_whoever_left_since_and_without_who_entered():
    plan = planned(union=1000, members=999, exited=1)

    assert plan.exit_share_over(Moved(exited=99)) == 100 / 1099
    assert plan.exit_share_over(Moved(exited=99, entered=50)) == 100 / 1049


def test_entries_of_the_day_never_make_the_share_one_of_fewer_than_are_there():
    plan = planned(union=1000, members=999, exited=1)

    assert plan.exit_share_over(Moved(exited=99, entered=900)) == 0.1


def test_nobody_who_enters_is_held_for_those_who_left_before():
    plan = planned(union=100, members=160, entered=60)

    assert judged_after(plan, Moved(exited=5000)) == []


def test_few_exits_in_a_day_never_trip_however_large_their_share():
    plan = planned(union=30, members=29, exited=1)

    assert judged_after(plan, Moved(exited=49)) == []
    assert judged_after(plan, Moved(exited=50)) == [Guard.MAX_EXIT_24H]


def test_without_a_limit_of_the_day_any_number_may_leave_in_small_steps():
    plan = planned(union=601, members=500, exited=101)

    assert judged_after(plan, Moved(exited=399), Limits(max_exit_24h=None)) == []


def test_what_one_run_alone_shows_is_said_once():
    plan = planned(union=1000, members=400, exited=600)

    assert judged_after(plan, Moved()) == [Guard.MAX_EXIT]
    assert judged_after(plan, Moved(exited=1)) == [Guard.MAX_EXIT, Guard.MAX_EXIT_24H]


def test_the_reason_of_the_day_names_the_sum_and_what_is_new():
    plan = planned(union=601, members=599, exited=2)
    (trip,) = judge(
        plan,
        DEFAULTS,
        baseline_intact=True,
        change=None,
        lately=Moved(exited=399),
    )

    assert trip.reason == (
        "401 people would have left within 24 hours, 2 of them now (40.1%, limit 40%)"
    )
    assert (trip.value, trip.limit) == (0.401, 0.4)
