"""What the processes of one Postgres may do at a vendor together, not each.

A scope has numbered places. Whoever takes one has it until it is given back, or until
the time it was taken for is over: a process that dies gives nothing back. A pace is one
place that nobody gives back: each taker has it for as long as its share may take, and
begins when those before it are through.

All instants are the database's, read and compared in the statement that changes a row,
so machines whose clocks differ agree. A clock that was set back lets go of every place
that it has not come to yet. Nothing here is waited for inside a transaction, no session
holds anything, and a commit does not wait for the disk: a database that crashes may
forget what was taken in its last half second.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Interval,
    Update,
    bindparam,
    case,
    func,
    or_,
    select,
    type_coerce,
    update,
)

from syncd.store.database import insert_into
from syncd.store.tables import place as table

PACE = 1
"""The one place of a pace."""
LINE = 0
"""The place that nobody gets: taken as long as somebody waits for another one."""
IN_LINE = timedelta(milliseconds=150)
"""How long a refused taker is thought to wait without asking again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One of a scope's places, as it was taken."""

    scope: str
    number: int
    taken: int
    """Counts who had it: after its time somebody else may have it."""


class NoPlaces(LookupError):
    """The scope has no rows: nobody prepared it, or the database went back in time."""


def prepare(connection: Connection, scope: str, count: int) -> None:
    """Have rows for a scope's places and its line; those that are there stay."""
    for number in range(count + 1):
        connection.execute(
            insert_into(connection, table)
            .values(scope=scope, number=number, taken=0, since=_NOW, until=_NOW)
            .on_conflict_do_nothing()
        )


def take(
    connection: Connection, scope: str, lasts: timedelta, *, waited: bool
) -> Place | None:
    """Take a free place for `lasts`; None when there is none.

    Who has not waited gets none while others wait: they look now and then, and whoever
    has just given a place back would be faster every time. Raises `NoPlaces`.
    """
    wanted = {"its": scope, "lasts": lasts}
    row = connection.execute(_TAKE if waited else _TAKE_FIRST, wanted).one_or_none()
    if row is None:
        line = connection.execute(_WAIT, {"its": scope, "lasts": IN_LINE})
        if line.one_or_none() is None:
            raise NoPlaces(scope)
        return None
    return Place(scope=scope, number=row.number, taken=row.taken)


def keep(connection: Connection, place: Place, lasts: timedelta) -> bool:
    """Have it for `lasts` from now; False where somebody else has it by now."""
    kept = connection.execute(_KEEP, _own(place) | {"lasts": lasts})
    return kept.one_or_none() is not None


def give_back(connection: Connection, place: Place) -> None:
    """Let others have it; nothing happens where they have it already."""
    connection.execute(_GIVE_BACK, _own(place))


def in_turn(connection: Connection, scope: str, lasts: timedelta) -> timedelta:
    """Take `lasts` of a pace; returns how long to wait until that begins."""
    begins = case(
        (table.c.since > _NOW, _NOW), else_=func.greatest(table.c.until, _NOW)
    )
    upsert = insert_into(connection, table).values(
        scope=scope, number=PACE, taken=1, since=_NOW, until=_LATER
    )
    row = connection.execute(
        upsert.on_conflict_do_update(
            index_elements=[table.c.scope, table.c.number],
            set_={
                "taken": table.c.taken + 1,
                "since": _NOW,
                "until": begins + _LASTS,
            },
        ).returning(
            type_coerce(table.c.until - _LASTS - table.c.since, Interval).label("wait"),
            *_BRIEFLY,
        ),
        {"lasts": lasts},
    ).one()
    wait: timedelta = row.wait
    return max(wait, timedelta(0))


# ---- statements, made once: that takes longer than to run them ----------------------

_NOW = func.clock_timestamp()
_LASTS = bindparam("lasts", type_=Interval)
_LATER = _NOW + _LASTS
_BRIEFLY = (
    func.set_config("synchronous_commit", "off", True),
    func.set_config("idle_in_transaction_session_timeout", "5000", True),
)
"""For this transaction alone. What it takes is worth nothing after a crash; and where
its process stands still, Postgres ends it rather than let all others wait for its row.
"""
_ITS = table.c.scope == bindparam("its")


def _is_free(rows: FromClause) -> ColumnElement[bool]:
    return or_(rows.c.until <= _NOW, rows.c.since > _NOW)


def _taking(*more: ColumnElement[bool]) -> Update:
    free = (
        select(table.c.number)
        .where(_ITS, table.c.number != LINE, _is_free(table), *more)
        .order_by(table.c.number)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return (
        update(table)
        .where(_ITS, table.c.number == free)
        .values(taken=table.c.taken + 1, since=_NOW, until=_LATER)
        .returning(table.c.number, table.c.taken, *_BRIEFLY)
    )


def _nobody_waits() -> ColumnElement[bool]:
    line = table.alias("line")
    waiting = select(line.c.number).where(
        line.c.scope == bindparam("its"), line.c.number == LINE, ~_is_free(line)
    )
    return ~waiting.exists()


_TAKE = _taking()
_TAKE_FIRST = _taking(_nobody_waits())
_WAIT = (
    update(table)
    .where(_ITS, table.c.number == LINE)
    .values(since=_NOW, until=_LATER)
    .returning(*_BRIEFLY)
)
_OWN = update(table).where(
    _ITS,
    table.c.number == bindparam("its_number"),
    table.c.taken == bindparam("had"),
)
_KEEP = _OWN.values(since=_NOW, until=_LATER).returning(*_BRIEFLY)
_GIVE_BACK = _OWN.values(until=_NOW).returning(*_BRIEFLY)


def _own(place: Place) -> dict[str, object]:
    return {"its": place.scope, "its_number": place.number, "had": place.taken}
