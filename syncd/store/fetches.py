"""Requests for cohort downloads: one row each, durable before it is sent.

The rows are three things at once: the memory of what to resume (a request lives seven
days), the local count of the quota, and the history by which the gate decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, case, func, insert, select, update
from sqlalchemy.engine import Row

from syncd.model import SnapshotDigest
from syncd.redaction import redacted
from syncd.store.tables import binding, fetch

READINGS_OF_A_BROKEN_FILE = 3
"""A file is free to read again, but one that is broken every time ends its request."""


class FetchState(StrEnum):
    """How far a request got."""

    ASKING = "asking"
    """Decided and durable; sent or about to be, no answer known: it counts as spent."""
    RUNNING = "running"
    """Accepted, its id is known; the job may run."""
    READY = "ready"
    """The job is complete; the file was not read to its end yet."""
    COMPLETED = "completed"
    """The file was read whole and believed."""
    REFUSED = "refused"
    """The request was answered, with a refusal."""
    LOST = "lost"
    """The request got no answer, or one without an id: perhaps it was counted."""
    ENDED = "ended"
    """Accepted, but there is nothing to be had from it any more; `error` says why."""


RESUMABLE = (FetchState.RUNNING, FetchState.READY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """One row of `fetch`."""

    id: int
    project: str
    """`region:app_id`, the scope of quota and rate limits."""
    cohort_id: str
    sync: str
    """Who asked for it; any sync of the project may use the file."""
    run_id: str
    by_person: bool
    state: FetchState
    request_id: str | None
    """The vendor's; None: not known, or nothing can be had by it any more."""
    asked_at: datetime
    """When the request was answered; until then when it was decided."""
    ended_at: datetime | None
    computed_before: datetime | None
    """`lastComputed` as listed before the request."""
    computed_after: datetime | None
    """`lastComputed` that the file stands for, as listed once its job was complete."""
    name: str
    """The cohort's, as listed before the request."""
    size_before: int | None
    """The cohort's, as listed before the request."""
    size_ready: int | None
    """The cohort's, as listed once the job was complete."""
    size: int | None
    """The cohort's as of `computed_after`; None where nobody can say."""
    rows: int | None
    """Rows of the file."""
    digest: SnapshotDigest | None
    """Of the ids in the file."""
    broken: int
    """How often the file was read and not believed."""
    error: str | None


def begin(
    connection: Connection,
    *,
    project: str,
    cohort_id: str,
    name: str,
    computed_before: datetime | None,
    size_before: int | None,
    sync: str,
    run_id: str,
    by_person: bool,
    now: datetime,
) -> int:
    """Note that a download is about to be asked for; returns the row's key."""
    key: int = connection.execute(
        insert(fetch)
        .values(
            project=project,
            cohort_id=cohort_id,
            name=name,
            computed_before=computed_before,
            size_before=size_before,
            sync=sync,
            run_id=run_id,
            by_person=by_person,
            state=FetchState.ASKING,
            asked_at=now,
            broken=0,
        )
        .returning(fetch.c.id)
    ).scalar_one()
    return key


def accepted(
    connection: Connection, fetch_id: int, request_id: str, now: datetime
) -> None:
    """The request was accepted: keep its id before anything else happens."""
    _set(
        connection,
        fetch_id,
        state=FetchState.RUNNING,
        request_id=request_id,
        asked_at=now,
    )


def refused(connection: Connection, fetch_id: int, error: str, now: datetime) -> None:
    """The request was answered with a refusal."""
    _in_vain(connection, fetch_id, FetchState.REFUSED, error, now)


def lost(connection: Connection, fetch_id: int, error: str, now: datetime) -> None:
    """Nobody knows what became of the request."""
    _in_vain(connection, fetch_id, FetchState.LOST, error, now)


def _in_vain(
    connection: Connection, fetch_id: int, state: FetchState, error: str, now: datetime
) -> None:
    _set(
        connection,
        fetch_id,
        state=state,
        error=redacted(error),
        asked_at=now,
        ended_at=now,
    )


def ready(
    connection: Connection,
    fetch_id: int,
    *,
    computed_after: datetime | None,
    size: int | None,
    size_ready: int | None,
) -> Fetch:
    """The job is complete: its file may be read. Two syncs may wait for one job: the
    first word stands."""
    connection.execute(
        update(fetch)
        .where(fetch.c.id == fetch_id, fetch.c.state == FetchState.RUNNING)
        .values(
            state=FetchState.READY,
            computed_after=computed_after,
            size=size,
            size_ready=size_ready,
        )
    )
    return get(connection, fetch_id)


