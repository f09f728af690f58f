"""Requests whose outcome is unknown here, and which may take effect later all the same.

A request that timed out or was cut off may be carried out by the vendor when its batch
was long settled by another request, and its people have moved on. Nothing tells us of
that. So whom it named, and what it asked for, is kept for a while: as long as such a
request may still land, people for whom that would be wrong are *doubtful*.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    case,
    delete,
    func,
    literal,
    select,
    update,
)

from syncd.model import BatchState, Operation
from syncd.store.buckets import bucket_of, decode, encode
from syncd.store.database import insert_into
from syncd.store.tables import batch, batch_ids, doubt

Among = Callable[[Iterable[bytes]], Collection[bytes]]
"""Those of some ids that are meant."""
_COLUMNS = (
    "batch_id",
    "binding_id",
    "operation",
    "n",
    "first_bucket",
    "last_bucket",
    "at",
    "until",
    "codec",
    "ids",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """One request that may still land."""

    operation: Operation
    ids: list[bytes]
    at: datetime
    """When it ended without a known outcome, the last time."""
    until: datetime
    """It lands before this moment, or never."""


def wrong_ids(
    operation: Operation, ids: AbstractSet[bytes], acknowledged: AbstractSet[bytes]
) -> AbstractSet[bytes]:
    """Of whom such a request would make the opposite of what is acknowledged.

    An upload in the place of all members moves everybody, listed or not.
    """
    match operation:
        case Operation.ADD:
            return ids - acknowledged
        case Operation.REMOVE:
            return ids & acknowledged
        case Operation.REPLACE:
            return ids ^ acknowledged


# ---- writing ------------------------------------------------------------------------


def of_batch(
    connection: Connection, batch_id: int, now: datetime, window: timedelta
) -> None:
    """A request of this batch ended at `now`, and nobody knows how."""
    _note(connection, batch.c.id == batch_id, now, window)


def of_open(
    connection: Connection,
    bindings: Collection[int],
    now: datetime,
    window: timedelta,
) -> None:
    """Any open batch of these bindings may have been on the wire, unrecorded."""
    chosen = batch.c.binding_id.in_(bindings) & (batch.c.state == BatchState.OPEN)
    _note(connection, chosen, now, window)


def _note(
    connection: Connection,
    chosen: ColumnElement[bool],
    now: datetime,
    window: timedelta,
) -> None:
    """One row a batch: it keeps whom the batch named at first, since halves and people
    set aside were named by the earlier requests too."""
    if not window:
        return
    named = (
        select(
            batch.c.id,
            batch.c.binding_id,
            batch.c.operation,
            batch.c.n,
            batch.c.first_bucket,
            batch.c.last_bucket,
            literal(now, doubt.c.at.type),
            literal(now + window, doubt.c.until.type),
            batch_ids.c.codec,
            batch_ids.c.ids,
        )
        .join(batch_ids, batch_ids.c.batch_id == batch.c.id)
        .where(chosen)
    )
    insert = insert_into(connection, doubt).from_select(_COLUMNS, named)
    later = case(
        (doubt.c.until > insert.excluded.until, doubt.c.until),
        else_=insert.excluded.until,
    )
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=[doubt.c.batch_id],
            set_={"at": insert.excluded.at, "until": later},
        )
    )


def settle(connection: Connection, binding_id: int, as_of: datetime) -> None:
    """What could land has landed by `as_of`, and a plan made then is durable."""
    connection.execute(
        delete(doubt).where(doubt.c.binding_id == binding_id, doubt.c.until <= as_of)
    )


def widen(connection: Connection, binding_id: int, n_buckets: int) -> None:
    """The ids of the binding were spread anew: each row may touch every bucket."""
    connection.execute(
        update(doubt)
        .where(doubt.c.binding_id == binding_id)
        .values(first_bucket=0, last_bucket=n_buckets - 1)
    )


def put_right(connection: Connection, now: datetime) -> int:
    """What ended by a clock that was ahead ended by now: it has its window from here
    on. Returns how many rows there were."""
    ahead = connection.execute(
        select(doubt.c.batch_id, doubt.c.at, doubt.c.until).where(doubt.c.at > now)
    ).all()
    for batch_id, at, until in ahead:
        connection.execute(
            update(doubt)
            .where(doubt.c.batch_id == batch_id)
            .values(at=now, until=now + (until - at))
        )
    return len(ahead)


# ---- reading ------------------------------------------------------------------------


def any_of(connection: Connection, binding_id: int) -> bool:
    """Whether anything of this binding may still land, or was not looked at since."""
    query = select(doubt.c.batch_id).where(doubt.c.binding_id == binding_id)
    return connection.execute(query.limit(1)).first() is not None


def any_overdue(connection: Connection, binding_id: int, now: datetime) -> bool:
    """Whether something landed by now, if it ever does, and was not looked at since."""
    query = select(doubt.c.batch_id).where(
        doubt.c.binding_id == binding_id, doubt.c.until <= now
    )
    return connection.execute(query.limit(1)).first() is not None


def puts_in_until(connection: Connection, bindings: Collection[int]) -> datetime | None:
    """Until when a request may put somebody in; None: nothing under way does."""
    query = select(func.max(doubt.c.until)).where(
        doubt.c.binding_id.in_(bindings), doubt.c.operation != Operation.REMOVE
    )
    until: datetime | None = connection.execute(query).scalar_one()
    return until


def load(
    connection: Connection, binding_id: int, first: int, last: int
) -> Iterator[Doubt]:
    """The rows that touch these buckets."""
    rows = connection.execute(
        select(doubt.c.operation, doubt.c.ids, doubt.c.at, doubt.c.until).where(
            doubt.c.binding_id == binding_id,
            doubt.c.first_bucket <= last,
            doubt.c.last_bucket >= first,
        )
    )
    for operation, ids, at, until in rows:
        yield Doubt(operation=Operation(operation), ids=decode(ids), at=at, until=until)


def about(
    connection: Connection,
    binding_id: int,
    n_buckets: int,
    member_id: bytes,
    *,
    acknowledged: bool,
) -> Doubt | None:
    """The last request that may land and would move this person the wrong way."""
    index, person = bucket_of(member_id, n_buckets), {member_id}
    state = person if acknowledged else set()
    found = [
        each
        for each in load(connection, binding_id, index, index)
        if wrong_ids(each.operation, person & set(each.ids), state)
    ]
    return max(found, key=lambda each: each.until, default=None)


# ---- erasing ------------------------------------------------------------------------


def names_any(connection: Connection, binding_id: int, among: Among) -> bool:
    """Whether a request that may still land would put one of `among` in."""
    chosen = (doubt.c.binding_id == binding_id) & (
        doubt.c.operation != Operation.REMOVE
    )
    rows = connection.execute(select(doubt.c.ids).where(chosen)).scalars()
    return any(among(decode(ids)) for ids in rows)


def erase(
    connection: Connection,
    bindings: Collection[int],
    among: Among,
    operations: Iterable[Operation] = tuple(Operation),
) -> int:
    """Take people out of the rows of such requests; returns how many ids."""
    rows = connection.execute(
        select(doubt.c.batch_id, doubt.c.ids).where(
            doubt.c.binding_id.in_(bindings), doubt.c.operation.in_(operations)
        )
    ).all()
    erased = 0
    for batch_id, text in rows:
        ids = decode(text)
        gone = frozenset(among(ids))
        if gone:
            left = [each for each in ids if each not in gone]
            connection.execute(
                update(doubt)
                .where(doubt.c.batch_id == batch_id)
                .values(n=len(left), ids=encode(left))
            )
            erased += len(ids) - len(left)
    return erased
