"""A valid document to `Settings`: defaults merged into syncs, parts located.

Nothing here can fail: what could is an error of the schema or of `crosschecks`.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import TypeVar

from syncd.config.feeding import DOWNLOAD, INBOX, PUSH, RELIST_BY_DOWNLOAD, default_via
from syncd.config.findings import node_at, value_place
from syncd.config.freshness import default_fresh_within
from syncd.config.interpolate import Lookup
from syncd.config.located import Locator, secrets_folder
from syncd.config.reader import Mapping
from syncd.config.resolve_connections import connection_of
from syncd.config.resolve_inbound import web_of
from syncd.config.resolve_notifications import notifications_of
from syncd.config.schema import (
    DEFAULT_ZONE,
    LARGEST_BATCH,
    DefaultsShape,
    Document,
    FromShape,
    GuardShape,
    StoreShape,
    SyncShape,
)
from syncd.config.settings import (
    DeliverySettings,
    Destination,
    Events,
    FromAudience,
    FromCohort,
    GuardSettings,
    LogSettings,
    Settings,
    Source,
    StoreSettings,
    SyncSettings,
    ToCohort,
    ToList,
    ToTrait,
)
from syncd.config.settings_connections import (
    AmplitudeConnection,
    Connection,
    EngageConnection,
    ListApiConnection,
    PropertyApiConnection,
)
from syncd.config.windows import windows_of
from syncd.errors import Problem
from syncd.model import IdType
from syncd.schedule import duration_text, shortest_period
from syncd.windows import Window

STORE_URL = "sqlite:///data/syncd.db"
WORKERS = 4
JITTER = timedelta(minutes=5)
MAX_RUNTIME = timedelta(minutes=45)
SHUTDOWN_GRACE = timedelta(seconds=8)
KEEP_RUNS = timedelta(days=400)
LEASE = timedelta(seconds=90)
MAX_STALENESS = timedelta(hours=24)
SNAPSHOT_LAG = timedelta(hours=2)
RELIST = timedelta(hours=24)
GUARD = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=50, on_trip="hold")
MAX_EXIT_24H = 0.4
DELIVERY = DeliverySettings(
    batch_size=1000,
    retries=8,
    first_delay=timedelta(seconds=1),
    max_delay=timedelta(seconds=128),
    late_landings=timedelta(hours=1),
)

T = TypeVar("T")


def resolve(document: Document, root: Mapping, lookup: Lookup) -> Settings:
    """Everything the document says, complete."""
    locator = Locator(root, lookup, secrets_folder(root, document.secrets_dir, lookup))
    connections = {
        name: connection_of(name, shape, locator)
        for name, shape in document.connections.items()
    }
    return Settings(
        instance=document.instance,
        store=_store(document.store, locator),
        connections=connections,
        syncs=tuple(_syncs(document, connections, locator)),
        web=web_of(document.web, connections.values(), locator),
        delivery_workers=document.defaults.delivery.workers or WORKERS,
        log=LogSettings(format=document.log.format, level=document.log.level),
        shutdown_grace=_first(document.shutdown_grace, SHUTDOWN_GRACE),
        cluster=document.cluster,
        notifications=notifications_of(document.notifications, locator),
    )


def short_freshness(settings: Settings, root: Mapping) -> Iterator[Problem]:
    """Warn of syncs that are stale although they do all that they are told."""
    for index, sync in enumerate(settings.syncs):
        at = node_at(root, ("syncs", index, "fresh_within"))
        place = sync.place if at is None else at.place
        for message, hint in _too_short(sync):
            yield place.problem(
                "fresh_within.short", message, hint=hint, severity="warning"
            )


def _too_short(sync: SyncSettings) -> Iterator[tuple[str, str]]:
    """What is longer than `fresh_within`, and the way out."""
    fresh, period = sync.fresh_within, shortest_period(sync.schedule)
    if fresh is None or period is None:
        return
    if fresh <= period:
        message = f"sync '{sync.name}' is stale before its next run is due"
        yield message, "raise fresh_within above the schedule's period"
    source = sync.source
    if not isinstance(source, FromCohort) or source.events is not None:
        return
    if fresh < source.max_staleness:
        kept = duration_text(source.max_staleness)
        message = (
            f"sync '{sync.name}' is stale too soon: "
            f"it may be {kept} before a list is read again"
        )
        yield message, "raise fresh_within above max_staleness, or lower that"


def _store(shape: StoreShape, locator: Locator) -> StoreSettings:
    url = shape.url if shape.url or shape.url_file else STORE_URL
    spool = ("store", "spool_dir")
    return StoreSettings(
        url=locator.url(("store",), url, shape),
        password=locator.secret(("store",), "password", shape),
        migrate=shape.migrate,
        codec=shape.codec,
        lease=_first(shape.lease, LEASE),
        replication=shape.replication,
        keep_runs=_first(shape.keep_runs, KEEP_RUNS),
        spool_dir=locator.path(spool, shape.spool_dir) if shape.spool_dir else None,
    )


def _syncs(
    document: Document, connections: dict[str, Connection], locator: Locator
) -> Iterator[SyncSettings]:
    defaults = document.defaults
    for index, shape in enumerate(document.syncs):
        max_runtime = _first(shape.max_runtime, defaults.max_runtime, MAX_RUNTIME)
        fresh = shape.fresh_within or defaults.fresh_within
        source = _source(index, shape, connections, locator)
        usual = _usual_freshness(shape, source, max_runtime)
        target = document.connections[shape.to.connection].type
        yield SyncSettings(
            name=shape.name,
            description=shape.description,
            team=shape.owner,
            source=source,
            target=_target(shape, connections),
            match=IdType(shape.match or defaults.match or IdType.USER_ID),
            schedule=shape.schedule,
            timezone=_first(shape.timezone, defaults.timezone, DEFAULT_ZONE),
            jitter=_first(shape.jitter, defaults.jitter, JITTER),
            catch_up=shape.catch_up or defaults.catch_up or "once",
            max_runtime=max_runtime,
            fresh_within=usual if fresh is None or usual is None else fresh,
            guard=_guard(shape, defaults),
            delivery=_delivery(shape, defaults, LARGEST_BATCH[target]),
            budget=shape.budget,
            enabled=shape.enabled,
            blackout=_blackout(document, shape),
            notify=_notify(shape, defaults),
            heartbeat_url=locator.secret(
                ("syncs", index), "heartbeat_url", shape, token=True
            ),
            place=value_place(locator.root, ("syncs", index, "name")),
        )


def _blackout(document: Document, shape: SyncShape) -> tuple[Window, ...]:
    """The windows a sync names, else those of the defaults."""
    defaults = document.defaults
    zone = _first(defaults.timezone, DEFAULT_ZONE)
    names = _first(shape.blackout, defaults.blackout, [])
    return tuple(
        window
        for name in dict.fromkeys(names)
        for window in windows_of(name, document.windows[name], zone)
    )


def _notify(shape: SyncShape, defaults: DefaultsShape) -> tuple[str, ...] | None:
    """The channels a sync names, else those of the defaults; None: every one."""
    names = shape.notify if shape.notify is not None else defaults.notify
    return None if names is None else tuple(dict.fromkeys(names))


def _usual_freshness(
    shape: SyncShape, source: Source, max_runtime: timedelta
) -> timedelta | None:
    """What a list may cost and how long it is kept counts where one is all there is."""
    if isinstance(source, FromCohort) and source.events is None:
        kept = source.max_staleness
        return default_fresh_within(shape.schedule, max_runtime, shape.budget, kept)
    return default_fresh_within(shape.schedule, max_runtime)


def _source(
    index: int,
    shape: SyncShape,
    connections: dict[str, Connection],
    locator: Locator,
) -> Source:
    written, connection = shape.from_, connections[shape.from_.connection]
    if written.cohort_id is not None:
        return FromCohort(
            connection=written.connection,
            cohort_id=written.cohort_id,
            max_staleness=_first(written.max_staleness, MAX_STALENESS),
            events=_events(written, connection),
            linked=written.linked,
        )
    key = ("syncs", index, "from", "path")
    return FromAudience(
        connection=written.connection,
        audience=_named(written.audience),
        query=written.query,
        freshness_query=written.freshness_query,
        max_age=written.max_age,
        column=written.column,
        path=str(locator.path(key, written.path)) if written.path else None,
        events=_events(written, connection),
        built_on=tuple(written.built_on),
    )


def _events(written: FromShape, connection: Connection) -> Events | None:
    """Set where a sync is fed by what is pushed to us."""
    match connection:
        case EngageConnection():
            via = written.via or default_via(
                "engage",
                has_inbox=connection.inbox is not None,
                own_list=bool(written.query or written.path),
            )
            usual = RELIST if connection.snapshot is not None else None
        case _:
            via, usual = written.via or DOWNLOAD, RELIST_BY_DOWNLOAD
    if via not in (INBOX, PUSH):
        return None
    every = usual if written.relist_every is None else written.relist_every
    return Events(
        snapshot_lag=_first(written.snapshot_lag, SNAPSHOT_LAG),
        relist_every=None if every == "never" else every,
        without_value=written.without_value or "ignore",
        run_after=None if written.run_after == "never" else written.run_after,
    )


def _target(shape: SyncShape, connections: dict[str, Connection]) -> Destination:
    written = shape.to
    connection = connections[written.connection]
    match connection:
        case AmplitudeConnection():
            named = connection.name_prefix + _named(shape.from_.audience)
            return ToCohort(
                connection=written.connection,
                cohort_id=written.cohort_id,
                cohort=written.cohort or named,
                owner=written.owner or connection.owner,
            )
        case EngageConnection() | PropertyApiConnection():
            return ToTrait(connection=written.connection, trait=written.trait)
        case ListApiConnection():
            return ToList(
                connection=written.connection,
                list=written.list_,
                list_id=written.list_id,
            )


def _named(audience: str | None) -> str:
    assert audience is not None  # noqa: S101 - directions refuse a sync without it
    return audience


def _guard(shape: SyncShape, defaults: DefaultsShape) -> GuardSettings:
    own, shared = shape.guard, defaults.guard
    return GuardSettings(
        max_exit=_first(own.max_exit, shared.max_exit, GUARD.max_exit),
        max_enter=_first(own.max_enter, shared.max_enter, GUARD.max_enter),
        ignore_below=_first(own.ignore_below, shared.ignore_below, GUARD.ignore_below),
        on_trip=own.on_trip or shared.on_trip or GUARD.on_trip,
        max_exit_24h=_max_exit_24h(own, shared),
    )


def _max_exit_24h(own: GuardShape, shared: GuardShape) -> float | None:
    """As written; else 40 %, or what one run may remove where that is more."""
    written = _first(own.max_exit_24h, shared.max_exit_24h, "")
    if written == "never":
        return None
    if isinstance(written, float):
        return written
    one_run = _first(own.max_exit, shared.max_exit, GUARD.max_exit)
    return max(MAX_EXIT_24H, one_run)


def _delivery(
    shape: SyncShape, defaults: DefaultsShape, largest: int
) -> DeliverySettings:
    own, shared = shape.delivery, defaults.delivery
    size = _first(own.batch_size, shared.batch_size, DELIVERY.batch_size)
    return DeliverySettings(
        # A default meant for all syncs is as big as each vendor takes.
        batch_size=min(size, largest),
        retries=_first(own.retries, shared.retries, DELIVERY.retries),
        first_delay=_first(own.first_delay, shared.first_delay, DELIVERY.first_delay),
        max_delay=_first(own.max_delay, shared.max_delay, DELIVERY.max_delay),
        late_landings=_first(
            own.late_landings, shared.late_landings, DELIVERY.late_landings
        ),
    )


def _first(*values: T | None) -> T:
    """The first that is given; the last one always is."""
    return next(value for value in values if value is not None)
