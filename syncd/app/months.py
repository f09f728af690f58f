"""What each Amplitude project spends on downloads this month, and will have spent.

Asks the vendor's usage endpoint, which is free; where it does not answer 200, our own
requests are counted. Writes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from syncd.app.reading import DAYS_OF_FORECAST, amplitude_of
from syncd.app.vendors import Vendors
from syncd.clients import quota
from syncd.clients.quota import Reading
from syncd.config.forecast import ProjectForecast, forecast
from syncd.config.settings import Settings
from syncd.store import fetches
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
    resets_at: datetime
    forecast: int
    """Used at the reset if every schedule downloads as often as it may."""
    syncs: tuple[SyncMonth, ...]

    @property
    def elsewhere(self) -> int:
        """Spent by other tools with the same project."""
        return max(self.used - sum(each.spent for each in self.syncs), 0)


def months(
    settings: Settings, store: Connection | None, vendors: Vendors, now: datetime
) -> Iterator[Month]:
    """One for each project that a sync reads from, in file order.

    `store` is None before there is one. Raises `DeliveryError` when a vendor cannot be
    asked.
    """
    for expected in forecast(settings):
        yield _month(settings, store, vendors, expected, now)


def _month(
    settings: Settings,
    store: Connection | None,
    vendors: Vendors,
    expected: ProjectForecast,
    now: datetime,
) -> Month:
    name = expected.connections[0]
    usage = vendors.downloads(name).usage()
    resets_at = usage.resets_at if usage is not None else quota.next_month(now)
    begun = quota.month_before(resets_at)
    ours = fetches.spent(store, expected.project, begun) if store else {}
    reading = Reading(
        limit=usage.limit if usage is not None else expected.limit,
        used=usage.used if usage is not None else sum(ours.values()),
        resets_at=resets_at,
        estimated=usage is None,
    )
    demand = expected.total / DAYS_OF_FORECAST
    return Month(
        project=expected.project,
        connections=expected.connections,
        limit=reading.limit,
        reserve=amplitude_of(settings, name).quota.reserve,
        used=reading.used,
        estimated=reading.estimated,
        resets_at=resets_at,
        forecast=quota.forecast(reading, reading.used, demand, now),
        syncs=tuple(_syncs(expected, ours)),
    )


def _syncs(expected: ProjectForecast, ours: dict[str, int]) -> Iterator[SyncMonth]:
    known = {each.name for each in expected.syncs}
    for each in expected.syncs:
        yield SyncMonth(
            name=each.name,
            spent=ours.get(each.name, 0),
            most=each.downloads,
            schedule=each.schedule,
        )
    for name in sorted(ours.keys() - known):
        yield SyncMonth(name=name, spent=ours[name], most=0, schedule="not configured")
