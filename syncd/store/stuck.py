"""Processes that stand still in the middle of what they say to Postgres.

Postgres ends a transaction in which nothing happens by itself (`Database.begin`), but
it counts from the last answer on. Who sends many rows sends many messages before it
asks for one (psycopg's pipeline of an `executemany`): stopped among those, it counts as
at work for ever, and keeps what it has locked. Others end it.
"""

from datetime import timedelta

from sqlalchemy import Interval, bindparam, text

from syncd.store.database import Connection

_END = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND usename = current_user "
    "AND application_name = 'syncd' AND pid <> pg_backend_pid() "
    "AND state = 'active' AND wait_event = 'ClientRead' "
    # A store that is moved waits for its other end, at length.
    "AND query NOT ILIKE 'copy%' AND query_start < clock_timestamp() - :limit"
).bindparams(bindparam("limit", type_=Interval))


def end(connection: Connection, limit: timedelta) -> int:
    """End those of which nothing was heard for `limit`; how many. On Postgres."""
    ended: int = connection.execute(_END, {"limit": limit}).scalar_one()
    return ended
