"""What is wrong with a SQLite file, found by looking at each of its pages once."""

import sqlite3

_TELLING = frozenset("binding chunk batch batch_ids doubt unaccepted run".split())
"""Tables that say who is a member and what is under way. None has many rows."""
_LARGE = frozenset({"chunk", "batch_ids"})
"""Those with large rows: `integrity_check` would read all of their pages once more,
which `quick_check` has just read, and find out nothing but this about their indexes."""
_ENTRIES = "SELECT count(*) FROM {table} INDEXED BY {index}"
_LED_TO = (
    "SELECT count(*) FROM {table} AS whole NOT INDEXED WHERE EXISTS (SELECT 1"
    " FROM {table} AS led INDEXED BY {index} WHERE {same} AND led.rowid = whole.rowid)"
)


def damage_of(raw: sqlite3.Connection) -> str:
    """What it is; empty where that is nothing. Names nobody.

    Raises what SQLite raises where not even that can be said.
    """
    (said,) = raw.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        return str(said)
    tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_master")}
    for table in sorted(_TELLING & tables):
        # Indexes too: what one does not lead to would look like something we never had.
        wrong = _of_indexes(raw, table) if table in _LARGE else _of_table(raw, table)
        if wrong:
            return wrong
        if raw.execute(f"PRAGMA foreign_key_check({table})").fetchone():
            return f"rows of {table} belong to nothing"
    return ""


def _of_table(raw: sqlite3.Connection, table: str) -> str:
    (said,) = raw.execute(f"PRAGMA integrity_check({table})").fetchone()
    return "" if said == "ok" else str(said)


def _of_indexes(raw: sqlite3.Connection, table: str) -> str:
    """Whether an index does not lead to each row, or to something else."""
    count = f"SELECT count(*) FROM {table} NOT INDEXED"  # noqa: S608  # our own names
    rows = raw.execute(count).fetchone()
    for _, index, *_ in raw.execute(f"PRAGMA index_list({table})").fetchall():
        columns = [name for *_, name in raw.execute(f"PRAGMA index_info({index})")]
        same = " AND ".join(f"led.{each} IS whole.{each}" for each in columns)
        for query in (_ENTRIES, _LED_TO):
            asked = query.format(table=table, index=index, same=same)
            if raw.execute(asked).fetchone() != rows:
                return f"{index} does not lead to the rows of {table}"
    return ""
