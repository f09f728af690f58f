"""What the pictures of the list are drawn of, kept from one look to the next.

A run that has ended is never another one, so only what is new is read: thirty runs of
each of hundreds of syncs are thousands of rows. Kept are words, numbers and a run's id,
some 300 bytes a run.
"""

from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from syncd.app.board.marks import Past, history, past
from syncd.report.standing import Standing
from syncd.store import latest_runs
from syncd.store.database import Connection
from syncd.web.pages.svg import RUNS
from syncd.web.pages.views import History

FEW = 3
"""Runs of a sync that are read at first, where some are known."""


class Histories:
    """The newest runs of every sync. Used by one thread at a time."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Past]] = {}
        """Newest first."""
        self._days: dict[str, date] = {}
        """Zone -> the day in whose words its runs are kept."""

    def of(
        self, connection: Connection, standings: Sequence[Standing], now: datetime
    ) -> dict[str, History]:
        """The history of each of these, with the run in progress."""
        self._forget_yesterday({one.sync.timezone for one in standings}, now)
        new = [one for one in standings if not self._is_known(one)]
        known = [one for one in new if one.sync.name in self._kept]
        self._read(connection, known, FEW, now)
        self._read(
            connection, [one for one in new if not self._is_known(one)], RUNS, now
        )
        return {one.sync.name: self._history(one, now) for one in standings}

    def _forget_yesterday(self, zones: set[str], now: datetime) -> None:
        """Moments are said as of today: `03:01` is `Wed 03:01` tomorrow."""
        days = {zone: now.astimezone(ZoneInfo(zone)).date() for zone in zones}
        if any(self._days.get(zone, day) != day for zone, day in days.items()):
            self._kept.clear()
        self._days = days

    def _is_known(self, one: Standing) -> bool:
        newest = one.newest.id if one.newest is not None else None
        kept = self._kept.get(one.sync.name, [])
        return newest == (kept[0].cell.run_id if kept else None)

    def _read(
        self,
        connection: Connection,
        standings: Sequence[Standing],
        count: int,
        now: datetime,
    ) -> None:
        """Put the newest runs before those that are kept, if they meet."""
        if not standings:
            return
        zones = {one.sync.name: one.sync.timezone for one in standings}
        found = latest_runs.newest_each(connection, zones, limit=count)
        for name, rows in found.items():
            kept = self._kept.pop(name, [])
            ids = [row.id for row in rows]
            if count < RUNS and kept[0].cell.run_id not in ids:
                continue  # too many are new: all of it is read
            if count < RUNS:
                rows = rows[: ids.index(kept[0].cell.run_id)]
                new = [past(row, now, zones[name]) for row in rows]
                self._kept[name] = [*new, *kept][:RUNS]
            else:
                self._kept[name] = [past(row, now, zones[name]) for row in rows]

    def _history(self, one: Standing, now: datetime) -> History:
        recent = self._kept.get(one.sync.name, [])
        if one.activity is not None:
            running = past(one.activity.run, now, one.sync.timezone)
            recent = [running, *recent][:RUNS]
        return history(recent, one.members)
