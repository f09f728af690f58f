"""What became of the events that were pushed to us: counts per connection."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, select

from syncd.store.bulk import Rows, inserting, native, prepared
from syncd.store.tables import inbox_tally


def tally(
    connection: Connection,
    connection_name: str,
    results: Mapping[str, int],
    now: datetime,
) -> None:
    """Add to the counts of what became of a connection's events."""
    dialect = connection.dialect.name
    last_at = native(dialect, now)
    rows = [
        (connection_name, result, n, last_at)
        for result, n in sorted(results.items())  # in one order: two replicas may meet
        if n
    ]
    if rows:
        _adding(dialect)(connection, rows)


@cache
def _adding(dialect: str) -> Callable[[Connection, Rows], None]:
    statement = inserting(dialect, inbox_tally)
    new = statement.excluded
    added = statement.on_conflict_do_update(
        index_elements=[inbox_tally.c.connection, inbox_tally.c.result],
        set_={"n": inbox_tally.c.n + new.n, "last_at": new.last_at},
    )
    return prepared(dialect, added)


def tallies(connection: Connection) -> dict[str, dict[str, tuple[int, datetime]]]:
    """Connection -> result -> (how many, last time)."""
    found: dict[str, dict[str, tuple[int, datetime]]] = {}
    for row in connection.execute(select(inbox_tally)):
        found.setdefault(row.connection, {})[row.result] = (row.n, row.last_at)
    return found
