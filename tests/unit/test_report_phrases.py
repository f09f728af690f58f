"""A sync's cells and the lines below them, the same for every reader."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from syncd.model import Fed, Feed, IdType, Outcome, Trigger
from syncd.report.overview import Overview, next_command, overview_document
from syncd.report.phrases import (
    connection_sentences,
    daemon_words,
    failover_sentences,
    last_change,
    next_words,
    pause_sentences,
    quota_sentence,
    state_words,
    worker_sentences,
)
from syncd.report.replicas import Replica
from syncd.report.standing import Activity, Standing
from syncd.report.states import State
from syncd.schedule import Every, Manual, Once
from syncd.store.connections import ConnectionState
from syncd.store.installation import Daemon, Role
from syncd.store.lost_commits import reconciling
from syncd.store.pauses import Pause
from syncd.store.quotas import Quota
from syncd.store.runs import Run
from tests.builders import settings_of, sync_settings

NOW = datetime(2026, 5, 12, 9, 41, tzinfo=UTC)
HOUR = timedelta(hours=1)


def run(**changes: Any) -> Run:
    values: dict[str, Any] = {
        "id": "019e1a2b-0000-7000-8000-0000a3373d68",
        "sync": "vip",
        "slot": None,
        "trigger": Trigger.SCHEDULE,
        "outcome": Outcome.SUCCESS,
        "reason": None,
        "phase": "done",
        "started_at": NOW - HOUR,
        "finished_at": NOW - HOUR,
        "hold_expires_at": None,
        "plan_hash": None,
        "config_hash": "sha256:00000000",
        "summary": {},
    }
    return Run(**(values | changes))


def standing(**changes: Any) -> Standing:
    """A sync that is on time, with nothing to tell."""
    values: dict[str, Any] = {
        "sync": sync_settings(schedule=Every(HOUR)),
        "state": State.ON_TIME,
        "overdue": None,
        "last_success_at": NOW - HOUR,
        "failures_in_a_row": 0,
        "next_at": NOW + HOUR,
        "newest": None,
        "held": None,
        "pause": None,
        "changed": None,
        "activity": None,
        "external_id": None,
        "members": None,
        "waiting": (0, 0),
        "dead": (0, 0),
        "unaccepted": [],
        "connections": (),
    }
    return Standing(**(values | changes))


def daemon(**changes: Any) -> Daemon:
    values: dict[str, Any] = {
        "holder": "h",
        "host": "machine",
        "pid": 7,
        "version": "1",
        "started_at": NOW - 2 * HOUR,
        "heartbeat_at": NOW,
    }
    return Daemon(**(values | changes))


def overview(*standings: Standing, **changes: Any) -> Overview:
    values: dict[str, Any] = {
        "settings": settings_of(*(one.sync for one in standings)),
        "now": NOW,
        "wall": NOW,
        "daemons": [daemon()],
        "replicas": [
            Replica(host="machine", pid=7, daemon=daemon(), alive=True, syncs=())
        ],
        "standings": list(standings),
        "quotas": [],
        "arrivals": [],
    }
    return Overview(**(values | changes))


def connection(**changes: Any) -> ConnectionState:
    values: dict[str, Any] = {
        "name": "amplitude",
        "stopped_at": None,
        "stopped_reason": None,
        "probe_at": None,
        "throttled_until": None,
    }
    return ConnectionState(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "on time"),
        (
            {"state": State.STALE, "overdue": timedelta(hours=4, minutes=45)},
            "stale, overdue 4 h",
        ),
        (
            {"activity": Activity(run=run(outcome=None), alive=True, share=0.62)},
            "on time ▸ 62 %",
        ),
        (
            {
                "activity": Activity(
                    run=run(outcome=None, phase="collect"), alive=True, share=None
                )
            },
            "on time ▸ collect",
        ),
        (
            {"activity": Activity(run=run(outcome=None), alive=False, share=None)},
            "on time (cut off)",
        ),
    ],
)
def test_a_state_says_what_runs_beside_it(changes: dict[str, Any], words: str) -> None:
    assert state_words(standing(**changes)) == words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "10:41 UTC"),
        ({"held": run(outcome=Outcome.HELD)}, "for you"),
        ({"next_at": None, "sync": sync_settings(schedule=Manual())}, "by hand"),
        ({"next_at": None, "sync": sync_settings(schedule=Once())}, "done"),
        (
            {
                "next_at": None,
                "last_success_at": None,
                "sync": sync_settings(schedule=Once()),
            },
            "at once",
        ),
        ({"next_at": None, "sync": sync_settings(enabled=False)}, "off"),
    ],
)
def test_what_comes_next_is_a_time_or_what_it_waits_for(
    changes: dict[str, Any], words: str
) -> None:
    assert next_words(standing(**changes), NOW) == words


def test_a_held_plan_is_the_change_to_look_at() -> None:
    plan = run(
        outcome=Outcome.HELD, plan_hash="p", summary={"to_enter": 1, "to_exit": 2}
    )
    moved = run(summary={"entered": 3, "exited": 0})

    assert last_change(standing(changed=moved)) == "+3 0"
    assert last_change(standing(changed=moved, held=plan)) == "+1 -2 unsent"
    assert last_change(standing()) == ""


def test_a_pause_is_told_with_its_way_out() -> None:
    pause = Pause(
        sync="vip", since=NOW, until=NOW + HOUR, actor="ana", via="web", reason="test"
    )

    assert pause_sentences(pause, NOW, "UTC", " -c x") == (
        "vip is paused by ana until 10:41 UTC: test",
        "resume it: syncd resume vip -c x",
    )


def test_a_connection_is_told_only_while_something_keeps_it_from_working() -> None:
    seen = overview(standing())
    stopped = connection(
        stopped_at=NOW - HOUR, stopped_reason="403", probe_at=NOW + HOUR
    )

    told = connection_sentences(seen, stopped)

    assert told == [
        "amplitude is stopped since 08:41 UTC: 403",
        "Correct its keys, or its region; tried again in 1 h, by itself.",
    ]
    assert connection_sentences(seen, connection(throttled_until=NOW + HOUR)) == [
        "amplitude asked for a pause until 10:41 UTC."
    ]
    assert connection_sentences(seen, connection(throttled_until=NOW - HOUR)) == []


def test_a_quota_of_a_month_that_is_over_is_unused() -> None:
    values: dict[str, Any] = {
        "project": "eu:7",
        "limit": 500,
        "used": 65,
        "read_at": NOW - HOUR,
        "estimated": False,
        "exhausted_at": None,
        "low_at": None,
    }
    now, over = (
        Quota(**values, resets_at=NOW + moved) for moved in (5 * HOUR, -5 * HOUR)
    )

    assert quota_sentence(now, NOW, "UTC") == (
        "Amplitude downloads 65 of 500 (eu:7, asked 1 h ago); resets 14:41 UTC."
    )
    assert quota_sentence(over, NOW, "UTC").endswith("a new month, unused.")


@pytest.mark.parametrize(
    ("daemons", "words"),
    [
        ([daemon()], "daemon up 2 h"),
        ([daemon(), daemon(holder="i", started_at=NOW)], "2 daemons up 2 h"),
        ([daemon(heartbeat_at=NOW - HOUR)], "no daemon (last sign of life 1 h ago)"),
        ([], "no daemon"),
    ],
)
def test_a_daemon_is_up_while_it_gives_signs_of_life(
    daemons: list[Daemon], words: str
) -> None:
    assert daemon_words(overview(daemons=daemons)) == words


@pytest.mark.parametrize(
    ("worst", "daemons", "command"),
    [
        ({"state": State.HELD, "held": run()}, [daemon()], "syncd show a3373d68"),
        ({"state": State.FAILING, "newest": run()}, [daemon()], "syncd show a3373d68"),
        ({"state": State.STALE, "newest": run()}, [], "syncd serve"),
        ({"state": State.LATE, "newest": run()}, [daemon()], "syncd show vip"),
        ({"state": State.PENDING}, [daemon()], "syncd schedule"),
        ({}, [daemon()], "syncd runs"),
    ],
)
def test_the_next_command_follows_from_the_worst_sync(
    worst: dict[str, Any], daemons: list[Daemon], command: str
) -> None:
    assert next_command(overview(standing(**worst), daemons=daemons)) == command
    assert next_command(overview()) == "syncd init"


@pytest.mark.parametrize(
    ("cluster", "workers", "command"),
    [
        ("embedded", [], "syncd runs"),
        ("procrastinate", [], "syncd worker"),
        ("procrastinate", [timedelta(seconds=61)], "syncd worker"),
        ("procrastinate", [timedelta(seconds=2)], "syncd runs"),
    ],
)
def test_that_no_worker_lives_is_said_where_due_runs_wait_for_one(
    cluster: Literal["embedded", "procrastinate"],
    workers: list[timedelta],
    command: str,
) -> None:
    known = [
        daemon(holder="w", role=Role.WORKER, heartbeat_at=NOW - ago) for ago in workers
    ]
    seen = overview(standing(), daemons=[daemon(), *known])
    seen = replace(seen, settings=replace(seen.settings, cluster=cluster))

    said = worker_sentences(seen)

    assert bool(said) is (command == "syncd worker")
    assert next_command(seen) == command


def test_a_connection_of_two_syncs_is_told_once() -> None:
    both = connection(name="a"), connection(name="b")
    seen = overview(
        standing(connections=both), standing(connections=(connection(name="a"),))
    )

    document = overview_document(seen)

    assert [each["name"] for each in document["connections"]] == ["a", "b"]
    assert document["daemons"][0]["alive"]
    assert document["syncs"][0]["waiting"] == {"batches": 0, "ids": 0}


def test_a_sync_that_waits_to_be_reconciled_says_since_when_and_the_way_out() -> None:
    waits = standing(unreconciled=NOW - HOUR)

    assert failover_sentences(standing(), NOW, "") == []
    what, way_out = failover_sentences(waits, NOW, " -c x")

    assert "waits to be reconciled: the database failed over, noticed" in what
    assert way_out == f"reconcile it: syncd verify {waits.sync.name} --repair -c x"
    (document,) = overview_document(overview(waits))["syncs"]
    assert document["unreconciled_since"] == NOW - HOUR


@pytest.mark.parametrize(
    ("lag", "way_out"),
    [
        (2 * HOUR, "a whole list made after 10:41 UTC ends that: syncd run vip -c x"),
        (
            None,
            (
                "have its sender send everybody again, then say so: "
                'syncd resync vip --heard --reason "..." -c x'
            ),
        ),
    ],
)
def test_a_sync_whose_events_may_be_lost_says_what_ends_that(
    lag: timedelta | None, way_out: str
) -> None:
    feed = Feed(connection="engage", key="vip", id_type=IdType.USER_ID)
    waits = standing(unheard=NOW - HOUR, fed=Fed(feed=feed, list_lag=lag))

    what, then = failover_sentences(waits, NOW, " -c x")

    assert "vip waits for all that was pushed: the database failed over" in what
    assert then == way_out
    (document,) = overview_document(overview(waits))["syncs"]
    assert document["unheard_since"] == NOW - HOUR


@pytest.mark.parametrize(
    ("readable", "tried", "way_out"),
    [
        (True, None, "syncd verify vip --repair"),
        (True, Trigger.RESYNC, "syncd verify vip --repair"),
        (True, Trigger.REPAIR, 'syncd resync vip --adopt --reason "..."'),
        (False, Trigger.SCHEDULE, 'syncd resync vip --push --reason "..."'),
        (False, Trigger.RESYNC, 'syncd resync vip --adopt --reason "..."'),
    ],
)
def test_what_reconciles_is_what_the_destination_can_and_was_not_tried(
    readable: bool, tried: Trigger | None, way_out: str
) -> None:
    assert reconciling("vip", readable=readable, tried=tried) == way_out
