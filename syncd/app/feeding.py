"""Syncs that are fed by events: which feed each reads, and how far all have read."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial

from syncd.app.vendors import Vendors
from syncd.clients.amplitude import AmplitudeClient
from syncd.clock import Clock
from syncd.config.settings import (
    Events,
    FromAudience,
    FromCohort,
    Settings,
    SyncSettings,
)
from syncd.config.settings_connections import AmplitudeConnection, EngageConnection
from syncd.model import Feed
from syncd.sources import Source
from syncd.sources.feed_mark import position_of
from syncd.sources.feed_watch import Sized
from syncd.sources.pushed import FeedSettings, PushedSource
from syncd.store import bindings
from syncd.store.database import Connection

SIZES_FOR = timedelta(minutes=5)
"""A size that was asked for is believed this long: it is only a hint."""


def feed_of(sync: SyncSettings) -> Feed | None:
    """The feed a sync reads; None where it is not fed by events."""
    source = sync.source
    if source.events is None:
        return None
    key = source.cohort_id if isinstance(source, FromCohort) else source.audience
    return Feed(connection=source.connection, key=key, id_type=sync.match)


def fed(settings: Settings) -> Iterator[tuple[SyncSettings, Feed]]:
    """Every sync that is fed by events, disabled ones too, with its feed."""
    for sync in settings.syncs:
        feed = feed_of(sync)
        if feed is not None:
            yield sync, feed


def pushed_source(
    settings: Settings,
    sync: SyncSettings,
    events: Events,
    vendors: Vendors,
    clock: Clock,
    whole: Source | None,
) -> PushedSource:
    """The source of a sync that is fed by events, above its whole list if it has one.

    Without `relist_every` a list is read at the first plan alone.
    """
    feed = feed_of(sync)
    if feed is None:
        raise TypeError(f"{sync.name} is not fed by events")
    costs = isinstance(sync.source, FromCohort)
    return PushedSource(
        FeedSettings(
            feed=feed,
            snapshot_lag=events.snapshot_lag,
            relist_every=events.relist_every,
            begins_whole=costs,
            list_costs=costs,
        ),
        clock,
        whole=whole,
        sized=_sized(settings, sync, vendors, clock),
    )


def folded(connection: Connection, settings: Settings) -> dict[Feed, int]:
    """Up to which position every sync that reads a feed has made a plan of it.

    A sync whose plans were made of something else has read nothing of it.
    """
    reached: dict[Feed, int] = {}
    for sync, feed in fed(settings):
        binding = bindings.current(connection, sync.name)
        position = position_of(binding.source_mark, feed) if binding else 0
        reached[feed] = min(position, reached.get(feed, position))
    return reached


def _sized(
    settings: Settings, sync: SyncSettings, vendors: Vendors, clock: Clock
) -> Sized | None:
    connection = settings.connections[sync.source.connection]
    match connection, sync.source:
        case EngageConnection(api_token=token), FromAudience() as audience:
            if token is None:
                return None
            sizes = vendors.audience_sizes(connection.name)
            return lambda: sizes.size_of(audience.audience)
        case AmplitudeConnection(), FromCohort() as cohort:
            client = vendors.amplitude(connection.name)
            return _Believed(partial(_listed_size, client, cohort.cohort_id), clock)
        case _:
            return None


def _listed_size(client: AmplitudeClient, cohort_id: str) -> int | None:
    sizes = (each.size for each in client.list_cohorts() if each.id == cohort_id)
    return next(sizes, None)


class _Believed:
    """Asks once in `SIZES_FOR`."""

    def __init__(self, ask: Callable[[], int | None], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._until: datetime | None = None
        self._size: int | None = None

    def __call__(self) -> int | None:
        now = self._clock.now()
        if self._until is None or now >= self._until:
            self._size = self._ask()
            self._until = now + SIZES_FOR
        return self._size
