"""What the store and the configuration together say about one sync, gathered once."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from syncd.clock import Clock
from syncd.config.feeds import what_feeds
from syncd.config.settings import Settings, SyncSettings
from syncd.model import BatchState, Fed, Outcome
from syncd.report.due import next_times, shift
from syncd.report.states import Promise, Seen, State, overdue, state_of
from syncd.store import (
    acknowledged,
    bindings,
    connections,
    failovers,
    figures,
    latest_runs,
    leases,
    ledger,
    pauses,
    runs,
    unsettled,
)
from syncd.store.bindings import Binding
from syncd.store.connections import ConnectionState
from syncd.store.database import Connection
from syncd.store.figures import Outbox
from syncd.store.pauses import Pause
from syncd.store.runs import Run
from syncd.store.unaccepted import Count
from syncd.windows import closed_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """A run without an end."""

    run: Run
    alive: bool
    """False: its process died; the next start closes it and goes on."""
    share: float | None
    """How much of what it sends was answered, 0 to 1; None before it sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One line of `status`."""

    sync: SyncSettings
    state: State
    overdue: timedelta | None
    """How long it has been stale."""
    last_success_at: datetime | None
    failures_in_a_row: int
    next_at: datetime | None
    """Jitter included; None while it waits for a person, or has no due times."""
    newest: Run | None
    """The newest run that is not a skipped slot."""
    held: Run | None
    """The run whose plan waits for a person."""
    pause: Pause | None
    """Who paused it; None while nobody did."""
    unreconciled: datetime | None = None
    """When a failover was noticed since which what is there was not compared."""
    unheard: datetime | None = None
    """When one was noticed that may have lost what was pushed to it."""
    fed: Fed | None = None
    """What is pushed to it; None: whole lists do alone."""
    changed: Run | None
    """The newest run that moved somebody in or out."""
    activity: Activity | None
    external_id: str | None
    """The cohort's id at the destination."""
    members: int | None
    """Acknowledged members; None before the first run."""
    waiting: tuple[int, int]
    """(batches, ids) that are still to be sent, or have no proven answer."""
    dead: tuple[int, int]
    """(batches, ids) that the destination refused for good."""
    unaccepted: list[Count]
    connections: tuple[ConnectionState, ...]
    """Of the destination, and of the source where that is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is read for all syncs together."""

    now: datetime
    wall: datetime
    recent: Mapping[str, list[Run]]
    """Sync -> those of its newest runs that tell how it is, newest first."""
    first_seen: Mapping[str, datetime]
    held: Mapping[str, Run]
    paused: Mapping[str, Pause]
    unfinished: Mapping[str, Run]
    """Sync -> its newest run without an end."""
    unreconciled: Mapping[str, datetime]
    unheard: Mapping[str, datetime]
    put_off: Mapping[str, Collection[str]]
    """Reason -> the syncs of which slots were put off for it and not made up for."""
    connections: Mapping[str, ConnectionState]
    bindings: Mapping[str, Binding]
    """The one that a sync works on."""
    outbox: Mapping[tuple[str, BatchState], tuple[int, int]]
    """(sync, state) -> (batches, ids), if any."""
    unaccepted: Mapping[int, list[Count]]
    logs: Mapping[int, int]


def standing(
    connection: Connection, settings: Settings, sync: SyncSettings, clock: Clock
) -> Standing:
    """Everything about one sync."""
    (one,) = standings(connection, settings, [sync], clock)
    return one


def standings(
    connection: Connection,
    settings: Settings,
    syncs: Sequence[SyncSettings],
    clock: Clock,
) -> list[Standing]:
    """Everything about each sync. Reads members only where no run says how many.

    As many queries for hundreds of syncs as for one; more for those that are running,
    or fail for long.
    """
    known = _read(connection, [sync.name for sync in syncs], clock)
    return [_standing(connection, settings, sync, known) for sync in syncs]


def _read(connection: Connection, names: Sequence[str], clock: Clock) -> _Known:
    now = clock.now()
    held = latest_runs.waiting_for_a_person(connection)
    current = bindings.current_of_each(connection, names)
    ids = [each.id for each in current.values()]
    return _Known(
        now=now,
        wall=clock.wall(),
        recent=latest_runs.telling_each(connection, names),
        first_seen=figures.first_seen(connection),
        held={name: run for name, run in held.items() if waits(run, now)},
        paused=pauses.all_in_force(connection, now),
        unfinished={each.sync: each for each in runs.unfinished(connection)},
        unreconciled=failovers.all_since(connection),
        unheard=failovers.all_unheard(connection),
        put_off={
            reason: latest_runs.put_off(connection, [reason], now, names)
            for reason in (runs.BLACKOUT, runs.PAUSED)
        },
        connections=connections.known(connection),
        bindings=current,
        outbox=_counts(figures.outbox(connection)),
        unaccepted=figures.unaccepted(connection, ids),
        logs=figures.logs(connection, ids),
    )


