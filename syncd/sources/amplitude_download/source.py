"""The story of reading a cohort, from the free list to a file that may be read."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from syncd import events
from syncd.clients.amplitude_answers import Cohort, NativeSync
from syncd.clients.amplitude_downloads import AmplitudeDownloads
from syncd.clients.quota import Later
from syncd.clock import Clock
from syncd.errors import SourceUntrusted
from syncd.events import Level, emit
from syncd.sources import Postponed, Question, Unchanged
from syncd.sources.amplitude_download import admission, job
from syncd.sources.amplitude_download.admission import Granted, Moved
from syncd.sources.amplitude_download.errand import Errand
from syncd.sources.amplitude_download.gate import (
    Asker,
    Await,
    Pointless,
    Resume,
    Reuse,
    Unneeded,
    Wanted,
    gate,
)
from syncd.sources.amplitude_download.job import TurnedAway
from syncd.sources.amplitude_download.listing import DownloadListing
from syncd.sources.amplitude_download.refusal import (
    never_computed,
    our_writers,
    refusal,
)
from syncd.sources.amplitude_download.settings import DownloadSettings
from syncd.store import fetches
from syncd.store.fetches import Fetch

REQUESTS_PER_RUN = 3
"""How often a run is turned away by the vendor's rate limit before it gives up."""
BACK_OFF = timedelta(seconds=30)
"""After the first time; twice as long after each further one."""
NEXT_LOOK = timedelta(milliseconds=500)
"""Real time between two looks at a request that another sync is making."""

Answer = DownloadListing | Unchanged | Postponed


