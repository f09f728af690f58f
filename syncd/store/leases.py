"""Who may work on a sync: one row per sync, with a fence that only grows.

The holder may write as long as its fence is the row's. Every transaction that moves
an id between in, out and uncertain calls `check`, so a process that was taken over
cannot write any more, however late it wakes up.
"""

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, bindparam, select, update

from syncd.errors import LeaseLost
from syncd.store import gate
from syncd.store.bulk import native
from syncd.store.database import insert_into
from syncd.store.direct import Direct
from syncd.store.tables import lease

TTL = timedelta(seconds=90)
"""How long a lease lasts where nobody says otherwise (`store.lease`)."""


def renew_every(ttl: timedelta) -> timedelta:
    """A lease that its holder cannot renew for five more such times is another's."""
    return ttl / 6


def soon_enough(ttl: timedelta) -> timedelta:
    """How soon after `require` a request must begin that it was asked for."""
    return ttl / 18


_OURS = (
    lease.c.sync == bindparam("held_sync"),
    lease.c.holder == bindparam("held_holder"),
    lease.c.fence == bindparam("held_fence"),
    lease.c.released.is_(False),
)
_RENEWED = Direct(
    update(lease)
    .where(*_OURS)
    .values(expires_at=bindparam("until"))
    .returning(lease.c.sync),
    "until",
    "held_sync",
    "held_holder",
    "held_fence",
)
_KEPT = Direct(
    update(lease)
    .where(
        lease.c.sync
        == select(lease.c.sync)
        .where(*_OURS)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    .values(expires_at=bindparam("until"))
    .returning(lease.c.sync),
    "until",
    "held_sync",
    "held_holder",
    "held_fence",
)
_TRUSTED = Direct(
    select(lease.c.sync).where(*_OURS, lease.c.expires_at > bindparam("until")),
    "held_sync",
    "held_holder",
    "held_fence",
    "until",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on one sync."""

    sync: str
    holder: str
    fence: int
    taken_over: bool
    """True when the last holder never released it: it died, or lost its way."""
    ttl: timedelta = TTL
    """How long it lasts from each renewal on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Somebody else has the lease."""

    holder: str
    expires_at: datetime


def holder_name() -> str:
    """This process, told apart from every other one that ever ran."""
    return f"{_machine()}/{os.getpid()}/{_started_at(os.getpid())}"


def is_dead(holder: str) -> bool:
    """True when `holder` surely runs no more: same machine, its process is gone."""
    machine, _, rest = holder.partition("/")
    pid, _, started = rest.partition("/")
    if machine != _machine() or not pid.isdigit():
        return False
    return _started_at(int(pid)) != started


def acquire(
    connection: Connection,
    sync: str,
    holder: str,
    now: datetime,
    ttl: timedelta = TTL,
) -> Lease | Held:
    """Take the lease if it is free, released, expired, ours, or its holder is dead."""
    _have_row(connection, sync, now)
    if connection.dialect.name == "postgresql":
        # A process that stood still may wake up after its store was moved: a sync that
        # had no row here yet would be worked on in both. SQLite's file is locked.
        version = connection.execute(select(gate.VERSION.c.version_num))
        gate.refuse(connection, version.scalar_one())
    row = connection.execute(
        select(lease).where(lease.c.sync == sync).with_for_update()
    ).one()
    theirs = row.holder != holder and not row.released
    if theirs and row.expires_at > now and not is_dead(row.holder):
        return Held(holder=row.holder, expires_at=row.expires_at)
    connection.execute(
        update(lease)
        .where(lease.c.sync == sync)
        .values(
            holder=holder, fence=row.fence + 1, expires_at=now + ttl, released=False
        )
    )
    return Lease(
        sync=sync, holder=holder, fence=row.fence + 1, taken_over=theirs, ttl=ttl
    )


def hold_still(connection: Connection, sync: str, now: datetime) -> None:
    """Until this transaction is over nobody takes the sync's lease, nor writes under
    it: whoever was about to begin a run has begun it, or begins it afterwards."""
    _have_row(connection, sync, now)
    connection.execute(
        select(lease.c.sync).where(lease.c.sync == sync).with_for_update()
    )


def _have_row(connection: Connection, sync: str, now: datetime) -> None:
    """The row is there before it is locked, or two replicas could both make it."""
    connection.execute(
        insert_into(connection, lease)
        .values(sync=sync, holder="", fence=0, expires_at=now, released=True)
        .on_conflict_do_nothing()
    )


def in_other_hands(
    connection: Connection, sync: str, holder: str, now: datetime
) -> bool:
    """Whether another live process works on the sync."""
    row = connection.execute(select(lease).where(lease.c.sync == sync)).one_or_none()
    if row is None or row.released or row.holder == holder:
        return False
    return row.expires_at > now and not is_dead(row.holder)


def put_out(connection: Connection, sync: str, holder: str, now: datetime) -> bool:
    """Lock the sync's row, and see to it that no other process works on it any more;
    False, and nothing is done, where another live one does.

    One whose lease is over may live all the same, and renew it at any moment: the
    fence is raised, so that it cannot, and whoever takes it waits for late requests.
    """
    connection.execute(
        select(lease.c.sync).where(lease.c.sync == sync).with_for_update()
    )
    if in_other_hands(connection, sync, holder, now):
        return False
    connection.execute(
        update(lease)
        .where(
            lease.c.sync == sync,
            lease.c.holder != holder,
            lease.c.released.is_(False),
        )
        .values(fence=lease.c.fence + 1, expires_at=now)
    )
    return True


def last_holder(connection: Connection, sync: str) -> str | None:
    """Who works on the sync, or did so last; None when nobody ever did."""
    query = select(lease.c.holder).where(lease.c.sync == sync)
    return connection.execute(query).scalar_one_or_none()


def check(connection: Connection, held: Lease, now: datetime) -> None:
    """Renew the lease inside this transaction, or raise `LeaseLost` and stop it."""
    until = native(connection.dialect.name, now + held.ttl)
    ours = (held.sync, held.holder, held.fence)
    if len(_RENEWED.rows(connection, until, *ours)) != 1:
        raise LeaseLost(
            f"another process took over sync {held.sync}",
            hint=f"syncd show {held.sync}",
        )


def is_ours(connection: Connection, held: Lease) -> bool:
    """Whether nobody took the lease, and nobody can until this transaction is over."""
    query = select(lease.c.sync).where(
        lease.c.sync == held.sync,
        lease.c.holder == held.holder,
        lease.c.fence == held.fence,
        lease.c.released.is_(False),
    )
    return connection.execute(query.with_for_update()).one_or_none() is not None


def renew(connection: Connection, held: Lease, now: datetime) -> bool:
    """Renew the lease without waiting for anybody; False where it is no longer ours, or
    its row is locked: by a large plan of our own, say, which renews it as well."""
    until = native(connection.dialect.name, now + held.ttl)
    ours = (held.sync, held.holder, held.fence)
    return len(_KEPT.rows(connection, until, *ours)) == 1


def require(
    connection: Connection, held: Lease, now: datetime, request: timedelta
) -> None:
    """Raise `LeaseLost` unless the lease is ours until a request begun now is over,
    or begun within `soon_enough`.

    A request longer than the lease can be trusted is only asked to begin within it.
    """
    until = native(connection.dialect.name, now + trusted(held.ttl, request))
    ours = (held.sync, held.holder, held.fence)
    if not _TRUSTED.rows(connection, *ours, until):
        raise LeaseLost(
            f"the lease on sync {held.sync} is gone or runs out",
            hint=f"syncd show {held.sync}",
        )


def trusted(ttl: timedelta, request: timedelta) -> timedelta:
    """For how long `require` says that the lease is ours: until a request of that
    length, begun within `soon_enough`, is over."""
    return min(request + soon_enough(ttl), ttl - 2 * renew_every(ttl))


def expire_all(connection: Connection, now: datetime) -> None:
    """End every lease of processes that are surely gone (their store's lock is ours).

    They stay unreleased, so that whoever takes them over waits for late requests.
    """
    connection.execute(
        update(lease).where(lease.c.released.is_(False)).values(expires_at=now)
    )


def end(
    connection: Connection, held: Lease, now: datetime, *, quiet: bool = True
) -> None:
    """Work on the sync no more; nothing happens if the lease is no longer ours.

    Not quiet, where a request of a dead process may still land: it is over, and not
    given back, so that another process may take it at once, and then waits for that.
    """
    if quiet:
        release(connection, held)
    elif is_ours(connection, held):
        # With another fence: a renewal that is under way would bring it back.
        over = {"expires_at": now, "fence": lease.c.fence + 1}
        connection.execute(update(lease).where(lease.c.sync == held.sync).values(over))


def release(connection: Connection, held: Lease) -> None:
    """Give the lease back at once; nothing happens if it is no longer ours."""
    connection.execute(
        update(lease)
        .where(
            lease.c.sync == held.sync,
            lease.c.holder == held.holder,
            lease.c.fence == held.fence,
        )
        .values(released=True)
    )


def _machine() -> str:
    # A pid means something only inside one boot and one pid namespace.
    boot = _read("/proc/sys/kernel/random/boot_id")
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    host = socket.gethostname().replace("/", "_")
    return f"{host}:{boot[:8]}:{namespace.strip('pid:[]')}"


def _started_at(pid: int) -> str:
    # Field 22 of /proc/PID/stat: ticks since boot; tells a reused pid apart.
    text = _read(f"/proc/{pid}/stat")
    _, _, fields = text.rpartition(")")
    parts = fields.split()
    return parts[19] if len(parts) > 19 and parts[0] != "Z" else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
