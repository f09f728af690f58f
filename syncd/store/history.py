"""What happened lately, summed for people who look: runs, requests, what failed.

Every question is bounded, by an instant or by a number of rows, and answered from an
index. Nothing here reads ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, select

from syncd.model import Operation, Outcome
from syncd.store.runs import OK
from syncd.store.tables import attempt, run

COUNTED = 1_000
"""Runs of a sync whose outcomes are counted, the newest."""
READ = 2_000
"""Requests of a run that are read to tell its batches."""

_UNWELL = (Outcome.FAILED, Outcome.ABANDONED, Outcome.HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What all requests since an instant add up to, in ids."""

    accepted: int
    unmatched: int
    rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Requests that failed in one way since an instant."""

    error_type: str
    status: int | None
    requests: int
    runs: int
    recovered: int
    """Of these runs, those that ended well all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Runs that ended in one way for one reason since an instant."""

    outcome: Outcome
    reason: str
    runs: int
    waiting: int
    """Of these, whose plan waits for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEnd:
    """One batch of a run, as its last request left it."""

    batch_id: int
    operation: Operation
    n: int
    requests: int
    result: str
    """accepted, created, retried, gave_up, split, dead, stopped, held."""
    status: int | None
    at: datetime
    duration_ms: float
    """Of its requests together."""


def sent(connection: Connection, since: datetime) -> Sent:
    """What was answered from `since` on, over all syncs."""
    sums = (attempt.c.accepted, attempt.c.unmatched, attempt.c.rejected)
    row = connection.execute(
        select(*(func.sum(column) for column in sums)).where(attempt.c.at >= since)
    ).one()
    accepted, unmatched, rejected = (int(value or 0) for value in row)
    return Sent(accepted=accepted, unmatched=unmatched, rejected=rejected)


def troubles(connection: Connection, since: datetime) -> list[Trouble]:
    """How requests failed from `since` on; what hit most runs first."""
    runs = func.count(attempt.c.run_id.distinct())
    well = case((run.c.outcome.in_(OK), attempt.c.run_id))
    rows = connection.execute(
        select(
            attempt.c.error_type,
            attempt.c.status,
            func.count(),
            runs,
            func.count(well.distinct()),
        )
        .select_from(attempt)
        .outerjoin(run, run.c.id == attempt.c.run_id)
        .where(attempt.c.at >= since, attempt.c.error_type.is_not(None))
        .group_by(attempt.c.error_type, attempt.c.status)
        .order_by(runs.desc(), attempt.c.error_type, attempt.c.status)
    )
    return [
        Trouble(
            error_type=row[0],
            status=row[1],
            requests=int(row[2]),
            runs=int(row[3]),
            recovered=int(row[4]),
        )
        for row in rows
    ]


def stops(connection: Connection, since: datetime) -> list[Stop]:
    """Why runs were held or failed from `since` on; the most frequent first."""
    count = func.count()
    rows = connection.execute(
        select(run.c.outcome, run.c.reason, count, func.count(run.c.hold_expires_at))
        .where(run.c.outcome.in_(_UNWELL), run.c.started_at >= since)
        .group_by(run.c.outcome, run.c.reason)
        .order_by(count.desc(), run.c.reason)
    )
    return [
        Stop(
            outcome=Outcome(row[0]),
            reason=row[1] or "",
            runs=int(row[2]),
            waiting=int(row[3]),
        )
        for row in rows
    ]


def outcomes(connection: Connection, sync: str) -> dict[Outcome, int]:
    """How the newest `COUNTED` runs of a sync ended."""
    newest = (
        select(run.c.outcome)
        .where(run.c.sync == sync)
        .order_by(run.c.started_at.desc(), run.c.id.desc())
        .limit(COUNTED)
        .subquery()
    )
    rows = connection.execute(
        select(newest.c.outcome, func.count())
        .where(newest.c.outcome.is_not(None))
        .group_by(newest.c.outcome)
    )
    return {Outcome(outcome): int(count) for outcome, count in rows}


def batches(connection: Connection, run_id: str) -> list[BatchEnd]:
    """The batches that a run sent, in order, as its first `READ` requests tell."""
    rows = connection.execute(
        select(
            attempt.c.batch_id,
            attempt.c.operation,
            attempt.c.n,
            attempt.c.result,
            attempt.c.status,
            attempt.c.at,
            attempt.c.duration_ms,
        )
        .where(attempt.c.run_id == run_id)
        .order_by(attempt.c.id)
        .limit(READ)
    )
    by_batch: dict[int, list[Any]] = {}
    for row in rows:
        by_batch.setdefault(row.batch_id, []).append(row)
    return [_end(requests) for requests in by_batch.values()]


def _end(requests: Sequence[Any]) -> BatchEnd:
    last = requests[-1]
    return BatchEnd(
        batch_id=last.batch_id,
        operation=Operation(last.operation),
        n=last.n,
        requests=len(requests),
        result=last.result,
        status=last.status,
        at=last.at,
        duration_ms=sum(each.duration_ms for each in requests),
    )
