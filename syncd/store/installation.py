"""Facts about this installation as a whole: its key, its clock, its daemons, audit."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from syncd.errors import StoreRefused
from syncd.store.tables import action, attempt, batch, daemon, meta, run

HASH_KEY = "id_hash_key"
CLOCK = "clock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A daemon that says it is alive."""

    holder: str
    host: str
    pid: int
    version: str
    started_at: datetime
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What a person did: the audit trail."""

    at: datetime
    actor: str
    via: str
    """cli, socket or web."""
    verb: str
    sync: str
    run_id: str | None
    reason: str
    plan_hash: str | None = None


def hash_key(connection: Connection) -> bytes:
    """The key that turns member ids into log hashes; made at the first start."""
    found = _meta(connection, HASH_KEY)
    if found is None:
        found = secrets.token_hex(32)
        connection.execute(insert(meta).values(key=HASH_KEY, value=found))
    return bytes.fromhex(found)


def agree_on_clock(connection: Connection, *, fast: bool) -> None:
    """Refuse to mix virtual and real instants in one store."""
    wanted = "fast" if fast else "real"
    found = _meta(connection, CLOCK)
    if found is None:
        connection.execute(insert(meta).values(key=CLOCK, value=wanted))
    elif found != wanted:
        raise StoreRefused(
            f"this store belongs to a daemon on a {found} clock, this start has a "
            f"{wanted} one",
            hint="use another store.url for `serve --speed`",
        )


def beat(connection: Connection, me: Daemon) -> None:
    """Say that this daemon's scheduler still ticks."""
    changed = connection.execute(
        update(daemon)
        .where(daemon.c.holder == me.holder)
        .values(heartbeat_at=me.heartbeat_at)
    )
    if changed.rowcount == 0:
        connection.execute(
            insert(daemon).values(
                holder=me.holder,
                host=me.host,
                pid=me.pid,
                version=me.version,
                started_at=me.started_at,
                heartbeat_at=me.heartbeat_at,
            )
        )


def leave(connection: Connection, holder: str) -> None:
    """This daemon stopped cleanly."""
    connection.execute(delete(daemon).where(daemon.c.holder == holder))


def daemons(connection: Connection) -> list[Daemon]:
    """Every daemon that did not say goodbye, newest heartbeat first."""
    rows = connection.execute(select(daemon).order_by(daemon.c.heartbeat_at.desc()))
    return [
        Daemon(
            holder=row.holder,
            host=row.host,
            pid=row.pid,
            version=row.version,
            started_at=row.started_at,
            heartbeat_at=row.heartbeat_at,
        )
        for row in rows
    ]


def record(connection: Connection, done: Action) -> None:
    """Append to the audit trail."""
    connection.execute(
        insert(action).values(
            at=done.at,
            actor=done.actor,
            via=done.via,
            verb=done.verb,
            sync=done.sync,
            run_id=done.run_id,
            reason=done.reason,
            plan_hash=done.plan_hash,
        )
    )


def actions(connection: Connection, run_id: str) -> list[Action]:
    """What people did about one run, oldest first."""
    rows = connection.execute(
        select(action).where(action.c.run_id == run_id).order_by(action.c.id)
    )
    return [
        Action(
            at=row.at,
            actor=row.actor,
            via=row.via,
            verb=row.verb,
            sync=row.sync,
            run_id=row.run_id,
            reason=row.reason,
            plan_hash=row.plan_hash,
        )
        for row in rows
    ]


def prune(connection: Connection, *, now: datetime, keep: timedelta) -> int:
    """Delete runs and ledger lines older than `keep`; returns the runs deleted.

    A run stays while it is unfinished, waits for a person, or owns a batch.
    """
    before = now - keep
    owned = select(batch.c.run_id)
    gone = connection.execute(
        delete(run).where(
            run.c.finished_at < before,
            run.c.hold_expires_at.is_(None),
            run.c.id.not_in(owned),
        )
    ).rowcount
    connection.execute(delete(attempt).where(attempt.c.at < before))
    stale = now - timedelta(days=30)
    connection.execute(delete(daemon).where(daemon.c.heartbeat_at < stale))
    return gone


def _meta(connection: Connection, key: str) -> str | None:
    found: str | None = connection.execute(
        select(meta.c.value).where(meta.c.key == key)
    ).scalar_one_or_none()
    return found
