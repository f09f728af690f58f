"""What a failover of the database may have lost: what was acknowledged, what was heard.

A standby that is promoted begins a new timeline, and without synchronous replication it
lacks the last commits of its primary. Whom those named is nobody's knowledge any more:
who entered and left again since would stay a member, who left and came back would be
missing, and every later run would find nothing to do. So each sync is marked, also one
whose first plan may be lost, until what is there is known again: it was read back and
nobody differs, it was adopted, or an upload replaced it. Sending everybody again is not
enough, nor is a repair that leaves strangers: they may be whom a lost commit named.
A base backup that is restored begins a timeline as well.

Events that were answered and lost are a second loss, and no look at a target finds it:
the source of a sync that lives by what is pushed lacks them as well. Such a sync is
marked a second time, until a whole list made since stands below what was pushed, or a
person says that nothing is missing. Both marks are set for every sync, since nothing
here knows who is pushed to; whoever reads whole lists alone has no use for the second.
"""

from datetime import datetime

from sqlalchemy import Connection, delete, exists, or_, select, text, union
from sqlalchemy.exc import DBAPIError

from syncd.store.database import insert_into
from syncd.store.tables import binding, meta
from syncd.store.tables import sync as known_sync

TIMELINE = "timeline"
_MARK = "unreconciled:"
_UNHEARD = "unheard:"
_MARKED = or_(
    *(meta.c.key.startswith(each, autoescape=True) for each in (_MARK, _UNHEARD))
)
# Of the file that is being written: the last checkpoint's may be of before.
_SHOWN = text(
    "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8) "
    "WHERE NOT pg_is_in_recovery()"
)


def look(connection: Connection, now: datetime, *, lossless: bool) -> int | None:
    """Mark every known sync where the database failed over; None: it did not.

    Returns how many were marked. `lossless`: no commit is ever lost, and marks of
    before are dropped. Does nothing on SQLite, nor where the server has no timelines.
    """
    shown = _timeline(connection)
    if shown is None:
        return None
    if lossless:
        _drop_all(connection)
    if _value(connection, TIMELINE) == shown:
        return None
    # Whoever comes second finds it noticed.
    known = _value(connection, TIMELINE, lock=True)
    if known == shown:
        return None
    _put(connection, TIMELINE, shown)
    if known is None:
        return None
    return 0 if lossless else _mark_all(connection, now)


def since(connection: Connection, sync: str) -> datetime | None:
    """When the failover was noticed since which a sync waits to be reconciled."""
    return _since(connection, _MARK + sync)


def all_since(connection: Connection) -> dict[str, datetime]:
    """Sync -> the same, of those that wait."""
    return _all(connection, _MARK)


def reconciled(connection: Connection, sync: str, noticed: datetime) -> None:
    """What is there is known again, since the failover noticed then.

    The mark of another one, which came meanwhile, stays.
    """
    _settle(connection, _MARK + sync, noticed)


def forget(connection: Connection, sync: str) -> None:
    """The sync knows of no target any more; it still did not hear what was lost."""
    connection.execute(delete(meta).where(meta.c.key == _MARK + sync))


def unheard(connection: Connection, sync: str) -> datetime | None:
    """When the failover was noticed that may have lost what was pushed to a sync."""
    return _since(connection, _UNHEARD + sync)


def all_unheard(connection: Connection) -> dict[str, datetime]:
    """Sync -> the same, also of those that nothing is pushed to."""
    return _all(connection, _UNHEARD)


def heard(connection: Connection, sync: str, noticed: datetime) -> None:
    """Nothing of before the failover noticed then is missing any more."""
    _settle(connection, _UNHEARD + sync, noticed)


def _timeline(connection: Connection) -> str | None:
    if connection.dialect.name == "sqlite":
        return None
    try:
        # An error would be the end of the transaction otherwise.
        with connection.begin_nested():
            shown: str | None = connection.execute(_SHOWN).scalar_one_or_none()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return None  # no right to ask, or a server that keeps no such log
    return shown


def _mark_all(connection: Connection, now: datetime) -> int:
    everybody = union(select(binding.c.sync), select(known_sync.c.name))
    names = connection.scalars(everybody).all()
    for name in names:
        _put(connection, _MARK + name, now.isoformat())
        _put(connection, _UNHEARD + name, now.isoformat())
    return len(names)


def _drop_all(connection: Connection) -> None:
    if connection.execute(select(exists().where(_MARKED))).scalar_one():
        connection.execute(delete(meta).where(_MARKED))


def _since(connection: Connection, key: str) -> datetime | None:
    found = _value(connection, key)
    return None if found is None else datetime.fromisoformat(found)


def _all(connection: Connection, mark: str) -> dict[str, datetime]:
    marked = meta.c.key.startswith(mark, autoescape=True)
    rows = connection.execute(select(meta.c.key, meta.c.value).where(marked))
    return {
        row.key.removeprefix(mark): datetime.fromisoformat(row.value) for row in rows
    }


def _settle(connection: Connection, key: str, noticed: datetime) -> None:
    seen = meta.c.key == key, meta.c.value == noticed.isoformat()
    connection.execute(delete(meta).where(*seen))


def _value(connection: Connection, key: str, *, lock: bool = False) -> str | None:
    query = select(meta.c.value).where(meta.c.key == key)
    found: str | None = connection.execute(
        query.with_for_update() if lock else query
    ).scalar_one_or_none()
    return found


def _put(connection: Connection, key: str, value: str) -> None:
    connection.execute(
        insert_into(connection, meta)
        .values(key=key, value=value)
        .on_conflict_do_update(index_elements=[meta.c.key], set_={"value": value})
    )
