"""What a store that fails is said to have: what a person can look for, and no value."""

import sqlite3

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from syncd.errors import StoreUnavailable
from syncd.store.database import Database
from syncd.store.failures import as_store_error


def said(error: Exception, *, lost: bool = False) -> StoreUnavailable:
    return as_store_error(
        OperationalError("SELECT 1", None, error, connection_invalidated=lost)
    )


def test_a_server_that_is_not_there_is_named_without_who_logs_in() -> None:
    store = Database("postgresql://syncd:s3cr3t@127.0.0.1:9/members", readers=1)

    with pytest.raises(StoreUnavailable) as caught, store.read():
        pass

    words = f"{caught.value} {caught.value.hint}"
    assert "no connection to 127.0.0.1:9" in words
    assert "check Postgres" in words
    assert not {"disk", "s3cr3t", "members"} & set(words.replace(",", "").split())


def test_a_connection_that_was_lost_is_said_to_be_none() -> None:
    without_state = said(psycopg.OperationalError("server closed the connection"))
    unusable = said(psycopg.InterfaceError("closed"), lost=True)

    assert str(without_state).endswith("no connection (OperationalError)")
    assert str(unusable).endswith("no connection (InterfaceError)")


def test_what_the_driver_refuses_by_itself_is_no_lost_connection() -> None:
    error = DBAPIError("SELECT 1", None, psycopg.DataError("person-4711"))

    assert str(as_store_error(error)) == "the store failed: DataError"


def test_pgbouncers_own_refusal_is_not_taken_for_the_servers() -> None:
    pooler = said(psycopg.errors.ProtocolViolation("query_wait_timeout"))
    server = said(psycopg.errors.DiskFull("key (person-4711)"))

    assert "PgBouncer has no server for it" in str(pooler)
    assert str(server) == "the store failed: DiskFull (SQLSTATE 53100)"


def test_a_file_has_a_disk_and_no_server() -> None:
    failed = said(sqlite3.OperationalError("disk I/O error"))

    assert str(failed) == "the store failed: disk I/O error"
    assert "the disk and the store's file" in failed.hint
