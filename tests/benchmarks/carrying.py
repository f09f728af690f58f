"""A store's rows carried from SQLite to Postgres without any care: the floor of a move.

`python carrying.py FILE URL` reads every table row by row and has Postgres COPY them
into tables of text without keys: no order, no types, nothing read back. It prints how
many rows those were.
"""

import sqlite3
import sys
from contextlib import closing

import psycopg
from psycopg import sql


def carry(file: str, url: str) -> int:
    """Returns the number of rows."""
    with (
        closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as store,
        psycopg.connect(url) as there,
        there.cursor() as cursor,
    ):
        names = store.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' "
            "AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        return sum(_carry(store, cursor, name) for (name,) in names)


def _carry(store: sqlite3.Connection, cursor: psycopg.Cursor, name: str) -> int:
    found = store.execute(f'SELECT * FROM "{name}"')
    columns = [sql.Identifier(column) for column, *_ in found.description]
    table = sql.Identifier(f"floor_{name}")
    texts = sql.SQL(", ").join(sql.SQL("{} text").format(each) for each in columns)
    cursor.execute(sql.SQL("CREATE TABLE {} ({})").format(table, texts))
    carried = 0
    with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(table)) as copy:
        for row in found:
            copy.write_row(row)
            carried += 1
    return carried


if __name__ == "__main__":
    print(carry(*sys.argv[1:]))
