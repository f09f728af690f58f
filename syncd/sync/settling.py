"""The steps of a run after its plan is durable: sending it, and the housekeeping."""

from functools import partial

from syncd import events
from syncd.events import emit
from syncd.model import Settled, Settlement
from syncd.store import acknowledged, bindings, compaction, leases
from syncd.store.database import Connection
from syncd.sync.steps import Run


def deliver(run: Run) -> Settlement:
    """Let the pool send this run's batches; returns how far they got."""
    parts = run.parts
    settlement = parts.settle(
        lease=run.lease,
        run_id=run.report.run_id,
        not_before=run.quiet_at(),
        until=run.report.started_at + run.spec.max_runtime,
    )
    run.in_flight = settlement.in_flight
    run.unrecorded = settlement.in_flight or settlement.state is Settled.LOST
    return settlement


def compact_if_due(run: Run) -> None:
    """Move the log of acknowledged batches into chunks when it is large or old."""
    if run.binding is None:
        return
    parts, binding_id = run.parts, run.binding.id
    with parts.database.read() as connection:
        binding = bindings.get(connection, binding_id)
        size = acknowledged.log_size(connection, binding_id)
    if not compaction.compaction_due(size, binding.members, parts.clock.now()):
        return
    with run.phase("compact"):
        started = parts.clock.monotonic()
        moved = compaction.compact(
            parts.database, binding_id, check=partial(_check_lease, run)
        )
        emit(
            events.COMPACT_FINISHED,
            ids=moved,
            duration_ms=round((parts.clock.monotonic() - started) * 1000, 1),
        )


def _check_lease(run: Run, connection: Connection) -> None:
    leases.check(connection, run.lease, run.parts.clock.wall())
