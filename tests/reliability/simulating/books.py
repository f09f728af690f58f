"""What the store holds, read by plain SQL that shares nothing with the product's.

So a wrong query of ours is no excuse for what it finds.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from syncd.model import IdType, Operation


@dataclass(slots=True, kw_only=True)
class Side:
    """What the store holds about the ids of one binding."""

    id: int
    sync: str
    role: str
    cohort: str
    """The vendor's id, or the name where it has none yet."""
    name: str
    id_type: IdType
    plan: tuple[object, ...]
    """What changes with each plan that goes out."""
    acknowledged: set[bytes] = field(default_factory=set)
    uncertain: set[bytes] = field(default_factory=set)
    meant_in: set[bytes] = field(default_factory=set)
    unaccepted: set[bytes] = field(default_factory=set)
    doubtful: set[bytes] = field(default_factory=set)
    """Whom a request that may still land would move the wrong way."""
    open_plans: set[str] = field(default_factory=set)


class Books:
    """The store's file, read from outside."""

    def __init__(self, path: Path) -> None:
        self._raw = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self._version = -1

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def moved(self) -> bool:
        """Whether anything was committed since this was asked before."""
        before, self._version = self._version, self.one("PRAGMA data_version")
        return before != self._version

    def one(self, query: str, *values: object) -> int:
        """A single number."""
        return int(self._raw.execute(query, values).fetchone()[0])

    def rows(self, query: str, *values: object) -> list[tuple[str, ...]]:
        """Rows of plain SQL."""
        return self._raw.execute(query, values).fetchall()

    def sides(self) -> dict[int, Side]:
        """Every binding that is worked on."""
        found = {int(row[0]): _side(row) for row in self.rows(_BINDINGS)}
        for side, (ids,) in self._of(found, "SELECT binding_id, ids FROM chunk"):
            side.acknowledged.update(_split(ids))
        for side, (state, operation, plan, ids) in self._of(found, _BATCHES):
            _apply(side, state, operation, plan, _split(ids))
        for side, (one,) in self._of(found, "SELECT binding_id, id FROM unaccepted"):
            side.unaccepted.add(one.encode())
        for side, (operation, ids) in self._of(found, _DOUBTS):
            _doubt(side, operation, set(_split(ids)))
        return found

    def _of(
        self, found: dict[int, Side], query: str
    ) -> Iterator[tuple[Side, tuple[str, ...]]]:
        for key, *rest in self._raw.execute(query):
            if key in found:
                yield found[key], tuple(rest)

    def held(self) -> dict[str, str]:
        """Per sync: the run whose plan waits for a person."""
        query = "SELECT sync, id FROM run WHERE hold_expires_at IS NOT NULL"
        return dict(self._raw.execute(query).fetchall())

    def run_in_progress(self, sync: str) -> str:
        """The newest run of the sync that is not closed; empty where there is none."""
        rows = self.rows(
            "SELECT id FROM run WHERE sync = ? AND outcome IS NULL"
            " ORDER BY rowid DESC LIMIT 1",
            sync,
        )
        return rows[0][0] if rows else ""


_BINDINGS = (
    "SELECT id, sync, role, external_id, external_name, target, id_type, digest_count,"
    " digest_total, source_mark, source_fingerprint FROM binding"
    " WHERE role IN ('current', 'retiring')"
)
_BATCHES = (
    "SELECT binding_id, state, operation, plan_id, ids FROM batch"
    " JOIN batch_ids ON batch_id = batch.id WHERE state != 'held' ORDER BY batch.id"
)


_DOUBTS = "SELECT binding_id, operation, ids FROM doubt"


def _doubt(side: Side, operation: str, ids: set[bytes]) -> None:
    if operation == Operation.ADD:
        side.doubtful |= ids - side.acknowledged
    else:
        side.doubtful |= ids & side.acknowledged


def _side(row: tuple[str, ...]) -> Side:
    name = row[4] or row[5].partition(":")[2]
    return Side(
        id=int(row[0]),
        sync=row[1],
        role=row[2],
        cohort=row[3] or name,
        name=name,
        id_type=IdType(row[6]),
        plan=(row[0], *row[7:]),
    )


def _split(ids: str) -> list[bytes]:
    return ids.encode().split(b"\n") if ids else []


def _apply(side: Side, state: str, operation: str, plan: str, ids: list[bytes]) -> None:
    if state == "acknowledged":
        if operation == Operation.ADD:
            side.acknowledged.update(ids)
        else:
            side.acknowledged.difference_update(ids)
        return
    if state == "open":
        side.open_plans.add(plan)
    side.uncertain.update(ids)
    if operation == Operation.REMOVE:
        side.meant_in.difference_update(ids)
    else:
        side.meant_in.update(ids)
