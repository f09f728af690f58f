"""Facts about this installation as a whole: its key, its clock, its daemons, audit."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, delete, insert, select

from syncd.errors import StoreRefused
from syncd.store import conditions, traces
from syncd.store.database import insert_into
from syncd.store.tables import action, attempt, batch, daemon, meta, run

HASH_KEY = "id_hash_key"
CLOCK = "clock"
FAST_CLOCK = "fast_clock"
LAST_BACKUP = "last_backup"


class Role(StrEnum):
    """What a long-lived process does."""

    DAEMON = "daemon"
    """`syncd serve`."""
    WORKER = "worker"
    """`syncd worker`: runs what daemons defer to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A daemon, or a worker, that says it is alive."""

    holder: str
    host: str
    pid: int
    version: str
    started_at: datetime
    heartbeat_at: datetime
    role: Role = Role.DAEMON


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
    return bytes.fromhex(_settle(connection, HASH_KEY, secrets.token_hex(32)))


def known_hash_key(connection: Connection) -> bytes | None:
    """The same key for whoever only reads; None before the first start."""
    text = connection.execute(
        select(meta.c.value).where(meta.c.key == HASH_KEY)
    ).scalar_one_or_none()
    return None if text is None else bytes.fromhex(text)


def agree_on_clock(connection: Connection, *, fast: bool) -> None:
    """Refuse to mix virtual and real instants in one store."""
    wanted = "fast" if fast else "real"
    found = _settle(connection, CLOCK, wanted)
    if found != wanted:
        raise StoreRefused(
            f"this store belongs to a daemon on a {found} clock, this start has a "
            f"{wanted} one",
            hint="use another store.url for `serve --speed`",
        )


def keep_fast_clock(connection: Connection, speed: float, origin: datetime) -> None:
    """Let whoever reads this fast store see it on the daemon's clock."""
    text = f"{speed!r} {origin.isoformat()}"
    connection.execute(
        insert_into(connection, meta)
        .values(key=FAST_CLOCK, value=text)
        .on_conflict_do_update(index_elements=[meta.c.key], set_={"value": text})
    )


def fast_clock(connection: Connection) -> tuple[float, datetime] | None:
    """(speed, origin) of the daemon's clock; None for a store in real time."""
    text = connection.execute(
        select(meta.c.value).where(meta.c.key == FAST_CLOCK)
    ).scalar_one_or_none()
    if text is None:
        return None
    speed, origin = text.split(" ")
    return float(speed), datetime.fromisoformat(origin)


def note_backup(connection: Connection, at: datetime) -> None:
    """The newest backup was made at `at`, in real time."""
    text = at.isoformat()
    connection.execute(
        insert_into(connection, meta)
        .values(key=LAST_BACKUP, value=text)
        .on_conflict_do_update(index_elements=[meta.c.key], set_={"value": text})
    )


def last_backup(connection: Connection) -> datetime | None:
    """When `syncd db backup` last made one; None: never."""
    text = connection.execute(
        select(meta.c.value).where(meta.c.key == LAST_BACKUP)
    ).scalar_one_or_none()
    return None if text is None else datetime.fromisoformat(text)


def beat(connection: Connection, me: Daemon) -> None:
    """Say that this daemon's scheduler still ticks."""
    connection.execute(
        insert_into(connection, daemon)
        .values(
            holder=me.holder,
            host=me.host,
            pid=me.pid,
            version=me.version,
            started_at=me.started_at,
            heartbeat_at=me.heartbeat_at,
            role=me.role,
        )
        .on_conflict_do_update(
            index_elements=[daemon.c.holder], set_={"heartbeat_at": me.heartbeat_at}
        )
    )


def leave(connection: Connection, holder: str) -> None:
    """This daemon, or worker, stopped cleanly."""
    connection.execute(delete(daemon).where(daemon.c.holder == holder))


def daemons(connection: Connection) -> list[Daemon]:
    """Every daemon and worker that did not say goodbye, newest heartbeat first."""
    rows = connection.execute(select(daemon).order_by(daemon.c.heartbeat_at.desc()))
    return [
        Daemon(
            holder=row.holder,
            host=row.host,
            pid=row.pid,
            version=row.version,
            started_at=row.started_at,
            heartbeat_at=row.heartbeat_at,
            role=Role(row.role),
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

    A run stays while it is unfinished, waits for a person, or owns a batch. Traces have
    a time of their own.
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
    traces.prune(connection, now)
    conditions.prune(connection, now)
    stale = now - timedelta(days=30)
    connection.execute(delete(daemon).where(daemon.c.heartbeat_at < stale))
    return gone


def _settle(connection: Connection, key: str, first: str) -> str:
    """What is stored under `key`; `first` if nothing was. The first replica wins."""
    connection.execute(
        insert_into(connection, meta)
        .values(key=key, value=first)
        .on_conflict_do_nothing()
    )
    found: str = connection.execute(
        select(meta.c.value).where(meta.c.key == key)
    ).scalar_one()
    return found
