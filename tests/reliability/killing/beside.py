"""The store, read and changed beside the product that is killed over it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

MEMBERS = "SELECT member_id FROM member"
UNCERTAIN = """
SELECT p.ids FROM batch b JOIN batch_ids p ON p.batch_id = b.id
WHERE b.state IN ('open', 'dead')
"""


@contextmanager
def reading(url: str) -> Iterator[Any]:
    """The store; never takes part in the product's recovery."""
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            yield connection
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection


def rows(url: str, query: str) -> list[Any]:
    """The rows of a query; none where the product was killed before it had a store."""
    try:
        with reading(url) as connection:
            return list(connection.execute(query))
    except (sqlite3.OperationalError, psycopg.errors.UndefinedTable):
        return []


def change(url: str, statement: str) -> None:
    """Change a store on which nobody works."""
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as file, file:
            file.execute(statement)
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())


def certain(url: str) -> set[str]:
    """Whom the store holds as members."""
    return {one for (one,) in rows(url, MEMBERS)}


def uncertain(url: str) -> set[str]:
    """Who is in a batch that is open or dead."""
    return {one for (ids,) in rows(url, UNCERTAIN) for one in ids.split("\n")}


def require_intact(url: str) -> None:
    """SQLite's own check of its file."""
    if url.startswith("sqlite") and Path(url.removeprefix("sqlite:///")).exists():
        with reading(url) as connection:
            assert list(connection.execute("PRAGMA integrity_check")) == [("ok",)]
