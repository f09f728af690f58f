"""How many ids moved since an instant, leaving out what a person approved.

Read from the ledger, which keeps what each answer proved. Which plan a batch belonged
to is known by the run that sent it, and by the batch itself until it is compacted.
"""

from datetime import datetime

import orjson
from sqlalchemy import Connection, case, func, or_, select

from syncd.model import Moved, Operation, Outcome, Trigger
from syncd.store.tables import action, attempt, batch, run

_APPROVE = "approve"


def moved(
    connection: Connection, sync: str, since: datetime, *, until: datetime
) -> Moved:
    """Ids accepted by ADD and by REMOVE in this time, but for approved plans."""
    plans = select(action.c.run_id).where(
        action.c.sync == sync, action.c.verb == _APPROVE, action.c.run_id.is_not(None)
    )
    approved = or_(
        attempt.c.run_id.in_(_sending_approved(connection, sync, since)),
        batch.c.plan_id.in_(plans),
    )
    accepted = attempt.c.accepted
    row = connection.execute(
        select(
            func.sum(case((attempt.c.operation == Operation.ADD, accepted), else_=0)),
            func.sum(
                case((attempt.c.operation == Operation.REMOVE, accepted), else_=0)
            ),
        )
        .select_from(attempt)
        .outerjoin(batch, batch.c.id == attempt.c.batch_id)
        .where(
            attempt.c.sync == sync,
            attempt.c.at.between(since, until),
            accepted > 0,
            # A batch that is compacted has no row, and NOT NULL is no answer.
            ~func.coalesce(approved, False),
        )
    ).one()
    return Moved(entered=int(row[0] or 0), exited=int(row[1] or 0))


def approved(
    connection: Connection, sync: str, guard: str, since: datetime
) -> datetime | None:
    """When a plan that this guard held was last approved, from `since` on."""
    rows = connection.execute(
        select(action.c.at, run.c.summary)
        .join(run, run.c.id == action.c.run_id)
        .where(action.c.sync == sync, action.c.verb == _APPROVE, action.c.at >= since)
        .order_by(action.c.id.desc())
    )
    for at, summary in rows:
        trips = orjson.loads(summary).get("trips", ())
        if any(each["guard"] == guard for each in trips):
            return at  # type: ignore[no-any-return]
    return None


def _sending_approved(connection: Connection, sync: str, since: datetime) -> list[str]:
    """Runs that sent an approved plan: its own, and those that went on with it."""
    rows = connection.execute(
        select(run.c.id, run.c.trigger, run.c.outcome, run.c.summary)
        .where(
            run.c.sync == sync,
            or_(
                run.c.started_at >= since,
                run.c.finished_at.is_(None),
                run.c.finished_at >= since,
            ),
        )
        .order_by(run.c.started_at, run.c.id)
    )
    found, goes_on = [], False
    for run_id, trigger, outcome, summary in rows:
        goes_on = trigger == Trigger.APPROVE or (
            goes_on and (trigger == Trigger.RESUME or _made_no_plan(outcome, summary))
        )
        if goes_on:
            found.append(run_id)
    return found


def _made_no_plan(outcome: str | None, summary: str) -> bool:
    """Whether a run sent nothing but what it found open. One that died did not say."""
    known = outcome is not None and outcome != Outcome.ABANDONED
    return known and "to_exit" not in orjson.loads(summary)
