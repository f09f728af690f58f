"""The newest runs of all syncs, read together, tell what each history tells."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.model import Outcome, Trigger
from syncd.store import latest_runs, runs
from syncd.store.database import Connection, Database
from syncd.store.runs import OK, Run

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KINDS: tuple[tuple[Outcome | None, dict[str, Any]], ...] = (
    (Outcome.NO_CHANGE, {"entered": 0, "exited": 0, "members_after": None}),
    (Outcome.NO_CHANGE, {"entered": 0, "exited": 0, "members": 7}),
    (Outcome.SUCCESS, {"entered": 3, "exited": 1, "members_after": 9, "members": 9}),
    (Outcome.SUCCESS, {"entered": 0, "exited": 0, "sent": 2, "members_after": 8}),
    (Outcome.PARTIAL, {"entered": 1, "exited": 0, "sent": 4, "members_after": None}),
    (Outcome.FAILED, {"entered": 0, "exited": 0}),
    (Outcome.SKIPPED, {}),
    (None, {}),
)
"""How runs end, and what they count."""


def history(
    connection: Connection, sync: str, kinds: Sequence[int], reason: str | None = None
) -> None:
    """Runs of a sync, an hour apart, the last one an hour ago."""
    runs.know_sync(connection, sync, NOW)
    for number, kind in enumerate(kinds):
        outcome, summary = KINDS[kind]
        run_id = f"{sync}-{number:04d}"
        at = NOW - (len(kinds) - number) * HOUR
        runs.begin(
            connection,
            run_id=run_id,
            sync_name=sync,
            slot=None,
            trigger=Trigger.SCHEDULE,
            config_hash="c0ffee",
            now=at,
        )
        if outcome is not None:
            runs.finish(
                connection,
                run_id,
                outcome=outcome,
                reason=reason,
                summary=summary,
                now=at,
            )


def facts(recent: Sequence[Run]) -> dict[str, Any]:
    """What is read off the newest runs, by whoever shows them."""
    newest = recent[0] if recent else None
    good = next((each for each in recent if each.outcome in OK), None)
    moved = [
        each
        for each in recent
        if each.summary.get("entered") or each.summary.get("exited")
    ]
    sent = next((each for each in recent if each.summary.get("sent")), None)
    bad = recent[: recent.index(good)] if good in recent else recent
    return {
        "newest": newest.id if newest else None,
        "good": good.id if good else None,
        "failures": sum(each.outcome is Outcome.FAILED for each in bad),
        "moved": moved[0].id if moved else None,
        "last to be sent": sent.id if sent and not moved else None,
    }


@pytest.mark.parametrize("seed", range(6))
def test_what_is_read_together_tells_what_all_runs_would(
    database: Database, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311  # repeatable, guards nothing
    ran = [number for number, (outcome, _) in enumerate(KINDS) if outcome is not None]
    names = [f"sync-{number}" for number in range(12)]
    with database.begin() as connection:
        for name in names:
            some = dice.sample(ran, dice.randint(1, 3))
            history(connection, name, dice.choices(some, k=dice.randint(0, 70)))

    with database.read() as connection:
        told = latest_runs.telling_each(connection, names)
        counted = latest_runs.newest_with(connection, names, "members")
        all_runs = {
            name: runs.latest(
                connection,
                sync_name=name,
                outcomes=latest_runs.RAN,
                limit=latest_runs.LOOK_BACK,
            )
            for name in names
        }

    assert {name: facts(told[name]) for name in names} == {
        name: facts(all_runs[name]) for name in names
    }
    assert {name: each.id for name, each in counted.items()} == {
        name: next(each.id for each in found if each.summary.get("members") is not None)
        for name, found in all_runs.items()
        if any(each.summary.get("members") is not None for each in found)
    }


@pytest.mark.parametrize("limit", [1, 3])
def test_the_newest_of_each_are_its_own_newest(database: Database, limit: int) -> None:
    with database.begin() as connection:
        history(connection, "busy", [2] * 5)
        history(connection, "new", [])
        history(connection, "other", [5, 6])

    with database.read() as connection:
        found = latest_runs.newest_each(connection, ["busy", "new"], limit=limit)

    assert {name: [each.id for each in rows] for name, rows in found.items()} == {
        "busy": [f"busy-{number:04d}" for number in (4, 3, 2)[:limit]]
    }


@pytest.mark.parametrize(
    ("kinds", "reason", "expected"),
    [
        ([2, 6, 6], runs.BLACKOUT, True),
        ([6], runs.BLACKOUT, True),
        ([6, 2], runs.BLACKOUT, False),
        ([6, 7], runs.BLACKOUT, False),
        ([2, 6], runs.PAUSED, False),
        ([2, 6], "held", False),
        # A source that could not be read: that run did begin.
        ([2, 6], "quota", False),
        ([], None, False),
    ],
)
def test_a_slot_is_put_off_until_a_run_begins(
    database: Database, kinds: list[int], reason: str | None, expected: bool
) -> None:
    with database.begin() as connection:
        history(connection, "vip", kinds, reason)
        history(connection, "other", [6], runs.BLACKOUT)

    with database.read() as connection:
        found = latest_runs.put_off(connection, [runs.BLACKOUT], NOW, ["vip"])

    assert found == ({"vip"} if expected else set())


def test_a_slot_of_a_clock_that_was_ahead_is_not_put_off(database: Database) -> None:
    with database.begin() as connection:
        history(connection, "vip", [6], runs.BLACKOUT)

    with database.read() as connection:
        before = NOW - 2 * HOUR
        found = latest_runs.put_off(connection, [runs.BLACKOUT], before, ["vip"])

    assert found == set()
