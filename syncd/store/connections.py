"""State that belongs to a credential, not to a sync: stopped, throttled.

It lives in rows, so that a rejected key or a long Retry-After survives a restart.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, case, select, update
from sqlalchemy.engine import Row

from syncd.redaction import redacted
from syncd.store.database import insert_into
from syncd.store.tables import connection as table

PROBE_EVERY = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionState:
    """Whether requests may be made with a connection's credentials."""

    name: str
    stopped_at: datetime | None = None
    stopped_reason: str | None = None
    """The vendor's words when the credentials were rejected."""
    probe_at: datetime | None = None
    """When the credentials are tried again by a free call."""
    throttled_until: datetime | None = None


def get(connection: Connection, name: str) -> ConnectionState:
    """The state of one connection; the default state if nothing ever happened."""
    row = connection.execute(select(table).where(table.c.name == name)).one_or_none()
    return _state(row) if row is not None else ConnectionState(name=name)


def known(connection: Connection) -> dict[str, ConnectionState]:
    """The states of those to which anything ever happened, by name."""
    return {row.name: _state(row) for row in connection.execute(select(table))}


def _state(row: Row) -> ConnectionState:  # type: ignore[type-arg]
    return ConnectionState(
        name=row.name,
        stopped_at=row.stopped_at,
        stopped_reason=row.stopped_reason,
        probe_at=row.probe_at,
        throttled_until=row.throttled_until,
    )


def stop(connection: Connection, name: str, reason: str, now: datetime) -> None:
    """No request until a probe succeeds; each failing probe puts it off again."""
    _set(
        connection,
        name,
        stopped_at=now,
        stopped_reason=redacted(reason),
        probe_at=now + PROBE_EVERY,
    )


def take_probe(connection: Connection, state: ConnectionState, now: datetime) -> bool:
    """Put the next probe off, to make this one; False where another process did."""
    taken = connection.execute(
        update(table)
        .where(table.c.name == state.name, table.c.probe_at == state.probe_at)
        .values(probe_at=now + PROBE_EVERY)
    )
    return taken.rowcount == 1


def resume(connection: Connection, name: str) -> None:
    """The credentials work again."""
    _set(connection, name, stopped_at=None, stopped_reason=None, probe_at=None)


def throttle(connection: Connection, name: str, until: datetime) -> None:
    """The vendor asked for a pause of the whole credential; the longest one counts.

    Four workers may be told different waits at once.
    """
    upsert = insert_into(connection, table).values(name=name, throttled_until=until)
    asked, known = upsert.excluded.throttled_until, table.c.throttled_until
    connection.execute(
        upsert.on_conflict_do_update(
            index_elements=[table.c.name],
            set_={"throttled_until": case((known > asked, known), else_=asked)},
        )
    )


def _set(connection: Connection, name: str, **values: object) -> None:
    upsert = insert_into(connection, table).values(name=name, **values)
    connection.execute(
        upsert.on_conflict_do_update(index_elements=[table.c.name], set_=values)
    )
