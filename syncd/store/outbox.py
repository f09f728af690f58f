"""The outbox: batches that are to be sent, and what became of them.

A batch that is open or dead makes its ids *uncertain*: whatever the acknowledged set
says, nobody knows whether the destination applied it. `retry_at` says when an open
batch may be sent next; null means its retries are used up for this run.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    insert,
    null,
    select,
    update,
)
from sqlalchemy.exc import NoResultFound

from syncd.model import Batch, BatchState, Operation, PlannedBatch
from syncd.redaction import redacted
from syncd.store.buckets import decode, encode
from syncd.store.bulk import native
from syncd.store.direct import Direct
from syncd.store.instant import of_driver
from syncd.store.tables import CODEC_TEXT, batch, batch_ids

UNCERTAIN = (BatchState.OPEN, BatchState.DEAD)
_INSERT_TOGETHER = 50

_CLAIMED = Direct(
    select(
        batch.c.binding_id,
        batch.c.run_id,
        batch.c.operation,
        batch.c.plan_id,
        batch.c.planned_at,
        batch.c.attempts,
        batch_ids.c.ids,
    )
    .join(batch_ids, batch_ids.c.batch_id == batch.c.id)
    .where(batch.c.id == bindparam("key"), batch.c.state == bindparam("in_state")),
    "key",
    "in_state",
)
_ACKNOWLEDGED = Direct(
    update(batch)
    .where(batch.c.id == bindparam("key"))
    .values(
        n=bindparam("applied"),
        state=bindparam("settled"),
        attempts=bindparam("made"),
        acknowledged_at=bindparam("now"),
        error_type=null(),
        error=null(),
    ),
    "applied",
    "settled",
    "made",
    "now",
    "key",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An open batch as the pool sees it: enough to know when it may go."""

    id: int
    binding_id: int
    n: int
    retry_at: datetime | None


def add(
    connection: Connection,
    *,
    binding_id: int,
    run_id: str,
    state: BatchState,
    batches: Iterable[PlannedBatch],
    now: datetime,
) -> int:
    """Insert a plan's batches in order; returns how many. They may go from `now` on."""
    count = 0
    for group in _grouped(batches, _INSERT_TOGETHER):
        keys = (
            connection.execute(
                insert(batch).returning(batch.c.id, sort_by_parameter_order=True),
                [
                    {
                        "binding_id": binding_id,
                        "run_id": run_id,
                        "operation": planned.operation,
                        "n": len(planned.ids),
                        "state": state,
                        "first_bucket": planned.first_bucket,
                        "last_bucket": planned.last_bucket,
                        "attempts": 0,
                        "retry_at": now,
                        "plan_id": run_id,
                        "planned_at": now,
                    }
                    for planned in group
                ],
            )
            .scalars()
            .all()
        )
        connection.execute(
            insert(batch_ids),
            [
                {"batch_id": key, "codec": CODEC_TEXT, "ids": encode(planned.ids)}
                for key, planned in zip(keys, group, strict=True)
            ],
        )
        count += len(group)
    return count


def take_over(connection: Connection, binding_id: int) -> int:
    """Delete the open and dead batches whose ids a new plan asserts again."""
    return _delete(connection, binding_id, UNCERTAIN)


def drop_held(connection: Connection, binding_id: int) -> int:
    """Delete a held plan's batches (rejected or expired)."""
    return _delete(connection, binding_id, (BatchState.HELD,))


def open_held(
    connection: Connection, binding_id: int, run_id: str, now: datetime
) -> int:
    """Turn a held plan's batches into open ones of the run that sends them."""
    return connection.execute(
        update(batch)
        .where(batch.c.binding_id == binding_id, batch.c.state == BatchState.HELD)
        .values(state=BatchState.OPEN, run_id=run_id, attempts=0, retry_at=now)
    ).rowcount


def reopen(
    connection: Connection,
    binding_id: int,
    run_id: str,
    now: datetime,
    *,
    fresh_attempts: bool,
    dead_too: bool = False,
) -> int:
    """Hand the open batches to a run, to be sent again as they stand.

    A resumed run keeps the attempts already made; a new run starts over. `dead_too`
    is for a binding that no plan takes over any more.
    """
    states = UNCERTAIN if dead_too else (BatchState.OPEN,)
    values: dict[str, object] = {"run_id": run_id, "state": BatchState.OPEN}
    if fresh_attempts:
        values |= {"attempts": 0, "retry_at": now}
    return connection.execute(
        update(batch)
        .where(batch.c.binding_id == binding_id, batch.c.state.in_(states))
        .values(values)
    ).rowcount


def waiting(connection: Connection, run_id: str) -> list[Waiting]:
    """The open batches of a run, in the order they must be applied."""
    rows = connection.execute(
        select(batch.c.id, batch.c.binding_id, batch.c.n, batch.c.retry_at)
        .where(batch.c.run_id == run_id, batch.c.state == BatchState.OPEN)
        # A binding that is being emptied is older than the one to be filled, and half
        # of a split batch has a higher key than batches of the other one.
        .order_by(batch.c.binding_id, batch.c.id)
    )
    return [
        Waiting(id=r.id, binding_id=r.binding_id, n=r.n, retry_at=r.retry_at)
        for r in rows
    ]


def claim(connection: Connection, batch_id: int) -> Batch:
    """One open batch with its ids; it is an error to claim any other."""
    found = _CLAIMED.rows(connection, batch_id, BatchState.OPEN.value)
    if not found:
        raise NoResultFound
    binding_id, run_id, operation, plan_id, planned_at, attempts, ids = found[0]
    return Batch(
        id=batch_id,
        binding_id=binding_id,
        run_id=run_id,
        operation=Operation(operation),
        ids=tuple(decode(ids)),
        plan_id=plan_id,
        planned_at=None if planned_at is None else of_driver(planned_at),
        attempts=attempts,
    )


