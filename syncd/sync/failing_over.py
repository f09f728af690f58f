"""Runs of a sync whose store may have lost commits: none of them is a success.

The store goes back in time where its database fails over to a standby that lacks the
last commits (`store.failovers`). A run compares with what is stored, so its counts are
right and its word would be wrong. It works on, since what it sends is what the source
says; it ends as partial until both are known again:

    the target   until the sync was reconciled. A run that reconciles says so itself
                 (`Run.reconciles`): what it does, and not what it is called, decides.
    its events   where it is pushed to, until a plan stands on a whole list that was
                 sure of all that was said before the failover was noticed, or a
                 person says that nothing is missing. What was answered and lost is
                 in no target and in no source: comparing them finds nothing.
"""

from datetime import datetime

from syncd import events
from syncd.events import emit
from syncd.model import Outcome
from syncd.sources.feed_mark import Mark
from syncd.store import bindings, failovers, runs
from syncd.store.database import Connection
from syncd.store.lost_commits import (
    hearing,
    lost_acknowledgements,
    lost_events,
    reconciling,
)
from syncd.sync.steps import Run

FAILED_OVER = "store.failed_over"
"""The reason of such a run."""


def noticed(marked: int | None) -> None:
    """Say that the database failed over, where it did; `failovers.look` told."""
    if marked is not None:
        emit(events.STORE_FAILED_OVER, syncs=marked)


def judge(connection: Connection, run: Run) -> int | None:
    """Look once more as the run ends: it may have begun before. Returns what `look`
    does; the report is changed where the target or events are still in doubt."""
    report = run.report
    marked = failovers.look(
        connection, run.parts.clock.now(), lossless=run.parts.lossless
    )
    if report.outcome not in runs.OK:
        return marked
    at = _unreconciled(connection, run, marked)
    unheard = _unheard(connection, run)
    if at is None and unheard is None:
        return marked
    report.outcome, report.reason = Outcome.PARTIAL, FAILED_OVER
    name, fed = run.spec.name, run.spec.fed
    if at is not None:
        report.message = lost_acknowledgements(at, also_events=unheard is not None)
        readable = run.spec.is_readable
        report.hint = reconciling(name, readable=readable, tried=report.trigger)
    elif unheard is not None and fed is not None:
        report.message = lost_events(unheard, fed)
        report.hint = hearing(name, fed)
    return marked


def _unreconciled(
    connection: Connection, run: Run, marked: int | None
) -> datetime | None:
    """Since when the target is in doubt; this run may have settled that."""
    name = run.spec.name
    at = failovers.since(connection, name)
    if at is None or not run.reconciles or marked is not None or at != run.unreconciled:
        return at
    failovers.reconciled(connection, name, at)
    return None


def _unheard(connection: Connection, run: Run) -> datetime | None:
    """Since when events are in doubt; a whole list may have settled that."""
    name, fed = run.spec.name, run.spec.fed
    at = failovers.unheard(connection, name) if fed is not None else None
    if fed is None or at is None:
        return None
    binding = bindings.current(connection, name)
    stands = Mark.parse(binding.source_mark if binding else None, fed.feed)
    if stands is None or not stands.knows_of(at):
        return at
    failovers.heard(connection, name, at)
    return None
