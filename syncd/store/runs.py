"""Runs and their slots. A (sync, slot) pair is inserted once: whoever does it runs it.

`summary` is the canonical line's numbers as JSON: readable with plain SQL, additive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError

from syncd.model import Outcome, Trigger
from syncd.store.database import insert_into
from syncd.store.tables import run, sync

OK = (Outcome.SUCCESS, Outcome.NO_CHANGE)

PAUSED, BLACKOUT = "paused", "blackout"
"""Reasons for which a slot is put off: it is made up for."""
SLOT_SKIPPED = (PAUSED, BLACKOUT, "held", "overlap", "catch_up: skip")
"""Reasons for which a slot is skipped before anything of a run begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One row of `run`."""

    id: str
    sync: str
    slot: datetime | None
    trigger: Trigger
    outcome: Outcome | None
    """None while it is in progress."""
    reason: str | None
    """Why it was held, failed or skipped: a stable code."""
    phase: str
    """How far it got: collect, diff, guard, commit, deliver, compact, done."""
    started_at: datetime
    finished_at: datetime | None
    hold_expires_at: datetime | None
    """Set while its plan waits for a person."""
    plan_hash: str | None
    config_hash: str
    summary: Mapping[str, Any]

    @property
    def short_id(self) -> str:
        """The last 8 characters: a UUIDv7 starts with the time, so its first repeat."""
        return self.id[-8:]


def begin(
    connection: Connection,
    *,
    run_id: str,
    sync_name: str,
    slot: datetime | None,
    trigger: Trigger,
    config_hash: str,
    now: datetime,
) -> bool:
    """Record a run in progress; False when its slot was already taken."""
    try:
        with connection.begin_nested():
            connection.execute(
                insert(run).values(
                    id=run_id,
                    sync=sync_name,
                    slot=slot,
                    trigger=trigger,
                    phase="collect",
                    started_at=now,
                    config_hash=config_hash,
                    summary="{}",
                )
            )
    except IntegrityError:
        return False
    if slot is not None:
        advance_slot(connection, sync_name, slot)
    return True


def skip(
    connection: Connection,
    *,
    run_id: str,
    sync_name: str,
    slot: datetime,
    reason: str,
    config_hash: str,
    now: datetime,
    until: datetime | None = None,
) -> bool:
    """Record a slot that is not run, and why; False when it was already taken.

    `until`: when what stopped it is over by itself.
    """
    taken = begin(
        connection,
        run_id=run_id,
        sync_name=sync_name,
        slot=slot,
        trigger=Trigger.SCHEDULE,
        config_hash=config_hash,
        now=now,
    )
    if taken:
        finish(
            connection,
            run_id,
            outcome=Outcome.SKIPPED,
            reason=reason,
            summary={"until": until.isoformat()} if until is not None else {},
            now=now,
        )
    return taken


def enter_phase(connection: Connection, run_id: str, phase: str) -> None:
    """Note how far the run got, for whoever finds it unfinished."""
    connection.execute(update(run).where(run.c.id == run_id).values(phase=phase))


def finish(
    connection: Connection,
    run_id: str,
    *,
    outcome: Outcome,
    reason: str | None,
    summary: Mapping[str, Any],
    now: datetime,
) -> bool:
    """Close a run; False when somebody else closed it, which then stays as it is."""
    closed = connection.execute(
        update(run)
        .where(run.c.id == run_id, run.c.outcome.is_(None))
        .values(
            outcome=outcome,
            reason=reason,
            phase="done",
            finished_at=now,
            summary=orjson.dumps(dict(summary)).decode(),
        )
    )
    return closed.rowcount == 1


def hold(
    connection: Connection,
    run_id: str,
    *,
    plan_hash: str,
    expires_at: datetime,
) -> None:
    """Mark the run as one whose plan waits for a person until `expires_at`."""
    connection.execute(
        update(run)
        .where(run.c.id == run_id)
        .values(plan_hash=plan_hash, hold_expires_at=expires_at)
    )


def settle_hold(connection: Connection, run_id: str) -> None:
    """The plan no longer waits: approved, rejected or expired."""
    connection.execute(
        update(run).where(run.c.id == run_id).values(hold_expires_at=None)
    )


def waiting_for_a_person(
    connection: Connection, sync_name: str, *, lock: bool = False
) -> Run | None:
    """The held run of this sync whose plan waits, if any.

    `lock` keeps another process from deciding on it at the same time.
    """
    query = select(run).where(
        run.c.sync == sync_name, run.c.hold_expires_at.is_not(None)
    )
    if lock:
        query = query.with_for_update()
    row = connection.execute(query).one_or_none()
    return of_row(row) if row is not None else None


def unfinished(connection: Connection, sync_name: str | None = None) -> list[Run]:
    """Runs without an outcome, oldest first."""
    query = select(run).where(run.c.outcome.is_(None)).order_by(run.c.started_at)
    if sync_name is not None:
        query = query.where(run.c.sync == sync_name)
    return [of_row(row) for row in connection.execute(query)]


def find(connection: Connection, run_id: str) -> list[Run]:
    """Runs whose id is, or ends with, `run_id` (the short form is the ending).

    A whole id is looked up; only for an ending every id is read.
    """
    whole = connection.execute(select(run).where(run.c.id == run_id)).one_or_none()
    if whole is not None:
        return [of_row(whole)]
    ending = run_id.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = connection.execute(
        select(run).where(run.c.id.like(f"%{ending}", escape="\\")).limit(2)
    )
    return [of_row(row) for row in rows]


def latest(
    connection: Connection,
    *,
    sync_name: str | None = None,
    outcomes: Sequence[Outcome] = (),
    limit: int = 1,
) -> list[Run]:
    """The newest runs, newest first."""
    query = select(run).order_by(run.c.started_at.desc(), run.c.id.desc()).limit(limit)
    if sync_name is not None:
        query = query.where(run.c.sync == sync_name)
    if outcomes:
        query = query.where(run.c.outcome.in_(outcomes))
    return [of_row(row) for row in connection.execute(query)]


def failures_in_a_row(connection: Connection, sync_name: str) -> int:
    """Failed runs since the last OK one (skipped slots do not count)."""
    ok_at = connection.execute(
        select(func.max(run.c.started_at)).where(
            run.c.sync == sync_name, run.c.outcome.in_(OK)
        )
    ).scalar_one()
    query = (
        select(func.count())
        .select_from(run)
        .where(run.c.sync == sync_name, run.c.outcome == Outcome.FAILED)
    )
    if ok_at is not None:
        query = query.where(run.c.started_at > ok_at)
    return int(connection.execute(query).scalar_one())


def know_sync(connection: Connection, name: str, now: datetime) -> datetime | None:
    """Remember the sync exists; returns its last handled slot, None when new."""
    connection.execute(
        insert_into(connection, sync)
        .values(name=name, first_seen_at=now)
        .on_conflict_do_nothing()
    )
    return last_slot(connection, name)


def first_seen(connection: Connection, name: str) -> datetime | None:
    """When the sync was first configured; None when it never was."""
    seen: datetime | None = connection.execute(
        select(sync.c.first_seen_at).where(sync.c.name == name)
    ).scalar_one_or_none()
    return seen


def last_slot(connection: Connection, name: str) -> datetime | None:
    """The newest slot that was run or skipped."""
    slot: datetime | None = connection.execute(
        select(sync.c.last_slot).where(sync.c.name == name)
    ).scalar_one_or_none()
    return slot


def settled_until(connection: Connection) -> dict[str, datetime]:
    """Sync -> its newest slot that was run or skipped, or when it was first known."""
    since = func.coalesce(sync.c.last_slot, sync.c.first_seen_at)
    return {row[0]: row[1] for row in connection.execute(select(sync.c.name, since))}


def is_taken(connection: Connection, name: str, slot: datetime) -> bool:
    """Whether this very slot was run or skipped."""
    query = select(run.c.id).where(run.c.sync == name, run.c.slot == slot).limit(1)
    return connection.execute(query).first() is not None


def advance_slot(connection: Connection, name: str, slot: datetime) -> None:
    """Never run a slot at or before this one again."""
    connection.execute(
        update(sync)
        .where(
            sync.c.name == name,
            sync.c.last_slot.is_(None) | (sync.c.last_slot < slot),
        )
        .values(last_slot=slot)
    )


def of_row(row: Row) -> Run:  # type: ignore[type-arg]
    """A run from its row."""
    return Run(
        id=row.id,
        sync=row.sync,
        slot=row.slot,
        trigger=Trigger(row.trigger),
        outcome=Outcome(row.outcome) if row.outcome else None,
        reason=row.reason,
        phase=row.phase,
        started_at=row.started_at,
        finished_at=row.finished_at,
        hold_expires_at=row.hold_expires_at,
        plan_hash=row.plan_hash,
        config_hash=row.config_hash,
        summary=orjson.loads(row.summary),
    )
