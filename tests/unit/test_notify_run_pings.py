"""What a heartbeat service is told of runs, in which order, and how often."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from syncd.model import Outcome, Trigger
from syncd.notify.heartbeat import TRIES as TRIES_OF_A_BEAT
from syncd.notify.heartbeat import Beat, why_not
from syncd.notify.run_pings import TRIES, WAITING, Follower, Ping, path_of
from syncd.store.runs import Run

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def run(number: int, outcome: Outcome | None, **summary: Any) -> Run:
    return Run(
        id=f"019e19b3-a8b5-76f6-8dec-{number:012}",
        sync="vip",
        slot=None,
        trigger=Trigger.SCHEDULE,
        outcome=outcome,
        reason=None,
        phase="done",
        started_at=NOW,
        finished_at=NOW if outcome else None,
        hold_expires_at=None,
        plan_hash=None,
        config_hash="x",
        summary=summary,
    )


def following(*steps: list[Run], before: tuple[Run, ...] = ()) -> list[str]:
    """The pings of these looks: `1/start`, `1`, `2/fail`."""
    follower = Follower("vip")
    follower.begin(before)
    for recent in steps:
        follower.follow(recent)
    return [f"{int(each.run_id[-12:])}{each.suffix}" for each in follower.waiting]


def test_a_run_is_told_when_it_begins_and_when_it_is_over() -> None:
    begun, over = run(1, None), run(1, Outcome.SUCCESS)

    assert following([begun], [begun], [over], [over]) == ["1/start", "1"]


def test_a_run_that_was_over_before_it_was_seen_is_told_as_one_that_began() -> None:
    assert following([run(2, Outcome.NO_CHANGE), run(1, Outcome.FAILED)]) == [
        "1/start",
        "1/fail",
        "2/start",
        "2",
    ]


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (Outcome.SUCCESS, ["1/start", "1"]),
        (Outcome.NO_CHANGE, ["1/start", "1"]),
        (Outcome.PARTIAL, ["1/start", "1/fail"]),
        (Outcome.HELD, ["1/start", "1/fail"]),
        (Outcome.FAILED, ["1/start", "1/fail"]),
        (Outcome.ABANDONED, ["1/start", "1/fail"]),
        (Outcome.INTERRUPTED, ["1/start"]),
        (Outcome.SKIPPED, []),
    ],
)
def test_each_way_to_end_has_its_ping(outcome: Outcome, told: list[str]) -> None:
    assert following([run(1, outcome)]) == told


def test_what_ended_before_this_process_is_nobodys_news() -> None:
    before = (run(2, None), run(1, Outcome.FAILED))

    told = following([run(2, Outcome.SUCCESS), run(1, Outcome.FAILED)], before=before)

    assert told == ["2/start", "2"]


def test_what_another_replica_ran_is_not_told_once_more() -> None:
    follower = Follower("vip")
    follower.begin(())
    ours = run(1, Outcome.SUCCESS)
    theirs = [run(2, Outcome.FAILED), run(3, Outcome.SUCCESS)]

    follower.follow([run(1, None)])
    follower.pass_over([ours, run(2, None)])
    follower.pass_over([ours, *theirs])
    follower.follow([ours, *theirs, run(4, Outcome.SUCCESS)])

    told = [f"{int(each.run_id[-12:])}{each.suffix}" for each in follower.waiting]
    assert told == ["1/start", "1", "4/start", "4"]


def test_the_body_has_numbers_and_codes_and_no_words_of_others() -> None:
    follower = Follower("vip")
    words = {"message": "person-1 is unknown", "trips": [{"reason": "person-1"}]}
    follower.follow([run(1, Outcome.FAILED, entered=3, **words)])

    body = orjson.loads(follower.waiting[-1].body)

    assert body["entered"] == 3
    assert (body["sync"], body["outcome"]) == ("vip", "failed")
    assert "person-1" not in str(body)


def test_one_that_fails_keeps_later_ones_waiting_and_is_given_up() -> None:
    follower, now = Follower("vip"), NOW
    follower.follow([run(1, Outcome.SUCCESS)])
    waits, given_up = [], []

    for _ in range(TRIES):
        ping = follower.next(now)
        assert ping is not None
        assert ping.suffix == "/start"
        given_up.append(follower.failed(now))
        waiting = follower.waiting[0].due_at
        if waiting is not None:
            waits.append(waiting - now)
            assert follower.next(now) is None
            now = waiting

    assert [bool(each) for each in given_up] == [False] * (TRIES - 1) + [True]
    assert waits == [timedelta(seconds=10 * 2**n) for n in range(TRIES - 1)]
    last = follower.next(now)
    assert last is not None
    assert last.suffix == ""
    follower.arrived()
    assert follower.next(now) is None


def test_what_nobody_takes_does_not_pile_up() -> None:
    follower = Follower("vip")

    for number in range(WAITING):
        follower.follow([run(number + 1, Outcome.SUCCESS)])

    assert len(follower.waiting) == WAITING
    assert follower.waiting[-1].run_id.endswith(f"{WAITING:03}")


@pytest.mark.parametrize(
    ("path", "suffix", "asked"),
    [
        ("/4711", "/start", "/4711/start?rid=r1"),
        ("/4711/", "", "/4711?rid=r1"),
        ("/ping?key=k", "/fail", "/ping/fail?key=k&rid=r1"),
    ],
)
def test_the_address_is_kept_as_it_was_given(
    path: str, suffix: str, asked: str
) -> None:
    ping = Ping(sync="vip", suffix=suffix, run_id="r1", body=b"")

    assert path_of(path, ping) == asked


# ---- the dead man's switch -----------------------------------------------------------


def test_a_ping_that_fails_is_tried_again_before_the_next_one() -> None:
    every, now, beat = 5 * MINUTE, NOW, Beat()
    tried: list[timedelta] = []
    assert beat.is_due(now)

    while len(tried) < TRIES_OF_A_BEAT:
        beat = beat.after(now, every, arrived=False)
        assert beat.due_at is not None
        assert not beat.is_due(beat.due_at - MINUTE / 60)
        tried.append(beat.due_at - now)
        now = beat.due_at

    assert tried == [MINUTE] * 4 + [5 * MINUTE]
    assert beat.tries == 0
    assert beat.after(now, every, arrived=True).due_at == now + every


@pytest.mark.parametrize(
    ("healthy", "stale", "why"),
    [
        (True, None, ""),
        (True, [], ""),
        (True, ["a"], "not fresh: a"),
        (True, ["a", "b", "c", "d", "e"], "not fresh: a, b, c and 2 more"),
        (False, None, "the scheduler or the store does not answer"),
        (False, ["a"], "the scheduler or the store does not answer"),
    ],
)
def test_no_ping_is_sent_while_not_all_is_well(
    stale: list[str] | None, why: str, *, healthy: bool
) -> None:
    assert why_not(healthy=healthy, stale=stale) == why
