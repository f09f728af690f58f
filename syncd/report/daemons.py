"""Which daemons are alive, by their heartbeats in the store. Real time."""

from datetime import datetime, timedelta

from syncd.config.settings import Settings
from syncd.store.installation import Daemon, Role

SILENT_AFTER = timedelta(seconds=60)
"""Real time without a heartbeat after which the scheduler counts as stuck."""


def alive(daemons: list[Daemon], now: datetime) -> list[Daemon]:
    """The daemons whose heartbeat is young enough."""
    return [each for each in daemons if now - each.heartbeat_at < SILENT_AFTER]


def unattended(settings: Settings, daemons: list[Daemon], now: datetime) -> bool:
    """Whether what is due waits for workers of which none gives a sign of life."""
    if settings.cluster == "embedded":
        return False
    return all(ticks(each) for each in alive(daemons, now))


def ticks(one: Daemon) -> bool:
    """Whether it looks what is due; a worker runs what others tell it."""
    return one.role is Role.DAEMON
