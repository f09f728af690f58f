"""When the syncs of a configuration run next, as every verb says it."""

from datetime import datetime, timedelta

from syncd.config.settings import Settings, SyncSettings
from syncd.schedule import Manual, Once, next_after, offset
from syncd.windows import closed_until


def shift(settings: Settings, sync: SyncSettings) -> timedelta:
    """The sync's share of its jitter: added to each due time."""
    return offset(settings.instance, sync.name, sync.jitter)


def next_times(
    settings: Settings, sync: SyncSettings, now: datetime, count: int
) -> list[datetime]:
    """The next `count` starts after `now`, jitter included; empty without due times."""
    added = shift(settings, sync)
    times: list[datetime] = []
    due = next_after(sync.schedule, now - added)
    while due is not None and len(times) < count:
        times.append(due + added)
        due = next_after(sync.schedule, due)
    return times


def next_start(
    settings: Settings, sync: SyncSettings, now: datetime
) -> datetime | None:
    """When the next run begins by itself: a due time in a blackout waits for its end"""
    due = next_times(settings, sync, now, 1)
    return (closed_until(sync.blackout, due[0]) or due[0]) if due else None


def without_times(sync: SyncSettings) -> str:
    """What to say instead of a next time; empty for a sync that has one."""
    if not sync.enabled:
        return "off (enabled: false)"
    match sync.schedule:
        case Once():
            return "at once, until it succeeded"
        case Manual():
            return f"by hand: syncd run {sync.name}"
        case _:
            return ""
