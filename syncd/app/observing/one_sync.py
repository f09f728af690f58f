"""What is wrong with one sync."""

from collections.abc import Iterator
from datetime import datetime
from itertools import takewhile

from syncd.app.observing.known import Known, last_success, overdue_by
from syncd.config.settings import SyncSettings
from syncd.model import BatchState, Outcome
from syncd.notify import Kind, Seen
from syncd.report.states import FAILING_AFTER
from syncd.report.words import dated, number, plural, span
from syncd.store import runs
from syncd.store.database import Connection
from syncd.store.latest_runs import LOOK_BACK
from syncd.store.runs import Run
from syncd.sync.differences import DRIFT_LIMIT
from syncd.sync.guard import Guard

REJECTED_SHARE = 0.05
REJECTED_LEAST = 10
"""Fewer ids that are refused are nobody's business, however small the audience."""
_USUAL = {
    Guard.EMPTY_SOURCE: "a broken query, an emptied table, a deleted audience",
    Guard.MAX_EXIT: "the definition was edited, tracking stopped",
    Guard.MAX_EXIT_24H: "a definition edited step by step, tracking that fades",
    Guard.MAX_ENTER: "the definition was widened, people were imported",
    Guard.BASELINE: "the store was restored or edited",
    Guard.IDENTITY: "the sync's configuration was changed",
}


def of_sync(connection: Connection, known: Known, sync: SyncSettings) -> Iterator[Seen]:
    """Everything that is wrong with it, as if nothing stopped it on purpose."""
    recent = known.recent[sync.name]
    yield from _held(known, sync, recent)
    yield from _failing(connection, sync, recent)
    yield from _stale(connection, known, sync)
    yield from _dead(known, sync)
    yield from _rejected(sync, recent)
    yield from _hears_nothing(known, sync)
    yield from _drifted(known, sync)


def _held(known: Known, sync: SyncSettings, recent: list[Run]) -> Iterator[Seen]:
    # Beyond its time, too: the next run plans anew, and is held again as a rule.
    run = known.held.get(sync.name)
    newest = recent[0] if recent else None
    if run is None and newest is not None and newest.outcome is Outcome.HELD:
        run = newest if newest.plan_hash is None else None
    if run is None:
        return
    trips = run.summary.get("trips", ())
    code = str(trips[0]["guard"]) if trips else run.reason or "state.held"
    why = trips[0]["reason"] if trips else f"its target must not be written, {code}"
    yield Seen(
        kind=Kind.HELD,
        subject=sync.name,
        sync=sync.name,
        cause=code,
        headline=f"{sync.name} is held: {why}",
        context=(_way(sync), "nothing was sent", *_expired(run, known.now)),
        usual=_USUAL[Guard(code)] if trips else "",
        command=f"syncd show {run.short_id}",
        code=code,
        run_id=run.id,
    )


def _expired(run: Run, now: datetime) -> tuple[str, ...]:
    if run.hold_expires_at is None or now < run.hold_expires_at:
        return ()
    return ("nobody decided in time: the next run plans anew",)


def _failing(
    connection: Connection, sync: SyncSettings, recent: list[Run]
) -> Iterator[Seen]:
    bad = list(takewhile(lambda run: run.outcome not in runs.OK, recent))
    failed = [run for run in bad if run.outcome is Outcome.FAILED]
    if not failed:
        return
    failures = len(failed)
    if len(bad) >= LOOK_BACK:
        failures = runs.failures_in_a_row(connection, sync.name)
    if failures < FAILING_AFTER:
        return
    run = failed[0]
    code = run.reason or "state.failing"
    ours = sync.source if code.startswith("source.") else sync.target
    yield Seen(
        kind=Kind.FAILING,
        subject=sync.name,
        sync=sync.name,
        cause=f"{ours.connection} {code}",
        headline=f"{sync.name} is failing: {plural(failures, 'failure')} in a row, "
        f"{ours.connection} {code}",
        context=(_way(sync),),
        command=f"syncd show {run.short_id}",
        code=code,
        run_id=run.id,
    )


