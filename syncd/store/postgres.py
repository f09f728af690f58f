"""Postgres: how it is connected to, and how a transaction begins there.

By itself psycopg sends BEGIN before the first statement and nothing with it. A process
that is stopped right there would have a transaction without an end, and with it what it
has locked, or one of PgBouncer's few connections. So its connections are in autocommit,
and BEGIN is ours: its limit is a part of the same message. COMMIT and ROLLBACK go out
as ever, as psycopg sends them wherever the server last spoke of an open transaction.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError

from syncd.errors import StoreRefused

WRITING = "BEGIN"
READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_ENDS = "SET LOCAL idle_in_transaction_session_timeout"
"""For each transaction, as PgBouncer keeps no setting of a session."""
_WHOLE = MappingProxyType({"no_parameters": True})
"""Without parameters the driver sends several statements as one message."""
_KNOWN = "syncd_began"
"""What is written beside a connection on which a transaction has begun before."""
_ONLY_READS = "25006"
"""A standby says so. The name of a database that failed over may lead to one for a
moment, and connections made meanwhile would stay there."""
_HOLDS_EVERY_ID = frozenset({"UTF8", "SQL_ASCII"})
"""Encodings of a database; the second one keeps what it is given, byte by byte."""


def beginning(kind: str, idle: timedelta | None) -> str:
    """The words that begin a transaction, which ends when nothing happens in it for
    `idle`. Pure."""
    if idle is None:
        return kind
    return f"{kind}; {_ENDS} = {round(idle.total_seconds() * 1000)}"


@contextmanager
def transaction(engine: Engine, words: str) -> Iterator[Connection]:
    """One that begins with these words; commits at the end, rolls back on any error."""
    with _begun(engine, words) as connection:
        yield connection
        connection.commit()


def _begun(engine: Engine, words: str) -> Connection:
    """A connection on which these words were said.

    They find out as well whether a connection was lost since it was last used, which a
    ping before would take a message for: nothing was asked of it yet, so that another
    one will do. A new connection that is lost is an error.
    """
    while True:
        connection = engine.connect()
        is_new = _KNOWN not in connection.info
        try:
            connection.exec_driver_sql(words, execution_options=_WHOLE)
            connection.info[_KNOWN] = True
        except BaseException as error:
            connection.close()
            if is_new or not _is_loss(error):
                raise
        else:
            return connection


def _is_loss(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


def require_room_for_every_id(encoding: str | None) -> None:
    """Raise `StoreRefused` for a database in an encoding that lacks letters.

    As the server names it when it is connected to; a pooler may leave that out.
    """
    if encoding is None or encoding in _HOLDS_EVERY_ID:
        return
    raise StoreRefused(
        f"the store's database is encoded in {encoding}, which has no place for the "
        "letters of some ids",
        hint="CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
    )


def postgres_engine(url: URL, *, size: int) -> Engine:
    """The engine of `size` connections that are kept, and 16 more in need."""
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=size,
        max_overflow=16,
        hide_parameters=True,
        # It is looked up in a transaction of its own, and nothing of ours is one.
        use_native_hstore=False,
        connect_args=dict(CONNECTED),
    )

    @event.listens_for(engine, "connect")
    def _look(raw: Any, _record: Any) -> None:
        try:
            require_room_for_every_id(raw.info.parameter_status("server_encoding"))
        except StoreRefused:
            raw.close()
            raise

    @event.listens_for(engine, "handle_error")
    def _leave_a_server_that_only_reads(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == _ONLY_READS:
            context.is_disconnect = True

    return engine


_NOTICED = {
    # A machine that is gone says nothing more. By default that is noticed after a
    # quarter of an hour where something was sent to it, after two hours elsewhere.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""Seconds, but for the last, in milliseconds; nothing to a Unix socket."""
CONNECTED: Mapping[str, Any] = {
    "autocommit": True,
    # A database in SQL_ASCII would have ours in it as well: psycopg's text is bytes
    # then. Like this it looks at what it is given, and keeps it as it is.
    "client_encoding": "UTF8",
    # PgBouncer in transaction mode keeps no prepared statements.
    "prepare_threshold": None,
    "application_name": "syncd",
    "connect_timeout": 10,
    **_NOTICED,
}
"""How psycopg connects, besides what the URL says."""
