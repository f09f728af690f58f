"""What each Amplitude project spends on downloads this month, and will have spent.

Asked of the vendor's usage endpoint, which is free; where it says nothing, our own
requests are counted, in the same way as when a download is decided on. Or as it was
last asked for, from the store alone. Writes nothing.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from syncd.app.reading import DAYS_OF_FORECAST, amplitude_of
from syncd.app.vendors import Vendors
from syncd.clients import quota
from syncd.clients.amplitude_job import Usage
from syncd.clients.quota import Reading, Spend
from syncd.clock import Clock
from syncd.config.forecast import ProjectForecast, forecast
from syncd.config.settings import Settings
from syncd.errors import DeliveryError, Fault
from syncd.report.months import Month, SyncMonth
from syncd.sources.amplitude_download.admission import known_spends, reading_of
from syncd.store import quotas
from syncd.store.database import Connection

NOT_ASKED = "nobody was asked yet in this month"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of one project's month."""

    reading: Reading
    spends: Sequence[Spend]
    """Our own requests."""
    unread: str
    read_at: datetime | None


def months(
    settings: Settings, store: Connection | None, vendors: Vendors, clock: Clock
) -> Iterator[Month]:
    """One for each project that a sync reads from, in file order; asks the vendor.

    `store` is None before there is one. Raises `DeliveryError` when a vendor refuses
    our credentials.
    """
    for expected in forecast(settings):
        known = _asked(store, vendors, expected, clock)
        yield _month(settings, expected, known, clock.now())


def last_read(settings: Settings, store: Connection, clock: Clock) -> Iterator[Month]:
    """The same as far as the store knows it; asks nobody."""
    for expected in forecast(settings):
        known = _stored(store, expected, clock)
        yield _month(settings, expected, known, clock.now())


def _asked(
    store: Connection | None, vendors: Vendors, expected: ProjectForecast, clock: Clock
) -> _Known:
    spends = known_spends(store, expected.project, clock) if store else []
    usage, unread = _usage(vendors, expected.connections[0])
    now = clock.now()
    reading = reading_of(usage, expected.limit, spends, now)
    return _Known(reading=reading, spends=spends, unread=unread, read_at=now)


def _stored(store: Connection, expected: ProjectForecast, clock: Clock) -> _Known:
    spends = known_spends(store, expected.project, clock)
    row, now = quotas.get(store, expected.project), clock.now()
    if row is None or row.resets_at <= now:
        reading = reading_of(None, expected.limit, spends, now)
        return _Known(reading=reading, spends=spends, unread=NOT_ASKED, read_at=None)
    reading = Reading(
        limit=row.limit,
        used=row.used,
        resets_at=row.resets_at,
        estimated=row.estimated,
        # The row counts what was asked for since it was read.
        included=frozenset(each.id for each in spends),
    )
    return _Known(reading=reading, spends=spends, unread="", read_at=row.read_at)


def _month(
    settings: Settings, expected: ProjectForecast, known: _Known, now: datetime
) -> Month:
    reading, spends = known.reading, known.spends
    used = quota.used(reading, spends)
    demand = expected.total / DAYS_OF_FORECAST
    ours = Counter(each.sync for each in quota.counted(reading, spends))
    return Month(
        project=expected.project,
        connections=expected.connections,
        limit=reading.limit,
        reserve=amplitude_of(settings, expected.connections[0]).quota.reserve,
        used=used,
        estimated=reading.estimated,
        unread=known.unread,
        read_at=known.read_at,
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