def _standing(
    connection: Connection, settings: Settings, sync: SyncSettings, known: _Known
) -> Standing:
    now, name, recent = known.now, sync.name, known.recent[sync.name]
    held, pause = known.held.get(name), known.paused.get(name)
    activity = _activity(connection, known.unfinished.get(name), known.wall)
    ends = dict.fromkeys((sync.target.connection, sync.source.connection))
    states = tuple(
        known.connections.get(each) or ConnectionState(name=each) for each in ends
    )
    success, failures = _since_success(connection, name, recent)
    fed = what_feeds(settings, sync)
    unheard = known.unheard.get(name) if fed is not None else None
    seen = Seen(
        first_seen_at=known.first_seen.get(name),
        last_success_at=success,
        failures_in_a_row=failures,
        held=held is not None or _target_held(recent),
        connection_stopped=any(each.stopped_at for each in states),
        running=activity is not None and activity.alive,
        paused=pause is not None,
        unreconciled=name in known.unreconciled or unheard is not None,
    )
    promise = promise_of(settings, sync)
    current = known.bindings.get(name)
    return Standing(
        sync=sync,
        state=state_of(promise, seen, now),
        overdue=overdue(promise, seen, now),
        last_success_at=seen.last_success_at,
        failures_in_a_row=seen.failures_in_a_row,
        next_at=None if held else _next(settings, sync, known),
        newest=recent[0] if recent else None,
        held=held,
        pause=pause,
        unreconciled=known.unreconciled.get(name),
        unheard=unheard,
        fed=fed,
        changed=next((each for each in recent if _moved(each.summary)), None),
        activity=activity,
        external_id=current.external_id if current else None,
        members=_members(connection, current, known) if current else None,
        waiting=known.outbox.get((name, BatchState.OPEN), (0, 0)),
        dead=known.outbox.get((name, BatchState.DEAD), (0, 0)),
        unaccepted=known.unaccepted.get(current.id, []) if current else [],
        connections=states,
    )


def promise_of(settings: Settings, sync: SyncSettings) -> Promise:
    """The part of a sync's settings that its state is judged by."""
    return Promise(
        enabled=sync.enabled,
        schedule=sync.schedule,
        jitter=shift(settings, sync),
        fresh_within=sync.fresh_within,
        blackout=sync.blackout,
    )


def waits(held: Run | None, now: datetime) -> Run | None:
    """The held run, unless its time is over (the next run drops its plan)."""
    if held is None or held.hold_expires_at is None or held.hold_expires_at <= now:
        return None
    return held


def is_alive(connection: Connection, run: Run, wall: datetime) -> bool:
    """Whether the run has no end yet, and some process works on it."""
    return run.outcome is None and leases.in_other_hands(connection, run.sync, "", wall)


def progress(connection: Connection, run: Run) -> float | None:
    """The share of a run's ids that were answered; None while it sends nothing."""
    if run.phase != "deliver":
        return None
    owned = [each.id for each in bindings.of_sync(connection, run.sync)]
    left = unsettled.count(connection, owned, BatchState.OPEN)[1]
    totals = ledger.totals(connection, run.id)
    settled = totals.entered + totals.exited + totals.unmatched + totals.rejected
    return settled / (settled + left) if settled + left else None


def _since_success(
    connection: Connection, name: str, recent: Sequence[Run]
) -> tuple[datetime | None, int]:
    """When the last good run ended, and how many failed since."""
    failed = 0
    for each in recent:
        if each.outcome in runs.OK:
            return each.finished_at, failed
        failed += each.outcome is Outcome.FAILED
    if len(recent) < latest_runs.LOOK_BACK:
        return None, failed
    found = runs.latest(connection, sync_name=name, outcomes=runs.OK)
    ended = found[0].finished_at if found else None
    return ended, runs.failures_in_a_row(connection, name)


def _activity(
    connection: Connection, newest: Run | None, wall: datetime
) -> Activity | None:
    if newest is None:
        return None
    return Activity(
        run=newest,
        alive=is_alive(connection, newest, wall),
        share=progress(connection, newest),
    )


def _next(settings: Settings, sync: SyncSettings, known: _Known) -> datetime | None:
    """When the next run begins by itself: after a pause and outside of blackouts."""
    now, pause = known.now, known.paused.get(sync.name)
    if not sync.enabled or (pause is not None and pause.until is None):
        return None
    begins = now if pause is None or pause.until is None else pause.until
    due = next_times(settings, sync, begins, 1)
    if not due:
        return None
    # What was put off, or will be until a pause is over, runs as soon as it may.
    made_up = sync.catch_up == "once"
    reasons = (runs.BLACKOUT, runs.PAUSED) if made_up else (runs.BLACKOUT,)
    passes = pause is not None and next_times(settings, sync, now, 1)[0] < begins
    waits_since = any(sync.name in known.put_off[reason] for reason in reasons)
    if waits_since or (passes and made_up):
        due = [begins]
    return closed_until(sync.blackout, due[0]) or due[0]


def _counts(
    outbox: Iterable[Outbox],
) -> dict[tuple[str, BatchState], tuple[int, int]]:
    found: dict[tuple[str, BatchState], tuple[int, int]] = {}
    for each in outbox:
        key = each.sync, each.state
        batches, ids = found.get(key, (0, 0))
        found[key] = batches + each.batches, ids + each.ids
    return found


def _target_held(recent: list[Run]) -> bool:
    """Held without a plan: the target itself must not be written to."""
    return any(
        newest.outcome is Outcome.HELD and newest.plan_hash is None
        for newest in recent[:1]
    )


def _moved(numbers: Mapping[str, Any]) -> bool:
    return bool(numbers.get("entered") or numbers.get("exited"))


def _members(connection: Connection, binding: Binding, known: _Known) -> int:
    """Acknowledged members, exactly; from the newest run where that one knows."""
    if not known.logs.get(binding.id):
        return binding.members
    running = binding.sync in known.unfinished
    for run in known.recent[binding.sync] if not running else []:
        after = run.summary.get("members_after")
        if after is not None:
            return int(after)
        if run.summary.get("sent", 0):
            break
    return acknowledged.count(connection, binding, known.now)
