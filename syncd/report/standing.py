"""What the store and the configuration together say about one sync, gathered once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from syncd.clock import Clock
from syncd.config.settings import Settings, SyncSettings
from syncd.model import BatchState, Outcome
from syncd.report.due import next_times, shift
from syncd.report.states import Promise, Seen, State, overdue, state_of
from syncd.store import (
    acknowledged,
    bindings,
    connections,
    leases,
    ledger,
    outbox,
    pauses,
    runs,
    unaccepted,
)
from syncd.store.bindings import Binding
from syncd.store.connections import ConnectionState
from syncd.store.database import Connection
from syncd.store.pauses import Pause
from syncd.store.runs import Run
from syncd.store.unaccepted import Count
from syncd.windows import closed_until

RAN = tuple(outcome for outcome in Outcome if outcome is not Outcome.SKIPPED)
"""How runs end that did begin."""

_LOOK_BACK = 50
"""Runs in which the last change is looked for."""


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


def standing(
    connection: Connection, settings: Settings, sync: SyncSettings, clock: Clock
) -> Standing:
    """Everything about one sync. Reads the members only where no run says how many."""
    now, name = clock.now(), sync.name
    recent = _recent(connection, name)
    held = waits(runs.waiting_for_a_person(connection, name), now)
    pause = pauses.in_force(connection, name, now)
    activity = _activity(connection, name, clock.wall())
    ends = dict.fromkeys((sync.target.connection, sync.source.connection))
    states = tuple(connections.get(connection, each) for each in ends)
    seen = Seen(
        first_seen_at=runs.first_seen(connection, name),
        last_success_at=_last_success(connection, name),
        failures_in_a_row=runs.failures_in_a_row(connection, name),
        held=held is not None or _target_held(recent),
        connection_stopped=any(each.stopped_at for each in states),
        running=activity is not None and activity.alive,
        paused=pause is not None,
    )
    promise = promise_of(settings, sync)
    owned = [each.id for each in bindings.of_sync(connection, name)]
    current = bindings.current(connection, name)
    return Standing(
        sync=sync,
        state=state_of(promise, seen, now),
        overdue=overdue(promise, seen, now),
        last_success_at=seen.last_success_at,
        failures_in_a_row=seen.failures_in_a_row,
        next_at=None if held else _next(connection, settings, sync, pause, now),
        newest=recent[0] if recent else None,
        held=held,
        pause=pause,
        changed=next((each for each in recent if _moved(each.summary)), None),
        activity=activity,
        external_id=current.external_id if current else None,
        members=_members(connection, current, recent, now) if current else None,
        waiting=outbox.count(connection, owned, BatchState.OPEN),
        dead=outbox.count(connection, owned, BatchState.DEAD),
        unaccepted=unaccepted.counts(connection, [current.id] if current else []),
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
    owned = [each.id for each in bindings.of_sync(connection, run.sync)]
    left = outbox.count(connection, owned, BatchState.OPEN)[1]
    totals = ledger.totals(connection, run.id)
    settled = totals.entered + totals.exited + totals.unmatched + totals.rejected
    if run.phase != "deliver" or not settled + left:
        return None
    return settled / (settled + left)


def _recent(connection: Connection, name: str) -> list[Run]:
    return runs.latest(connection, sync_name=name, outcomes=RAN, limit=_LOOK_BACK)


def _last_success(connection: Connection, name: str) -> datetime | None:
    found = runs.latest(connection, sync_name=name, outcomes=runs.OK)
    return found[0].finished_at if found else None


def _activity(connection: Connection, name: str, wall: datetime) -> Activity | None:
    unfinished = runs.unfinished(connection, name)
    if not unfinished:
        return None
    newest = unfinished[-1]
    return Activity(
        run=newest,
        alive=is_alive(connection, newest, wall),
        share=progress(connection, newest),
    )


def _next(
    connection: Connection,
    settings: Settings,
    sync: SyncSettings,
    pause: Pause | None,
    now: datetime,
) -> datetime | None:
    """When the next run begins by itself: after a pause and outside of blackouts."""
    if not sync.enabled or (pause is not None and pause.until is None):
        return None
    begins = now if pause is None or pause.until is None else pause.until
    due = next_times(settings, sync, begins, 1)
    if not due:
        return None
    # What was put off, or will be until a pause is over, runs as soon as it may.
    reasons = [runs.BLACKOUT, runs.PAUSED][: 2 if sync.catch_up == "once" else 1]
    passes = pause is not None and next_times(settings, sync, now, 1)[0] < begins
    if runs.was_put_off(connection, sync.name, reasons, now) or (
        passes and sync.catch_up == "once"
    ):
        due = [begins]
    return closed_until(sync.blackout, due[0]) or due[0]


def _target_held(recent: list[Run]) -> bool:
    """Held without a plan: the target itself must not be written to."""
    return any(
        newest.outcome is Outcome.HELD and newest.plan_hash is None
        for newest in recent[:1]
    )


def _moved(numbers: Mapping[str, Any]) -> bool:
    return bool(numbers.get("entered") or numbers.get("exited"))


def _members(
    connection: Connection, binding: Binding, recent: list[Run], now: datetime
) -> int:
    """Acknowledged members, exactly; from the newest run where that one knows."""
    if acknowledged.log_size(connection, binding.id).ids == 0:
        return binding.members
    for run in recent if not runs.unfinished(connection, binding.sync) else []:
        known = run.summary.get("members_after")
        if known is not None:
            return int(known)
        if run.summary.get("sent", 0):
            break
    return acknowledged.count(connection, binding, now)