def done(connection: Connection, carried_out: Batch) -> None:
    """Delete an open batch whose answer proves nothing of its ids; others name them."""
    which = batch.c.id == carried_out.id
    connection.execute(delete(batch_ids).where(batch_ids.c.batch_id == carried_out.id))
    connection.execute(delete(batch).where(which))


def acknowledge(
    connection: Connection,
    done: Batch,
    *,
    applied: Sequence[bytes],
    not_applied: Sequence[bytes],
    now: datetime,
) -> None:
    """Settle a batch: `applied` as its operation says, `not_applied` as out.

    The ids that were not applied become an acknowledged REMOVE of their own, since
    an earlier batch may have made them members of the acknowledged set.
    """
    _ACKNOWLEDGED.rows(
        connection,
        len(applied),
        BatchState.ACKNOWLEDGED.value,
        done.attempts + 1,
        native(connection.dialect.name, now),
        done.id,
    )
    if not not_applied:
        return
    connection.execute(
        update(batch_ids)
        .where(batch_ids.c.batch_id == done.id)
        .values(ids=encode(applied))
    )
    _insert_beside(
        connection,
        done,
        not_applied,
        operation=Operation.REMOVE,
        state=BatchState.ACKNOWLEDGED,
        acknowledged_at=now,
    )


def retry(
    connection: Connection,
    failed: Batch,
    *,
    retry_at: datetime | None,
    counted: bool,
    error_type: str,
    error: str,
) -> None:
    """Put a batch back; `retry_at` None means its retries are used up."""
    connection.execute(
        update(batch)
        .where(batch.c.id == failed.id)
        .values(
            attempts=failed.attempts + (1 if counted else 0),
            retry_at=retry_at,
            error_type=error_type,
            error=redacted(error),
        )
    )


def split(connection: Connection, large: Batch, now: datetime) -> list[Waiting]:
    """Replace a batch by two halves in its place; the halves may go at once."""
    middle = len(large.ids) // 2
    head, tail = large.ids[:middle], large.ids[middle:]
    connection.execute(
        update(batch)
        .where(batch.c.id == large.id)
        .values(n=len(head), attempts=0, retry_at=now)
    )
    connection.execute(
        update(batch_ids)
        .where(batch_ids.c.batch_id == large.id)
        .values(ids=encode(head))
    )
    key = _insert_beside(
        connection,
        large,
        tail,
        operation=large.operation,
        state=BatchState.OPEN,
        retry_at=now,
    )
    sizes = ((large.id, len(head)), (key, len(tail)))
    return [
        Waiting(id=key, binding_id=large.binding_id, n=n, retry_at=now)
        for key, n in sizes
    ]


def set_aside(
    connection: Connection, named: Batch, ids: Sequence[bytes], why: str, now: datetime
) -> Waiting | None:
    """Take ids out of an open batch, to be sent no more; returns what is left of it.

    They stay uncertain, since the batch may have been sent before: the next plan says
    what becomes of them.
    """
    gone = frozenset(ids)
    left = [member_id for member_id in named.ids if member_id not in gone]
    reason = {"state": BatchState.DEAD, "error_type": "cancelled", "error": why}
    if not left:
        connection.execute(
            update(batch).where(batch.c.id == named.id).values(retry_at=None, **reason)
        )
        return None
    connection.execute(update(batch).where(batch.c.id == named.id).values(n=len(left)))
    connection.execute(
        update(batch_ids)
        .where(batch_ids.c.batch_id == named.id)
        .values(ids=encode(left))
    )
    _insert_beside(connection, named, ids, operation=Operation.ADD, **reason)
    return Waiting(id=named.id, binding_id=named.binding_id, n=len(left), retry_at=now)


def dead_letter(
    connection: Connection, failed: Batch, *, error_type: str, error: str
) -> None:
    """Not sent again, blocks nobody; its ids stay uncertain."""
    connection.execute(
        update(batch)
        .where(batch.c.id == failed.id)
        .values(
            state=BatchState.DEAD,
            attempts=failed.attempts + 1,
            retry_at=None,
            error_type=error_type,
            error=redacted(error),
        )
    )


def _delete(
    connection: Connection, binding_id: int, states: Sequence[BatchState]
) -> int:
    chosen = select(batch.c.id).where(
        batch.c.binding_id == binding_id, batch.c.state.in_(states)
    )
    connection.execute(delete(batch_ids).where(batch_ids.c.batch_id.in_(chosen)))
    return connection.execute(
        delete(batch).where(batch.c.binding_id == binding_id, batch.c.state.in_(states))
    ).rowcount


def _insert_beside(
    connection: Connection, beside: Batch, ids: Sequence[bytes], **values: object
) -> int:
    """A further batch of the same plan, touching the same buckets."""
    place = connection.execute(
        select(batch.c.first_bucket, batch.c.last_bucket).where(batch.c.id == beside.id)
    ).one()
    key = connection.execute(
        insert(batch)
        .values(
            binding_id=beside.binding_id,
            run_id=beside.run_id,
            plan_id=beside.plan_id,
            planned_at=beside.planned_at,
            n=len(ids),
            first_bucket=place.first_bucket,
            last_bucket=place.last_bucket,
            attempts=0,
            **values,
        )
        .returning(batch.c.id)
    ).scalar_one()
    connection.execute(
        insert(batch_ids).values(batch_id=key, codec=CODEC_TEXT, ids=encode(ids))
    )
    return int(key)


def _grouped(
    batches: Iterable[PlannedBatch], size: int
) -> Iterator[list[PlannedBatch]]:
    group: list[PlannedBatch] = []
    for planned in batches:
        group.append(planned)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
