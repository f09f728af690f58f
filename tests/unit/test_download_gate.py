"""The gate: what the free list and the history of a cohort's downloads ask for."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.clients.amplitude_answers import Cohort
from syncd.model import SnapshotDigest
from syncd.sources.amplitude_download.gate import (
    Asker,
    Await,
    Pointless,
    Resume,
    Reuse,
    State,
    Unneeded,
    Wanted,
    gate,
    gate_state,
    mark,
    mark_of,
    stands_for,
)
from syncd.sources.amplitude_download.refusal import never_computed, refusal
from syncd.store.fetches import Fetch, FetchState

NOW = datetime(2026, 5, 12, 9, 0, tzinfo=UTC)
COMPUTED = NOW - timedelta(hours=3)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
COHORT = Cohort(
    id="c1",
    name="VIP",
    owners=(),
    app_id="1",
    type="redshift",
    archived=False,
    size=3,
    created_at=None,
    count_group="User",
    last_computed=COMPUTED,
    finished=True,
)
ASKER = Asker(
    sync="vip",
    mark=mark("c1", COMPUTED),
    again=False,
    by_person=False,
    period=HOUR,
    max_staleness=2 * DAY,
    lost_after=2 * MINUTE,
    now=NOW,
)
NEW = replace(ASKER, mark=None)


def fetch(number: int = 1, **values: Any) -> Fetch:
    """A completed one of an hour ago, unless told otherwise."""
    given: dict[str, Any] = {
        "project": "us:1",
        "cohort_id": "c1",
        "sync": "vip",
        "run_id": "r",
        "by_person": False,
        "state": FetchState.COMPLETED,
        "request_id": f"q{number}",
        "asked_at": NOW - HOUR,
        "ended_at": NOW - HOUR,
        "computed_before": COMPUTED - HOUR,
        "computed_after": COMPUTED,
        "name": "VIP",
        "size_before": 3,
        "size_ready": 3,
        "size": 3,
        "rows": 3,
        "digest": SnapshotDigest(count=3, total=7),
        "broken": 0,
        "error": None,
    }
    return Fetch(id=number, **(given | values))


def under_way(number: int = 1, **values: Any) -> Fetch:
    given: dict[str, Any] = {
        "state": FetchState.RUNNING,
        "ended_at": None,
        "computed_after": None,
        "digest": None,
        "rows": None,
    }
    return fetch(number, **(given | values))


def asking(**values: Any) -> Fetch:
    return under_way(state=FetchState.ASKING, request_id=None, **values)


# ---- unchanged ----------------------------------------------------------------------


def test_the_state_of_the_last_plan_needs_nothing():
    assert gate(COHORT, [fetch()], ASKER) == Unneeded(since=COMPUTED)


def test_an_equal_mark_without_a_download_of_ours_proves_no_age():
    assert gate(COHORT, [], ASKER) == Wanted(last=None)


def test_a_list_that_is_too_old_is_wanted_anew():
    old = fetch(asked_at=NOW - 2 * DAY)

    assert gate(COHORT, [old], ASKER) == Wanted(last=old)
    assert gate(COHORT, [fetch(asked_at=NOW - 2 * DAY + MINUTE)], ASKER) == Unneeded(
        since=COMPUTED
    )


@pytest.mark.parametrize("moved", [HOUR, -HOUR])
def test_any_other_computation_is_a_change(moved):
    cohort = replace(COHORT, last_computed=COMPUTED + moved)

    assert gate(cohort, [fetch()], ASKER) == Wanted(last=fetch())


def test_a_computation_that_vanished_is_a_change():
    cohort = replace(COHORT, last_computed=None)

    assert gate(cohort, [fetch()], ASKER) == Wanted(last=fetch())
    assert mark_of(cohort) is None


# ---- free ---------------------------------------------------------------------------


def test_a_current_file_serves_whoever_has_not_read_it():
    assert gate(COHORT, [fetch()], NEW) == Reuse(fetch=fetch())


def test_a_cohort_without_computation_is_read_from_its_last_file():
    cohort = replace(COHORT, last_computed=None)
    last = fetch(computed_after=None)

    assert gate(cohort, [last], NEW) == Reuse(fetch=last)


def test_whoever_wants_it_again_gets_it_where_it_is_free_and_not_otherwise():
    again = replace(ASKER, again=True)

    assert gate(COHORT, [fetch()], again) == Reuse(fetch=fetch())
    gone = fetch(request_id=None)
    assert gate(COHORT, [gone], again) == Unneeded(since=COMPUTED)


def test_a_file_is_not_asked_for_at_the_end_of_its_seven_days():
    patient = replace(NEW, max_staleness=30 * DAY)
    kept = fetch(asked_at=NOW - 7 * DAY + HOUR + MINUTE)
    late = fetch(asked_at=NOW - 7 * DAY + HOUR)

    assert gate(COHORT, [kept], patient) == Reuse(fetch=kept)
    assert gate(COHORT, [late], patient) == Wanted(last=late)


@pytest.mark.parametrize("state", [FetchState.RUNNING, FetchState.READY])
def test_what_is_under_way_is_resumed_by_any_sync(state):
    open_one = under_way(state=state, sync="other")

    assert gate(COHORT, [open_one], NEW) == Resume(fetch=open_one)


def test_what_is_older_than_the_last_file_is_not_resumed():
    changed = replace(COHORT, last_computed=NOW)
    history = [fetch(2), under_way(1)]

    assert gate(changed, history, ASKER) == Wanted(last=fetch(2))


@pytest.mark.parametrize("ago", [2 * DAY, 7 * DAY])
def test_a_request_that_is_too_old_is_not_resumed(ago):
    open_one = under_way(asked_at=NOW - ago)

    assert gate(COHORT, [open_one], NEW) == Wanted(last=None)


@pytest.mark.parametrize(
    "state", [FetchState.REFUSED, FetchState.LOST, FetchState.ENDED]
)
def test_what_came_to_nothing_is_asked_for_anew(state):
    assert gate(COHORT, [under_way(state=state)], NEW) == Wanted(last=None)


# ---- others are asking --------------------------------------------------------------


def test_another_syncs_request_is_waited_for_while_it_may_be_on_the_wire():
    young = asking(sync="other", asked_at=NOW - MINUTE)
    old = asking(sync="other", asked_at=NOW - 2 * MINUTE)

    assert gate(COHORT, [young], NEW) == Await()
    assert gate(COHORT, [old], NEW) == Wanted(last=None)


def test_ones_own_unanswered_request_was_cut():
    assert gate(COHORT, [asking(asked_at=NOW)], NEW) == Wanted(last=None)


# ---- downloads that bring nothing ---------------------------------------------------


def moving(count: int, last_asked: datetime, **values: Any) -> list[Fetch]:
    """Downloads with the same members, the cohort computed anew before each; newest
    first. The newest has left `COMPUTED` behind."""
    return [
        fetch(
            count - number,
            asked_at=last_asked - number * HOUR,
            computed_before=COMPUTED - number * HOUR - MINUTE,
            computed_after=COMPUTED - number * HOUR,
            **values,
        )
        for number in range(count)
    ]


CHANGED = replace(COHORT, last_computed=NOW)


@pytest.mark.parametrize(("alike", "hours"), [(2, 2), (3, 4), (4, 8), (9, 48)])
def test_the_wait_doubles_with_every_download_that_brought_the_same(alike, hours):
    """Bounded by the staleness, two days here."""
    history = moving(alike, NOW - hours * HOUR + MINUTE)

    assert gate(CHANGED, history, ASKER) == Pointless(
        message=f"it was computed again, but its last {alike} downloads brought the"
        " same members: the next one from 2026-05-12 09:01 UTC",
        until=NOW + MINUTE,
    )
    history = moving(alike, NOW - hours * HOUR)
    assert gate(CHANGED, history, ASKER) == Wanted(last=history[0])


def test_a_different_list_ends_the_waiting():
    history = moving(3, NOW - HOUR)
    history[0] = replace(history[0], digest=SnapshotDigest(count=3, total=8))

    assert gate(CHANGED, history, ASKER) == Wanted(last=history[0])


def test_equal_lists_of_an_unmoved_cohort_say_nothing_against_a_change():
    history = moving(2, NOW - HOUR)
    history[0] = replace(history[0], computed_before=history[1].computed_after)

    assert gate(CHANGED, history, ASKER) == Wanted(last=history[0])


@pytest.mark.parametrize(
    "asker",
    [replace(ASKER, by_person=True), replace(ASKER, period=None), NEW],
    ids=["a person", "no schedule", "never had the last list"],
)
def test_not_everybody_waits(asker):
    history = moving(2, NOW - HOUR)

    assert isinstance(gate(CHANGED, history, ASKER), Pointless)
    assert gate(CHANGED, history, asker) == Wanted(last=history[0])


@pytest.mark.parametrize("state", [FetchState.ENDED, FetchState.LOST])
def test_a_cohort_whose_downloads_come_to_nothing_is_paid_for_ever_more_rarely(state):
    """A 429 in between was not paid for."""
    newest = under_way(5, state=state, asked_at=NOW - 4 * HOUR + MINUTE)
    refused = under_way(4, state=FetchState.REFUSED)
    wasted = [under_way(number, state=state) for number in (3, 2)]
    history = [newest, refused, *wasted, fetch(1)]

    answer = gate(CHANGED, history, ASKER)

    assert isinstance(answer, Pointless)
    assert answer.until == NOW + MINUTE
    assert "its last 3 downloads came to nothing" in answer.message
    later = replace(ASKER, now=NOW + MINUTE)
    assert gate(CHANGED, history, later) == Wanted(last=fetch(1))
    by_hand = replace(ASKER, by_person=True)
    assert gate(CHANGED, history, by_hand) == Wanted(last=fetch(1))


def test_requests_that_a_crash_left_without_an_answer_were_in_vain():
    """Else every crash between sending and the stored answer would pay for another."""
    cut = [asking(number=n, asked_at=NOW - HOUR) for n in (3, 2)]

    answer = gate(CHANGED, [*cut, fetch(1)], ASKER)

    assert isinstance(answer, Pointless)
    assert answer.until == NOW + HOUR
    by_hand = replace(ASKER, by_person=True)
    assert gate(CHANGED, [*cut, fetch(1)], by_hand) == Wanted(last=fetch(1))
    lost = under_way(2, state=FetchState.LOST)
    assert isinstance(gate(CHANGED, [cut[0], lost, fetch(1)], ASKER), Pointless)


def test_one_download_in_vain_is_made_up_for_at_once():
    history = [under_way(2, state=FetchState.ENDED, asked_at=NOW), fetch(1)]

    assert gate(CHANGED, history, ASKER) == Wanted(last=fetch(1))


@pytest.mark.parametrize("size", [2, 4])
def test_another_size_than_all_alike_downloads_had_ends_the_waiting(size):
    history = moving(3, NOW - HOUR)

    assert isinstance(gate(CHANGED, history, ASKER), Pointless)
    changed = replace(CHANGED, size=size)
    assert gate(changed, history, ASKER) == Wanted(last=history[0])


@pytest.mark.parametrize(
    ("listed", "before"),
    [
        (4, [3, 2, 3]),
        (4, [None, None, None]),
        (4, [3, None, 3]),
        (None, [3, 3, 3]),
        (3, [3, 3, 3]),
    ],
    ids=["it always moves", "unknown", "unknown once", "not listed", "the same"],
)
def test_a_size_that_proves_nothing_does_not_end_the_waiting(listed, before):
    history = [
        replace(each, size=size)
        for each, size in zip(moving(3, NOW - HOUR), before, strict=True)
    ]

    changed = replace(CHANGED, size=listed)

    assert isinstance(gate(changed, history, ASKER), Pointless)


# ---- what a file stands for ---------------------------------------------------------


@pytest.mark.parametrize("ahead", [-2 * HOUR, timedelta(0), 2 * HOUR])
def test_a_file_stands_for_what_is_listed_when_its_job_ends(ahead):
    """The job itself may have moved it, and the vendor's clock may be another one."""
    moved = replace(COHORT, last_computed=NOW + ahead)
    asked = under_way(asked_at=NOW - MINUTE)

    assert stands_for(asked, moved, seen=True, now=NOW) == NOW + ahead
    assert stands_for(asked, moved, seen=False, now=NOW) == NOW + ahead


