"""The clock of the database, which every process that works on one Postgres shares.

Leases, heartbeats, due times and pauses are compared by processes on several machines,
whose own clocks differ. SQLite has one machine: there this does nothing.
"""

from sqlalchemy import Connection, func, select

from syncd.clock import Clock, elapsed
from syncd.store.database import Database


def follow(database: Database, clock: Clock) -> None:
    """Live by the database's clock from now on. Raises `StoreUnavailable`."""
    if database.dialect == "sqlite":
        return
    with database.read() as connection:
        follow_by(connection, clock)


def follow_by(connection: Connection, clock: Clock) -> None:
    """The same, where a connection is there already."""
    if connection.dialect.name == "sqlite":
        return
    since = elapsed()
    shown = connection.execute(select(func.clock_timestamp())).scalar_one()
    clock.reference.follow(shown, since, elapsed())
