"""Where a sync reads: one `case` here for each kind of source.

Each loads its module where it is chosen: few installations have all kinds.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from syncd.app.store import spool_folder
from syncd.app.vendors import Vendors, remembered
from syncd.clock import Clock
from syncd.config.forecast import forecast, project_key
from syncd.config.settings import FromAudience, FromCohort, Settings, SyncSettings
from syncd.config.settings_connections import (
    AmplitudeConnection,
    EngageConnection,
    FilesSnapshot,
    WarehouseSnapshot,
)
from syncd.model import IdType
from syncd.schedule import shortest_period
from syncd.sources import Source, Standing, WholeList

if TYPE_CHECKING:
    from syncd.sources.amplitude_download.settings import DownloadSettings

UNCHANGED_LISTS = 4
"""So many due lists in a row are believed to be unchanged before one is downloaded."""
DAYS_OF_FORECAST = 31
"""`config.forecast` counts a month of this many days."""


def source_of(
    settings: Settings, sync: SyncSettings, vendors: Vendors, clock: Clock
) -> Source:
    """The source of one sync. Asks nobody until it is asked for members."""
    whole = whole_list_of(settings, sync, vendors, clock)
    if sync.source.events is not None:
        from syncd.app.feeding import pushed_source

        events = sync.source.events
        return pushed_source(settings, sync, events, vendors, clock, whole)
    if whole is None:
        raise TypeError("the configuration asks for a snapshot to read from")
    return whole


def whole_list_of(
    settings: Settings, sync: SyncSettings, vendors: Vendors, clock: Clock
) -> Source | None:
    """The whole list of a sync; None where it is fed by events alone."""
    match sync.source:
        case FromAudience() as audience:
            connection = settings.connections[audience.connection]
            if not isinstance(connection, EngageConnection):
                raise TypeError("an audience is read from an engage connection")
            return _audience(connection, audience, sync.match, clock)
        case FromCohort() as cohort:
            if cohort.events is not None and cohort.events.relist_every is None:
                return None
            from syncd.sources.amplitude_download.source import AmplitudeDownloadSource

            return AmplitudeDownloadSource(
                _download(settings, sync, cohort),
                vendors.downloads(cohort.connection),
                clock,
                spool_folder(settings.store.read_url(), settings.store.spool_dir),
            )
        case _:
            assert_never(sync.source)


def _download(
    settings: Settings, sync: SyncSettings, cohort: FromCohort
) -> DownloadSettings:
    from syncd.clients.quota import Budget, Rules
    from syncd.sources.amplitude_download.settings import DownloadSettings

    connection = amplitude_of(settings, cohort.connection)
    project, budget = project_key(connection), sync.budget
    return DownloadSettings(
        project=project,
        cohort_id=cohort.cohort_id,
        id_type=sync.match,
        max_staleness=_list_staleness(cohort),
        linked=cohort.linked,
        limit=connection.quota.downloads_per_month,
        rules=Rules(
            reserve=connection.quota.reserve,
            budget=Budget(downloads=budget.downloads, per=budget.per)
            if budget is not None
            else None,
            period=_list_period(sync, cohort),
            demand=_demand(settings, project),
        ),
        deadline=connection.download_deadline,
        to_segment=isinstance(
            settings.connections[sync.target.connection], EngageConnection
        ),
        project_of=projects_of(settings),
    )


def _list_staleness(cohort: FromCohort) -> timedelta:
    """Beside pushes a list that seems unchanged is as good as new for longer."""
    if cohort.events is not None and cohort.events.relist_every is not None:
        return cohort.events.relist_every * UNCHANGED_LISTS
    return cohort.max_staleness


def _list_period(sync: SyncSettings, cohort: FromCohort) -> timedelta | None:
    """How often a list is wanted: at each run, or now and then beside the pushes."""
    if cohort.events is not None:
        return cohort.events.relist_every
    return shortest_period(sync.schedule)


def _demand(settings: Settings, project: str) -> float:
    """Downloads a day that all schedules of the project ask for, at worst."""
    totals = [each.total for each in forecast(settings) if each.project == project]
    return sum(totals) / DAYS_OF_FORECAST


def amplitude_of(settings: Settings, name: str) -> AmplitudeConnection:
    """The amplitude connection of this name."""
    connection = settings.connections[name]
    if not isinstance(connection, AmplitudeConnection):
        raise TypeError("a cohort is read from an amplitude connection")
    return connection


def projects_of(settings: Settings) -> dict[str, str]:
    """The project of each connection, by its name; empty where it is no Amplitude's."""
    return {
        name: project_key(connection)
        if isinstance(connection, AmplitudeConnection)
        else ""
        for name, connection in settings.connections.items()
    }


def _audience(
    connection: EngageConnection, audience: FromAudience, match: IdType, clock: Clock
) -> Source | None:
    snapshot = connection.snapshot
    match snapshot:
        case WarehouseSnapshot():
            return Standing(_warehouse(connection, snapshot, audience, match, clock))
        case FilesSnapshot():
            return _files(snapshot, audience, match, clock)
        case None:
            return None
        case _:
            assert_never(snapshot)


def _warehouse(
    connection: EngageConnection,
    snapshot: WarehouseSnapshot,
    source: FromAudience,
    match: IdType,
    clock: Clock,
) -> WholeList:
    from syncd.sources.warehouse import Flavour, WarehouseQuery, WarehouseSource

    query = WarehouseQuery(
        url=remembered(snapshot.read_url),
        audience=source.audience,
        flavour=Flavour.QUERY if source.query else Flavour(snapshot.tables),
        id_type=match,
        id_name=source.column or "",
        schema=snapshot.schema or connection.space,
        query=source.query or "",
        timeout=snapshot.statement_timeout,
        freshness_query=source.freshness_query or "",
        max_age=source.max_age,
    )
    query = replace(
        query,
        users_table=snapshot.users_table or query.users_table,
        traits_table=snapshot.traits_table or query.traits_table,
        identifiers_table=snapshot.identifiers_table or query.identifiers_table,
    )
    return WarehouseSource(query, clock)


def _files(
    snapshot: FilesSnapshot, source: FromAudience, match: IdType, clock: Clock
) -> Source:
    from syncd.sources.files import FileList, FilesSource, Shape

    shapes = {
        "auto": Shape.AUTO,
        "csv": Shape.FORMATTED,
        "jsonl": Shape.JSON_LINES,
    }
    column = source.column or snapshot.column or match.value
    return FilesSource(
        FileList(
            pattern=source.path or snapshot.path,
            audience=source.audience,
            shape=shapes[snapshot.format],
            column=column,
            id_name=column,
        ),
        clock,
    )
