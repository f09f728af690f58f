"""When syncs run next, and what may keep them from it, as JSON."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from syncd.config.settings import Settings, SyncSettings
from syncd.report.clock_changes import notes
from syncd.report.due import next_times, shift
from syncd.schedule import describe, explain
from syncd.windows import closed_until, window_at

COMING, FARTHEST = 5, 1_000
"""How many coming times are told: where nobody says it, and at most."""


def schedules_document(
    settings: Settings, syncs: Sequence[SyncSettings], now: datetime, count: int
) -> dict[str, Any]:
    """What `schedule --json` says: `count` coming times of each sync."""
    documents = [_sync_document(settings, one, now, count) for one in syncs]
    return {"now": now, "syncs": documents}


def _sync_document(
    settings: Settings, sync: SyncSettings, now: datetime, count: int
) -> dict[str, Any]:
    times = next_times(settings, sync, now, count) if sync.enabled else []
    return {
        "name": sync.name,
        "enabled": sync.enabled,
        "schedule": describe(sync.schedule),
        "words": explain(sync.schedule),
        "timezone": sync.timezone,
        "jitter_seconds": int(shift(settings, sync).total_seconds()) if times else 0,
        "next": times,
        "blackout": list(dict.fromkeys(window.name for window in sync.blackout)),
        "put_off": [
            {"due_at": t, "window": window.name, "begins_at": begins}
            for t in times
            if (window := window_at(sync.blackout, t)) is not None
            and (begins := closed_until(sync.blackout, t)) is not None
        ],
        "notes": notes(sync.schedule, now),
    }
