"""What feeds a sync that is fed by events: its source, and who knows its size."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from syncd.app.vendors import Vendors
from syncd.clients.amplitude import AmplitudeClient
from syncd.clock import Clock
from syncd.config.feeds import feed_of
from syncd.config.settings import (
    Events,
    FromAudience,
    FromCohort,
    Settings,
    SyncSettings,
)
from syncd.config.settings_connections import AmplitudeConnection, EngageConnection
from syncd.sources import Source
from syncd.sources.feed_watch import Sized
from syncd.sources.pushed import FeedSettings, PushedSource

SIZES_FOR = timedelta(minutes=5)
"""A size that was asked for is believed this long: it is only a hint."""


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
