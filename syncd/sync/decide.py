"""What a person decides about a held plan: approve, reject, or let it expire.

An approval is bound to the plan as it was shown: the batches that were stored while
it was held are the ones that are sent, byte for byte.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd import events
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.model import SnapshotDigest, Trigger
from syncd.store import (
    bindings,
    compaction,
    doubts,
    installation,
    leases,
    outbox,
    runs,
    unaccepted,
)
from syncd.store.bindings import Binding, Role
from syncd.store.database import Connection, Database
from syncd.store.installation import Action
from syncd.sync import credentials
from syncd.sync.commit import drop_plan, reopen_retiring
from syncd.sync.guard import Guard
from syncd.sync.run import deliver_and_conclude, run
from syncd.sync.spec import Report, Spec
from syncd.sync.steps import Parts, Run


class NotDecidable(SyncdError):
    """There is no such plan to decide on, or it no longer fits the configuration."""

    code = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who decided what about which held run, and why."""

    run_id: str
    actor: str
    via: str
    """cli, socket or web."""
    reason: str


def approve(parts: Parts, spec: Spec, decision: Decision) -> Report | None:
    """Send exactly the held plan, as a run with trigger `approve`.

    Raises `NotDecidable` when the run holds no plan, the plan expired, or the sync's
    identity changed since.
    """
    with parts.database.read() as connection:
        _held(connection, spec, decision.run_id, parts.clock.now(), lock=False)

    def story(run: Run) -> None:
        credentials.require_open(run)
        count = _open_plan(run, decision)
        run.report.numbers["batches"] = count
        deliver_and_conclude(run)

    return run(parts, spec, Trigger.APPROVE, story=story)


def reject(parts: Parts, spec: Spec, decision: Decision) -> None:
    """Delete the held plan; the baseline stays, the next run compares again."""
    now = parts.clock.now()
    with parts.database.begin() as connection:
        held = _held(connection, spec, decision.run_id, now, fits=False)
        batches = drop_plan(connection, held)
        installation.record(connection, _action("reject", held, decision, now))
    emit(events.GUARD_REJECTED, **_decided(held, decision, batches))
    emit(events.OPERATOR_REJECTED, sync=spec.name, **_who(decision))


def expire(database: Database, sync_name: str, now: datetime) -> bool:
    """Drop a held plan nobody decided on in time; True if there was one."""
    with database.begin() as connection:
        held = runs.waiting_for_a_person(connection, sync_name, lock=True)
        if held is None or held.hold_expires_at is None or held.hold_expires_at > now:
            return False
        drop_plan(connection, held)
    emit(
        events.GUARD_EXPIRED,
        sync=sync_name,
        run_id=held.id,
        guard=held.reason,
        held_at=held.started_at,
        plan_hash=held.plan_hash,
    )
    return True


def _held(
    connection: Connection,
    spec: Spec,
    run_id: str,
    now: datetime,
    *,
    fits: bool = True,
    lock: bool = True,
) -> runs.Run:
    held = runs.waiting_for_a_person(connection, spec.name, lock=lock)
    # Without an outcome nobody was told of it: the store failed before its run ended.
    if held is None or held.id != run_id or held.outcome is None:
        raise NotDecidable(
            f"run {run_id[-8:]} holds no plan that waits for a decision",
            code="hold.none",
            hint=f"syncd runs {spec.name}",
        )
    if held.hold_expires_at is not None and held.hold_expires_at <= now:
        raise NotDecidable(
            f"the plan of run {held.short_id} expired at {held.hold_expires_at:%H:%M} "
            "UTC",
            code="hold.expired",
            hint=f"syncd run {spec.name}",
        )
    if fits and held.summary.get("identity") != spec.identity.hash:
        raise NotDecidable(
            f"the configuration of {spec.name} changed since run {held.short_id}",
            code="hold.changed",
            hint=f"syncd reject {held.short_id}",
        )
    return held


def _open_plan(run: Run, decision: Decision) -> int:
    """One transaction: the held plan takes the place of every open and dead batch."""
    parts, spec = run.parts, run.spec
    now = parts.clock.now()
    with parts.database.begin() as connection:
        leases.check(connection, run.lease, parts.clock.wall())
        held = _held(connection, spec, decision.run_id, now)
        old = bindings.current(connection, spec.name)
        work = _switch(connection, spec, old)
        if old is not None:
            outbox.take_over(connection, old.id)
            # The plan was made after that moment, and asserts whom it may concern.
            doubts.settle(connection, old.id, held.started_at)
            if _lost_baseline(held):
                compaction.accept_baseline(connection, old.id)
        unaccepted.forget_with(connection, work.id, held.id)
        reopen_retiring(connection, run, now)
        count = _open_batches(connection, run, now)
        digest = SnapshotDigest(
            count=held.summary["digest"][0], total=held.summary["digest"][1]
        )
        bindings.plan_went_out(
            connection,
            work.id,
            digest,
            spec.identity.source,
            held.summary.get("mark"),
        )
        if work.external_id is None:
            bindings.intend_creation(connection, work.id, now)
        runs.settle_hold(connection, held.id)
        runs.enter_phase(connection, run.report.run_id, "deliver")
        installation.record(connection, _action("approve", held, decision, now))
    run.binding = work
    _copy_plan_numbers(run, held)
    emit(events.GUARD_APPROVED, **_decided(held, decision, count))
    emit(events.OPERATOR_APPROVED, **_who(decision))
    return count


def _lost_baseline(held: runs.Run) -> bool:
    return any(
        trip["guard"] == Guard.BASELINE for trip in held.summary.get("trips", ())
    )


def _copy_plan_numbers(run: Run, held: runs.Run) -> None:
    shown = ("members", "members_before", "to_enter", "to_exit", "exit_ratio")
    run.report.numbers |= {
        name: held.summary[name] for name in shown if name in held.summary
    }
    run.report.numbers["approves"] = held.id


def _switch(connection: Connection, spec: Spec, old: Binding | None) -> Binding:
    """Make the prepared binding the current one, if the plan changes the identity."""
    prepared = bindings.prepared(connection, spec.name)
    if prepared is None:
        current = bindings.current(connection, spec.name)
        if current is None:
            raise NotDecidable(f"{spec.name} has no baseline to apply the plan to")
        return current
    if old is not None:
        emptied = old.external_id is not None and (
            old.external_id == prepared.external_id
            and old.connection == prepared.connection
        )
        role = Role.RETIRING if emptied else Role.RETIRED
        bindings.set_role(connection, old.id, role)
    bindings.set_role(connection, prepared.id, Role.CURRENT)
    return bindings.get(connection, prepared.id)


def _open_batches(connection: Connection, run: Run, now: datetime) -> int:
    return sum(
        outbox.open_held(connection, each.id, run.report.run_id, now)
        for each in bindings.of_sync(connection, run.spec.name)
    )


def _action(verb: str, held: runs.Run, decision: Decision, now: datetime) -> Action:
    return Action(
        at=now,
        actor=decision.actor,
        via=decision.via,
        verb=verb,
        sync=held.sync,
        run_id=held.id,
        reason=decision.reason,
        plan_hash=held.plan_hash,
    )


def _decided(held: runs.Run, decision: Decision, batches: int) -> dict[str, Any]:
    return {
        "sync": held.sync,
        "actor": decision.actor,
        "reason": decision.reason,
        "plan_hash": held.plan_hash,
        "batches": batches,
    }


def _who(decision: Decision) -> dict[str, Any]:
    return {
        "actor": decision.actor,
        "via": decision.via,
        "reason": decision.reason,
        "run": decision.run_id,
    }
