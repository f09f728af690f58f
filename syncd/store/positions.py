"""Where the ids of a table go on: an id is never given twice, though its row is gone.

Traces, doubts and ledger lines name batches that were deleted long ago.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, Table, text

from syncd.store.tables import metadata


def positions(connection: Connection) -> dict[str, int]:
    """Table → the highest id it ever gave; 0: none yet."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(text("SELECT name, seq FROM sqlite_sequence"))
        given = {name: int(seq) for name, seq in found}
        return {table.name: given.get(table.name, 0) for table in _numbered()}
    return {table.name: _given(connection, table) for table in _numbered()}


def put_positions(connection: Connection, wanted: Mapping[str, int]) -> None:
    """Have each table go on behind these."""
    for table in _numbered():
        highest = wanted[table.name]
        if connection.dialect.name == "sqlite":
            named = {"name": table.name, "seq": highest}
            connection.execute(_FORGET, named)
            connection.execute(_KEEP, named)
        else:
            sequence = _sequence(connection, table)
            # A sequence begins with 1; `false`: that is the next, not the last.
            values = {"s": sequence, "n": max(highest, 1), "given": highest > 0}
            connection.execute(_SET, values)


_FORGET = text("DELETE FROM sqlite_sequence WHERE name = :name")
_KEEP = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)")
_SET = text("SELECT setval(CAST(:s AS regclass), :n, :given)")
_OF = text("SELECT pg_get_serial_sequence(:name, :column)")


def _numbered() -> list[Table]:
    """Tables that give ids by themselves."""
    tables = metadata.sorted_tables
    return [each for each in tables if each.autoincrement_column is not None]


def _numbers(table: Table) -> str:
    """The column that they are in."""
    column = table.autoincrement_column
    return "" if column is None else column.name


def _given(connection: Connection, table: Table) -> int:
    query = text(f"SELECT last_value, is_called FROM {_sequence(connection, table)}")  # noqa: S608
    last, called = connection.execute(query).one()
    return int(last) if called else 0


def _sequence(connection: Connection, table: Table) -> str:
    """Its name, quoted as Postgres gives it."""
    named = {
        "name": connection.dialect.identifier_preparer.format_table(table),
        "column": _numbers(table),
    }
    found: str = connection.execute(_OF, named).scalar_one()
    return found
