"""What the store knows about one person beside who is a member and which batches named
them: the word that was pushed, the offers that were not taken, the answers to batches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Connection, select

from syncd.model import Operation, Trigger
from syncd.store.ledger import Line
from syncd.store.tables import attempt, batch, inbox, run, unaccepted
from syncd.store.unaccepted import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """The newest that was pushed about a person in one feed."""

    inside: bool
    deleted: bool
    """The person was to be forgotten."""
    at: datetime
    """When that became so, by the sender's clock."""
    received_at: datetime
    position: int
    """What lies above a plan's position was not planned with yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A person who was offered and not taken."""

    kind: Kind
    reason: str
    first_at: datetime
    last_at: datetime
    next_at: datetime
    offers: int


def word(connection: Connection, feed_id: int, member_id: bytes) -> Word | None:
    """What was pushed about this person, while it is kept."""
    row = connection.execute(
        select(inbox).where(
            inbox.c.feed_id == feed_id, inbox.c.member_id == member_id.decode()
        )
    ).one_or_none()
    if row is None:
        return None
    return Word(
        inside=row.inside,
        deleted=row.deleted,
        at=row.at,
        received_at=row.received_at,
        position=row.position,
    )


def offered(
    connection: Connection, binding_id: int, member_id: bytes
) -> Offered | None:
    """The offers of this person to a target that did not take them."""
    row = connection.execute(
        select(unaccepted).where(
            unaccepted.c.binding_id == binding_id,
            unaccepted.c.id == member_id.decode(),
        )
    ).one_or_none()
    if row is None:
        return None
    return Offered(
        kind=Kind(row.kind),
        reason=row.reason,
        first_at=row.first_at,
        last_at=row.last_at,
        next_at=row.next_at,
        offers=row.offers,
    )


def repairs(connection: Connection, named: Mapping[int, str]) -> frozenset[int]:
    """Which of these batches were planned by a repair; `named` is batch -> its run.

    The run that sends a batch may be another one than the run that planned it: an
    approval, or one that went on after a crash.
    """
    plans = dict(named)
    rows = connection.execute(
        select(batch.c.id, batch.c.plan_id).where(
            batch.c.id.in_(named), batch.c.plan_id != ""
        )
    )
    plans |= {row.id: row.plan_id for row in rows}
    plans = _approved(connection, plans)
    found = set(
        connection.execute(
            select(run.c.id).where(
                run.c.id.in_(set(plans.values())), run.c.trigger == Trigger.REPAIR
            )
        ).scalars()
    )
    return frozenset(key for key, run_id in plans.items() if run_id in found)


def _approved(connection: Connection, plans: Mapping[int, str]) -> dict[int, str]:
    """The same, with the run that was held in the place of the one that sent its plan.

    Only where a trace is all that is left of a batch.
    """
    rows = connection.execute(
        select(run.c.id, run.c.summary).where(
            run.c.id.in_(set(plans.values())), run.c.trigger == Trigger.APPROVE
        )
    )
    held = {row.id: orjson.loads(row.summary).get("approves", row.id) for row in rows}
    return {key: held.get(run_id, run_id) for key, run_id in plans.items()}


def answers(
    connection: Connection, batch_ids: Sequence[int], since: datetime
) -> list[Line]:
    """The ledger's lines of these batches, oldest first, `since` then."""
    rows = connection.execute(
        select(attempt)
        .where(attempt.c.at >= since, attempt.c.batch_id.in_(batch_ids))
        .order_by(attempt.c.id)
    )
    return [
        Line(
            run_id=row.run_id,
            sync=row.sync,
            batch_id=row.batch_id,
            operation=Operation(row.operation),
            n=row.n,
            number=row.number,
            at=row.at,
            duration_ms=row.duration_ms,
            result=row.result,
            status=row.status,
            accepted=row.accepted,
            unmatched=row.unmatched,
            rejected=row.rejected,
            error_type=row.error_type,
            message=row.message,
            request_id=row.request_id or "",
        )
        for row in rows
    ]
