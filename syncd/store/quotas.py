"""What is known of a project's month, shared by threads, restarts and replicas.

The row is also the lock: whoever decides on a download updates it first, so that two
processes never both take the last place.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, case, select, update

from syncd.store.database import insert_into
from syncd.store.tables import quota


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One row of `quota`."""

    project: str
    """`region:app_id`."""
    limit: int
    used: int
    """By everybody who spends it; by us alone when estimated."""
    resets_at: datetime
    read_at: datetime
    estimated: bool
    """The vendor could not be asked."""
    exhausted_at: datetime | None
    """When schedules stopped downloading in this month."""
    low_at: datetime | None
    """When people were last told that it runs low."""


def get(connection: Connection, project: str) -> Quota | None:
    """What was last known; None when nothing was ever asked."""
    row = connection.execute(
        select(quota).where(quota.c.project == project)
    ).one_or_none()
    if row is None:
        return None
    return Quota(
        project=row.project,
        limit=row.limit,
        used=row.used,
        resets_at=row.resets_at,
        read_at=row.read_at,
        estimated=row.estimated,
        exhausted_at=row.exhausted_at,
        low_at=row.low_at,
    )


def remember(
    connection: Connection,
    project: str,
    *,
    limit: int,
    used: int,
    resets_at: datetime,
    estimated: bool,
    now: datetime,
) -> None:
    """Store a reading and lock the project until the transaction ends.

    To be the transaction's first step: what is read after it is the newest.
    """
    values = {
        "limit": limit,
        "used": used,
        "resets_at": resets_at,
        "read_at": now,
        "estimated": estimated,
    }
    upsert = insert_into(connection, quota).values(project=project, **values)
    same_month = quota.c.resets_at == upsert.excluded.resets_at
    connection.execute(
        upsert.on_conflict_do_update(
            index_elements=[quota.c.project],
            set_=values
            | {"exhausted_at": case((same_month, quota.c.exhausted_at), else_=None)},
        )
    )


def spend(connection: Connection, project: str) -> None:
    """One more is being asked for than what was read."""
    connection.execute(
        update(quota).where(quota.c.project == project).values(used=quota.c.used + 1)
    )


def exhaust(connection: Connection, project: str, now: datetime) -> bool:
    """Schedules stop downloading; True the first time in a month."""
    changed = connection.execute(
        update(quota)
        .where(quota.c.project == project, quota.c.exhausted_at.is_(None))
        .values(exhausted_at=now)
    )
    return changed.rowcount == 1


def warn(connection: Connection, project: str, now: datetime) -> bool:
    """It runs low; True the first time on a day (UTC)."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    changed = connection.execute(
        update(quota)
        .where(
            quota.c.project == project,
            quota.c.low_at.is_(None) | (quota.c.low_at < today),
        )
        .values(low_at=now)
    )
    return changed.rowcount == 1
