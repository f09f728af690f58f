"""Gauges of what the store knows, computed when somebody scrapes.

Timestamps rather than ages, and thresholds beside them, so that one alert rule fits
every sync. Computed at most every few seconds, however many scrape. A scrape never
fails: without a store all it says is `syncd_store_up 0`.
"""

import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily

from syncd import __version__, events, metrics
from syncd.app import sync_gauges
from syncd.app.reading import DAYS_OF_FORECAST
from syncd.app.sync_gauges import Sample
from syncd.clients import quota
from syncd.clock import Clock
from syncd.config.feeds import doors
from syncd.config.forecast import ProjectForecast, forecast
from syncd.config.process import Process
from syncd.config.settings import Settings
from syncd.errors import StoreError
from syncd.events import emit
from syncd.report.backlog import backlogs
from syncd.store import figures, installation, leases, quotas
from syncd.store.database import Connection, Database
from syncd.store.quotas import Quota
from syncd.sync.guard import Guard

FRESH = 5.0
"""Seconds of the daemon's clock for which what was computed is shown again: on a fast
one real seconds would be hours, and everything would look late."""

_QUOTA = ("api", "quota")
_UP = ("1: the store answered this scrape.", ())
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "syncd_store_up": _UP,
    "syncd_build_info": ("1; what runs.", ("version", "revision", "python")),
    "syncd_scheduler_heartbeat_timestamp_seconds": (
        "Last sign of life of this process's scheduler, in real time.",
        (),
    ),
    "syncd_store_size_bytes": ("Of the database, with its log.", ()),
    "syncd_store_last_backup_timestamp_seconds": (
        "When `syncd db backup` last made one; SQLite only, and not before the first.",
        (),
    ),
    "syncd_connection_stopped": (
        "1: the credentials are refused, nothing is sent.",
        ("connection",),
    ),
    "syncd_inbox_backlog": (
        "People with news that a sync did not plan with yet (to 100,000 a feed).",
        ("connection",),
    ),
    "syncd_inbox_last_event_timestamp_seconds": (
        "When something was last pushed to us.",
        ("connection",),
    ),
    "syncd_api_quota_used": ("Spent this month, as last read.", _QUOTA),
    "syncd_api_quota_limit": ("Of a month.", _QUOTA),
    "syncd_api_quota_reserve": ("Kept for people.", _QUOTA),
    "syncd_api_quota_reset_timestamp_seconds": ("When the month ends.", _QUOTA),
    "syncd_api_quota_forecast": ("Spent by then, if every due time spends.", _QUOTA),
    **sync_gauges.GAUGES,
}


class StoreGauges:
    """A collector for the registry. Thread-safe."""

    def __init__(
        self, database: Database, settings: Callable[[], Settings], clock: Clock
    ) -> None:
        """`settings` gives those in use; a reload changes them."""
        self._database = database
        self._settings = settings
        self._clock = clock
        self._holder = leases.holder_name()
        self._revision = Process().revision
        self._lock = threading.Lock()
        self._kept: list[GaugeMetricFamily] = []
        self._kept_until = 0.0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every gauge, as prometheus asks for them."""
        with self._lock:
            if self._clock.monotonic() >= self._kept_until:
                self._kept = self._computed()
                fresh = FRESH / self._clock.speed
                self._kept_until = self._clock.monotonic() + fresh
            kept = self._kept
        yield from kept

    def _computed(self) -> list[GaugeMetricFamily]:
        try:
            with self._database.read() as connection:
                found = list(self._samples(connection))
        except StoreError:
            # Whoever needs the store says why; here a number is enough.
            return _families({"syncd_store_up": _UP}, [("syncd_store_up", (), 0)])
        except Exception as error:  # noqa: BLE001  # a scrape must not break by a bug
            name = type(error).__name__
            emit(events.DAEMON_CRASHED, error=name, thread="metrics", exc_info=True)
            return _families({"syncd_store_up": _UP}, [("syncd_store_up", (), 0)])
        return _families(GAUGES, found)

    def _samples(self, connection: Connection) -> Iterator[Sample]:
        settings, now = self._settings(), self._clock.now()
        yield "syncd_store_up", (), 1
        built = __version__, self._revision, platform.python_version()
        yield "syncd_build_info", built, 1
        for daemon in installation.daemons(connection):
            if daemon.holder == self._holder:
                at = daemon.heartbeat_at.timestamp()
                yield "syncd_scheduler_heartbeat_timestamp_seconds", (), at
        sqlite = self._database.dialect == "sqlite"
        file = self._database.path if sqlite else None
        yield "syncd_store_size_bytes", (), figures.size(connection, file)
        backup = installation.last_backup(connection) if sqlite else None
        if backup is not None:
            yield "syncd_store_last_backup_timestamp_seconds", (), backup.timestamp()
        refused = figures.stopped(connection)
        for name in settings.connections:
            yield "syncd_connection_stopped", (name,), name in refused
        yield from _inboxes(connection, settings)
        for project in forecast(settings):
            known = quotas.get(connection, project.project)
            if known is not None:
                yield from _quota(project, known, now)
        yield from sync_gauges.samples(connection, settings, now)


def expect(settings: Settings) -> None:
    """Show every counter of these syncs at 0; to be called whenever settings change."""
    names = [sync.name for sync in settings.syncs]
    metrics.expect(names, guards=[metrics.guard_word(guard) for guard in Guard])
    metrics.expect_connections(list(doors(settings)))
    metrics.expect_channels(settings.notifications.channels)


def _inboxes(connection: Connection, settings: Settings) -> Iterator[Sample]:
    waiting = backlogs(connection, settings)
    for name, count in waiting.items():
        yield "syncd_inbox_backlog", (name,), count
    for name, at in figures.last_words(connection).items():
        if name in waiting:
            label = (name,)
            yield "syncd_inbox_last_event_timestamp_seconds", label, at.timestamp()


def _quota(project: ProjectForecast, known: Quota, now: datetime) -> Iterator[Sample]:
    """A project goes by the first of the connections that share it."""
    labels = (project.connections[0], "downloads")
    is_over = known.resets_at <= now
    used = 0 if is_over else known.used
    yield "syncd_api_quota_used", labels, used
    yield "syncd_api_quota_limit", labels, known.limit
    yield "syncd_api_quota_reserve", labels, project.reserve
    resets_at = quota.next_month(now) if is_over else known.resets_at
    at = resets_at.timestamp()
    yield "syncd_api_quota_reset_timestamp_seconds", labels, at
    reading = quota.Reading(
        limit=known.limit, used=used, resets_at=resets_at, estimated=known.estimated
    )
    demand = project.total / DAYS_OF_FORECAST
    expected = quota.forecast(reading, used, demand, now)
    yield "syncd_api_quota_forecast", labels, expected


def _families(
    named: Mapping[str, tuple[str, tuple[str, ...]]], samples: Iterable[Sample]
) -> list[GaugeMetricFamily]:
    families = {
        name: GaugeMetricFamily(name, help_, labels=labels)
        for name, (help_, labels) in named.items()
    }
    for name, values, value in samples:
        families[name].add_metric(values, float(value))
    return list(families.values())
