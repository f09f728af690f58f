"""Beginning a run: T1, the lease, the slot and a run in progress, or nothing at all.

A sync belongs to whoever holds its lease. One that was taken over from a process that
died says so: a request of that process may still land.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from syncd import events
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.model import Trigger
from syncd.store import bindings, doubts, failovers, leases, pauses, runs
from syncd.store.database import Connection
from syncd.store.holders import shown
from syncd.store.leases import Held, Lease
from syncd.sync import failing_over
from syncd.sync.run_id import run_id
from syncd.sync.spec import Report, Spec
from syncd.sync.steps import Parts, Run


class Busy(SyncdError):
    """Another process is working on this sync."""

    code = "sync.busy"


class WaitsForPerson(SyncdError):
    """The sync's last plan is held; nothing is read or sent until it is decided on."""

    code = "sync.held"

    def __init__(self, held: runs.Run) -> None:
        super().__init__(
            f"{held.sync} is held by run {held.short_id}: "
            f"{held.summary.get('message', held.reason)}",
            hint=f"syncd show {held.short_id}",
        )


def begin(
    parts: Parts,
    spec: Spec,
    trigger: Trigger,
    slot: datetime | None,
    *,
    even_paused: bool,
) -> Run | None:
    """T1: the lease, the slot and a run in progress, or nothing at all."""
    now = parts.clock.now()
    report = _report_of(spec, trigger, slot, now)
    with parts.database.begin() as connection:
        lease = _acquire(connection, parts, spec)
        marked = failovers.look(connection, now, lossless=parts.lossless)
        waiting = failovers.since(connection, spec.name)
        if not even_paused:
            # An approval too: who paused it was told that nothing of it is sent.
            pauses.require_none(connection, spec.name, now)
        _require_none_held(connection, spec.name, trigger)
        began = runs.begin(
            connection,
            run_id=report.run_id,
            sync_name=spec.name,
            slot=slot,
            trigger=trigger,
            config_hash=spec.config_hash,
            now=now,
        )
        if not began:
            _leave(connection, parts, spec, lease)
    # Its marks are written, whoever has the slot: nobody else would say so.
    failing_over.noticed(marked)
    if not began:
        return None
    emit(events.LEASE_ACQUIRED, sync=spec.name, holder=lease.holder, fence=lease.fence)
    return Run(parts=parts, spec=spec, lease=lease, report=report, unreconciled=waiting)


def _report_of(
    spec: Spec, trigger: Trigger, slot: datetime | None, now: datetime
) -> Report:
    return Report(
        run_id=run_id(now, secrets.randbits(74)),
        sync=spec.name,
        trigger=trigger,
        started_at=now,
        slot=slot,
    )


def _require_none_held(connection: Connection, name: str, trigger: Trigger) -> None:
    held = runs.waiting_for_a_person(connection, name)
    if held is not None and trigger is not Trigger.APPROVE:
        raise WaitsForPerson(held)


def _leave(connection: Connection, parts: Parts, spec: Spec, lease: Lease) -> None:
    """Somebody else took the slot: nothing was begun."""
    leases.end(connection, lease, parts.clock.wall(), quiet=_is_quiet(parts, spec))


def _acquire(connection: Connection, parts: Parts, spec: Spec) -> Lease:
    lease = leases.acquire(
        connection, spec.name, parts.holder, parts.clock.wall(), parts.lease_ttl
    )
    if isinstance(lease, Held):
        raise Busy(
            f"{spec.name} is being run by {shown(lease.holder)}", hint="syncd status"
        )
    if lease.taken_over:
        owned = [each.id for each in bindings.of_sync(connection, spec.name)]
        doubts.of_open(connection, owned, parts.clock.now(), spec.late_landings)
        # Already now: a COMMIT whose answer is lost makes the lease ours as well.
        parts.mind_late_requests(spec)
    return lease


def _is_quiet(parts: Parts, spec: Spec) -> bool:
    """Whether no request of a dead process may still land, as far as we remember."""
    return parts.quiet_at(spec) <= parts.clock.now()


@contextmanager
def leased(parts: Parts, spec: Spec) -> Iterator[Lease]:
    """The sync for this process alone, without a run. Raises `Busy`.

    A lease taken over from a dead process is not given back: its last request may still
    land, and the next run, here or elsewhere, must know that.
    """
    with parts.database.begin() as connection:
        lease = _acquire(connection, parts, spec)
    parts.writer.keep(lease)
    try:
        yield lease
    finally:
        parts.writer.let_go(lease)
        with parts.database.begin() as connection:
            quiet = _is_quiet(parts, spec)
            leases.end(connection, lease, parts.clock.wall(), quiet=quiet)
