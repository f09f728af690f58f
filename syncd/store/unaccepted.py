"""Ids the destination did not take: *unmatched* (unknown to it) and *rejected*.

They are neither members nor errors. Each waits with a growing delay and is offered
again, since the person may appear at the destination later.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, bindparam, delete, exists, func, select, update

from syncd.store.buckets import bucket_of
from syncd.store.database import insert_into
from syncd.store.direct import Direct
from syncd.store.tables import unaccepted

FIRST_WAIT = timedelta(hours=1)
LONGEST_WAIT = timedelta(days=7)
BLOCK = 4_096
"""Ids read at a time."""
_ANY = Direct(
    select(exists().where(unaccepted.c.binding_id == bindparam("of_binding"))),
    "of_binding",
)


class Kind(StrEnum):
    """Why an id is not a member though the source lists it."""

    UNMATCHED = "unmatched"
    """The destination does not know this person (yet)."""
    REJECTED = "rejected"
    """The destination refused this id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many ids of a binding are unaccepted for one reason."""

    kind: Kind
    reason: str
    ids: int


def wait_after(offers: int) -> timedelta:
    """1 h after the first offer, doubling, at most a week."""
    return min(FIRST_WAIT * 2.0 ** min(offers - 1, 16), LONGEST_WAIT)


def note(
    connection: Connection,
    binding_id: int,
    n_buckets: int,
    kind: Kind,
    reasons: Mapping[bytes, str],
    now: datetime,
) -> None:
    """Record ids that were offered and not taken; each offer doubles their wait."""
    if not reasons:
        return
    before = _offers(connection, binding_id, reasons)
    rows = []
    for member_id, reason in reasons.items():
        offers = before.get(member_id, 0) + 1
        rows.append(
            {
                "binding_id": binding_id,
                "id": member_id.decode(),
                "bucket": bucket_of(member_id, n_buckets),
                "kind": kind,
                "reason": reason,
                "first_at": now,
                "last_at": now,
                "next_at": now + wait_after(offers),
                "offers": offers,
            }
        )
    upsert = insert_into(connection, unaccepted)
    kept = ("kind", "reason", "last_at", "next_at", "offers")
    connection.execute(
        upsert.on_conflict_do_update(
            index_elements=[unaccepted.c.binding_id, unaccepted.c.id],
            set_={name: upsert.excluded[name] for name in kept},
        ),
        rows,
    )


def forget(connection: Connection, binding_id: int, ids: Iterable[bytes]) -> None:
    """The ids were taken, or left the source: nothing to offer again."""
    rows = [{"gone": member_id.decode()} for member_id in ids]
    if rows:
        connection.execute(
            delete(unaccepted).where(
                unaccepted.c.binding_id == binding_id,
                unaccepted.c.id == bindparam("gone"),
            ),
            rows,
        )


def leave_with(
    connection: Connection, binding_id: int, ids: Iterable[bytes], run_id: str
) -> None:
    """A plan that this run holds does not want the ids any more."""
    rows = [{"gone": member_id.decode()} for member_id in ids]
    if rows:
        connection.execute(
            update(unaccepted)
            .where(
                unaccepted.c.binding_id == binding_id,
                unaccepted.c.id == bindparam("gone"),
            )
            .values(leaves_with=run_id),
            rows,
        )


def forget_with(connection: Connection, binding_id: int, run_id: str) -> None:
    """The plan that this run held was approved: it does without these ids."""
    connection.execute(
        delete(unaccepted).where(
            unaccepted.c.binding_id == binding_id, unaccepted.c.leaves_with == run_id
        )
    )


def any_of(connection: Connection, binding_id: int) -> bool:
    """Whether the binding has any unaccepted id at all (cheap)."""
    ((any_there,),) = _ANY.rows(connection, binding_id)
    return bool(any_there)


def due(connection: Connection, binding_id: int, now: datetime) -> int:
    """How many ids may be offered again."""
    query = select(func.count()).select_from(unaccepted)
    return int(
        connection.execute(
            query.where(
                unaccepted.c.binding_id == binding_id, unaccepted.c.next_at <= now
            )
        ).scalar_one()
    )


def total(connection: Connection, binding_id: int) -> int:
    """How many ids of a binding are unaccepted."""
    query = select(func.count()).select_from(unaccepted)
    return int(
        connection.execute(
            query.where(unaccepted.c.binding_id == binding_id)
        ).scalar_one()
    )


def counts(connection: Connection, binding_ids: Sequence[int]) -> list[Count]:
    """How many ids are unaccepted, by kind and reason."""
    rows = connection.execute(
        select(unaccepted.c.kind, unaccepted.c.reason, func.count())
        .where(unaccepted.c.binding_id.in_(binding_ids))
        .group_by(unaccepted.c.kind, unaccepted.c.reason)
        .order_by(unaccepted.c.kind, unaccepted.c.reason)
    )
    return [Count(kind=Kind(r[0]), reason=r[1], ids=int(r[2])) for r in rows]


def members(connection: Connection, binding_id: int) -> list[tuple[bytes, Kind, str]]:
    """(id, kind, reason) of every unaccepted id of a binding."""
    rows = connection.execute(
        select(unaccepted.c.id, unaccepted.c.kind, unaccepted.c.reason).where(
            unaccepted.c.binding_id == binding_id
        )
    )
    return [(row.id.encode(), Kind(row.kind), row.reason) for row in rows]


def ids(connection: Connection, binding_id: int, kind: Kind) -> Iterator[list[bytes]]:
    """The ids of one kind, in blocks."""
    query = select(unaccepted.c.id).where(
        unaccepted.c.binding_id == binding_id, unaccepted.c.kind == kind
    )
    rows = connection.execute(query.execution_options(yield_per=BLOCK)).scalars()
    for block in rows.partitions():
        yield [text.encode() for text in block]


def _offers(
    connection: Connection, binding_id: int, ids: Iterable[bytes]
) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    texts = [member_id.decode() for member_id in ids]
    for start in range(0, len(texts), 500):
        rows = connection.execute(
            select(unaccepted.c.id, unaccepted.c.offers).where(
                unaccepted.c.binding_id == binding_id,
                unaccepted.c.id.in_(texts[start : start + 500]),
            )
        )
        found.update((row.id.encode(), row.offers) for row in rows)
    return found
