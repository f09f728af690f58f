"""A store as it is, copied into another one, of the same kind or not.

The other one holds everything or is refused: from the first moment until the last it
carries the mark of an unfinished copy (`gate`), all tables are filled in one
transaction, and before that ends each is read back and compared. Tables and columns
come from the metadata, so one that is added is copied as well.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, Table, Text, delete, func, or_, select, text
from xxhash import xxh3_128_intdigest

from syncd.errors import StoreError
from syncd.store import engine_tables, failovers, gate, rows
from syncd.store.failures import damaged
from syncd.store.migrate import head
from syncd.store.positions import positions, put_positions
from syncd.store.quiet import Awake
from syncd.store.rows import Row
from syncd.store.tables import daemon, lease, meta, metadata
from syncd.store.upgrade import upgrade

_WHOLE = (1 << 128) - 1
Carry = Callable[[Row, datetime], Row | None]
"""What becomes of a row on its way; None: it stays behind."""


class NotCopied(StoreError):
    """There is no copy: what is there is refused as an unfinished one."""

    code = "copy"


@dataclass(slots=True)
class Sum:
    """How many rows, and a digest of them that knows no order."""

    count: int = 0
    total: int = 0

    def add(self, row: Row) -> None:
        """One more."""
        self.count += 1
        plain = orjson.dumps(row, default=bytes.hex)
        self.total = (self.total + xxh3_128_intdigest(plain)) & _WHOLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """One table, the same on both sides."""

    table: str
    rows: int
    left: int
    """Rows that stayed behind on purpose."""
    digest: str
    """The first 12 digits, to be shown."""


def fill(
    source: Connection, target: Connection, token: str, now: datetime, awake: Awake
) -> list[Copied]:
    """Everything into a store that `gate.begin_copy` marked, in its transaction.

    `awake` are transactions that wait meanwhile.

    1. The schema, as a new store gets it, without the rows that come with it.
    2. Each table, those before it that it refers to.
    3. Where ids go on.
    4. Everything read back. Raises `NotCopied` where anything differs.
    """
    gate.stand_at(target, None)
    upgrade(target)
    for table in reversed(metadata.sorted_tables):
        target.execute(delete(table))
    copied = [
        copy_table(source, target, each, now, awake) for each in metadata.sorted_tables
    ]
    put_positions(target, positions(source))
    if positions(target) != positions(source):
        raise _differs("the positions at which ids go on")
    _tell_planner(target)
    gate.stand_at(target, gate.COPYING + token)
    return copied


def finish(target: Connection, token: str) -> None:
    """From now on it is a store. Raises `NotCopied` where another copy is there."""
    if not gate.end_copy(target, token, head()):
        raise NotCopied(
            "somebody else has begun another copy into the same place",
            code="copy.replaced",
            hint="find out who; then the same command again",
        )


def require_readable(source: Connection) -> None:
    """Raise `StoreRefused` for a SQLite file with broken pages."""
    raw: Any = source.connection.driver_connection
    try:
        (found,) = raw.execute("PRAGMA quick_check(1)").fetchone()
    except (sqlite3.Error, UnicodeDecodeError):
        found = "it cannot be read to its end"
    if found != "ok":
        raise damaged(f"the store to be copied is damaged: {found}")


def unstorable(source: Connection) -> list[tuple[str, int]]:
    """(table.column, rows) of text that Postgres would not take: with a NUL in it."""
    found = []
    for table in metadata.sorted_tables:
        texts = [each for each in table.columns if isinstance(each.type, Text)]
        holds = {each: func.instr(each, func.char(0)) > 0 for each in texts}
        if not holds:
            continue
        counts = [func.count().filter(each) for each in holds.values()]
        # One look at the table, whatever its columns are.
        query = select(*counts).where(or_(*holds.values()))
        row = source.execute(query).one()
        found += [(str(c), n) for c, n in zip(holds, row, strict=True) if n]
    return found


def copy_table(
    source: Connection, target: Connection, table: Table, now: datetime, awake: Awake
) -> Copied:
    """One table into an empty one, read back. Raises `NotCopied` where it differs."""
    given, left, found = Sum(), Sum(), Sum()
    carry = _CARRY.get(table.name)
    written = _carried(rows.read(source, table), carry, now, given, left)
    rows.write(target, table, _each(written, awake.look))
    for row in _each(rows.read(target, table), partial(awake.look, source)):
        found.add(row)
    if found != given:
        raise _differs(f"table {table.name}")
    return Copied(
        table=table.name,
        rows=given.count,
        left=left.count,
        digest=f"{given.total:032x}"[:12],
    )


def _carried(
    read: Iterator[Row], carry: Carry | None, now: datetime, given: Sum, left: Sum
) -> Iterator[Row]:
    for row in read:
        kept = carry(row, now) if carry else row
        if kept is None:
            left.add(row)
        else:
            given.add(kept)
            yield kept


def _each(read: Iterable[Row], then: Callable[[], None]) -> Iterator[Row]:
    for row in read:
        then()
        yield row


def _differs(what: str) -> NotCopied:
    return NotCopied(
        f"{what} is not the same on both sides",
        code="copy.differs",
        hint="the same command again; if it stays so, report it",
    )


def _nobody(_: Row, __: datetime) -> None:
    """Whoever worked on the source does not work on the copy."""


def _ended(row: Row, now: datetime) -> Row:
    """Nobody holds it; who never gave it back may have a request on the wire."""
    place = lease.columns.keys().index("expires_at")
    return (*row[:place], min(row[place], now), *row[place + 1 :])


def _lasting(row: Row, _: datetime) -> Row | None:
    """What is about the place, and not the installation, stays behind."""
    key = row[meta.columns.keys().index("key")]
    return None if key in _OF_THE_PLACE else row


_OF_THE_PLACE = frozenset(
    # Another server's timeline would look like a failover; the tables of the job
    # engine, whose step this is, are not copied: due times are made anew from ours.
    {gate.MOVED_TO, gate.COPY, failovers.TIMELINE, engine_tables.STEP}
)
"""Keys of `meta`."""


_CARRY: dict[str, Carry] = {
    daemon.name: _nobody,
    lease.name: _ended,
    meta.name: _lasting,
}
"""Tables of which not every row is copied as it is."""


def _tell_planner(target: Connection) -> None:
    """Postgres plans by statistics, which a new table has none of."""
    if target.dialect.name == "postgresql":
        quoted = target.dialect.identifier_preparer
        names = map(quoted.format_table, metadata.sorted_tables)
        target.execute(text(f"ANALYZE {', '.join(names)}"))
