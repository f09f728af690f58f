"""Who holds which sync, seen from outside: the store's leases, looked at often."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

LOOK = 0.05
"""Seconds between two looks."""
_INTERRUPTED = "SELECT sync, id FROM run WHERE outcome = 'interrupted'"
_LEASES = "SELECT sync, holder, fence, released FROM lease ORDER BY sync"


@dataclass(frozen=True)
class Seen:
    """A lease as it was from one look on."""

    at: float
    """`time.monotonic`, which the simulator's log goes by, too."""
    sync: str
    holder: str
    fence: int
    released: bool


class Watch:
    """Every change of a lease, in order."""

    def __init__(self, url: str) -> None:
        self.changes: list[Seen] = []
        self._now: dict[str, Seen] = {}
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
        for each in self.changes:
            if each.sync == lost.sync and each.fence > lost.fence:
                if each.holder != lost.holder:
                    return each.at
        return None

    def steps_back(self) -> list[str]:
        """Syncs whose fence did not grow with each holder."""
        last: dict[str, Seen] = {}
        found = []
        for each in self.changes:
            before = last.get(each.sync)
            other = before is not None and before.holder != each.holder
            if before is not None and each.fence < before.fence + other:
                found.append(each.sync)
            last[each.sync] = each
        return found

    def _work(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.wait(LOOK):
                for each in _read(connection):
                    before = self._now.get(each.sync)
                    if before is None or _told(before) != _told(each):
                        self._now[each.sync] = each
                        self.changes.append(each)

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
    return [Seen(now, *row) for row in rows]


@contextmanager
def watching(url: str) -> Iterator[Watch]:
    """Look at the leases of the store behind this URL until it ends."""
    made = Watch(url)
    made.start()
    try:
        yield made
    finally:
        made.stop()
