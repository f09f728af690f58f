"""What the status page says: the store and the configuration, put into its views.

The states, words and numbers are those of `report`, so that the page and the command
line tell the same; here they are laid out for pages, with the history that the pictures
are drawn of. Reads only.
"""

import threading
from collections.abc import Callable
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from syncd import __version__
from syncd.app.board.histories import Histories
from syncd.app.board.home import home
from syncd.app.board.one_run import run_page
from syncd.app.board.one_sync import sync_page
from syncd.clock import Clock
from syncd.config.settings import Settings
from syncd.model import Outcome
from syncd.report.one_run import UnknownRun, find_run, one_run
from syncd.report.overview import overview
from syncd.report.standing import standing
from syncd.report.states import State
from syncd.report.words import dated
from syncd.store.database import Database
from syncd.web.pages.views import Link, ListPage, NotThere, RunPage, SyncPage, Top

FRESH = 2.0
"""Real seconds for which the list is shown again: with many syncs it takes a while to
read, and everybody on call looks at once."""
_LIKELY = 0.4
"""How alike a name must be to be proposed."""


class StoreBoard:
    """Fills the pages from a store. Thread-safe; a reload changes the settings."""

    def __init__(
        self, database: Database, settings: Callable[[], Settings], clock: Clock
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[State | None, ListPage] = {}
        self._kept_until = 0.0
        self._histories = Histories()

    def top(self) -> Top:
        """What stands on every page; asks no store."""
        settings = self._settings()
        zones = {one.timezone for one in settings.syncs}
        return Top(
            instance=settings.instance,
            version=__version__,
            now=dated(self._now(), zones.pop() if len(zones) == 1 else "UTC"),
        )

    def overview(self, state: str) -> ListPage:
        """Every sync, or those in one state. Raises `NotThere`, `StoreError`."""
        known = {each.value.replace(" ", "_"): each for each in State}
        if state and state not in known:
            near = [_state_link(each) for each in _near(state, list(known))]
            raise NotThere(f"There is no state {state}.", near)
        return self._list(known.get(state))

    def _list(self, chosen: State | None) -> ListPage:
        """The list as it is now, or was a moment ago; one thread reads at a time."""
        with self._lock:
            if self._clock.monotonic() >= self._kept_until:
                self._kept = {}
            if chosen not in self._kept:
                page = self._read_list(chosen)
                if not self._kept:
                    self._kept_until = self._clock.monotonic() + FRESH
                self._kept[chosen] = page
            return self._kept[chosen]

    def _read_list(self, chosen: State | None) -> ListPage:
        settings = self._settings()
        with self._database.read() as connection:
            seen = overview(connection, settings, settings.syncs, self._clock)
            return home(
                connection, seen, self.top(), chosen, self._file(), self._histories
            )

    def sync(self, name: str, outcome: str) -> SyncPage:
        """One sync. Raises `NotThere`, `StoreError`."""
        settings = self._settings()
        found = {one.name: one for one in settings.syncs}
        if name not in found:
            near = [_sync_link(each) for each in _near(name, list(found))]
            raise NotThere(f"There is no sync {name}.", near)
        if outcome and outcome not in [each.value for each in Outcome]:
            words = _near(outcome, [each.value for each in Outcome])
            near = [
                Link(words=each, href=f"/syncs/{name}?outcome={each}") for each in words
            ]
            raise NotThere(f"No run ends as {outcome}.", near)
        wanted = Outcome(outcome) if outcome else None
        with self._database.read() as connection:
            stands = standing(connection, settings, found[name], self._clock)
            return sync_page(
                connection, settings, stands, self._clock, self.top(), wanted
            )

    def run(self, run_id: str) -> RunPage:
        """One run by its id, or the ending of it. Raises `NotThere`, `StoreError`."""
        settings = self._settings()
        names = [one.name for one in settings.syncs]
        with self._database.read() as connection:
            try:
                if run_id in names:
                    raise UnknownRun("a sync is no run")
                found = find_run(connection, settings, run_id, flags="")
            except UnknownRun:
                near = [_sync_link(each) for each in _near(run_id, names)]
                raise NotThere(f"There is no run {run_id}.", near) from None
            page = one_run(connection, settings, found, self._clock, flags="")
            return run_page(connection, page, self.top())

    def _now(self) -> datetime:
        return self._clock.now()

    def _file(self) -> Path | None:
        """What a SQLite store is kept in; None for Postgres."""
        return self._database.path if self._database.dialect == "sqlite" else None


def _near(word: str, names: list[str]) -> list[str]:
    """The names that look most like a word, three at most; else the first three."""
    return get_close_matches(word, names, n=3, cutoff=_LIKELY) or names[:3]


def _sync_link(name: str) -> Link:
    return Link(words=name, href=f"/syncs/{name}")


def _state_link(state: str) -> Link:
    return Link(words=state.replace("_", " "), href=f"/?state={state}")
