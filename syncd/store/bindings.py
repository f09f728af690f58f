"""A sync's hold on one target: who it is at the vendor, and the baseline's figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.engine import Row

from syncd.model import Found, IdType, SnapshotDigest
from syncd.store.tables import (
    batch,
    batch_ids,
    binding,
    chunk,
    doubt,
    trace,
    unaccepted,
)

# Made once: it is read before every request, and making it takes longer.
_BY_KEY = select(binding).where(binding.c.id == bindparam("key"))


class Role(StrEnum):
    """Which part a binding plays for its sync."""

    CURRENT = "current"
    """The one that runs work on."""
    NEXT = "next"
    """Prepared by a held change of identity; becomes current when approved."""
    RETIRING = "retiring"
    """The same cohort under the old id type: being emptied by an approved change."""
    RETIRED = "retired"
    """A former target, left as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One row of `binding`."""

    id: int
    sync: str
    role: Role
    connection: str
    target: str
    """The target as configured: `name:…` or `id:…`."""
    owner: str
    id_type: IdType
    source_fingerprint: str
    external_id: str | None
    external_name: str | None
    creation_intent_at: datetime | None
    n_buckets: int
    members: int
    """Ids in the chunks, without the log of acknowledged batches."""
    digest: SnapshotDigest | None
    """Of the last plan that went out; None before the first."""
    source_mark: str | None
    """Which state of the source that plan was made from; None where it has none."""


def current(connection: Connection, sync: str) -> Binding | None:
    """The binding that runs of this sync work on."""
    return _one(connection, sync, Role.CURRENT)


def prepared(connection: Connection, sync: str) -> Binding | None:
    """The binding a held change of identity would switch to."""
    return _one(connection, sync, Role.NEXT)


def of_sync(connection: Connection, sync: str) -> list[Binding]:
    """Every binding the sync ever had, oldest first."""
    rows = connection.execute(
        select(binding).where(binding.c.sync == sync).order_by(binding.c.id)
    )
    return [_binding(row) for row in rows]


def syncs(connection: Connection) -> list[str]:
    """Every sync that anything is kept of, configured or not."""
    return list(connection.execute(select(binding.c.sync).distinct()).scalars())


def writers(
    connection: Connection, connection_name: str, external_id: str
) -> list[str]:
    """The syncs that work on this target of this connection now."""
    return list(
        connection.execute(
            select(binding.c.sync).where(
                binding.c.connection == connection_name,
                binding.c.external_id == external_id,
                binding.c.role == Role.CURRENT,
            )
        ).scalars()
    )


def of_target(connection: Connection, like: Binding) -> list[Binding]:
    """Every binding to the same target by the same kind of id, oldest first, whichever
    sync it is of; the given one among them."""
    rows = connection.execute(
        select(binding)
        .where(
            binding.c.connection == like.connection,
            binding.c.external_id == like.external_id,
            binding.c.id_type == like.id_type,
        )
        .order_by(binding.c.id)
    )
    return [_binding(row) for row in rows]


def all_of(connection: Connection) -> list[Binding]:
    """Every binding of every sync, those of former configurations too."""
    rows = connection.execute(select(binding).order_by(binding.c.sync, binding.c.id))
    return [_binding(row) for row in rows]


def current_of_each(connection: Connection, syncs: Sequence[str]) -> dict[str, Binding]:
    """Sync -> the binding that its runs work on, of those that have one."""
    rows = connection.execute(
        select(binding).where(binding.c.sync.in_(syncs), binding.c.role == Role.CURRENT)
    )
    return {row.sync: _binding(row) for row in rows}


def get(connection: Connection, binding_id: int) -> Binding:
    """One binding by key."""
    return _binding(connection.execute(_BY_KEY, {"key": binding_id}).one())


def create(
    connection: Connection,
    *,
    sync: str,
    role: Role,
    connection_name: str,
    target: str,
    owner: str,
    id_type: IdType,
    source_fingerprint: str,
    now: datetime,
) -> Binding:
    """A new binding with an empty acknowledged set."""
    key = connection.execute(
        insert(binding)
        .values(
            sync=sync,
            role=role,
            connection=connection_name,
            target=target,
            owner=owner,
            id_type=id_type,
            source_fingerprint=source_fingerprint,
            n_buckets=1,
            members=0,
            created_at=now,
        )
        .returning(binding.c.id)
    ).scalar_one()
    return get(connection, key)


def bind(connection: Connection, binding_id: int, found: Found) -> None:
    """Store the vendor's id of the target; the creation, if any, is settled."""
    connection.execute(
        update(binding)
        .where(binding.c.id == binding_id)
        .values(external_id=found.external_id, external_name=found.name)
    )


