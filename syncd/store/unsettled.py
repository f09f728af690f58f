"""Batches that are not settled: counts, and as people see and steer them one by one."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, func, select, update

from syncd.model import BatchState, Operation
from syncd.store.bindings import Role
from syncd.store.outbox import UNCERTAIN
from syncd.store.tables import batch, binding

_UNSETTLED = (BatchState.OPEN, BatchState.HELD, BatchState.DEAD)
GAVE_UP = "cancelled"
"""`error_type` of a batch that a person dropped."""


class Standing(StrEnum):
    """Where a batch stands."""

    READY = "ready"
    """Not sent yet."""
    RETRYING = "retrying"
    """Sent without a proven answer; sent again once its delay is over."""
    USED_UP = "used_up"
    """Its retries are used up; the next run begins anew."""
    HELD = "held"
    """Part of a plan that waits for a person."""
    DEAD = "dead"
    """Refused for good, or dropped by a person: the next run plans its ids anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """One batch without its ids."""

    id: int
    sync: str
    connection: str
    """The connection that its target is written by."""
    run_id: str
    """The run that had it last."""
    operation: Operation
    n: int
    state: BatchState
    attempts: int
    retry_at: datetime | None
    since: datetime | None
    """When it was planned."""
    error_type: str | None
    error: str | None
    """The last failure in a sentence."""

    @property
    def standing(self) -> Standing:
        """In one word."""
        if self.state is not BatchState.OPEN:
            return Standing(self.state.value)
        if self.retry_at is None:
            return Standing.USED_UP
        return Standing.RETRYING if self.attempts else Standing.READY


def unsettled(connection: Connection, syncs: Collection[str]) -> list[Unsettled]:
    """The batches of these syncs that are open, held or dead, oldest first."""
    rows = connection.execute(
        select(batch, binding.c.sync, binding.c.connection)
        .join(binding, binding.c.id == batch.c.binding_id)
        .where(
            binding.c.sync.in_(syncs),
            binding.c.role != Role.RETIRED,
            batch.c.state.in_(_UNSETTLED),
        )
        .order_by(binding.c.sync, batch.c.binding_id, batch.c.id)
    )
    return [
        Unsettled(
            id=row.id,
            sync=row.sync,
            connection=row.connection,
            run_id=row.run_id,
            operation=Operation(row.operation),
            n=row.n,
            state=BatchState(row.state),
            attempts=row.attempts,
            retry_at=row.retry_at,
            since=row.planned_at,
            error_type=row.error_type,
            error=row.error,
        )
        for row in rows
    ]


def uncertain_count(connection: Connection, binding_id: int) -> int:
    """Ids in open and dead batches."""
    total = connection.execute(
        select(func.sum(batch.c.n)).where(
            batch.c.binding_id == binding_id, batch.c.state.in_(UNCERTAIN)
        )
    ).scalar_one()
    return int(total or 0)


def count(
    connection: Connection, sync_bindings: Sequence[int], state: BatchState
) -> tuple[int, int]:
    """(batches, ids) of these bindings in this state."""
    row = connection.execute(
        select(func.count(), func.sum(batch.c.n)).where(
            batch.c.binding_id.in_(sync_bindings), batch.c.state == state
        )
    ).one()
    return int(row[0]), int(row[1] or 0)


def hand_over(
    connection: Connection, chosen: Collection[int], run_id: str, now: datetime
) -> None:
    """Let a run send these open or dead batches at once, with all their attempts."""
    for key in chosen:
        connection.execute(
            update(batch)
            .where(
                batch.c.id == key,
                batch.c.state.in_((BatchState.OPEN, BatchState.DEAD)),
            )
            .values(run_id=run_id, state=BatchState.OPEN, attempts=0, retry_at=now)
        )


def give_up(connection: Connection, chosen: Collection[int], why: str) -> None:
    """Turn these open batches into dead ones: not sent, in nobody's way."""
    for key in chosen:
        connection.execute(
            update(batch)
            .where(batch.c.id == key, batch.c.state == BatchState.OPEN)
            .values(state=BatchState.DEAD, retry_at=None, error_type=GAVE_UP, error=why)
        )
