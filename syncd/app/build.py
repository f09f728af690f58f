"""From settings to parts. Where a sync reads and writes is chosen beside it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from syncd.app import writing
from syncd.app.reading import source_of
from syncd.app.vendors import Vendors, pace_of
from syncd.clock import Clock
from syncd.config.feeds import what_feeds
from syncd.config.settings import Settings, SyncSettings
from syncd.config.settings_connections import AmplitudeConnection
from syncd.delivery.lane import Route
from syncd.delivery.retry import RetryPolicy
from syncd.sinks import Sink
from syncd.sources import Source
from syncd.store.database import Database
from syncd.sync.guard import Limits
from syncd.sync.identity import Identity
from syncd.sync.spec import Spec


class Closable(Protocol):
    """What holds connections open."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """Everything that follows from one configuration."""

    settings: Settings
    config_hash: str
    specs: Mapping[str, Spec]
    """By sync name; disabled syncs are left out."""
    routes: Mapping[str, Route]
    clients: tuple[Closable, ...]
    """To be closed when the configuration is replaced or the process stops."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the process comes to its end."""

    def close(self) -> None:
        """Close the connections to the vendors."""
        for client in self.clients:
            client.close()


def blueprint(
    settings: Settings,
    config_hash: str,
    clock: Clock,
    database: Database | None = None,
    stop: threading.Event | None = None,
) -> Blueprint:
    """Build sources, sinks and routes. Reads secrets; asks nobody.

    `database` is the store; where other processes work on it, limits are theirs too.
    `stop` is that of the configuration which this one is to replace.
    Raises `SecretUnavailable` for a secret of an enabled sync that cannot be read.
    """
    enabled = [sync for sync in settings.syncs if sync.enabled]
    stop = stop or threading.Event()
    vendors = Vendors(settings, clock, database, stop)
    sinks = {
        name: writing.sink_of(settings.connections[name], vendors)
        for name in {sync.target.connection for sync in enabled}
    }
    specs = {
        sync.name: _spec(
            settings,
            sync,
            source=source_of(settings, sync, vendors, clock),
            sink=sinks[sync.target.connection],
            vendors=vendors,
            config_hash=config_hash,
        )
        for sync in enabled
    }
    return Blueprint(
        settings=settings,
        config_hash=config_hash,
        specs=specs,
        routes={
            sync.name: _route(settings, sync, specs[sync.name], vendors)
            for sync in enabled
        },
        clients=(vendors,),
        stop=stop,
    )


def _route(
    settings: Settings, sync: SyncSettings, spec: Spec, vendors: Vendors
) -> Route:
    name = sync.target.connection
    return Route(
        connection=name,
        sink=spec.sink,
        policy=RetryPolicy(
            retries=sync.delivery.retries,
            first_delay=sync.delivery.first_delay,
            max_delay=sync.delivery.max_delay,
        ),
        request_deadline=spec.request_deadline,
        late_landings=spec.late_landings,
        ids_per_second=pace_of(settings.connections[name]),
        turn=vendors.turn(name),
    )


def _spec(
    settings: Settings,
    sync: SyncSettings,
    *,
    source: Source,
    sink: Sink,
    vendors: Vendors,
    config_hash: str,
) -> Spec:
    connection = settings.connections[sync.target.connection]
    return Spec(
        name=sync.name,
        team=sync.team,
        direction=writing.direction_of(connection),
        identity=identity_of_sync(settings, sync, source),
        target_id=writing.target_id(sync),
        naming=writing.naming_of(settings, sync, vendors),
        owner=writing.owner_of(sync),
        source=source,
        source_connection=sync.source.connection,
        neighbours=frozenset(
            each.name for each in settings.syncs if each.enabled and each is not sync
        ),
        sink=sink,
        probes=_probes(settings, sync, sink, vendors),
        limits=limits_of(sync),
        hold_on_trip=sync.guard.on_trip == "hold",
        batch_size=min(sync.delivery.batch_size, sink.capabilities.max_batch),
        max_runtime=sync.max_runtime,
        request_deadline=connection.transport.request_deadline,
        late_landings=sync.delivery.late_landings,
        config_hash=config_hash,
        fed=what_feeds(settings, sync),
    )


def _probes(
    settings: Settings, sync: SyncSettings, sink: Sink, vendors: Vendors
) -> Mapping[str, Callable[[], object]]:
    """A free check of the credentials at either end, where there is such a thing.

    What is pushed to us needs no credentials of ours: only its whole list does.
    """
    probes: dict[str, Callable[[], object]] = {}
    if sink.capabilities.can_probe:
        probes[sync.target.connection] = sink.probe
    name = sync.source.connection
    pulls = sync.source.events is None
    if pulls and isinstance(settings.connections[name], AmplitudeConnection):
        probes[name] = vendors.amplitude(name).list_cohorts
    return probes


def identity_of_sync(
    settings: Settings, sync: SyncSettings, source: Source
) -> Identity:
    """What the sync reads, writes and matches on, as configured."""
    return Identity(
        connection=sync.target.connection,
        target=writing.target_text(settings, sync),
        id_type=sync.match,
        source=f"{sync.source.connection}\n{source.fingerprint()}",
    )


def limits_of(sync: SyncSettings) -> Limits:
    """The sync's guards."""
    return Limits(
        max_exit=sync.guard.max_exit,
        max_enter=sync.guard.max_enter,
        ignore_below=sync.guard.ignore_below,
        max_exit_24h=sync.guard.max_exit_24h,
    )
