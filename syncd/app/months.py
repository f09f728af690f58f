"""What each Amplitude project spends on downloads this month, and will have spent.

Asks the vendor's usage endpoint, which is free; where it says nothing, our own requests
are counted, in the same way as when a download is decided on. Writes nothing.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from syncd.app.reading import DAYS_OF_FORECAST, amplitude_of
from syncd.app.vendors import Vendors
from syncd.clients import quota
from syncd.clients.amplitude_job import Usage
from syncd.clock import Clock
from syncd.config.forecast import ProjectForecast, forecast
from syncd.config.settings import Settings
from syncd.errors import DeliveryError, Fault
from syncd.sources.amplitude_download.admission import known_spends, reading_of
from syncd.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncMonth:
    """One sync's share."""

    name: str
    spent: int
    """Downloads it asked for in this month."""
    most: int
    """At worst in a month of 31 days; 0 for a sync that is gone."""
    schedule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One project's month."""

    project: str
    connections: tuple[str, ...]
    limit: int
    reserve: int
    used: int
    """By everybody; by us alone when estimated."""
    estimated: bool
    unread: str
    """Why the vendor's count could not be read; empty if it was, or if there is none.
    """
    resets_at: datetime
    forecast: int
    """Used at the reset if every schedule downloads as often as it may."""
    syncs: tuple[SyncMonth, ...]

    @property
    def elsewhere(self) -> int:
        """Spent by other tools with the same project."""
        return max(self.used - sum(each.spent for each in self.syncs), 0)


def months(
    settings: Settings, store: Connection | None, vendors: Vendors, clock: Clock
) -> Iterator[Month]:
    """One for each project that a sync reads from, in file order.

    `store` is None before there is one. Raises `DeliveryError` when a vendor refuses
    our credentials.
    """
    for expected in forecast(settings):
        yield _month(settings, store, vendors, expected, clock)


def _month(
    settings: Settings,
    store: Connection | None,
    vendors: Vendors,
    expected: ProjectForecast,
    clock: Clock,
) -> Month:
    name, now = expected.connections[0], clock.now()
    spends = known_spends(store, expected.project, clock) if store else []
    usage, unread = _usage(vendors, name)
    reading = reading_of(usage, expected.limit, spends, now)
    used = quota.used(reading, spends)
    demand = expected.total / DAYS_OF_FORECAST
    ours = Counter(each.sync for each in quota.counted(reading, spends))
    return Month(
        project=expected.project,
        connections=expected.connections,
        limit=reading.limit,
        reserve=amplitude_of(settings, name).quota.reserve,
        used=used,
        estimated=reading.estimated,
        unread=unread,
        resets_at=reading.resets_at,
        forecast=quota.forecast(reading, used, demand, now),
        syncs=tuple(_syncs(expected, ours)),
    )


def _usage(vendors: Vendors, name: str) -> tuple[Usage | None, str]:
    """The vendor's count, or why it could not be read (it passes, so no error)."""
    try:
        return vendors.downloads(name).usage(), ""
    except DeliveryError as error:
        if error.fault is Fault.CREDENTIALS:
            raise
        return None, str(error)


def _syncs(expected: ProjectForecast, ours: Counter[str]) -> Iterator[SyncMonth]:
    known = {each.name for each in expected.syncs}
    for each in expected.syncs:
        yield SyncMonth(
            name=each.name,
            spent=ours[each.name],
            most=each.downloads,
            schedule=each.schedule,
        )
    for name in sorted(ours.keys() - known):
        yield SyncMonth(name=name, spent=ours[name], most=0, schedule="not configured")