class AmplitudeDownloadSource:
    """A `Source` over one Amplitude cohort. Thread-safe."""

    def __init__(
        self,
        settings: DownloadSettings,
        client: AmplitudeDownloads,
        clock: Clock,
        spool: Path,
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._spool = spool

    def ask(self, question: Question) -> Answer:
        """List, gate, and as far as needed: admission, request, polling.

        See `Source.ask`. When the process is to stop, `SourceUnavailable` with the code
        `source.interrupted`; what was paid for is kept.
        """
        errand = Errand(
            settings=self._settings,
            client=self._client,
            clock=self._clock,
            question=question,
        )
        cohort = errand.listed()
        _refuse(errand, cohort)
        if never_computed(cohort):
            emit(events.SOURCE_NOT_READY, sync=question.sync, status="never computed")
            return Postponed(
                reason="not_ready",
                message=f"cohort {cohort.id} was never computed: open it in Amplitude",
            )
        return self._answer(errand, cohort)

    def fingerprint(self) -> str:
        """Project and cohort; not how rarely it is read."""
        reads = {
            "source": "amplitude_cohort",
            "project": self._settings.project,
            "cohort_id": self._settings.cohort_id,
        }
        return json.dumps(reads, sort_keys=True)

    def _answer(self, errand: Errand, cohort: Cohort) -> Answer:
        """Look at what is known and do what that asks for, until there is an answer."""
        while True:
            history = _history(errand)
            match gate(cohort, history, _asker(errand)):
                case Await():
                    # Real time: the other request is on a real wire.
                    look = NEXT_LOOK * errand.clock.speed
                    errand.pause(errand.clock.now() + look)
                case Wanted(last=last):
                    answer = self._order(errand, cohort, history, last)
                    if answer is not None:
                        return answer
                case Unneeded() | Pointless() as verdict:
                    return _without(errand, verdict)
                case Reuse() | Resume() as verdict:
                    return self._for_free(errand, verdict)

    def _for_free(self, errand: Errand, verdict: Reuse | Resume) -> DownloadListing:
        """Something that was paid for already."""
        fetch, resumed = verdict.fetch, isinstance(verdict, Resume)
        emit(
            events.FETCH_RESUMED if resumed else events.FETCH_REUSED,
            sync=errand.question.sync,
            cohort_id=fetch.cohort_id,
            request_id=fetch.request_id,
            asked_at=fetch.asked_at,
        )
        if resumed:
            fetch = job.wait(errand, fetch, self._deadline(errand))
        return self._listing(errand, fetch)

    def _order(
        self,
        errand: Errand,
        cohort: Cohort,
        history: Sequence[Fetch],
        last: Fetch | None,
    ) -> DownloadListing | Postponed | None:
        """A new download, if it may be had; None: look again."""
        match admission.admit(errand, cohort, history):
            case Granted(fetch_id=fetch_id):
                _say_started(errand, cohort, last)
                deadline = self._deadline(errand)
                answer = job.request(errand, fetch_id)
                if isinstance(answer, TurnedAway):
                    return _back_off(errand, answer, deadline)
                fetch = job.wait(errand, answer, deadline)
                return self._listing(errand, fetch)
            case Later(until=until, message=message):
                return _wait_for_a_place(errand, until, message)
            case Moved():
                return None
            case postponed:
                return postponed

    def _deadline(self, errand: Errand) -> datetime:
        own = errand.clock.now() + self._settings.deadline
        return min(own, errand.question.until)

    def _listing(self, errand: Errand, fetch: Fetch) -> DownloadListing:
        return DownloadListing(errand, fetch, self._spool)


def _history(errand: Errand) -> list[Fetch]:
    settings = errand.settings
    with errand.question.database.read() as connection:
        return fetches.of_cohort(connection, settings.project, settings.cohort_id)


def _asker(errand: Errand) -> Asker:
    question, settings = errand.question, errand.settings
    return Asker(
        sync=question.sync,
        mark=question.mark,
        again=question.again,
        by_person=question.by_person,
        period=settings.rules.period,
        max_staleness=settings.max_staleness,
        lost_after=errand.lost_after,
        now=errand.clock.now(),
    )


def _refuse(errand: Errand, cohort: Cohort) -> None:
    """Raise for a cohort that must not be read."""
    settings = errand.settings
    with errand.question.database.read() as connection:
        bound = fetches.writers(connection, cohort.id)
    writers = our_writers(bound, settings.project_of, settings.project)
    reason = refusal(cohort, writers=writers, linked=settings.linked)
    if reason is not None:
        raise SourceUntrusted(reason.message, code=reason.code, hint=reason.hint)


# ---- no list this time --------------------------------------------------------------


def _without(errand: Errand, verdict: Unneeded | Pointless) -> Unchanged | Postponed:
    if isinstance(verdict, Unneeded):
        emit(
            events.FETCH_SKIPPED,
            sync=errand.question.sync,
            cohort_id=errand.settings.cohort_id,
            last_computed=verdict.since,
        )
        return Unchanged(since=verdict.since)
    return Postponed(
        reason="pointless",
        message=verdict.message,
        until=verdict.until,
    )


def _back_off(
    errand: Errand, answer: TurnedAway, deadline: datetime
) -> Postponed | None:
    """After the vendor's 429: wait and look again; the next reading of the usage says
    whether it was the month."""
    with errand.question.database.read() as connection:
        times = fetches.refusals(connection, errand.question.run_id)
    wait = max(BACK_OFF * 2 ** (times - 1), answer.wait)
    until = errand.clock.now() + wait
    if times < REQUESTS_PER_RUN and until <= deadline:
        errand.pause(until)
        return None
    return Postponed(
        reason="rate",
        message=f"Amplitude turned {times} requests away: {answer.message}",
        until=until,
    )


def _wait_for_a_place(
    errand: Errand, until: datetime, message: str
) -> Postponed | None:
    """Our own rate limits: wait within the run, else leave it to the next one."""
    if until <= errand.question.until:
        errand.pause(until)
        return None
    return Postponed(reason="rate", message=message, until=until)


# ---- what people are told -----------------------------------------------------------


def _say_started(errand: Errand, cohort: Cohort, last: Fetch | None) -> None:
    """Only where a download is really made, or it would be said every hour."""
    before = last.computed_after if last is not None else None
    say = partial(emit, sync=errand.question.sync, cohort_id=cohort.id)
    say(events.FETCH_STARTED, last_computed=cohort.last_computed)
    if last is not None and last.name != cohort.name:
        say(events.SOURCE_RENAMED, before=last.name, name=cohort.name)
    if before and cohort.last_computed and cohort.last_computed < before:
        say(events.SOURCE_WENT_BACK, before=before, last_computed=cohort.last_computed)
    for native in cohort.native_syncs:
        _say_native(errand, cohort, native)


def _say_native(errand: Errand, cohort: Cohort, native: NativeSync) -> None:
    same = errand.settings.to_segment and "segment" in native.target.casefold()
    emit(
        events.SOURCE_NATIVE_SYNC,
        level=None if same else Level.INFO,
        sync=errand.question.sync,
        cohort_id=cohort.id,
        native_target=native.target or "a target without a name",
        frequency=native.frequency or "nobody says how often",
        effect="two writers" if same else "syncd leaves that alone",
    )
