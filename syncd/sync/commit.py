"""T2, the durable line: storing a plan, or handing open batches on, in one transaction.

Before it nothing was sent; after it every id of the plan is uncertain until a parsed
answer says otherwise.
"""

from collections.abc import Iterator
from datetime import datetime

from syncd.model import BatchState, Found
from syncd.store import (
    acknowledged,
    bindings,
    compaction,
    doubts,
    leases,
    outbox,
    runs,
    unaccepted,
)
from syncd.store.bindings import Binding, Role
from syncd.store.database import Connection
from syncd.sync.draft import Draft
from syncd.sync.identity import Aspect
from syncd.sync.spill import PlanFile
from syncd.sync.steps import Run, compared_binding, leaving_binding


def store_plan(
    run: Run, made: Draft, found: Found | None, *, held_until: datetime | None
) -> None:
    """Store the plan: open from here on, or held until then."""
    parts, now = run.parts, run.parts.clock.now()
    state = BatchState.OPEN if held_until is None else BatchState.HELD
    with parts.database.begin() as connection:
        leases.check(connection, run.lease, parts.clock.wall())
        work = _working_binding(connection, run, made, found, now)
        again = 0
        if held_until is None:
            again = _send_out(connection, run, work, made, now)
        else:
            runs.hold(
                connection,
                run.report.run_id,
                plan_hash=made.plan.hash,
                expires_at=held_until,
            )
            unaccepted.leave_with(connection, work.id, made.vanished, run.report.run_id)
        for binding, file in _files(run, work, made):
            outbox.add(
                connection,
                binding_id=binding.id,
                run_id=run.report.run_id,
                state=state,
                batches=file.batches(),
                now=now,
            )
        runs.enter_phase(connection, run.report.run_id, "deliver")
    run.report.phase = "deliver"
    run.report.numbers["batches"] = made.plan.batches + again
    if held_until is None:
        run.binding = work


def _files(run: Run, work: Binding, made: Draft) -> Iterator[tuple[Binding, PlanFile]]:
    """The plan's batches by binding, in the order they must be applied."""
    emptied = leaving_binding(run)
    if made.leaving is not None and emptied is not None:
        yield emptied, made.leaving
    yield work, made.file


def _working_binding(
    connection: Connection, run: Run, made: Draft, found: Found | None, now: datetime
) -> Binding:
    """The binding the plan is for: today's, or a new one."""
    work = compared_binding(run)
    if work is None:
        work = _new_binding(connection, run, now)
    if acknowledged.is_empty(connection, work.id):
        acknowledged.set_buckets(connection, work.id, made.n_buckets)
    if work.external_id is None:
        # Until the cohort exists its owner is whoever the configuration names today.
        bindings.set_owner(connection, work.id, run.spec.owner)
        bindings.set_name(connection, work.id, run.target_name)
        if found is not None:
            bindings.bind(connection, work.id, found)
    return bindings.get(connection, work.id)


def _new_binding(connection: Connection, run: Run, now: datetime) -> Binding:
    spec = run.spec
    made = bindings.create(
        connection,
        sync=spec.name,
        role=Role.CURRENT if run.binding is None else Role.NEXT,
        connection_name=spec.identity.connection,
        target=spec.identity.target,
        owner=spec.owner,
        id_type=spec.identity.id_type,
        source_fingerprint=spec.identity.source,
        now=now,
    )
    known = spec.target_id
    same_cohort = run.change is not None and run.change.aspect is Aspect.ID_TYPE
    if same_cohort and run.binding is not None:
        known = run.binding.external_id
    if known is not None:
        named = Found(external_id=known, name=run.target_name, size=None)
        bindings.bind(connection, made.id, named)
    return bindings.get(connection, made.id)


def _send_out(
    connection: Connection, run: Run, work: Binding, made: Draft, now: datetime
) -> int:
    """The plan replaces every open and dead batch: it asserts their ids again.

    Returns how many batches of bindings that are being emptied go again beside it.
    """
    outbox.take_over(connection, work.id)
    if not made.baseline_intact:
        # Only a plan that sends everybody again goes out all the same.
        compaction.accept_baseline(connection, work.id)
    for settled in (work, run.former):
        if settled is not None:
            doubts.settle(connection, settled.id, made.as_of)
    unaccepted.forget(connection, work.id, made.vanished)
    bindings.plan_went_out(
        connection, work.id, made.plan.digest, run.spec.identity.source, made.mark
    )
    if work.external_id is None and made.plan.entered:
        bindings.intend_creation(connection, work.id, now)
    return reopen_retiring(connection, run, now)


def reopen_retiring(connection: Connection, run: Run, now: datetime) -> int:
    """Go on emptying the bindings of former id types; returns how many batches."""
    return sum(
        outbox.reopen(
            connection,
            old.id,
            run.report.run_id,
            now,
            fresh_attempts=True,
            dead_too=True,
        )
        for old in bindings.of_sync(connection, run.spec.name)
        if old.role is Role.RETIRING
        # Its batches go to the connection of today's configuration.
        and old.connection == run.spec.identity.connection
    )


def drop_plan(connection: Connection, held: runs.Run) -> int:
    """Take a held plan back (rejected, expired, its run died); returns its batches."""
    count = 0
    for each in bindings.of_sync(connection, held.sync):
        count += outbox.drop_held(connection, each.id)
        if each.role is Role.NEXT:
            bindings.drop(connection, each.id)
    runs.settle_hold(connection, held.id)
    return count


def send_again(run: Run, *, fresh_attempts: bool) -> int:
    """Hand every open batch of the sync to this run as it stands; returns how many."""
    parts, now = run.parts, run.parts.clock.now()
    run_id = run.report.run_id
    with parts.database.begin() as connection:
        leases.check(connection, run.lease, parts.clock.wall())
        count = reopen_retiring(connection, run, now)
        if run.binding is not None:
            count += outbox.reopen(
                connection, run.binding.id, run_id, now, fresh_attempts=fresh_attempts
            )
        runs.enter_phase(connection, run_id, "deliver")
    run.report.phase = "deliver"
    return count
