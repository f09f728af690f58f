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
from syncd.model import Fed, Outcome, Trigger
from syncd.sources.feed_mark import Mark
from syncd.store import bindings, failovers, runs
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


# ---- in words -----------------------------------------------------------------------


def lost_acknowledgements(at: datetime, *, also_events: bool) -> str:
    """What a failover did to the target."""
    what = "what was acknowledged last"
    if also_events:
        what += ", and events that were answered"
    return f"{_failed_over(at)} {what}: reconcile first"


def lost_events(at: datetime, fed: Fed) -> str:
    """What a failover did to what was pushed, and what ends that."""
    if fed.list_lag is None:
        ends = "have its sender send everybody again, then say so"
    else:
        ends = f"a whole list made after {at + fed.list_lag:%Y-%m-%d %H:%M} UTC tells"
    return f"{_failed_over(at)} events that were answered: {ends}"


def _failed_over(at: datetime) -> str:
    return f"the database failed over ({at:%Y-%m-%d %H:%M} UTC) and may have lost"


def reconciling(name: str, *, readable: bool, tried: Trigger | None = None) -> str:
    """The next command towards knowing who is at the target. `tried`: what a run did
    that was not enough."""
    adopt = f'syncd resync {name} --adopt --reason "..."'
    if readable:
        # A repair leaves strangers, who may be whom a lost commit named.
        return adopt if tried is Trigger.REPAIR else f"syncd verify {name} --repair"
    push = f'syncd resync {name} --push --reason "..."'
    return adopt if tried is Trigger.RESYNC else push


def hearing(name: str, fed: Fed) -> str:
    """The next command towards having heard everything."""
    if fed.list_lag is not None:
        return f"syncd run {name}"
    return f'syncd resync {name} --heard --reason "..."'
