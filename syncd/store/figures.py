"""What is counted of the store at each scrape: few queries, over narrow rows alone.

Nothing here reads ids: no chunk, no payload, no word of the inbox. Whatever could be
long is counted up to a limit only.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, func, literal, select, text

from syncd.model import BatchState, Outcome
from syncd.store.bindings import Role
from syncd.store.tables import batch, binding, feed, inbox, run, sync
from syncd.store.tables import connection as credentials
from syncd.store.tables import unaccepted as table
from syncd.store.unaccepted import Count, Kind

COUNTED = 100_000
"""Words of a feed that wait are counted up to this many."""
_UNSETTLED = (BatchState.OPEN, BatchState.HELD, BatchState.DEAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """The batches of one sync in one state."""

    sync: str
    state: BatchState
    tried: bool
    """They were sent before, without a proven answer."""
    batches: int
    ids: int
    oldest: datetime | None
    """When the plan of the oldest was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What is known of a sync's target without reading members."""

    binding_id: int
    listed: int | None
    """Ids in the list from which the last plan that went out was made, repeats too."""
    compacted: int
    """Members in chunks."""
    counted: int | None
    """Members as counted by the run that last moved somebody; None: it did not end."""
    moved: bool
    """Somebody was moved since the chunks were written."""

    @property
    def members(self) -> int | None:
        """Acknowledged members, exactly; None where only reading them would tell."""
        return self.counted if self.moved else self.compacted


def first_seen(connection: Connection) -> dict[str, datetime]:
    """When each sync was first configured."""
    rows = connection.execute(select(sync.c.name, sync.c.first_seen_at))
    return {row.name: row.first_seen_at for row in rows}


def held(connection: Connection) -> dict[str, list[str]]:
    """Sync -> the guards of its plan that waits for a person."""
    rows = connection.execute(
        select(run.c.sync, run.c.reason, run.c.summary).where(
            run.c.outcome == Outcome.HELD, run.c.hold_expires_at.is_not(None)
        )
    )
    return {row.sync: _guards(row.summary, row.reason) for row in rows}


def _guards(summary: str, reason: str | None) -> list[str]:
    trips = orjson.loads(summary).get("trips", ())
    return [str(each["guard"]) for each in trips] or [reason or ""]


def baselines(connection: Connection) -> dict[str, Baseline]:
    """Sync -> what it knows of the target it works on."""
    newest = (
        select(func.max(batch.c.id))
        .where(
            batch.c.binding_id == binding.c.id,
            batch.c.state == BatchState.ACKNOWLEDGED,
        )
        .correlate(binding)
        .scalar_subquery()
    )
    moved = batch.alias("moved")
    rows = connection.execute(
        select(
            binding.c.sync,
            binding.c.id,
            binding.c.members,
            binding.c.digest_count,
            moved.c.id.label("moved"),
            run.c.summary,
        )
        .select_from(binding)
        .outerjoin(moved, moved.c.id == newest)
        .outerjoin(run, run.c.id == moved.c.run_id)
        .where(binding.c.role == Role.CURRENT)
    )
    return {row.sync: _baseline(row) for row in rows}


def _baseline(row: Any) -> Baseline:
    counted = orjson.loads(row.summary).get("members_after") if row.summary else None
    return Baseline(
        binding_id=row.id,
        listed=row.digest_count,
        compacted=row.members,
        counted=counted,
        moved=row.moved is not None,
    )


def outbox(connection: Connection) -> list[Outbox]:
    """Batches that are not settled, of every sync."""
    tried = batch.c.attempts > 0
    rows = connection.execute(
        select(
            binding.c.sync,
            batch.c.state,
            tried,
            func.count(),
            func.sum(batch.c.n),
            func.min(batch.c.planned_at),
        )
        .join(binding, binding.c.id == batch.c.binding_id)
        .where(
            batch.c.binding_id.in_(select(binding.c.id)),
            batch.c.state.in_(_UNSETTLED),
        )
        .group_by(binding.c.sync, batch.c.state, tried)
    )
    return [
        Outbox(
            sync=row[0],
            state=BatchState(row[1]),
            tried=bool(row[2]),
            batches=row[3],
            ids=int(row[4]),
            oldest=row[5],
        )
        for row in rows
    ]


def logs(connection: Connection, bindings: Collection[int]) -> dict[int, int]:
    """Binding -> ids in its acknowledged batches that are not compacted yet, if any."""
    rows = connection.execute(
        select(batch.c.binding_id, func.sum(batch.c.n))
        .where(
            batch.c.binding_id.in_(bindings),
            batch.c.state == BatchState.ACKNOWLEDGED,
        )
        .group_by(batch.c.binding_id)
    )
    return {row[0]: int(row[1]) for row in rows if row[1]}


def unaccepted(
    connection: Connection, bindings: Collection[int]
) -> dict[int, list[Count]]:
    """Binding -> how many ids are unaccepted, by kind and reason, if any."""
    what = table.c.binding_id, table.c.kind, table.c.reason
    rows = connection.execute(
        select(*what, func.count())
        .where(table.c.binding_id.in_(bindings))
        .group_by(*what)
        .order_by(*what)
    )
    found: dict[int, list[Count]] = {}
    for binding_id, kind, reason, ids in rows:
        count = Count(kind=Kind(kind), reason=reason, ids=int(ids))
        found.setdefault(binding_id, []).append(count)
    return found


def stopped(connection: Connection) -> set[str]:
    """The connections whose credentials are refused."""
    stopped_at = credentials.c.stopped_at
    query = select(credentials.c.name).where(stopped_at.is_not(None))
    return set(connection.execute(query).scalars())


def last_words(connection: Connection) -> dict[str, datetime]:
    """Connection -> when something was last pushed by it."""
    rows = connection.execute(
        select(feed.c.connection, func.max(feed.c.last_at))
        .where(feed.c.last_at.is_not(None))
        .group_by(feed.c.connection)
    )
    return {row[0]: row[1] for row in rows}


def waiting(connection: Connection, feed_id: int, *, after: int) -> int:
    """People of a feed with a word above that position; at most `COUNTED`."""
    some = (
        select(literal(1))
        .where(inbox.c.feed_id == feed_id, inbox.c.position > after)
        .limit(COUNTED)
        .subquery()
    )
    query = select(func.count()).select_from(some)
    return int(connection.execute(query).scalar_one())


def size(connection: Connection, file: Path | None) -> int:
    """Bytes of the store: `file` and what lies beside it, or the whole database."""
    if file is None:
        query = text("SELECT pg_database_size(current_database())")
        return int(connection.execute(query).scalar_one())
    names: Collection[str] = (file.name, f"{file.name}-wal", f"{file.name}-shm")
    parts = (file.with_name(name) for name in names)
    return sum(each.stat().st_size for each in parts if each.exists())


def journal_mode(connection: Connection) -> str:
    """How SQLite keeps its journal; `wal` in a store of ours."""
    found: str = connection.execute(text("PRAGMA journal_mode")).scalar_one()
    return found
