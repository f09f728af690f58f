"""The newest runs of every sync together: a few queries, however many syncs there are.

Each looks at as many rows of a sync as it returns, or at its newest `LOOK_BACK`: never
at all of its history, which are thousands.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Select,
    Text,
    column,
    func,
    literal,
    select,
    values,
)

from syncd.model import Outcome
from syncd.store.instant import Instant
from syncd.store.runs import OK, SLOT_SKIPPED, Run, of_row
from syncd.store.tables import run

LOOK_BACK = 50
"""Runs of a sync in which something is looked for."""
RAN = tuple(outcome for outcome in Outcome if outcome is not Outcome.SKIPPED)
"""How runs end that did begin."""
_MAY_MOVE = tuple(outcome for outcome in RAN if outcome is not Outcome.NO_CHANGE)
_LONG_AGO = literal(datetime(1970, 1, 1, tzinfo=UTC), Instant)

_OLDER, _OLDEST = run.alias(), run.alias()


def newest_each(
    connection: Connection,
    names: Collection[str],
    *,
    outcomes: Sequence[Outcome] = RAN,
    limit: int = 1,
) -> dict[str, list[Run]]:
    """Sync -> its newest runs that ended so, newest first; nothing of who has none."""
    those = _those(names)
    such = _OLDER.c.outcome.in_(outcomes)
    return _read(connection, those, _newest(those, such, limit))


def newest_with(
    connection: Connection, names: Collection[str], number: str
) -> dict[str, Run]:
    """Sync -> its newest run that counted this, among its newest `LOOK_BACK`."""
    # As `orjson` writes it; null is what a run writes that could not count it.
    counted = _OLDER.c.summary.contains(f'"{number}":', autoescape=True)
    counted &= ~_OLDER.c.summary.contains(f'"{number}":null', autoescape=True)
    those = _those(names)
    such = _OLDER.c.outcome.in_(RAN) & counted & _among_the_newest(those)
    found = _read(connection, those, _newest(those, such, 1))
    return {name: each[0] for name, each in found.items()}


def telling_each(
    connection: Connection, names: Collection[str]
) -> dict[str, list[Run]]:
    """Sync -> those of its newest `LOOK_BACK` runs that tell how it is; newest first.

    Where the newest ended well these are that one and the newest that moved somebody:
    between and beside them nothing happened. All of them of a sync that is not well.
    """
    newest = newest_each(connection, names)
    those = _those(names)
    may_move = _OLDER.c.outcome.in_(_MAY_MOVE) & _among_the_newest(those)
    moving = _read(connection, those, _newest(those, may_move, 1))
    found: dict[str, list[Run]] = {name: [] for name in names}
    unclear = []
    for name, (last, *_) in newest.items():
        other = moving.get(name, [])
        found[name] = [last, *(each for each in other if each.id != last.id)]
        if last.outcome not in OK or not all(map(_moved, other)):
            unclear.append(name)
    if unclear:
        found |= newest_each(connection, unclear, limit=LOOK_BACK)
    return found


def put_off(
    connection: Connection,
    reasons: Collection[str],
    now: datetime,
    names: Collection[str],
) -> set[str]:
    """Those of these syncs of which slots were skipped for one of these reasons, and
    no run began since.

    What a clock wrote that was ahead does not count: no run would ever come after it.
    """
    those = _those(names)
    newest = (
        select(run.c.started_at)
        .where(run.c.sync == those.c.name, run.c.started_at <= now)
        .order_by(run.c.started_at.desc())
        .limit(1)
        .correlate(those)
    )
    skipped = run.c.outcome == Outcome.SKIPPED
    # A source that may not be read now puts a run off that did begin.
    began = run.c.outcome.is_(None) | ~skipped | run.c.reason.not_in(SLOT_SKIPPED)
    since = newest.where(began).scalar_subquery()
    later = (
        select(func.max(run.c.started_at))
        .where(
            run.c.sync == those.c.name,
            run.c.started_at <= now,
            run.c.started_at > func.coalesce(since, _LONG_AGO),
            skipped,
            run.c.reason.in_(reasons),
        )
        .correlate(those)
        .scalar_subquery()
    )
    query = select(those.c.name).where(later.is_not(None))
    return set(connection.execute(query).scalars())


def waiting_for_a_person(connection: Connection) -> Mapping[str, Run]:
    """Sync -> its held run whose plan waits."""
    outcome = run.c.outcome
    rows = connection.execute(
        select(run).where(
            outcome.is_(None) | (outcome == Outcome.HELD),
            run.c.hold_expires_at.is_not(None),
        )
    )
    return {row.sync: of_row(row) for row in rows}


def _those(names: Collection[str]) -> CTE:
    """These syncs as a table of one column, `name`.

    The table `sync` will not do: not every sync that has runs is in it.
    """
    # A table of no rows cannot be written; no sync has an empty name.
    rows = [(name,) for name in names] or [("",)]
    return values(column("name", Text), name="those").data(rows).cte("those")


def _among_the_newest(those: CTE) -> ColumnElement[bool]:
    """The bound of a search: without it, whoever has none is read to the beginning."""
    oldest = (
        select(_OLDEST.c.started_at)
        .where(_OLDEST.c.sync == those.c.name, _OLDEST.c.outcome.in_(RAN))
        .order_by(_OLDEST.c.started_at.desc())
        .limit(1)
        .offset(LOOK_BACK - 1)
        .correlate(those)
        .scalar_subquery()
    )
    return _OLDER.c.started_at >= func.coalesce(oldest, _LONG_AGO)


def _newest(those: CTE, such: ColumnElement[bool], limit: int) -> Select[tuple[str]]:
    """The ids of the newest such runs, of the sync of the row outside."""
    return (
        select(_OLDER.c.id)
        .where(_OLDER.c.sync == those.c.name, such)
        .order_by(_OLDER.c.started_at.desc(), _OLDER.c.id.desc())
        .limit(limit)
        .correlate(those)
    )


def _read(
    connection: Connection, those: CTE, wanted: Select[tuple[str]]
) -> dict[str, list[Run]]:
    """The runs with these ids, for each of these syncs; newest first."""
    rows = connection.execute(
        select(run)
        .select_from(those)
        .join(run, run.c.id.in_(wanted))
        .order_by(run.c.started_at.desc(), run.c.id.desc())
    )
    found: dict[str, list[Run]] = {}
    for row in rows:
        found.setdefault(row.sync, []).append(of_row(row))
    return found


def _moved(found: Run) -> bool:
    return bool(found.summary.get("entered") or found.summary.get("exited"))
