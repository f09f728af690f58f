"""From settings to parts. A new kind of source or sink is one `case` here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import assert_never

from syncd.clients.amplitude import HOSTS, AmplitudeClient
from syncd.clients.http import HttpClient
from syncd.clock import Clock
from syncd.config.secrets import SecretRef
from syncd.config.settings import (
    AmplitudeConnection,
    EngageConnection,
    FilesSnapshot,
    FromAudience,
    Settings,
    SyncSettings,
    ToCohort,
    WarehouseSnapshot,
)
from syncd.delivery.lane import Route
from syncd.delivery.retry import RetryPolicy
from syncd.log import register_secret
from syncd.model import IdType
from syncd.sinks import Sink
from syncd.sinks.amplitude_cohort import AmplitudeCohortSink
from syncd.sources import Source
from syncd.sources.files import FileList, FilesSource, Shape
from syncd.sources.warehouse import Flavour, WarehouseQuery, WarehouseSource
from syncd.sync.guard import Limits
from syncd.sync.identity import Identity
from syncd.sync.spec import Spec

_SHAPES = {
    "auto": Shape.AUTO,
    "csv": Shape.FORMATTED,
    "jsonl": Shape.JSON_LINES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """Everything that follows from one configuration."""

    settings: Settings
    config_hash: str
    specs: Mapping[str, Spec]
    """By sync name; disabled syncs are left out."""
    routes: Mapping[str, Route]
    clients: tuple[HttpClient, ...]
    """To be closed when the configuration is replaced or the process stops."""

    def close(self) -> None:
        """Close the connections to the vendors."""
        for client in self.clients:
            client.close()


def blueprint(settings: Settings, config_hash: str, clock: Clock) -> Blueprint:
    """Build sources, sinks and routes. Reads secrets; asks nobody.

    Raises `SecretUnavailable` for a secret of an enabled sync that cannot be read.
    """
    enabled = [sync for sync in settings.syncs if sync.enabled]
    used = {sync.target.connection for sync in enabled}
    http: list[HttpClient] = []
    sinks = {
        name: _sink(connection, settings.delivery_workers, clock, http)
        for name, connection in settings.connections.items()
        if name in used and isinstance(connection, AmplitudeConnection)
    }
    specs = {
        sync.name: _spec(
            settings, sync, sinks[sync.target.connection], config_hash, clock
        )
        for sync in enabled
    }
    routes = {
        sync.name: Route(
            connection=sync.target.connection,
            sink=specs[sync.name].sink,
            policy=RetryPolicy(
                retries=sync.delivery.retries,
                first_delay=sync.delivery.first_delay,
                max_delay=sync.delivery.max_delay,
            ),
            request_deadline=specs[sync.name].request_deadline,
        )
        for sync in enabled
    }
    return Blueprint(
        settings=settings,
        config_hash=config_hash,
        specs=specs,
        routes=routes,
        clients=tuple(http),
    )


def _spec(
    settings: Settings, sync: SyncSettings, sink: Sink, config_hash: str, clock: Clock
) -> Spec:
    target = settings.connections[sync.target.connection]
    deadline = timedelta(seconds=30)
    if isinstance(target, AmplitudeConnection):
        deadline = target.transport.request_deadline
    source = source_of(settings, sync, clock)
    return Spec(
        name=sync.name,
        team=sync.team,
        direction="to-amplitude",
        identity=identity_of_sync(sync, source),
        cohort_id=cohort_of(sync).cohort_id,
        cohort=cohort_of(sync).cohort,
        owner=cohort_of(sync).owner or "",
        source=source,
        sink=sink,
        limits=limits_of(sync),
        hold_on_trip=sync.guard.on_trip == "hold",
        batch_size=min(sync.delivery.batch_size, sink.capabilities.max_batch),
        max_runtime=sync.max_runtime,
        request_deadline=deadline,
        config_hash=config_hash,
    )


def identity_of_sync(sync: SyncSettings, source: Source) -> Identity:
    """What the sync reads, writes and matches on, as configured."""
    return Identity(
        connection=sync.target.connection,
        target=_target_text(sync),
        id_type=sync.match,
        source=f"{sync.source.connection}\n{source.fingerprint()}",
    )


def limits_of(sync: SyncSettings) -> Limits:
    """The sync's guards."""
    return Limits(
        max_exit=sync.guard.max_exit,
        max_enter=sync.guard.max_enter,
        ignore_below=sync.guard.ignore_below,
    )


def _target_text(sync: SyncSettings) -> str:
    target = cohort_of(sync)
    if target.cohort_id is not None:
        return f"id:{target.cohort_id}"
    return f"name:{target.cohort}"


def cohort_of(sync: SyncSettings) -> ToCohort:
    """The cohort a sync writes."""
    if not isinstance(sync.target, ToCohort):
        raise TypeError("only cohorts are written yet")
    return sync.target


def source_of(settings: Settings, sync: SyncSettings, clock: Clock) -> Source:
    """The source of one sync. Reads no secret until it is asked for members."""
    connection = settings.connections[sync.source.connection]
    if not isinstance(connection, EngageConnection):
        raise TypeError("the configuration lets syncs read from engage only")
    if not isinstance(sync.source, FromAudience):
        raise TypeError("an engage connection is read by its audience")
    match connection.snapshot:
        case WarehouseSnapshot() as snapshot:
            query = _query(connection, snapshot, sync.source, sync.match)
            return WarehouseSource(query, clock)
        case FilesSnapshot() as snapshot:
            return FilesSource(_files(snapshot, sync.source, sync.match))
        case None:
            raise TypeError("the configuration asks for a snapshot to read from")
        case _:
            assert_never(connection.snapshot)


def _query(
    connection: EngageConnection,
    snapshot: WarehouseSnapshot,
    source: FromAudience,
    match: IdType,
) -> WarehouseQuery:
    query = WarehouseQuery(
        url=_remembered(snapshot.read_url),
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


def _sink(
    connection: AmplitudeConnection,
    workers: int,
    clock: Clock,
    http: list[HttpClient],
) -> Sink:
    client = HttpClient(
        connection.transport.base_url or HOSTS[connection.region],
        clock=clock,
        workers=workers,
        deadline=connection.transport.request_deadline.total_seconds(),
        proxy_url=_read(connection.transport.proxy_url),
        ca_file=connection.transport.ca_file,
    )
    http.append(client)
    return AmplitudeCohortSink(
        client=AmplitudeClient(client, _credentials(connection), clock=clock),
        app_id=connection.app_id,
    )


def _credentials(connection: AmplitudeConnection) -> Callable[[], tuple[str, str]]:
    """Reads key and secret anew at each call, so that a rotated file counts."""

    def read() -> tuple[str, str]:
        key, secret = connection.api_key.read(), connection.secret_key.read()
        register_secret(key)
        register_secret(secret)
        return key, secret

    return read


def _read(secret: SecretRef | None) -> str | None:
    if secret is None:
        return None
    return _remembered(secret.read)()


def _remembered(read: Callable[[], str]) -> Callable[[], str]:
    """Whatever is read this way never shows in a log line."""

    def remembered() -> str:
        value = read()
        register_secret(value)
        return value

    return remembered
