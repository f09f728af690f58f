"""What reading a cohort would mean and cost now: the free list and what we remember.

Looks only: writes nothing, and spends nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.app.reading import projects_of
from syncd.clients.amplitude_answers import Cohort
from syncd.config.forecast import project_key
from syncd.config.settings import FromCohort, Settings, SyncSettings
from syncd.config.settings_connections import AmplitudeConnection
from syncd.sources.amplitude_download.gate import State, gate_state
from syncd.sources.amplitude_download.refusal import our_writers
from syncd.sources.feed_mark import list_mark_of
from syncd.store import bindings, fetches
from syncd.store.database import Connection
from syncd.store.fetches import RESUMABLE, Fetch, FetchState

__all__ = ["MAX_STALENESS", "CohortView", "State", "readable", "view", "views"]

MAX_STALENESS = timedelta(hours=24)
"""For cohorts that no sync reads: the same as the default of those that are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortView:
    """One listed cohort, and what a sync (or nobody yet) would have to pay for it."""

    connection: str
    cohort: Cohort
    sync: str | None
    """Who reads it; None: nobody."""
    state: State
    words: str
    """The state in a sentence, with the cost."""
    fetch: Fetch | None
    """A request whose file can be read for nothing, the newest; None: there is none."""


def views(
    store: Connection | None,
    settings: Settings,
    connection: AmplitudeConnection,
    cohorts: Sequence[Cohort],
    now: datetime,
) -> list[CohortView]:
    """One for each cohort and sync that reads it, in the order of the list.

    `store` is None before there is one: then nothing was ever downloaded or written.
    """
    return [
        view(store, settings, connection, cohort, sync, now)
        for cohort in cohorts
        for sync in _readers(settings, connection.name, cohort.id) or [None]
    ]


def view(
    store: Connection | None,
    settings: Settings,
    connection: AmplitudeConnection,
    cohort: Cohort,
    sync: SyncSettings | None,
    now: datetime,
) -> CohortView:
    """What reading this cohort would mean for this sync."""
    reads = sync.source if sync is not None else None
    mine = reads if isinstance(reads, FromCohort) else None
    project = project_key(connection)
    history = fetches.of_cohort(store, project, cohort.id) if store else []
    state, words = gate_state(
        cohort,
        history,
        max_staleness=mine.max_staleness if mine is not None else MAX_STALENESS,
        now=now,
        mark=_mark(store, sync),
        writers=_writers(store, settings, connection, cohort.id),
        linked=mine.linked if mine is not None else False,
    )
    return CohortView(
        connection=connection.name,
        cohort=cohort,
        sync=sync.name if sync is not None else None,
        state=state,
        words=words,
        fetch=readable(history),
    )


def readable(history: Sequence[Fetch]) -> Fetch | None:
    """The newest request whose file may be asked for."""
    for each in history:
        of_use = each.state in (*RESUMABLE, FetchState.COMPLETED)
        if of_use and each.request_id is not None:
            return each
    return None


def _readers(
    settings: Settings, connection: str, cohort_id: str
) -> list[SyncSettings | None]:
    return [
        sync
        for sync in settings.syncs
        if sync.enabled
        and isinstance(sync.source, FromCohort)
        and (sync.source.connection, sync.source.cohort_id) == (connection, cohort_id)
    ]


def _mark(store: Connection | None, sync: SyncSettings | None) -> str | None:
    binding = bindings.current(store, sync.name) if store and sync else None
    if binding is None or sync is None:
        return None
    fed = sync.source.events is not None
    return list_mark_of(binding.source_mark) if fed else binding.source_mark


def _writers(
    store: Connection | None,
    settings: Settings,
    connection: AmplitudeConnection,
    cohort_id: str,
) -> list[str]:
    """Syncs of ours that write this cohort of this project."""
    bound = fetches.writers(store, cohort_id) if store is not None else ()
    return our_writers(bound, projects_of(settings), project_key(connection))
