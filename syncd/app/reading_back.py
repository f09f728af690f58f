"""Reading a cohort of ours back: who is in it, by a download inside the budget.

The download goes through the same gate and admission as any other, the reserve
untouched. Only Amplitude can be read back: Segment and partners have no call for it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from syncd.app.reading import amplitude_of, projects_of
from syncd.app.store import spool_folder
from syncd.app.vendors import Vendors
from syncd.clients.quota import Rules
from syncd.config.forecast import project_key
from syncd.config.settings import Settings, SyncSettings
from syncd.config.settings_connections import (
    AmplitudeConnection,
    EngageConnection,
    ListApiConnection,
    PropertyApiConnection,
)
from syncd.model import IdType
from syncd.sources import Listing, Postponed, Question, Unchanged
from syncd.sources.amplitude_download.settings import DownloadSettings
from syncd.sources.amplitude_download.source import AmplitudeDownloadSource
from syncd.sync.steps import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What is read back, and what a file must be to be believed."""

    connection: str
    cohort_id: str
    id_type: IdType
    max_age: timedelta
    """Of a file that was paid for before; zero wants a new download."""
    run_id: str
    until: datetime
    """When to give up waiting."""


def why_unreadable(settings: Settings, sync: SyncSettings) -> str:
    """Why nobody can say who is at the sync's destination; empty where one can."""
    connection = settings.connections[sync.target.connection]
    match connection:
        case AmplitudeConnection():
            return ""
        case EngageConnection():
            return "Segment has no call that lists who has a trait"
        case ListApiConnection() | PropertyApiConnection():
            return "a partner's API has no call that lists who is there"
        case _:
            assert_never(connection)


def read_back(
    parts: Parts, settings: Settings, sync: str, wanted: Reader, vendors: Vendors
) -> Listing | Postponed:
    """Ask for the file of a cohort that we write. Spends at most one download.

    Raises `SourceError`, `DeliveryError`.
    """
    store = settings.store
    source = AmplitudeDownloadSource(
        _download(settings, wanted),
        vendors.downloads(wanted.connection),
        parts.clock,
        spool_folder(store.read_url(), store.spool_dir),
    )
    answer = source.ask(
        Question(
            sync=sync,
            run_id=wanted.run_id,
            database=parts.database,
            mark=None,
            again=True,
            stop=parts.stop,
            until=wanted.until,
        )
    )
    if isinstance(answer, Unchanged):
        raise TypeError("a list that is wanted without a mark is never unchanged")
    return answer


def _download(settings: Settings, wanted: Reader) -> DownloadSettings:
    """The cohort that we write: read on purpose, though it is a copy."""
    connection = amplitude_of(settings, wanted.connection)
    return DownloadSettings(
        project=project_key(connection),
        cohort_id=wanted.cohort_id,
        id_type=wanted.id_type,
        max_staleness=wanted.max_age,
        linked=True,
        limit=connection.quota.downloads_per_month,
        rules=Rules(
            reserve=connection.quota.reserve, budget=None, period=None, demand=0.0
        ),
        deadline=connection.download_deadline,
        to_segment=False,
        project_of=projects_of(settings),
    )
