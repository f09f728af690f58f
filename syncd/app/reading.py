"""Where a sync reads: one `case` here for each kind of source."""

from dataclasses import replace
from typing import assert_never

from syncd.app.vendors import Vendors, remembered
from syncd.clock import Clock
from syncd.config.settings import (
    EngageConnection,
    FilesSnapshot,
    FromAudience,
    FromCohort,
    Settings,
    SyncSettings,
    WarehouseSnapshot,
)
from syncd.model import IdType
from syncd.sources import Source, Standing, WholeList
from syncd.sources.files import FileList, FilesSource, Shape
from syncd.sources.warehouse import Flavour, WarehouseQuery, WarehouseSource

_SHAPES = {
    "auto": Shape.AUTO,
    "csv": Shape.FORMATTED,
    "jsonl": Shape.JSON_LINES,
}


def source_of(
    settings: Settings, sync: SyncSettings, vendors: Vendors, clock: Clock
) -> Source:
    """The source of one sync. Asks nobody until it is asked for members."""
    match sync.source:
        case FromAudience() as audience:
            connection = settings.connections[audience.connection]
            if not isinstance(connection, EngageConnection):
                raise TypeError("an audience is read from an engage connection")
            return Standing(_audience(connection, audience, sync.match, clock))
        case FromCohort():
            raise TypeError("not yet")
        case _:
            assert_never(sync.source)


def _audience(
    connection: EngageConnection, audience: FromAudience, match: IdType, clock: Clock
) -> WholeList:
    snapshot = connection.snapshot
    match snapshot:
        case WarehouseSnapshot():
            return WarehouseSource(_query(connection, snapshot, audience, match), clock)
        case FilesSnapshot():
            return FilesSource(_files(snapshot, audience, match))
        case None:
            raise TypeError("the configuration asks for a snapshot to read from")
        case _:
            assert_never(snapshot)


def _query(
    connection: EngageConnection,
    snapshot: WarehouseSnapshot,
    source: FromAudience,
    match: IdType,
) -> WarehouseQuery:
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
    return replace(
        query,
        users_table=snapshot.users_table or query.users_table,
        traits_table=snapshot.traits_table or query.traits_table,
        identifiers_table=snapshot.identifiers_table or query.identifiers_table,
    )


def _files(snapshot: FilesSnapshot, source: FromAudience, match: IdType) -> FileList:
    column = source.column or snapshot.column or match.value
    return FileList(
        pattern=source.path or snapshot.path,
        audience=source.audience,
        shape=_SHAPES[snapshot.format],
        column=column,
        id_name=column,
    )
