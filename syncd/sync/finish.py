"""T4: closing a run. Exactly one canonical line for each, also for those found dead."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from syncd import events, metrics
from syncd.clock import Clock
from syncd.errors import LeaseLost, StoreError
from syncd.events import emit, level_of
from syncd.model import BatchState, Outcome
from syncd.redaction import redacted
from syncd.store import (
    acknowledged,
    bindings,
    doubts,
    leases,
    ledger,
    runs,
    unaccepted,
    unsettled,
)
from syncd.store.bindings import Role
from syncd.store.database import Connection, Database
from syncd.sync import failing_over, landings, trouble
from syncd.sync.commit import drop_plan
from syncd.sync.spec import Report
from syncd.sync.steps import Run

_SAID = frozenset(
    "members_before members_after snapshot entered exited exit_ratio sent accepted "
    "unmatched rejected refused waiting dead batches requests retries cohort_id".split()
)
"""The numbers that the canonical line carries; the run's row keeps all of them."""


def close_run(run: Run) -> None:
    """Count what was proven, close the row, release the lease, say so once."""
    parts, report = run.parts, run.report
    now = parts.clock.now()
    # Here each end of a run comes by: a vendor's words may name another one's key.
    report.message = redacted(report.message)
    try:
        closed = _close(run, now)
    except StoreError as error:
        emit(events.STORE_UNAVAILABLE, operation="finish", error=str(error))
        # The row stays open; the sync's next run closes it and writes its line. Unless
        # only the answer of the commit was lost: then nobody else would write it.
        if not _was_closed(parts.database, report.run_id, now):
            _not_on_record(run, error)
            return
        closed = True
    if not closed:
        # Whoever took the sync over has written its line, or a failover lost its row.
        _not_on_record(run, LeaseLost(f"what {run.spec.name} did is not on record"))
        return
    _say(run, now)


def _say(run: Run, now: datetime) -> None:
    """Count the run, and write its canonical line."""
    report = run.report
    _count(run.spec.name, report.outcome, report.numbers)
    metrics.RUN_SECONDS.labels(run.spec.name).observe(
        max(0.0, (now - report.started_at).total_seconds())
    )
    if report.outcome is Outcome.SKIPPED and report.slot is not None:
        metrics.run_skipped(run.spec.name, report.reason)
    if report.outcome is Outcome.INTERRUPTED:
        emit(
            events.RUN_INTERRUPTED,
            accepted=report.numbers["accepted"],
            pending=report.numbers["waiting"],
        )
    emit(
        events.RUN_FINISHED,
        level=level_of(report.outcome),
        outcome=report.outcome,
        reason=report.reason or None,
        error=report.message or None,
        error_type=report.error_type,
        due_at=report.slot,
        duration_ms=round((now - report.started_at).total_seconds() * 1000),
        phase_ms=report.phase_ms,
        last_phase=report.stopped_in,
        **_said(report.numbers),
    )


def _not_on_record(run: Run, why: StoreError) -> None:
    """Whoever waits for this run must not hear that it was a success."""
    if run.report.outcome in (*runs.OK, Outcome.SKIPPED):
        trouble.conclude(run, why)


def _close(run: Run, now: datetime) -> bool:
    """Count and close the row; False when somebody else did."""
    parts, report = run.parts, run.report
    # Counting may read everything: not inside the write transaction.
    with parts.database.read() as connection:
        members = _members_after(connection, run, now)
    with parts.database.begin() as connection:
        # First: whoever closes an abandoned run locks the lease's row before its own.
        if leases.is_ours(connection, run.lease):
            if run.unrecorded:
                landings.note_unrecorded(connection, run)
            _retire_emptied(connection, run)
        else:
            # What it says of itself may stand; what the sync is at is another's word.
            _not_on_record(run, LeaseLost(f"another process took over {report.sync}"))
        report.numbers |= _proven(connection, run) | {"members_after": members}
        _judge(report)
        marked = failing_over.judge(connection, run)
        _drop_untold_plan(connection, run)
        closed = runs.finish(
            connection,
            report.run_id,
            outcome=report.outcome,
            reason=report.reason or None,
            summary=report.summary(),
            now=now,
        )
        # A request of ours may be about to begin: then it runs out by itself.
        if not run.in_flight:
            quiet = run.is_quiet()
            leases.end(connection, run.lease, parts.clock.wall(), quiet=quiet)
    failing_over.noticed(marked)
    return closed


def _drop_untold_plan(connection: Connection, run: Run) -> None:
    """A plan is held by a run that does not say so: the commit's answer was lost, and
    nobody can approve what nobody was told. The next run makes it anew."""
    held = runs.waiting_for_a_person(connection, run.spec.name, lock=True)
    if held is None or held.id != run.report.run_id:
        return
    if run.report.outcome is not Outcome.HELD:
        drop_plan(connection, held)


def _was_closed(database: Database, run_id: str, at: datetime) -> bool:
    """Whether the row was closed at exactly that instant; False where nobody knows."""
    with suppress(StoreError), database.read() as connection:
        return any(each.finished_at == at for each in runs.find(connection, run_id))
    return False