def intend_creation(connection: Connection, binding_id: int, now: datetime) -> None:
    """Note that the target may be created from now on (looked up after a crash)."""
    connection.execute(
        update(binding)
        .where(binding.c.id == binding_id, binding.c.creation_intent_at.is_(None))
        .values(creation_intent_at=now)
    )


def set_name(connection: Connection, binding_id: int, name: str) -> None:
    """What the target is called, or will be once it is created."""
    connection.execute(
        update(binding).where(binding.c.id == binding_id).values(external_name=name)
    )


def set_mark(connection: Connection, binding_id: int, mark: str | None) -> None:
    """The source is in another state, and lists the same people as before."""
    connection.execute(
        update(binding).where(binding.c.id == binding_id).values(source_mark=mark)
    )


def set_owner(connection: Connection, binding_id: int, owner: str) -> None:
    """Whom the target shall belong to when it is created."""
    connection.execute(
        update(binding).where(binding.c.id == binding_id).values(owner=owner)
    )


def set_target(connection: Connection, binding_id: int, target: str) -> None:
    """The same cohort is configured in other words now."""
    connection.execute(
        update(binding).where(binding.c.id == binding_id).values(target=target)
    )


def set_role(connection: Connection, binding_id: int, role: Role) -> None:
    """Move the binding to another role."""
    connection.execute(
        update(binding).where(binding.c.id == binding_id).values(role=role)
    )


def plan_went_out(
    connection: Connection,
    binding_id: int,
    digest: SnapshotDigest | None,
    source_fingerprint: str,
    source_mark: str | None = None,
) -> None:
    """Remember which snapshot the batches now in the outbox were made from."""
    connection.execute(
        update(binding)
        .where(binding.c.id == binding_id)
        .values(
            digest_count=digest.count if digest else None,
            digest_total=f"{digest.total:016x}" if digest else None,
            source_fingerprint=source_fingerprint,
            source_mark=source_mark,
        )
    )


def drop(connection: Connection, binding_id: int) -> None:
    """Delete a binding and all it holds."""
    owned = select(batch.c.id).where(batch.c.binding_id == binding_id)
    connection.execute(delete(batch_ids).where(batch_ids.c.batch_id.in_(owned)))
    for table in (batch, unaccepted, chunk, trace, doubt):
        connection.execute(delete(table).where(table.c.binding_id == binding_id))
    connection.execute(delete(binding).where(binding.c.id == binding_id))


def _one(connection: Connection, sync: str, role: Role) -> Binding | None:
    row = connection.execute(
        select(binding).where(binding.c.sync == sync, binding.c.role == role)
    ).one_or_none()
    return _binding(row) if row is not None else None


def _binding(row: Row) -> Binding:  # type: ignore[type-arg]
    digest = None
    if row.digest_count is not None:
        digest = SnapshotDigest(count=row.digest_count, total=int(row.digest_total, 16))
    return Binding(
        id=row.id,
        sync=row.sync,
        role=Role(row.role),
        connection=row.connection,
        target=row.target,
        owner=row.owner,
        id_type=IdType(row.id_type),
        source_fingerprint=row.source_fingerprint,
        external_id=row.external_id,
        external_name=row.external_name,
        creation_intent_at=row.creation_intent_at,
        n_buckets=row.n_buckets,
        members=row.members,
        digest=digest,
        source_mark=row.source_mark,
    )
