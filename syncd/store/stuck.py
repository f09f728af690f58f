"""Processes that stand still in the middle of what they say to Postgres.

Postgres ends a transaction in which nothing happens by itself (`Database.begin`), but
not one that is stopped while it sends many rows: those are many messages before it asks
for an answer (psycopg's pipeline of an `executemany`), and no limit counts from there
on (seen on Postgres 18). What it has locked it would keep for ever. Others end it.
"""

from datetime import timedelta

from sqlalchemy import Interval, bindparam, text

from syncd.store.database import Connection

_END = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND usename = current_user "
    "AND application_name = 'syncd' AND pid <> pg_backend_pid() "
    "AND wait_event = 'ClientRead' AND state <> 'idle' "
    # Who only reads locks nothing, and may wait for a person.
    "AND backend_xid IS NOT NULL "
    # A store that is moved waits for its other end, at length.
    "AND query NOT ILIKE 'copy%' AND query_start < clock_timestamp() - :limit"
).bindparams(bindparam("limit", type_=Interval))


def end(connection: Connection, limit: timedelta) -> int:
    """End those of which nothing was heard for `limit`; how many. On Postgres."""
    ended: int = connection.execute(_END, {"limit": limit}).scalar_one()
    return ended
