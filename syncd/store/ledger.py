"""The ledger: one line per request made, with what it proved. Never edited."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    bindparam,
    case,
    func,
    insert,
    select,
)

from syncd.model import Operation
from syncd.redaction import redacted
from syncd.store.bulk import native
from syncd.store.direct import Direct
from syncd.store.tables import attempt

_NEW: dict[str, BindParameter[Any]] = {
    each.name: bindparam(f"new_{each.name}")
    for each in attempt.columns
    if not each.primary_key
}
# In the order of the table's columns, which is that of an INSERT.
_WRITE = Direct(insert(attempt).values(_NEW), *(each.key for each in _NEW.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One request."""

    run_id: str
    sync: str
    batch_id: int
    operation: Operation
    n: int
    """Ids in the request."""
    number: int
    """1 for the first request of a batch, 2 for its first retry, …"""
    at: datetime
    duration_ms: float
    result: str
    """accepted, created, retried, gave_up, split, dead, stopped, held."""
    status: int | None
    accepted: int = 0
    unmatched: int = 0
    rejected: int = 0
    error_type: str | None = None
    message: str | None = None
    """The vendor's words, at most 200 characters."""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What all requests of a run add up to."""

    requests: int
    retries: int
    batches: int
    """Batches that were settled."""
    entered: int
    """Ids accepted by ADD."""
    exited: int
    """Ids accepted by REMOVE."""
    unmatched: int
    rejected: int


def write(connection: Connection, line: Line) -> None:
    """Append one line."""
    _WRITE.rows(
        connection,
        line.run_id,
        line.sync,
        line.batch_id,
        line.operation.value,
        line.n,
        line.number,
        native(connection.dialect.name, line.at),
        line.duration_ms,
        line.result,
        line.status,
        line.accepted,
        line.unmatched,
        line.rejected,
        line.error_type,
        redacted(line.message) if line.message else line.message,
        line.request_id or None,
    )


def totals(connection: Connection, run_id: str) -> Totals:
    """The sums over a run's lines."""
    accepted, operation = attempt.c.accepted, attempt.c.operation

    sums: list[ColumnElement[int]] = [
        case((attempt.c.number > 1, 1), else_=0),
        case((attempt.c.result == "accepted", 1), else_=0),
        case((operation == Operation.ADD, accepted), else_=0),
        case((operation == Operation.REMOVE, accepted), else_=0),
        attempt.c.unmatched,
        attempt.c.rejected,
    ]
    row = connection.execute(
        select(func.count(), *(func.sum(column) for column in sums)).where(
            attempt.c.run_id == run_id
        )
    ).one()
    numbers = [int(value or 0) for value in row]
    return Totals(
        requests=numbers[0],
        retries=numbers[1],
        batches=numbers[2],
        entered=numbers[3],
        exited=numbers[4],
        unmatched=numbers[5],
        rejected=numbers[6],
    )


def failures(connection: Connection, run_id: str) -> list[tuple[str, str, int]]:
    """(error type, vendor's words, how often) of a run, most frequent first."""
    count = func.count()
    rows = connection.execute(
        select(attempt.c.error_type, attempt.c.message, count)
        .where(attempt.c.run_id == run_id, attempt.c.error_type.is_not(None))
        .group_by(attempt.c.error_type, attempt.c.message)
        .order_by(count.desc())
    )
    return [(row[0], row[1] or "", int(row[2])) for row in rows]
