"""What became of the events that were pushed to us: counts per connection."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, select

from syncd.store.database import insert_into
from syncd.store.tables import inbox_tally


def tally(
    connection: Connection,
    connection_name: str,
    results: Mapping[str, int],
    now: datetime,
) -> None:
    """Add to the counts of what became of a connection's events."""
    rows = [
        {"connection": connection_name, "result": result, "n": n, "last_at": now}
        for result, n in sorted(results.items())
        if n
    ]
    if not rows:
        return
    statement = insert_into(connection, inbox_tally)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[inbox_tally.c.connection, inbox_tally.c.result],
            set_={
                "n": inbox_tally.c.n + statement.excluded.n,
                "last_at": statement.excluded.last_at,
            },
        ),
        rows,
    )


def tallies(connection: Connection) -> dict[str, dict[str, tuple[int, datetime]]]:
    """Connection -> result -> (how many, last time)."""
    found: dict[str, dict[str, tuple[int, datetime]]] = {}
    for row in connection.execute(select(inbox_tally)):
        found.setdefault(row.connection, {})[row.result] = (row.n, row.last_at)
    return found
