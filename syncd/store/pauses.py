"""Syncs that a person stopped for a while: who, why, until when.

A pause is one row, so that it outlives every process. It is over at its `until` by
itself, whether or not its row was taken away by then.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select
from sqlalchemy.engine import Row

from syncd.errors import PutOff
from syncd.store.database import insert_into
from syncd.store.tables import pause as table


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """One row of `pause`."""

    sync: str
    since: datetime
    until: datetime | None
    """None: until somebody resumes the sync."""
    actor: str
    via: str
    """cli, socket or web."""
    reason: str

    def holds(self, now: datetime) -> bool:
        """Whether it is not over yet."""
        return self.until is None or now < self.until


class Paused(PutOff):
    """A person paused the sync: nothing of it is read or sent."""

    code = "sync.paused"
    reason = "paused"

    def __init__(self, pause: Pause) -> None:
        until = "it is resumed"
        if pause.until is not None:
            until = f"{pause.until:%Y-%m-%d %H:%M} UTC"
        super().__init__(
            f"{pause.sync} is paused by {pause.actor} until {until}: {pause.reason}",
            hint=f"syncd resume {pause.sync}",
        )
        self.until = pause.until


def put(connection: Connection, pause: Pause) -> Pause | None:
    """Pause a sync, or put this pause in the place of another; returns that one."""
    before = _find(connection, pause.sync)
    values = {
        "since": pause.since,
        "until": pause.until,
        "actor": pause.actor,
        "via": pause.via,
        "reason": pause.reason,
    }
    connection.execute(
        insert_into(connection, table)
        .values(sync=pause.sync, **values)
        .on_conflict_do_update(index_elements=[table.c.sync], set_=values)
    )
    return before


def in_force(connection: Connection, sync: str, now: datetime) -> Pause | None:
    """The pause of a sync, unless it is over."""
    found = _find(connection, sync)
    return found if found is not None and found.holds(now) else None


def require_none(connection: Connection, sync: str, now: datetime) -> None:
    """Raise `Paused` while the sync is paused."""
    pause = in_force(connection, sync, now)
    if pause is not None:
        raise Paused(pause)


def all_in_force(connection: Connection, now: datetime) -> dict[str, Pause]:
    """Sync → its pause, of those that are not over."""
    found = (_pause(row) for row in connection.execute(select(table)))
    return {each.sync: each for each in found if each.holds(now)}


def remove(connection: Connection, sync: str) -> Pause | None:
    """A person ends a pause; None when there was none."""
    found = _find(connection, sync)
    connection.execute(delete(table).where(table.c.sync == sync))
    return found


def any_ended(connection: Connection, now: datetime) -> bool:
    """Whether `take_ended` would find something; writes nothing."""
    query = select(table.c.sync).where(table.c.until <= now).limit(1)
    return connection.execute(query).first() is not None


def take_ended(connection: Connection, now: datetime) -> list[Pause]:
    """Take away the pauses whose time is over; each goes to one caller alone."""
    rows = connection.execute(
        delete(table).where(table.c.until <= now).returning(table)
    )
    return [_pause(row) for row in rows]


def _find(connection: Connection, sync: str) -> Pause | None:
    row = connection.execute(select(table).where(table.c.sync == sync)).one_or_none()
    return _pause(row) if row is not None else None


def _pause(row: Row) -> Pause:  # type: ignore[type-arg]
    return Pause(
        sync=row.sync,
        since=row.since,
        until=row.until,
        actor=row.actor,
        via=row.via,
        reason=row.reason,
    )
