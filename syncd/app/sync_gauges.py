"""What the store and the configuration say about each sync, as numbers for a scrape.

Instants are Unix times on the clock of the runs. Nothing here reads members.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from syncd.app.slots import shift
from syncd.app.writing import direction_of
from syncd.config.feeds import feed_of
from syncd.config.settings import Settings, SyncSettings
from syncd.metrics import guard_word
from syncd.model import BatchState, Outcome
from syncd.report.arrivals import is_silent
from syncd.schedule import describe, next_after, shortest_period
from syncd.store import figures, inbox, latest_runs, pauses, runs, verifications
from syncd.store.database import Connection
from syncd.store.figures import Baseline, Outbox
from syncd.store.runs import Run
from syncd.store.verifications import Verification
from syncd.sync.guard import Guard
from syncd.windows import closed_until

Sample = tuple[str, tuple[str, ...], float]
"""(metric, values of its labels in their order, value)."""

SYNC = ("sync",)
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "syncd_sync_info": (
        "1; what a sync is.",
        ("sync", "direction", "owner", "schedule"),
    ),
    "syncd_sync_enabled": ("0: `enabled: false`.", SYNC),
    "syncd_sync_paused": ("1: a person paused it.", SYNC),
    "syncd_sync_held": ("1: it waits for a person.", SYNC),
    "syncd_sync_interval_seconds": ("Shortest distance of its due times.", SYNC),
    "syncd_sync_freshness_target_seconds": ("`fresh_within`.", SYNC),
    "syncd_sync_max_runtime_seconds": ("`max_runtime`.", SYNC),
    "syncd_sync_last_success_timestamp_seconds": (
        "End of the last good run; before the first when the sync was configured.",
        SYNC,
    ),
    "syncd_sync_last_run_timestamp_seconds": ("End of the last run.", SYNC),
    "syncd_sync_next_run_timestamp_seconds": ("Next due time, with its jitter.", SYNC),
    "syncd_sync_consecutive_failures": ("Failed runs since the last good one.", SYNC),
    "syncd_run_in_progress": ("1 while a run has no end.", SYNC),
    "syncd_run_started_timestamp_seconds": ("Begin of the run in progress.", SYNC),
    "syncd_run_last_phase_duration_seconds": (
        "Phases of the last run.",
        ("sync", "phase"),
    ),
    "syncd_members": (
        "acknowledged: by the destination; source: in the list as last compared.",
        ("sync", "side"),
    ),
    "syncd_source_reported_members": (
        "Size that the owner of what is pushed gave last.",
        SYNC,
    ),
    "syncd_inbox_silent": (
        "1 since its audience changed its size without a push, until the next push.",
        SYNC,
    ),
    "syncd_verify_drift_ratio": (
        "Share of people who differed when the target was last read back.",
        SYNC,
    ),
    "syncd_verify_last_timestamp_seconds": ("When that was.", SYNC),
    "syncd_guard_tripped": ("1 while a plan is held by it.", ("sync", "guard")),
    "syncd_outbox_batches": (
        "Batches that are not settled: ready, retrying, held, dead.",
        ("sync", "state"),
    ),
    "syncd_outbox_members": ("Ids in them.", ("sync", "state")),
    "syncd_outbox_oldest_timestamp_seconds": (
        "Plan of the oldest that is ready, retrying or dead; 0: none.",
        SYNC,
    ),
}

_STATES = ("ready", "retrying", "held", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is read for all syncs together."""

    recent: Mapping[str, list[Run]]
    """Those of the newest runs that tell how a sync is, newest first."""
    listed: Mapping[str, Run]
    """The newest run that counted who is in the source."""
    first_seen: Mapping[str, datetime]
    held: Mapping[str, list[str]]
    baselines: Mapping[str, Baseline]
    outbox: Mapping[str, list[Outbox]]
    started: Mapping[str, datetime]
    """Begin of the run in progress."""
    paused: Collection[str]
    verified: Mapping[str, Verification]


def samples(
    connection: Connection, settings: Settings, now: datetime
) -> Iterator[Sample]:
    """Every sample of every configured sync."""
    names = [sync.name for sync in settings.syncs]
    known = _Known(
        recent=latest_runs.telling_each(connection, names),
        listed=latest_runs.newest_with(connection, names, "members"),
        first_seen=figures.first_seen(connection),
        held=figures.held(connection),
        baselines=figures.baselines(connection),
        outbox=_by_sync(figures.outbox(connection)),
        started={each.sync: each.started_at for each in runs.unfinished(connection)},
        paused=pauses.all_in_force(connection, now),
        verified=verifications.known(connection),
    )
    for sync in settings.syncs:
        recent = known.recent[sync.name]
        yield "syncd_sync_paused", (sync.name,), sync.name in known.paused
        yield from _configured(settings, sync, now)
        yield from _runs(connection, sync.name, recent, known)
        yield from _last_phases(sync.name, recent)
        yield from _guards(sync.name, recent, known)
        yield from _members(connection, sync, recent, known)
        yield from _outbox(sync.name, known.outbox.get(sync.name, []))
        yield from _verified(sync.name, known.verified)


def _by_sync(outbox: Iterable[Outbox]) -> dict[str, list[Outbox]]:
    found: dict[str, list[Outbox]] = {}
    for each in outbox:
        found.setdefault(each.sync, []).append(each)
    return found