def close_abandoned(
    database: Database,
    found: runs.Run,
    *,
    clock: Clock,
    holder: str,
    late_landings: timedelta = timedelta(0),
) -> None:
    """Close a run whose process died, with what its ledger proves.

    Not where another live process than `holder` has the sync's lease. A plan it was
    about to hold goes with it: nobody was told of it, and the next run makes it anew.
    Any open batch may have been on the wire.
    """
    now, wall = clock.now(), clock.wall()
    numbers = dict(found.summary)
    try:
        with database.begin() as connection:
            if not leases.put_out(connection, found.sync, holder, wall):
                return
            # Only now: whoever lived until here may have acknowledged until here.
            numbers |= _ledger_numbers(connection, found.id)
            closed = _abandon(connection, found, numbers, now, late_landings)
    except StoreError:
        if not _was_closed(database, found.id, now):
            raise
        closed = True
    if not closed:
        return
    _count(found.sync, Outcome.ABANDONED, numbers)
    emit(
        events.RUN_ABANDONED,
        sync=found.sync,
        run_id=found.id,
        trigger=found.trigger,
        outcome=Outcome.ABANDONED,
        started_at=found.started_at,
        last_phase=found.phase,
        due_at=found.slot,
        **_said(numbers),
    )


def _abandon(
    connection: Connection,
    found: runs.Run,
    numbers: Mapping[str, Any],
    now: datetime,
    late_landings: timedelta,
) -> bool:
    closed = runs.finish(
        connection,
        found.id,
        outcome=Outcome.ABANDONED,
        reason="process_died",
        summary=numbers,
        now=now,
    )
    if closed:
        owned = [each.id for each in bindings.of_sync(connection, found.sync)]
        doubts.of_open(connection, owned, now, late_landings)
        held = runs.waiting_for_a_person(connection, found.sync, lock=True)
        if held is not None and held.id == found.id:
            drop_plan(connection, held)
    return closed


def close_leftovers(run: Run) -> None:
    """Close the sync's runs that were never closed: whoever began them is gone.

    This run holds the sync's lease, so nobody else is working on it.
    """
    parts = run.parts
    with parts.database.read() as connection:
        left = runs.unfinished(connection, run.spec.name)
    for each in left:
        if each.id != run.report.run_id:
            close_abandoned(
                parts.database,
                each,
                clock=parts.clock,
                holder=parts.holder,
                late_landings=run.spec.late_landings,
            )


def _count(sync: str, outcome: Outcome, numbers: Mapping[str, Any]) -> None:
    """What a closed run came to, for the metrics."""
    metrics.RUNS.labels(sync, outcome.value).inc()
    for change in metrics.CHANGES:
        metrics.MEMBERS_CHANGED.labels(sync, change).inc(numbers[change])
    for trip in numbers.get("trips", ()):
        metrics.GUARD_TRIPS.labels(sync, metrics.guard_word(trip["guard"])).inc()
    for reason, count in numbers.get("refused", {}).items():
        metrics.MEMBERS_REJECTED.labels(sync, reason).inc(count)


def _judge(report: Report) -> None:
    """An OK or skipped run with batches that are not settled is partial."""
    left = report.numbers["dead"] + report.numbers["waiting"]
    if report.outcome in (*runs.OK, Outcome.SKIPPED) and left:
        report.outcome = Outcome.PARTIAL
        why = "dead_letters" if report.numbers["dead"] else "waiting"
        report.reason = report.reason or why


def _retire_emptied(connection: Connection, run: Run) -> None:
    """A binding of a former id type is done with once nobody is left in doubt, and no
    request of it can land any more."""
    for old in bindings.of_sync(connection, run.spec.name):
        left = unsettled.uncertain_count(connection, old.id)
        late = doubts.any_of(connection, old.id)
        if old.role is Role.RETIRING and left == 0 and not late:
            bindings.set_role(connection, old.id, Role.RETIRED)


def _proven(connection: Connection, run: Run) -> dict[str, Any]:
    name = run.spec.name
    owned = [each.id for each in bindings.of_sync(connection, name)]
    numbers = _ledger_numbers(connection, run.report.run_id)
    numbers["waiting"] = unsettled.count(connection, owned, BatchState.OPEN)[0]
    numbers["dead"] = unsettled.count(connection, owned, BatchState.DEAD)[0]
    binding = bindings.current(connection, name)
    if binding is not None:
        numbers["cohort_id"] = binding.external_id
        numbers["not_accepted"] = {
            f"{each.kind}: {each.reason}": each.ids
            for each in unaccepted.counts(connection, [binding.id])
        }
    return numbers


def _members_after(connection: Connection, run: Run, now: datetime) -> int | None:
    """How many the destination holds because of us, if this run asked it anything."""
    binding = bindings.current(connection, run.spec.name)
    if binding is None or not ledger.totals(connection, run.report.run_id).requests:
        return None
    compared = {"snapshot", "members"} <= run.report.numbers.keys()
    waits = unsettled.uncertain_count(connection, binding.id)
    if run.report.outcome is Outcome.SUCCESS and compared and not waits:
        # Whoever is in the snapshot is a member now, but for the unaccepted.
        left_out = unaccepted.total(connection, binding.id)
        return int(run.report.numbers["members"]) - left_out
    return acknowledged.count(connection, binding, now)


def _ledger_numbers(connection: Connection, run_id: str) -> dict[str, Any]:
    totals = ledger.totals(connection, run_id)
    return {
        "entered": totals.entered,
        "exited": totals.exited,
        "accepted": totals.entered + totals.exited,
        "sent": totals.entered + totals.exited + totals.unmatched + totals.rejected,
        "unmatched": totals.unmatched,
        "rejected": totals.rejected,
        "requests": totals.requests,
        "retries": totals.retries,
    }


def _said(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in numbers.items() if name in _SAID}
