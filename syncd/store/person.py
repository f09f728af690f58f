"""What the store knows about one person beside who is a member and which batches named
them: the word that was pushed, the offers that were not taken, the answers to batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from syncd.model import Operation
from syncd.store.ledger import Line
from syncd.store.tables import attempt, inbox, unaccepted
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
