"""The pages of a daemon with many syncs and a past, as a browser or a scraper asks.

The past is that of real runs, written down again for each hour before them: rows of
runs and of requests, as many as a daemon would have left in that time.
"""

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx

from tests.installed import Running
from tests.simulated import PATIENCE

_STORED = "%Y-%m-%d %H:%M:%S.%f"
"""An instant as SQLite keeps it."""


# ---- the past ------------------------------------------------------------------------


def give_a_past(database: Path, hours: int) -> int:
    """Repeat each sync's runs for so many hours before them; returns how many."""
    dice = Random(1)  # noqa: S311  # repeatable, guards nothing
    with closing(sqlite3.connect(database)) as store:
        store.row_factory = sqlite3.Row
        rows = store.execute("SELECT * FROM run ORDER BY sync, started_at").fetchall()
        by_sync: dict[str, list[sqlite3.Row]] = {}
        for row in rows:
            by_sync.setdefault(row["sync"], []).append(row)
        count = 0
        for ran in by_sync.values():
            oldest = datetime.fromisoformat(ran[0]["started_at"])
            for hour in range(1, hours + 1):
                # The first sync happens once.
                like = ran[1 + hour % (len(ran) - 1)]
                new = str(uuid.UUID(int=dice.getrandbits(128)))
                at = oldest - timedelta(hours=hour)
                _repeat(store, like, new, at.strftime(_STORED))
                count += 1
        store.commit()
    return count


def _repeat(store: sqlite3.Connection, like: sqlite3.Row, new: str, at: str) -> None:
    """One run and its requests once more, at another time."""
    times = {"started_at": at, "finished_at": at, "slot": at}
    _insert(store, "run", {**dict(like), **times, "id": new})
    query = "SELECT * FROM attempt WHERE run_id = ?"
    for attempt in store.execute(query, (like["id"],)).fetchall():
        values = {**dict(attempt), "run_id": new, "at": at}
        del values["id"]
        _insert(store, "attempt", values)


def _insert(store: sqlite3.Connection, table: str, values: dict[str, Any]) -> None:
    names, places = ", ".join(values), ", ".join("?" * len(values))
    query = f"INSERT INTO {table} ({names}) VALUES ({places})"  # its own
    store.execute(query, list(values.values()))


# ---- visits --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One request, answered with 200."""

    seconds: float
    cpu: float
    """Of the daemon, which does nothing else, or next to nothing."""
    body: bytes


class Visitor:
    """Asks a daemon for its pages, one after the other."""

    def __init__(self, daemon: Running) -> None:
        self._pid = daemon.process.pid
        self._client = httpx.Client(base_url=daemon.url("admin"), timeout=PATIENCE)

    def visit(self, path: str) -> Visit:
        """Ask once."""
        before, began = self.cpu(), time.perf_counter()
        answer = self._client.get(path).raise_for_status()
        seconds = time.perf_counter() - began
        return Visit(seconds=seconds, cpu=self.cpu() - before, body=answer.content)

    def cpu(self) -> float:
        """Seconds that the daemon has used; to the microsecond, unlike /proc."""
        return time.clock_gettime((~self._pid << 3) | 2)

    def close(self) -> None:
        """Ask no more."""
        self._client.close()


def ends_of_runs(database: Path) -> Iterator[str]:
    """The ids of all runs."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        for (run_id,) in store.execute("SELECT id FROM run ORDER BY started_at DESC"):
            yield run_id