def _stale(connection: Connection, known: Known, sync: SyncSettings) -> Iterator[Seen]:
    fresh_within = sync.fresh_within
    if fresh_within is None or not overdue_by(connection, known, sync):
        return
    last = last_success(connection, known, sync.name)
    since = (
        f"the last success was {dated(last, 'UTC')}" if last else "it never succeeded"
    )
    yield Seen(
        kind=Kind.STALE,
        subject=sync.name,
        sync=sync.name,
        cause="",
        headline=f"{sync.name} is stale: {since}, fresh_within is {span(fresh_within)}",
        context=(_way(sync),),
        usual="runs that fail or end partial, a source that is not ready",
        command=f"syncd status {sync.name}",
        code="state.stale",
    )


def _dead(known: Known, sync: SyncSettings) -> Iterator[Seen]:
    dead = [
        each
        for each in known.outbox
        if each.sync == sync.name and each.state is BatchState.DEAD
    ]
    if not dead:
        return
    batches = plural(sum(each.batches for each in dead), "dead batch")
    ids = number(sum(each.ids for each in dead))
    yield Seen(
        kind=Kind.DEAD_LETTERS,
        subject=sync.name,
        sync=sync.name,
        cause="",
        headline=f"{sync.name} has {batches} ({ids} ids), refused for good",
        context=(_way(sync),),
        command=f"syncd outbox list {sync.name}",
        code="batch.dead_lettered",
    )


def _rejected(sync: SyncSettings, recent: list[Run]) -> Iterator[Seen]:
    run = next((each for each in recent if each.summary.get("sent")), None)
    if run is None:
        return
    sent, refused = int(run.summary["sent"]), int(run.summary.get("rejected", 0))
    share = refused / sent
    if refused < REJECTED_LEAST or share <= REJECTED_SHARE:
        return
    yield Seen(
        kind=Kind.REJECTED,
        subject=sync.name,
        sync=sync.name,
        cause="",
        headline=f"{sync.name}: {number(refused)} of {number(sent)} ids were refused "
        f"({share:.1%}, limit {REJECTED_SHARE:.0%})",
        context=(_way(sync),),
        usual="ids of another kind than the destination knows",
        command=f"syncd show {run.short_id}",
        code="member.rejected",
        run_id=run.id,
    )


def _hears_nothing(known: Known, sync: SyncSettings) -> Iterator[Seen]:
    if sync.name not in known.silent:
        return
    last = known.silent[sync.name]
    since = f"since {dated(last, 'UTC')}" if last is not None else "at all"
    yield Seen(
        kind=Kind.INBOX_SILENT,
        subject=sync.name,
        sync=sync.name,
        cause=sync.source.connection,
        headline=f"{sync.name}: its audience moves, and nothing was pushed {since}",
        context=(_way(sync),),
        usual="the destination is off at the sender, a proxy stands in between",
        command=f"syncd status {sync.name}",
        code="inbox.silent",
    )


def _drifted(known: Known, sync: SyncSettings) -> Iterator[Seen]:
    last = known.verified.get(sync.name)
    if last is None or last.drift <= DRIFT_LIMIT:
        return
    yield Seen(
        kind=Kind.DRIFT,
        subject=sync.name,
        sync=sync.name,
        cause="",
        headline=f"{sync.name} differs from its destination: {last.drift:.1%} of the "
        f"people (limit {DRIFT_LIMIT:.0%}), read back {dated(last.at, 'UTC')}",
        context=(_way(sync),),
        usual="somebody else writes the cohort",
        command=f"syncd verify {sync.name}",
        code="verify.finished",
    )


def _way(sync: SyncSettings) -> str:
    return f"{sync.source.connection} → {sync.target.connection}"
