"""The documents of `/api/v1`: the store and the configuration, as the commands say it.

Read on one connection at one time, in read-only transactions; vendors are never asked.
No member id is in any of them. Commands are shown without `-c`: whoever reads this
may be on another machine.
"""

from collections.abc import Callable, Sequence
from difflib import get_close_matches

from syncd import help as runbook
from syncd.app.months import last_read
from syncd.clock import Clock
from syncd.config.settings import Settings, SyncSettings
from syncd.model import Outcome
from syncd.report.documents import json_document
from syncd.report.explained import NoPage, explained_document, pages_of
from syncd.report.months import months_document
from syncd.report.one_run import (
    AmbiguousRun,
    NoRunYet,
    UnknownRun,
    find_run,
    one_run,
    one_run_document,
)
from syncd.report.overview import overview, overview_document
from syncd.report.runs import LATEST, MOST, newest_runs, runs_document
from syncd.report.schedules import COMING, FARTHEST, schedules_document
from syncd.store.database import Database
from syncd.web.api import BadParameter, Missing, Question, Resource


class Documents:
    """Answers every question of the API. Thread-safe; may take as long as the store."""

    def __init__(
        self, database: Database, settings: Callable[[], Settings], clock: Clock
    ) -> None:
        """`settings` gives those in use; a reload changes them."""
        self._database = database
        self._settings = settings
        self._clock = clock

    def resources(self) -> Sequence[Resource]:
        """All there are, by their paths."""
        some, aside = frozenset({"sync"}), False
        return (
            Resource(path="/status", answer=self.status),
            Resource(path="/syncs", answer=self.syncs),
            Resource(path="/syncs/{named}", answer=self.sync),
            Resource(
                path="/runs", answer=self.runs, parameters=some | {"outcome", "limit"}
            ),
            Resource(path="/runs/{named}", answer=self.run),
            Resource(path="/quota", answer=self.quota),
            Resource(
                path="/schedule",
                answer=self.schedule,
                parameters=some | {"next"},
                needs_store=aside,
            ),
            Resource(path="/help", answer=self.helps, needs_store=aside),
            Resource(path="/help/{named}", answer=self.help, needs_store=aside),
        )

    def status(self, _: Question) -> str:
        """`syncd status --json`."""
        settings = self._settings()
        return self._status(settings, settings.syncs)

    def syncs(self, _: Question) -> str:
        """The syncs of `status` alone."""
        settings = self._settings()
        with self._database.read() as connection:
            seen = overview(connection, settings, settings.syncs, self._clock)
        document = overview_document(seen)
        told = {key: document[key] for key in ("now", "syncs")}
        return json_document("syncs", told)

    def sync(self, question: Question) -> str:
        """`syncd status SYNC --json`."""
        settings = self._settings()
        found = [one for one in settings.syncs if one.name == question.named]
        if not found:
            names = [one.name for one in settings.syncs]
            near = get_close_matches(question.named, names, n=1)
            raise Missing(
                "there is no such sync",
                code="sync.unknown",
                hint=f"Did you mean '{near[0]}'?" if near else "syncd status",
            )
        return self._status(settings, found)

    def runs(self, question: Question) -> str:
        """`syncd runs [SYNC]... --outcome … --limit … --json`."""
        names = [one.name for one in _chosen(self._settings(), question)]
        outcomes = question.texts("outcome", [each.value for each in Outcome])
        limit = question.number("limit", default=LATEST, most=MOST)
        with self._database.read() as connection:
            seen = newest_runs(
                connection,
                self._clock,
                names,
                outcomes=[Outcome(word) for word in outcomes],
                limit=limit,
            )
        return json_document("runs", runs_document(seen))

    def run(self, question: Question) -> str:
        """`syncd show RUN --json`."""
        settings = self._settings()
        with self._database.read() as connection:
            try:
                run = find_run(connection, settings, question.named, flags="")
            except AmbiguousRun as error:
                raise BadParameter(
                    str(error), code=error.code, hint=error.hint
                ) from None
            except (UnknownRun, NoRunYet) as error:
                raise Missing(str(error), code=error.code, hint=error.hint) from None
            page = one_run(connection, settings, run, self._clock, flags="")
        return json_document("show", one_run_document(page))

    def quota(self, _: Question) -> str:
        """`syncd quota --json`, as last read: nobody is asked."""
        with self._database.read() as connection:
            found = list(last_read(self._settings(), connection, self._clock))
        return json_document("quota", months_document(found))

    def schedule(self, question: Question) -> str:
        """`syncd schedule [SYNC]... --next … --json`."""
        settings, now = self._settings(), self._clock.now()
        syncs = _chosen(settings, question) or settings.syncs
        count = question.number("next", default=COMING, most=FARTHEST)
        document = schedules_document(settings, syncs, now, count)
        return json_document("schedule", document)

    def helps(self, _: Question) -> str:
        """`syncd explain --json`."""
        return json_document("explain", explained_document(runbook.pages()))

    def help(self, question: Question) -> str:
        """`syncd explain CODE --json`."""
        try:
            found = pages_of(question.named)
        except NoPage as error:
            raise Missing(str(error), code=error.code, hint=error.hint) from None
        return json_document("explain", explained_document(found))

    def _status(self, settings: Settings, syncs: Sequence[SyncSettings]) -> str:
        with self._database.read() as connection:
            seen = overview(connection, settings, syncs, self._clock)
        return json_document("status", overview_document(seen))


def _chosen(settings: Settings, question: Question) -> list[SyncSettings]:
    """The syncs that are asked for, in file order; none where nobody says."""
    known = {one.name: one for one in settings.syncs}
    names = question.texts("sync", known, code="sync.unknown")
    return [one for name, one in known.items() if name in names]