def complete(
    connection: Connection,
    fetch_id: int,
    *,
    computed_after: datetime | None,
    size: int | None,
    rows: int,
    digest: SnapshotDigest,
    now: datetime,
) -> Fetch:
    """The file was read whole. Two syncs may read one file: the first word stands."""
    connection.execute(
        update(fetch)
        .where(fetch.c.id == fetch_id, fetch.c.state.in_(RESUMABLE))
        .values(
            state=FetchState.COMPLETED,
            ended_at=now,
            computed_after=computed_after,
            size=size,
            rows=rows,
            digest_count=digest.count,
            digest_total=f"{digest.total:016x}",
        )
    )
    return get(connection, fetch_id)


def broke(connection: Connection, fetch_id: int, error: str, now: datetime) -> bool:
    """The file was read and not believed; True when it is not read any more."""
    times: int = connection.execute(
        update(fetch)
        .where(fetch.c.id == fetch_id)
        .values(broken=fetch.c.broken + 1, error=redacted(error))
        .returning(fetch.c.broken)
    ).scalar_one()
    if times < READINGS_OF_A_BROKEN_FILE:
        return False
    give_up(connection, fetch_id, error, now)
    return True


def give_up(connection: Connection, fetch_id: int, error: str, now: datetime) -> None:
    """Nothing can be had by this request any more; what was read of it stays read."""
    stays = fetch.c.state == FetchState.COMPLETED
    _set(
        connection,
        fetch_id,
        state=case((stays, fetch.c.state), else_=FetchState.ENDED),
        request_id=case((stays, None), else_=fetch.c.request_id),
        ended_at=case((stays, fetch.c.ended_at), else_=now),
        error=redacted(error),
    )


def get(connection: Connection, fetch_id: int) -> Fetch:
    """One request by key."""
    return _fetch(connection.execute(select(fetch).where(fetch.c.id == fetch_id)).one())


def of_cohort(
    connection: Connection, project: str, cohort_id: str, *, limit: int = 50
) -> list[Fetch]:
    """A cohort's newest requests, newest first, without those that were refused:
    nothing came of them, and hours of 429s would push the last file out of sight."""
    rows = connection.execute(
        select(fetch)
        .where(
            fetch.c.project == project,
            fetch.c.cohort_id == cohort_id,
            fetch.c.state != FetchState.REFUSED,
        )
        .order_by(fetch.c.id.desc())
        .limit(limit)
    )
    return [_fetch(row) for row in rows]


def refusals(connection: Connection, run_id: str) -> int:
    """How many requests of a run were refused."""
    count: int = connection.execute(
        select(func.count()).where(
            fetch.c.run_id == run_id, fetch.c.state == FetchState.REFUSED
        )
    ).scalar_one()
    return count


def of_project(connection: Connection, project: str, since: datetime) -> list[Fetch]:
    """A project's requests since then, oldest first."""
    rows = connection.execute(
        select(fetch)
        .where(fetch.c.project == project, fetch.c.asked_at >= since)
        .order_by(fetch.c.id)
    )
    return [_fetch(row) for row in rows]


def recent(connection: Connection, project: str, *, limit: int = 20) -> list[Fetch]:
    """A project's newest requests, newest first."""
    rows = connection.execute(
        select(fetch)
        .where(fetch.c.project == project)
        .order_by(fetch.c.id.desc())
        .limit(limit)
    )
    return [_fetch(row) for row in rows]


def writers(connection: Connection, cohort_id: str) -> Sequence[tuple[str, str]]:
    """(sync, connection) of every binding that ever wrote to this id: such a cohort
    must not be read back as if it were somebody else's."""
    rows = connection.execute(
        select(binding.c.sync, binding.c.connection)
        .where(binding.c.external_id == cohort_id)
        .order_by(binding.c.id)
    )
    return [(row.sync, row.connection) for row in rows]


def _set(connection: Connection, fetch_id: int, **values: object) -> None:
    connection.execute(update(fetch).where(fetch.c.id == fetch_id).values(**values))


def _fetch(row: Row) -> Fetch:  # type: ignore[type-arg]
    digest = None
    if row.digest_count is not None:
        digest = SnapshotDigest(count=row.digest_count, total=int(row.digest_total, 16))
    return Fetch(
        id=row.id,
        project=row.project,
        cohort_id=row.cohort_id,
        sync=row.sync,
        run_id=row.run_id,
        by_person=row.by_person,
        state=FetchState(row.state),
        request_id=row.request_id,
        asked_at=row.asked_at,
        ended_at=row.ended_at,
        computed_before=row.computed_before,
        computed_after=row.computed_after,
        name=row.name,
        size_before=row.size_before,
        size_ready=row.size_ready,
        size=row.size,
        rows=row.rows,
        digest=digest,
        broken=row.broken,
        error=row.error,
    )
