"""Who holds which sync, seen from outside: the store's leases, looked at often."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import psycopg

LOOK = 0.05
"""Seconds between two looks."""
_INTERRUPTED = "SELECT sync, id FROM run WHERE outcome = 'interrupted'"
_LEASES = """
SELECT sync, holder, fence, released, extract(epoch FROM expires_at - clock_timestamp())
FROM lease ORDER BY sync
"""


@dataclass(frozen=True)
class Seen:
    """A lease as it was from one look on."""

    at: float
    """`time.monotonic`, which the simulator's log goes by, too."""
    sync: str
    holder: str
    fence: int
    released: bool
    left: float
    """Seconds until it ends, by the database's clock."""


class Watch:
    """Every change of a lease, in order."""

    def __init__(self, url: str) -> None:
        self.changes: list[Seen] = []
        self._by_sync: dict[str, list[Seen]] = defaultdict(list)
        self._longest: dict[str, float] = {}
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def held_by(self, holds: Callable[[str], bool]) -> list[Seen]:
        """The leases of a holder that are not released, as they are right now."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            now = _read(connection)
        return [each for each in now if not each.released and holds(each.holder)]

    def interrupted(self) -> set[tuple[str, str]]:
        """Every run that a stopping process left for later: its sync and its id."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            return set(connection.execute(_INTERRUPTED).fetchall())

    def taken_over(self, lost: Seen) -> float | None:
        """When another holder had the sync first; None: nobody did so far."""
        for each in self._by_sync[lost.sync]:
            if each.fence > lost.fence and each.holder != lost.holder:
                return each.at
        return None

    def steps_back(self) -> list[str]:
        """Syncs whose fence did not grow with each holder."""
        found = []
        for sync, changes in self._by_sync.items():
            for before, each in pairwise(changes):
                other = before.holder != each.holder
                if each.fence < before.fence + other:
                    found.append(sync)
        return found

    def longest(self, syncs: set[str]) -> float:
        """Seconds for which somebody took one of these at most."""
        return max(self._longest[sync] for sync in syncs)

    def _work(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.wait(LOOK):
                for each in _read(connection):
                    self._note(each)

    def _note(self, seen: Seen) -> None:
        if not seen.released:
            longest = self._longest.get(seen.sync, seen.left)
            self._longest[seen.sync] = max(longest, seen.left)
        known = self._by_sync[seen.sync]
        if not known or _told(known[-1]) != _told(seen):
            known.append(seen)
            self.changes.append(seen)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def _told(seen: Seen) -> tuple[str, int, bool]:
    return seen.holder, seen.fence, seen.released


def _read(connection: psycopg.Connection) -> list[Seen]:
    rows = connection.execute(_LEASES).fetchall()
    now = time.monotonic()
    return [
        Seen(now, sync, holder, fence, released, float(left))
        for sync, holder, fence, released, left in rows
    ]


@contextmanager
def watching(url: str) -> Iterator[Watch]:
    """Look at the leases of the store behind this URL until it ends."""
    made = Watch(url)
    made.start()
    try:
        yield made
    finally:
        made.stop()