@pytest.mark.parametrize(
    ("seen", "ago", "computed", "known"),
    [
        (True, DAY, NOW, True),
        (False, DAY, NOW, False),
        (False, 11 * MINUTE, NOW, False),
        (False, 10 * MINUTE, NOW, True),
        (False, DAY, NOW - DAY + 10 * MINUTE, True),
        (False, DAY, None, True),
    ],
)
def test_a_job_that_nobody_saw_ending_is_not_taken_for_a_later_computation(
    seen, ago, computed, known
):
    asked = under_way(asked_at=NOW - ago)
    listed = replace(COHORT, last_computed=computed)

    stands = stands_for(asked, listed, seen=seen, now=NOW)

    assert stands == (computed if known else asked.computed_before)


# ---- what is not read at all --------------------------------------------------------


@pytest.mark.parametrize(
    ("last_computed", "finished", "size", "never"),
    [
        (None, False, None, True),
        (None, False, 3, True),
        (None, None, None, True),
        (None, None, 3, False),
        (None, True, 3, False),
        (COMPUTED, False, 3, False),
    ],
)
def test_a_cohort_nobody_computed_is_told_from_one_that_names_no_time(
    last_computed, finished, size, never
):
    cohort = replace(COHORT, last_computed=last_computed, finished=finished, size=size)

    assert never_computed(cohort) == never


