"""What is read of the store for all syncs together, and asked of it for one."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from syncd.clock import Clock
from syncd.config.feeds import fed
from syncd.config.settings import Settings, SyncSettings
from syncd.report import states
from syncd.report.arrivals import is_silent
from syncd.report.standing import promise_of
from syncd.report.states import overdue
from syncd.store import figures, inbox, latest_runs, pauses, runs, verifications
from syncd.store.database import Connection
from syncd.store.figures import Outbox
from syncd.store.runs import Run
from syncd.store.verifications import Verification
from syncd.windows import closed_until

AFTERWARDS = timedelta(minutes=30)
"""So long after a pause or a blackout nobody is told that a sync is stale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is read for all syncs together."""

    settings: Settings
    now: datetime
    stopped: Collection[str]
    paused: Collection[str]
    outbox: list[Outbox]
    verified: Mapping[str, Verification]
    silent: Mapping[str, datetime | None]
    """Sync of which nothing arrives although its size moves -> its last word."""
    started: Mapping[str, datetime]
    """Sync -> begin of its run in progress."""
    first_seen: Mapping[str, datetime]
    held: Mapping[str, Run]
    """Sync -> its run whose plan waits for a person, or waited until its time was
    over."""
    recent: Mapping[str, list[Run]]
    """Those of the newest runs that tell how a sync is, newest first."""

    def is_on_its_way(self, sync: SyncSettings) -> bool:
        """Whether a run goes on that may make it fresh."""
        began = self.started.get(sync.name)
        return began is not None and self.now - began < sync.max_runtime


@dataclass(slots=True)
class Lately:
    """When each sync was last paused or in a blackout, as far as this process saw it.

    What was put off runs first thing afterwards; until then a sync is not late.
    """

    quiet_at: dict[str, datetime] = field(default_factory=dict)

    def note(self, syncs: Collection[str], now: datetime) -> None:
        """These are quiet now."""
        self.quiet_at |= dict.fromkeys(syncs, now)

    def was_quiet(self, sync: SyncSettings, now: datetime) -> bool:
        """Whether it is, or was within `AFTERWARDS`."""
        at = self.quiet_at.get(sync.name)
        if at is not None and timedelta(0) <= now - at < AFTERWARDS:
            return True
        return closed_until(sync.blackout, now - AFTERWARDS) is not None


def read(connection: Connection, settings: Settings, clock: Clock) -> Known:
    """A few queries, however many syncs there are; those with a feed cost one each."""
    now = clock.now()
    return Known(
        settings=settings,
        now=now,
        stopped=figures.stopped(connection),
        paused=pauses.all_in_force(connection, now),
        outbox=figures.outbox(connection),
        verified=verifications.known(connection),
        silent=_silent(connection, settings),
        started={each.sync: each.started_at for each in runs.unfinished(connection)},
        first_seen=figures.first_seen(connection),
        held=latest_runs.waiting_for_a_person(connection),
        recent=latest_runs.telling_each(
            connection, [sync.name for sync in settings.syncs]
        ),
    )


def _silent(connection: Connection, settings: Settings) -> dict[str, datetime | None]:
    rows = ((sync, inbox.find(connection, feed)) for sync, feed in fed(settings))
    return {
        sync.name: row.last_at
        for sync, row in rows
        if row is not None and is_silent(row)
    }


def is_quiet(known: Known, sync: SyncSettings) -> bool:
    """Whether a person or a window stops it now."""
    in_blackout = closed_until(sync.blackout, known.now) is not None
    return in_blackout or sync.name in known.paused


def ends(sync: SyncSettings) -> set[str]:
    """The connections it needs."""
    return {sync.source.connection, sync.target.connection}


def overdue_by(
    connection: Connection, known: Known, sync: SyncSettings
) -> timedelta | None:
    """How long it has been stale; None while it is fresh."""
    seen = states.Seen(
        first_seen_at=known.first_seen.get(sync.name),
        last_success_at=last_success(connection, known, sync.name),
    )
    return overdue(promise_of(known.settings, sync), seen, known.now)


def last_success(connection: Connection, known: Known, name: str) -> datetime | None:
    """When the last good run ended; asked of the store where that was long ago."""
    recent = known.recent[name]
    found = [run for run in recent if run.outcome in runs.OK]
    if not found and len(recent) >= latest_runs.LOOK_BACK:
        found = runs.latest(connection, sync_name=name, outcomes=runs.OK)
    return found[0].finished_at if found else None
