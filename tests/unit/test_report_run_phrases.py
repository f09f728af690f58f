"""One run in words, the same on the command line, on the page and in the API."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.model import Outcome, Trigger
from syncd.report.one_run import OneRun, one_run_document
from syncd.report.run_phrases import (
    decision_sentences,
    failure_sentences,
    figures,
    headline,
    next_step,
    origin,
    plan_sentences,
    reasons,
    steps,
    sums,
    undecided,
)
from syncd.report.runs import change_words, duration, outcome_words
from syncd.store.installation import Action
from syncd.store.runs import Run

NOW = datetime(2026, 5, 12, 9, 41, tzinfo=UTC)
HOUR = timedelta(hours=1)
ID = "019e1a2b-0000-7000-8000-0000a3373d68"


def run(summary: dict[str, Any] | None = None, **changes: Any) -> Run:
    """One that succeeded an hour ago, in two seconds."""
    values: dict[str, Any] = {
        "id": ID,
        "sync": "vip",
        "slot": None,
        "trigger": Trigger.SCHEDULE,
        "outcome": Outcome.SUCCESS,
        "reason": None,
        "phase": "done",
        "started_at": NOW - HOUR,
        "finished_at": NOW - HOUR + timedelta(seconds=2),
        "hold_expires_at": None,
        "plan_hash": None,
        "config_hash": "sha256:00000000",
        "summary": summary or {},
    }
    return Run(**(values | changes))


def page(shown: Run | None = None, **changes: Any) -> OneRun:
    values: dict[str, Any] = {
        "run": shown or run(),
        "now": NOW,
        "zone": "UTC",
        "team": "",
        "flags": "",
        "alive": False,
        "share": None,
        "waits": False,
        "actions": [],
        "failures": [],
        "exit_shares": [],
        "sent_by": None,
        "fed_by": "",
    }
    return OneRun(**(values | changes))


def held(**numbers: Any) -> Run:
    return run(
        {"to_enter": 58, "to_exit": 9870, **numbers},
        outcome=Outcome.HELD,
        reason="guard.max_exit",
        plan_hash="p",
        hold_expires_at=NOW + HOUR,
    )


def decided(verb: str) -> Action:
    return Action(
        at=NOW,
        verb=verb,
        sync="vip",
        run_id=ID,
        actor="ana",
        via="web",
        reason="a new query",
    )


@pytest.mark.parametrize(
    ("shown", "more", "expected"),
    [
        (run(), {}, "success, in 2 s"),
        (
            run(outcome=Outcome.FAILED, reason="source.short"),
            {},
            "failed: source.short, in 2 s",
        ),
        (run(outcome=Outcome.SKIPPED, reason="paused"), {}, "skipped: paused"),
        (
            held(),
            {"waits": True},
            "held since 08:41 UTC (1 h ago) by guard.max_exit. Nothing was sent.",
        ),
        (
            run(outcome=None, finished_at=None, phase="deliver"),
            {"alive": True, "share": 0.25},
            "running since 08:41 UTC (1 h), deliver, 25 % answered",
        ),
        (
            run(outcome=None, finished_at=None, phase="diff"),
            {},
            "cut off since 08:41 UTC (1 h), diff",
        ),
    ],
)
def test_a_headline_says_how_it_ended_or_how_far_it_is(
    shown: Run, more: dict[str, Any], expected: str
) -> None:
    assert headline(page(shown, **more)) == expected


def test_a_run_says_what_began_it_and_whose_plan_it_sends() -> None:
    due = run(slot=NOW - 2 * HOUR)
    approval = run({"approves": "x" * 20 + "a3373d68"}, trigger=Trigger.APPROVE)

    assert origin(page(due)) == "started 08:41:00 UTC by schedule, due 07:41 UTC"
    assert origin(page(approval)) == "started 08:41:00 UTC by approve of run a3373d68"


def test_guards_are_the_reason_and_else_what_went_wrong() -> None:
    trips = [{"guard": "guard.max_exit", "reason": "too many"}]

    assert reasons(run({"trips": trips, "message": "held"})) == [
        "guard.max_exit: too many"
    ]
    assert reasons(run({"message": "the file ended"})) == ["the file ended"]
    assert reasons(run()) == []


def test_a_run_that_needs_something_says_the_next_command() -> None:
    failed = run(outcome=Outcome.FAILED)
    hinted = run({"hint": "syncd doctor"}, outcome=Outcome.FAILED)

    assert next_step(page(failed, flags=" -c x")) == "syncd runs vip -c x"
    assert next_step(page(hinted)) == "syncd doctor"
    assert next_step(page()) == ""
    assert next_step(page(held(hint="syncd doctor"), waits=True)) == ""


def test_a_held_plan_is_told_in_figures_and_beside_the_usual() -> None:
    shown = held(members_before=31433, exits_24h=9900, exit_ratio_24h=0.315, members=1)

    assert figures(shown.summary) == [
        ("before", 31433),
        ("would enter", 58),
        ("would exit", 9870),
        ("after", 1),
    ]
    assert list(plan_sentences(page(shown, exit_shares=[0.011, 0.314]))) == [
        "with the 24 hours before: 9,900 exits, 31.5 %",
        "last 2 exit shares: 1.1 %  31.4 %",
    ]
    assert change_words(shown) == "+58 -9,870 unsent"


def test_whoever_may_decide_is_told_how_and_until_when() -> None:
    waiting = page(held(), waits=True, team="retention", flags=" -c x")

    commands = one_run_document(waiting)["choices"]

    assert undecided(waiting) == (
        "ask retention; nothing is sent while it waits until 10:41 UTC, "
        "then it is dropped"
    )
    assert commands == [
        'syncd approve a3373d68 -c x --reason "..."',
        'syncd reject a3373d68 -c x --reason "..."',
    ]
    assert one_run_document(page(held()))["choices"] == []


@pytest.mark.parametrize(
    ("actions", "plan", "told"),
    [
        (
            [decided("approve")],
            "approved",
            ["approved by ana (web) 09:41 UTC: a new query"],
        ),
        (
            [decided("reject")],
            "rejected",
            ["rejected by ana (web) 09:41 UTC: a new query"],
        ),
        ([], "expired", ["expired: nobody decided in time, the plan was dropped"]),
    ],
)
def test_what_became_of_a_plan_is_told(
    actions: list[Action], plan: str, told: list[str]
) -> None:
    shown = page(held(), actions=actions)

    assert (shown.plan, list(decision_sentences(shown))) == (plan, told)


def test_the_run_that_sent_a_plan_is_named() -> None:
    shown = page(held(), actions=[decided("approve")], sent_by=run())

    assert list(decision_sentences(shown))[-1] == "sent by run a3373d68 (success)"


def test_each_step_says_how_long_it_took_and_what_it_came_to() -> None:
    numbers = {
        "phase_ms": {"collect": 41_000, "diff": 300, "guard": 0, "deliver": 2_000},
        "events_in": 20,
        "events_out": 6,
        "to_enter": 20,
        "to_exit": 6,
        "reasserted": 2,
        "entered": 20,
        "exited": 5,
        "rejected": 1,
        "requests": 3,
        "retries": 1,
    }

    told = {each.name: each for each in steps(page(run(numbers), fed_by="inbox e"))}

    assert told["collect"].took == timedelta(seconds=41)
    assert {name: each.did for name, each in told.items()} == {
        "collect": "events 26 people: 20 in, 6 out, from inbox e",
        "diff": "20 to enter, 6 to exit, 2 of them again",
        "guard": "",
        "deliver": "20 entered, 5 exited, 1 rejected, 3 requests (1 retry)",
    }


def test_a_run_that_read_nothing_says_so_where_it_asked() -> None:
    numbers = {"phase_ms": {"ask": 3}, "unchanged_since": "2026-07-29T01:01:05+00:00"}

    (told,) = steps(page(run(numbers)))

    assert told.did == "source unchanged since 2026-07-29 01:01 UTC, not read again"


def test_who_is_no_member_is_counted_by_reason() -> None:
    numbers = {
        "members_after": 21_621,
        "cohort_id": "1a2bc3d",
        "refused": {"too_long": 3},
        "not_accepted": {"unmatched: unknown_user": 41},
        "waiting": 2,
    }

    assert list(sums(numbers)) == [
        ["members", "21,621", "in cohort 1a2bc3d"],
        ["refused", "3", "too long"],
        ["unmatched", "41", "unknown_user (offered again later)"],
        ["waiting", "2", "batches still to be sent, taken over by the next run"],
    ]


def test_failures_are_counted_with_the_vendors_words() -> None:
    shown = page(failures=[("rate_limited", "slow down", 1200), ("timeout", "", 1)])

    assert list(failure_sentences(shown)) == [
        "1,200x rate_limited: slow down",
        "1x timeout",
    ]


def test_a_clock_that_was_set_back_makes_no_negative_duration() -> None:
    assert duration(run(finished_at=NOW - 2 * HOUR), NOW) == timedelta(0)


def test_a_run_without_an_end_is_running_or_was_cut_off() -> None:
    open_ = run(outcome=None)

    assert [outcome_words(open_, alive=alive) for alive in (True, False)] == [
        "running",
        "cut off",
    ]
