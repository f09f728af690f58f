"""That nobody works on a store of Postgres, and that nobody begins to.

On SQLite a lock on a file says so (`app.store`). Here daemons and leases do, and locks
on the tables keep everybody else from writing until the transaction ends.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import OperationalError

from syncd.clock import Clock
from syncd.errors import StoreInUse
from syncd.store import gate, installation, leases
from syncd.store.tables import lease, metadata

_PLACE = 0x73796E636463  # "syncdc"
_PATIENCE = "2s"
_NOT_GIVEN = "55P03"
"""SQLSTATE lock_not_available."""


def hold(connection: Connection, now: datetime, silent_after: timedelta) -> None:
    """Keep every writer out until this transaction ends.

    A daemon without a sign of life for `silent_after` is gone. Raises `StoreInUse`
    while one lives, a lease is held or somebody writes.
    """
    take_time(connection)
    _require_nobody(connection, now, silent_after)
    quoted = connection.dialect.identifier_preparer
    names = ", ".join(map(quoted.format_table, metadata.sorted_tables))
    connection.execute(text(f"SET LOCAL lock_timeout = '{_PATIENCE}'"))
    try:
        # Nobody writes, and nobody else takes this lock; everybody may read.
        connection.execute(text(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _NOT_GIVEN:
            raise
        raise StoreInUse("somebody is writing to the store") from None
    _require_nobody(connection, now, silent_after)


def take_place(connection: Connection) -> None:
    """Let nobody else begin a copy into this database meanwhile.

    Raises `StoreInUse`.
    """
    take_time(connection)
    query = text("SELECT pg_try_advisory_xact_lock(:key)")
    if not connection.execute(query, {"key": _PLACE}).scalar_one():
        raise StoreInUse(
            "another `syncd db copy` fills this database",
            hint="wait for it, or end it: then the same command again",
        )


def take_time(connection: Connection) -> None:
    """Let this transaction last, whatever the server's limits are; not on SQLite."""
    if connection.dialect.name == "postgresql":
        connection.execute(_UNHURRIED)


_UNHURRIED = text(
    # Those that this server knows: `transaction_timeout` is of Postgres 17.
    "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN "
    "('statement_timeout', 'transaction_timeout', "
    "'idle_in_transaction_session_timeout')"
)


class Awake:
    """Transactions that wait while another one works, and say a word now and then.

    PgBouncer ends those that say none (`idle_transaction_timeout`), and heeds no
    setting of ours. SQLite's wait as long as they like.
    """

    def __init__(self, clock: Clock, *waiting: Connection) -> None:
        """`waiting` are those that wait all the time."""
        self._clock = clock
        self._waiting = waiting
        self._said_at = clock.monotonic()

    def look(self, *more: Connection) -> None:
        """Where it is time, have each say one, and `more` that wait just now.

        Raises what the database does where one has been ended.
        """
        now = self._clock.monotonic()
        if now - self._said_at < _SAID_EVERY:
            return
        for each in (*self._waiting, *more):
            if each.dialect.name == "postgresql":
                each.execute(_WORD)
        self._said_at = now


_SAID_EVERY = 0.5
"""Real seconds; no pooler is told to wait for less than some."""
_WORD = text("SELECT 1")


def _require_nobody(
    connection: Connection, now: datetime, silent_after: timedelta
) -> None:
    for each in installation.daemons(connection):
        if now - each.heartbeat_at < silent_after and not leases.is_dead(each.holder):
            raise StoreInUse(f"a daemon works on it: {each.host}, process {each.pid}")
    held = select(lease).where(
        lease.c.released.is_(False),
        lease.c.expires_at > now,
        lease.c.holder != gate.MOVED,
    )
    for row in connection.execute(held):
        if not leases.is_dead(row.holder):
            raise StoreInUse(f"{row.holder} works on sync {row.sync}")
