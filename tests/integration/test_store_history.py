"""What happened lately, summed, on both kinds of store."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.model import Operation, Outcome, Trigger
from syncd.store import history, ledger, runs
from syncd.store.database import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def ran(database: Database) -> Any:
    """Writes a run: `ran("r1", Outcome.FAILED, reason="source.timeout")`."""

    def write(
        run_id: str,
        outcome: Outcome,
        *,
        sync: str = "vip",
        reason: str | None = None,
        at: datetime = NOW,
        waits: bool = False,
    ) -> None:
        with database.begin() as connection:
            runs.begin(
                connection,
                run_id=run_id,
                sync_name=sync,
                slot=None,
                trigger=Trigger.MANUAL,
                config_hash="",
                now=at,
            )
            runs.finish(
                connection, run_id, outcome=outcome, reason=reason, summary={}, now=at
            )
            if waits:
                until = at + HOUR
                runs.hold(connection, run_id, plan_hash="h", expires_at=until)

    return write


@pytest.fixture
def asked(database: Database) -> Any:
    """Writes a line of the ledger: `asked("r1", batch_id=2, accepted=3)`."""

    def write(run_id: str, **values: Any) -> None:
        line: dict[str, Any] = {
            "sync": "vip",
            "batch_id": 1,
            "operation": Operation.ADD,
            "n": 10,
            "number": 1,
            "at": NOW,
            "duration_ms": 5.0,
            "result": "accepted",
            "status": 200,
        }
        with database.begin() as connection:
            ledger.write(connection, ledger.Line(run_id=run_id, **(line | values)))

    return write


def test_what_was_sent_is_counted_from_an_instant_on(
    database: Database, asked: Any
) -> None:
    asked("r1", accepted=5, unmatched=2, rejected=1)
    asked("r2", accepted=7, at=NOW - 2 * HOUR)

    with database.read() as connection:
        lately = history.sent(connection, NOW - HOUR)
        nothing = history.sent(connection, NOW + HOUR)

    assert lately == history.Sent(accepted=5, unmatched=2, rejected=1)
    assert nothing == history.Sent(accepted=0, unmatched=0, rejected=0)


def test_requests_that_failed_are_grouped_and_say_how_many_runs_got_over_it(
    database: Database, ran: Any, asked: Any
) -> None:
    ran("r1", Outcome.SUCCESS)
    ran("r2", Outcome.PARTIAL)
    unavailable = {"status": 503, "error_type": "http_5xx", "result": "retried"}
    asked("r1", **unavailable)
    asked("r1", **unavailable, number=2)
    asked("r2", **unavailable)
    asked("r2", status=None, error_type="timeout", result="retried")
    asked("r2", **unavailable, at=NOW - 9 * HOUR)
    asked("r2", accepted=10)

    with database.read() as connection:
        found = history.troubles(connection, NOW - HOUR)

    told = [(t.error_type, t.status, t.requests, t.runs, t.recovered) for t in found]
    assert told == [("http_5xx", 503, 3, 2, 1), ("timeout", None, 1, 1, 0)]


def test_runs_that_stopped_are_grouped_by_how_and_why(
    database: Database, ran: Any
) -> None:
    ran("r1", Outcome.HELD, reason="guard.max_exit", waits=True)
    ran("r2", Outcome.HELD, reason="guard.max_exit", sync="other")
    ran("r3", Outcome.FAILED, reason="source.timeout")
    ran("r4", Outcome.SUCCESS)
    ran("r5", Outcome.FAILED, reason="source.timeout", at=NOW - 9 * HOUR)

    with database.read() as connection:
        found = history.stops(connection, NOW - HOUR)

    assert [(s.outcome, s.reason, s.runs, s.waiting) for s in found] == [
        (Outcome.HELD, "guard.max_exit", 2, 1),
        (Outcome.FAILED, "source.timeout", 1, 0),
    ]


def test_outcomes_are_counted_for_one_sync_and_without_the_run_in_progress(
    database: Database, ran: Any
) -> None:
    ran("r1", Outcome.SUCCESS)
    ran("r2", Outcome.SUCCESS)
    ran("r3", Outcome.SKIPPED)
    ran("r4", Outcome.FAILED, sync="other")
    with database.begin() as connection:
        runs.begin(
            connection,
            run_id="r5",
            sync_name="vip",
            slot=None,
            trigger=Trigger.MANUAL,
            config_hash="",
            now=NOW,
        )

    with database.read() as connection:
        found = history.outcomes(connection, "vip")

    assert found == {Outcome.SUCCESS: 2, Outcome.SKIPPED: 1}


def test_a_batch_is_told_once_as_its_last_request_left_it(
    database: Database, asked: Any
) -> None:
    asked("r1", result="retried", status=503, duration_ms=30.0)
    asked("r1", batch_id=2, operation=Operation.REMOVE)
    asked("r1", number=2, at=NOW + HOUR, duration_ms=12.5)
    asked("r2", batch_id=3)

    with database.read() as connection:
        first, second = history.batches(connection, "r1")

    assert (first.batch_id, first.requests, first.result) == (1, 2, "accepted")
    assert (first.status, first.at, first.duration_ms) == (200, NOW + HOUR, 42.5)
    assert (second.batch_id, second.operation) == (2, Operation.REMOVE)
