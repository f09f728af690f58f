"""Runs of a sync whose store may have lost what was acknowledged: none is a success.

The store goes back in time where its database fails over to a standby that lacks the
last commits (`store.failovers`). A run compares with what is stored, so its counts are
right and its word would be wrong. It works on, since what it sends is what the source
says; it ends as partial until the sync was reconciled. A run that reconciles says so
itself (`Run.reconciles`): what it does, and not what it is called, decides.
"""

from syncd import events
from syncd.events import emit
from syncd.model import Outcome
from syncd.store import failovers, runs
from syncd.store.database import Connection
from syncd.sync.steps import Run

FAILED_OVER = "store.failed_over"
"""The reason of such a run."""


def noticed(marked: int | None) -> None:
    """Say that the database failed over, where it did; `failovers.look` told."""
    if marked is not None:
        emit(events.STORE_FAILED_OVER, syncs=marked)


def judge(connection: Connection, run: Run) -> int | None:
    """Look once more as the run ends: it may have begun before. Returns what `look`
    does; the report is changed where the sync waits to be reconciled."""
    report, name = run.report, run.spec.name
    marked = failovers.look(
        connection, run.parts.clock.now(), lossless=run.parts.lossless
    )
    at = failovers.since(connection, name)
    if at is None or report.outcome not in runs.OK:
        return marked
    if run.reconciles and marked is None and at == run.unreconciled:
        failovers.reconciled(connection, name, at)
        return marked
    report.outcome, report.reason = Outcome.PARTIAL, FAILED_OVER
    report.message = (
        f"the database failed over ({at:%Y-%m-%d %H:%M} UTC) and may have lost what "
        "was acknowledged last: reconcile first"
    )
    report.hint = f"syncd verify {name} --repair"
    return marked