def _configured(
    settings: Settings, sync: SyncSettings, now: datetime
) -> Iterator[Sample]:
    name = (sync.name,)
    target = settings.connections.get(sync.target.connection)
    direction = direction_of(target) if target is not None else ""
    info = (sync.name, direction, sync.team, describe(sync.schedule))
    yield "syncd_sync_info", info, 1
    yield "syncd_sync_enabled", name, sync.enabled
    period = shortest_period(sync.schedule)
    if period is not None:
        yield "syncd_sync_interval_seconds", name, period.total_seconds()
    if sync.fresh_within is not None:
        target_s = sync.fresh_within.total_seconds()
        yield "syncd_sync_freshness_target_seconds", name, target_s
    longest = sync.max_runtime.total_seconds()
    yield "syncd_sync_max_runtime_seconds", name, longest
    added = shift(settings, sync)
    due = next_after(sync.schedule, now - added) if sync.enabled else None
    if due is not None:
        begins = closed_until(sync.blackout, due + added) or due + added
        at = begins.timestamp()
        yield "syncd_sync_next_run_timestamp_seconds", name, at


def _runs(
    connection: Connection, name: str, recent: list[Run], known: _Known
) -> Iterator[Sample]:
    label = (name,)
    good, failures = _since_good(connection, name, recent)
    since = good.finished_at if good is not None else known.first_seen.get(name)
    if since is not None:
        at = since.timestamp()
        yield "syncd_sync_last_success_timestamp_seconds", label, at
    if recent and recent[0].finished_at is not None:
        ended = recent[0].finished_at.timestamp()
        yield "syncd_sync_last_run_timestamp_seconds", label, ended
    yield "syncd_sync_consecutive_failures", label, failures
    started = known.started.get(name)
    yield "syncd_run_in_progress", label, started is not None
    if started is not None:
        yield "syncd_run_started_timestamp_seconds", label, started.timestamp()


def _since_good(
    connection: Connection, name: str, recent: list[Run]
) -> tuple[Run | None, int]:
    """The last good run, and how many failed since."""
    failed = 0
    for each in recent:
        if each.outcome in runs.OK:
            return each, failed
        failed += each.outcome is Outcome.FAILED
    if len(recent) < latest_runs.LOOK_BACK:
        return None, failed
    good = runs.latest(connection, sync_name=name, outcomes=runs.OK)
    return (good[0] if good else None), runs.failures_in_a_row(connection, name)


def _last_phases(name: str, recent: list[Run]) -> Iterator[Sample]:
    times = recent[0].summary.get("phase_ms", {}) if recent else {}
    for phase, ms in times.items():
        yield "syncd_run_last_phase_duration_seconds", (name, phase), ms / 1000


def _guards(name: str, recent: list[Run], known: _Known) -> Iterator[Sample]:
    tripped = known.held.get(name, [])
    newest = recent[0] if recent else None
    target_held = (
        newest is not None
        and newest.outcome is Outcome.HELD
        and newest.plan_hash is None
    )
    yield "syncd_sync_held", (name,), bool(tripped) or target_held
    for guard in Guard:
        labels = (name, guard_word(guard))
        yield "syncd_guard_tripped", labels, guard in tripped


def _members(
    connection: Connection, sync: SyncSettings, recent: list[Run], known: _Known
) -> Iterator[Sample]:
    baseline, name = known.baselines.get(sync.name), sync.name
    if baseline is not None:
        # None: the run that moved people is not over, or died. What was known before.
        members = baseline.members
        members = _newest(recent, "members_after") if members is None else members
        if members is not None:
            yield "syncd_members", (name, "acknowledged"), members
    counted = known.listed.get(name)
    listed = counted.summary["members"] if counted is not None else None
    if listed is None and baseline is not None:
        listed = baseline.listed
    if listed is not None:
        yield "syncd_members", (name, "source"), listed
    feed = feed_of(sync)
    row = inbox.find(connection, feed) if feed is not None else None
    if row is not None:
        yield "syncd_inbox_silent", (name,), is_silent(row)
    if row is not None and row.reported is not None:
        yield "syncd_source_reported_members", (name,), row.reported


def _verified(name: str, verified: Mapping[str, Verification]) -> Iterator[Sample]:
    """Nothing of a sync that was never verified: no drift is not a drift of 0."""
    last = verified.get(name)
    if last is not None:
        yield "syncd_verify_drift_ratio", (name,), last.drift
        at = last.at.timestamp()
        yield "syncd_verify_last_timestamp_seconds", (name,), at


def _newest(recent: list[Run], number: str) -> int | None:
    """As the newest run says that knows it."""
    found = (each.summary.get(number) for each in recent)
    return next((each for each in found if each is not None), None)


def _outbox(name: str, ours: list[Outbox]) -> Iterator[Sample]:
    for state in _STATES:
        there = [each for each in ours if _state(each) == state]
        labels = (name, state)
        yield "syncd_outbox_batches", labels, sum(each.batches for each in there)
        yield "syncd_outbox_members", labels, sum(each.ids for each in there)
    oldest = [
        each.oldest.timestamp()
        for each in ours
        if each.oldest is not None and each.state is not BatchState.HELD
    ]
    at = min(oldest, default=0.0)
    yield "syncd_outbox_oldest_timestamp_seconds", (name,), at


def _state(each: Outbox) -> str:
    if each.state is BatchState.OPEN:
        return "retrying" if each.tried else "ready"
    return each.state.value