def test_two_million_members_may_be_read():
    cohort = replace(COHORT, size=2_000_000)

    assert refusal(cohort, writers=[], linked=False) is None


def test_a_link_allows_an_echo_and_nothing_else():
    copy = replace(COHORT, name="[Segment] VIP")

    assert refusal(copy, writers=["a"], linked=True) is None
    reason = refusal(replace(copy, archived=True), writers=[], linked=True)
    assert reason is not None
    assert reason.code == "source.archived"


def test_an_echo_names_who_writes_it():
    reason = refusal(COHORT, writers=["b", "a", "b"], linked=False)

    assert reason is not None
    assert reason.code == "source.echo"
    assert "syncd writes it (a, b)" in reason.message
    assert "linked: true" in reason.hint


# ---- for people ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cohort", "history", "asked", "state", "words"),
    [
        (
            COHORT,
            [fetch()],
            ASKER.mark,
            State.UNCHANGED,
            "unchanged since 2026-05-12 06:00 UTC",
        ),
        (
            COHORT,
            [fetch()],
            None,
            State.FREE,
            "free: the file of 2026-05-12 08:00 UTC is current",
        ),
        (
            COHORT,
            [under_way()],
            None,
            State.FREE,
            "free: it was asked for at 2026-05-12 08:00 UTC",
        ),
        (COHORT, [], None, State.CHANGED, "never downloaded: it costs 1"),
        (
            CHANGED,
            [fetch()],
            ASKER.mark,
            State.CHANGED,
            "changed at 2026-05-12 09:00 UTC: a download costs 1",
        ),
        (
            COHORT,
            [fetch(asked_at=NOW - 3 * DAY)],
            ASKER.mark,
            State.CHANGED,
            "unchanged, but its list is of 2026-05-09 09:00 UTC: a new one costs 1",
        ),
        (
            replace(COHORT, last_computed=None),
            [fetch()],
            ASKER.mark,
            State.CHANGED,
            "changed at an unknown time: a download costs 1",
        ),
        (
            replace(COHORT, last_computed=None, finished=False),
            [],
            None,
            State.NEVER_COMPUTED,
            "never computed: open it once in Amplitude",
        ),
        (
            replace(COHORT, archived=True),
            [],
            None,
            State.REFUSED,
            "cohort c1 (VIP) is archived",
        ),
    ],
)
def test_people_are_told_what_reading_a_cohort_would_cost(
    cohort: Cohort, history: Sequence[Fetch], asked: str | None, state, words: str
):
    told = gate_state(cohort, history, max_staleness=2 * DAY, now=NOW, mark=asked)

    assert told == (state, words)
