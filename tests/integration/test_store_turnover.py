"""Who moved since an instant, on both kinds of store; approved plans are left out."""

from datetime import UTC, datetime, timedelta

import pytest

from syncd.model import Moved, Operation, Outcome, Trigger
from syncd.store import installation, ledger, runs
from syncd.store.database import Database
from syncd.store.installation import Action
from syncd.store.turnover import approved, moved

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY_AGO = NOW - timedelta(hours=24)
HOUR = timedelta(hours=1)


def ran(
    database: Database,
    run_id: str,
    hours_ago: int,
    *,
    trigger: Trigger = Trigger.SCHEDULE,
    entered: int = 0,
    exited: int = 0,
    **summary: object,
) -> None:
    """A run with a plan of its own, and what its answers proved."""
    at = NOW - hours_ago * HOUR
    with database.begin() as connection:
        runs.begin(
            connection,
            run_id=run_id,
            sync_name="vip",
            slot=None,
            trigger=trigger,
            config_hash="",
            now=at,
        )
        for operation, count in ((Operation.ADD, entered), (Operation.REMOVE, exited)):
            ledger.write(connection, line(run_id, operation, count, at))
        runs.finish(
            connection,
            run_id,
            outcome=Outcome.SUCCESS,
            reason=None,
            summary=summary,
            now=at,
        )


def line(run_id: str, operation: Operation, count: int, at: datetime) -> ledger.Line:
    return ledger.Line(
        run_id=run_id,
        sync="vip",
        batch_id=1,
        operation=operation,
        n=count,
        number=1,
        at=at,
        duration_ms=1.0,
        result="accepted",
        status=200,
        accepted=count,
    )


def approve(database: Database, run_id: str, hours_ago: int) -> None:
    with database.begin() as connection:
        installation.record(
            connection,
            Action(
                at=NOW - hours_ago * HOUR,
                actor="ann",
                via="cli",
                verb="approve",
                sync="vip",
                run_id=run_id,
                reason="meant",
            ),
        )


def since_a_day(database: Database) -> Moved:
    with database.read() as connection:
        return moved(connection, "vip", DAY_AGO, until=NOW)


def test_the_runs_of_the_span_are_added_up(database: Database) -> None:
    ran(database, "old", 25, exited=100, to_exit=100)
    ran(database, "one", 3, entered=7, exited=3, to_exit=3)
    ran(database, "two", 2, exited=4, to_exit=4)

    assert since_a_day(database) == Moved(entered=7, exited=7)


def test_nobody_moved_where_nothing_was_sent(database: Database) -> None:
    assert since_a_day(database) == Moved()


def test_runs_that_go_on_with_an_approved_plan_are_left_out(database: Database) -> None:
    ran(database, "approved", 5, trigger=Trigger.APPROVE, exited=50)
    ran(database, "resumed", 4, trigger=Trigger.RESUME, exited=20)
    ran(database, "as it stands", 3, exited=10)
    ran(database, "a plan of its own", 2, exited=1, to_exit=1)
    ran(database, "its rest", 1, trigger=Trigger.RESUME, exited=2)

    assert since_a_day(database).exited == 3


@pytest.mark.parametrize(
    ("hours_ago", "guard", "found"),
    [
        (2, "guard.max_exit_24h", True),
        (25, "guard.max_exit_24h", False),
        (2, "guard.max_exit", False),
    ],
)
def test_an_approval_is_found_by_the_guard_that_held_its_plan(
    database: Database, hours_ago: int, guard: str, found: bool
) -> None:
    ran(database, "held", hours_ago + 1, trips=[{"guard": guard}])
    approve(database, "held", hours_ago)
    with database.read() as connection:
        at = approved(connection, "vip", "guard.max_exit_24h", DAY_AGO)

    assert at == (NOW - hours_ago * HOUR if found else None)
