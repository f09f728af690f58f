"""Opening one consistent, read-only read, and saying what went wrong with it.

Nothing of a driver's words is passed on that may hold a value, a parameter or a secret;
so errors are raised `from None`: a traceback would print what was left out.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import exc

from syncd.errors import SourceError, SourceUnavailable, SourceUntrusted
from syncd.sources.warehouse.queries import WarehouseQuery

_PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        "bigquery": "sqlalchemy-bigquery",
        "clickhouse": "clickhouse-sqlalchemy",
        "databricks": "databricks-sqlalchemy",
        "duckdb": "duckdb-engine",
        "ibm_db_sa": "ibm_db_sa",
        "MySQLdb": "mysqlclient",
        "oracledb": "oracledb",
        "psycopg": "'psycopg[binary]'",
        "psycopg2": "psycopg2-binary",
        "pymysql": "pymysql",
        "pyodbc": "pyodbc",
        "redshift": "sqlalchemy-redshift",
        "snowflake": "snowflake-sqlalchemy",
        "trino": "'trino[sqlalchemy]'",
    }
)
"""What to install for a dialect or for the module that a dialect asks for."""

_STEPS_BETWEEN_LOOKS = 100_000
"""SQLite instructions between two looks at the clock: a few milliseconds."""


@contextmanager
def reading(
    query: WarehouseQuery, expired: Callable[[], bool]
) -> Iterator[sa.Connection]:
    """A connection inside one read-only transaction that sees one snapshot.

    `expired` says whether the time for the whole read is over. Whatever SQLAlchemy or
    its driver raises inside comes out as `SourceUnavailable` or `SourceUntrusted`.
    """
    url = _parse(query.url())
    engine = _engine(url)
    try:
        with _connect(engine, url) as connection, connection.begin():
            _limit(connection, query, expired)
            yield connection
    except exc.SQLAlchemyError as error:
        raise _source_error(error, query) from None
    finally:
        engine.dispose()


def _parse(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except (exc.ArgumentError, ValueError):
        raise _unusable_url() from None
    if url.drivername == "postgres":  # what many hosts hand out
        return url.set(drivername="postgresql")
    return url


def _engine(url: sa.URL) -> sa.Engine:
    try:
        match url.get_backend_name():
            case "postgresql":
                return _postgres_engine(url)
            case "sqlite":
                return _sqlite_engine(url)
            case _:
                return sa.create_engine(
                    url, poolclass=sa.NullPool, hide_parameters=True
                )
    except exc.NoSuchModuleError:
        raise _driver_missing(url, url.get_backend_name()) from None
    except ModuleNotFoundError as error:
        raise _driver_missing(url, error.name or "") from None
    except (exc.ArgumentError, ValueError, TypeError):
        raise _unusable_url() from None


def _unusable_url() -> SourceUnavailable:
    return SourceUnavailable(
        "the warehouse URL cannot be used as it is written",
        code="source.url",
        hint="write dialect://user:password@host:port/database, %-encoded",
    )


def _driver_missing(url: sa.URL, module: str) -> SourceUnavailable:
    package = _PACKAGES.get(module)
    return SourceUnavailable(
        f"the driver for {url.drivername} is not installed",
        code="source.driver_missing",
        hint=f"pip install {package}"
        if package
        else f"install the SQLAlchemy dialect for {url.drivername}",
    )


def _postgres_engine(url: sa.URL) -> sa.Engine:
    """REPEATABLE READ, and a dead network is noticed within about a minute."""
    options: dict[str, object] = {
        "connect_timeout": 30,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    }
    if url.get_driver_name() == "psycopg":
        # Poolers in transaction mode lose prepared statements; we never reuse one.
        options["prepare_threshold"] = None
    return sa.create_engine(
        url,
        poolclass=sa.NullPool,
        hide_parameters=True,
        isolation_level="REPEATABLE READ",
        connect_args={k: v for k, v in options.items() if k not in url.query},
        execution_options={"postgresql_readonly": True},
    )


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    """The file opened read-only; one deferred transaction is one snapshot.

    Python's driver begins none for a SELECT, so it is told to keep out of it. Text that
    is no UTF-8 comes as escapes, since one such id must not cost the whole list.
    """
    if url.database in (None, "", ":memory:"):
        raise _unusable_url()  # nobody else can have put an audience there
    if not url.database.startswith("file:"):
        url = url.set(database=f"file:{quote(url.database)}")
    url = url.update_query_dict({"uri": "true", "mode": "ro"})
    engine = sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.text_factory = partial(
            str, encoding="utf-8", errors="surrogateescape"
        )

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _connect(engine: sa.Engine, url: sa.URL) -> sa.Connection:
    try:
        return engine.connect()
    except exc.DBAPIError as error:
        raise SourceUnavailable(
            f"the warehouse cannot be reached: {_words_without_secrets(error, url)}",
            hint="check the URL, and that the warehouse answers from here",
        ) from None


def _words_without_secrets(error: exc.DBAPIError, url: sa.URL) -> str:
    """The driver's first line while connecting: no query has run, so it has no data.

    The URL's password and options may stand in it and are taken out.
    """
    words = str(error.orig).strip().partition("\n")[0]
    secrets = {url.password or ""}
    for option, values in url.normalized_query.items():
        if option not in ("host", "port"):
            secrets |= set(values)
    for secret in secrets - {""}:
        for form in (secret, quote(secret, safe="")):
            words = words.replace(form, "***")
    words = words[:300]
    return f"{words} ({type(error.orig).__name__})"


def _limit(
    connection: sa.Connection, query: WarehouseQuery, expired: Callable[[], bool]
) -> None:
    """Let the server itself end a statement that takes too long, where it can."""
    if connection.dialect.name == "postgresql":
        milliseconds = int(query.timeout.total_seconds() * 1000)
        connection.execute(
            sa.select(
                sa.func.set_config("statement_timeout", str(milliseconds), sa.true())
            )
        )
    elif connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(expired, _STEPS_BETWEEN_LOOKS)


def _source_error(error: exc.SQLAlchemyError, query: WarehouseQuery) -> SourceError:
    """Gone or busy: the next run may work. Anything else: the query is at fault."""
    if not isinstance(error, exc.DBAPIError):
        return SourceUntrusted(
            f"the warehouse cannot be read ({type(error).__name__})",
            code="source.query",
            hint="see that the query selects one column and changes nothing",
        )
    cause = error.orig
    code = _code(error)
    named = f"{type(cause).__name__}{f', {code}' if code else ''}"
    if code in ("57014", "SQLITE_INTERRUPT"):
        return SourceUnavailable(
            f"a statement was cancelled, or took longer than {query.timeout} ({named})",
            code="source.timeout",
            hint="raise the timeout, or make the query cheaper",
        )
    if error.connection_invalidated or (
        isinstance(error, exc.OperationalError | exc.InterfaceError)
        and code != "SQLITE_ERROR"
    ):
        return SourceUnavailable(f"the warehouse stopped answering ({named})")
    return SourceUntrusted(
        f"the warehouse refused the query ({named}){_words_about_names(error)}",
        code="source.query",
    )


def _code(error: exc.DBAPIError) -> str:
    """The SQLSTATE, or SQLite's name for its result code."""
    sqlstate = getattr(error.orig, "sqlstate", None)
    return sqlstate or getattr(error.orig, "sqlite_errorname", None) or ""


def _words_about_names(error: exc.DBAPIError) -> str:
    """The server's words where they can only speak of names and grammar, not of data.

    That is SQLSTATE class 42 of Postgres, and what SQLite says of a statement.
    """
    code = _code(error)
    if code == "SQLITE_ERROR":
        return f": {error.orig}"
    if code.startswith("42"):
        diagnosis = getattr(error.orig, "diag", None)
        return f": {getattr(diagnosis, 'message_primary', '')}"
    return ""
