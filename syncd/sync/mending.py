"""Repairing a target: a run that sends what a verification found, and nothing else.

    find       where the target is now (free)
    ask        the source, for its newest word on the people found
    collect    that word                                   (no transaction)
    diff       what was found against it: a draft of the usual kind
    …          guard, commit, deliver as in every run

From the draft on nothing is special: it may be held, approved and resumed. The last
plan that went out stays what the next run compares with.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import repeat
from typing import Any

from syncd import events
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.model import Found, Outcome, SnapshotDigest
from syncd.sources import Answer, Postponed, Pushed, Unchanged
from syncd.store import acknowledged, authorship, forgotten, installation, leases
from syncd.store.acknowledged import Bucket
from syncd.store.bindings import Binding
from syncd.store.buckets import bucket_of
from syncd.store.database import Connection
from syncd.store.installation import Action
from syncd.sync import credentials, fold, steps
from syncd.sync.batch import batches
from syncd.sync.diff import BucketChanges
from syncd.sync.differences import Causes
from syncd.sync.draft import Draft, is_intact, wanted_so_far
from syncd.sync.finding import find_target
from syncd.sync.plan import Plan, Tally
from syncd.sync.repair import mended
from syncd.sync.run import Story, carry_out
from syncd.sync.snapshot import Snapshot
from syncd.sync.spill import PlanFile
from syncd.sync.steps import Run


class NotRepairable(SyncdError):
    """What was found is not what is there any more, or nothing may be sent now."""

    code = "repair"


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Who wants what repaired, and what it was found out from."""

    binding: Binding
    moment: tuple[int, int]
    """Newest batch and request when it was compared."""
    as_of: datetime
    """When the destination's list was asked for."""
    causes: Causes
    actor: str
    via: str
    reason: str


def story(errand: Errand) -> Story:
    """What a run with trigger `repair` does."""
    return partial(_repair, errand=errand)


def stale(name: str) -> NotRepairable:
    """Nothing is sent on old evidence."""
    return NotRepairable(
        f"{name} was read back before something moved: that list proves nothing now",
        code="repair.stale",
        hint=f"syncd verify {name} --repair",
    )


def _repair(run: Run, errand: Errand) -> None:
    credentials.require_open(run)
    with run.phase("find"):
        found = find_target(run)
    if not _is_as_it_was(run, errand):
        error = stale(run.spec.name)
        _leave_it(run, error.code, str(error), error.hint)
        return
    with run.phase("ask"), credentials.of_source(run):
        said = steps.ask(run)
    if isinstance(said, Postponed):
        _leave_it(run, said.reason, said.message)
        return
    _send(run, errand, said, found)


def _send(run: Run, errand: Errand, said: Answer, found: Found | None) -> None:
    readers = run.parts.readers.of(run.spec.source_connection)
    with readers, ExitStack() as files:
        with run.phase("collect"), credentials.of_source(run):
            snapshot = _newest_word(run, said)
        files.enter_context(closing(snapshot))
        with run.phase("diff"), run.parts.readers.comparing:
            made = _draft(
                run, errand, snapshot, anew=not isinstance(said, Unchanged | Pushed)
            )
        with ExitStack() as on_error:
            on_error.enter_context(closing(made))
            _record(run, errand, made)
            on_error.pop_all()
    # Whom it leaves there may be whom a lost commit named.
    before = run.unreconciled
    newer = before is not None and errand.as_of > before
    run.reconciles = newer and not errand.causes.strangers
    carry_out(run, made, found)


def _is_as_it_was(run: Run, errand: Errand) -> bool:
    """Whether nothing was planned, answered or changed since it was compared."""
    binding = run.binding
    if binding is None or binding.id != errand.binding.id or run.change is not None:
        return False
    with run.parts.database.read() as connection:
        return authorship.newest_moment(connection, binding) == errand.moment


def _leave_it(run: Run, reason: str, message: str, hint: str = "") -> None:
    """Nothing is sent; on purpose, so it counts as no failure of the sync."""
    report = run.report
    report.outcome, report.reason = Outcome.SKIPPED, reason
    report.message, report.hint = message, hint
    emit(events.RUN_SKIPPED, reason=reason)


# ---- the draft ----------------------------------------------------------------------


def _newest_word(run: Run, said: Answer) -> Snapshot:
    if isinstance(said, Unchanged):
        nobody = SnapshotDigest(count=0, total=0)
        return Snapshot(partition=None, digest=nobody, refused={}, doubts={})
    if isinstance(said, Postponed):
        raise TypeError("a list that may not be had is not read")
    return steps.collect(run, said)


def _draft(run: Run, errand: Errand, snapshot: Snapshot, *, anew: bool) -> Draft:
    """What was found against the newest word: the plan, and its batches in a file."""
    parts, binding, tally = run.parts, errand.binding, Tally()
    now = parts.clock.now()
    with ExitStack() as files, parts.database.read() as connection:
        file = files.enter_context(closing(PlanFile(parts.spool)))
        changes = _changes(connection, errand, snapshot, now, tally)
        for batch in batches(changes, run.spec.batch_size):
            file.add(batch)
        intact = is_intact(connection, binding)
        files.pop_all()
    digest, mark = _last_plan(binding, tally, anew=anew)
    plan: Plan = tally.plan(batches=len(file), plan_hash=file.digest, digest=digest)
    return Draft(
        plan=plan,
        n_buckets=binding.n_buckets,
        file=file,
        as_of=now,
        baseline_intact=intact,
        mark=mark,
    )


def _changes(
    connection: Connection,
    errand: Errand,
    snapshot: Snapshot,
    now: datetime,
    tally: Tally,
) -> Iterator[BucketChanges]:
    binding, n_buckets = errand.binding, errand.binding.n_buckets
    ours = _by_bucket(errand.causes.ours, n_buckets)
    missing = errand.causes.missing
    people = forgotten.load(connection, binding.id_type)
    known = acknowledged.read(connection, binding.id, n_buckets, now)
    for bucket, wanted in _wanted(known, snapshot, n_buckets):
        # Who asked to be forgotten is wanted no more, whatever the source says.
        # As every plan, it asserts again whom a late request may move.
        doubtful = bucket.again() - bucket.uncertain
        asked = (bucket.acknowledged & missing) | bucket.uncertain | doubtful
        change = mended(
            bucket=bucket.index,
            wanted=set(wanted).difference(people.among(asked)),
            acknowledged=bucket.acknowledged,
            uncertain=bucket.uncertain,
            doubtful=doubtful,
            missing=missing,
            ours=ours.get(bucket.index, frozenset()),
        )
        tally.count(change)
        yield change


def _by_bucket(
    ids: Collection[bytes], n_buckets: int
) -> Mapping[int, frozenset[bytes]]:
    sorted_in: dict[int, set[bytes]] = defaultdict(set)
    for member_id in ids:
        sorted_in[bucket_of(member_id, n_buckets)].add(member_id)
    return {index: frozenset(group) for index, group in sorted_in.items()}


def _wanted(
    known: Iterator[Bucket], snapshot: Snapshot, n_buckets: int
) -> Iterator[tuple[Bucket, Collection[bytes]]]:
    """Each bucket with whom the source wants in it: a list, or whom the plans so far
    wanted, below the newest words."""
    pairs: Iterator[tuple[Bucket, Collection[bytes]]]
    if snapshot.partition is not None:
        pairs = zip(known, snapshot.partition.buckets(n_buckets), strict=True)
    elif snapshot.anew:
        pairs = zip(known, repeat(()))
    else:
        pairs = ((bucket, wanted_so_far(bucket)) for bucket in known)
    if snapshot.news is None:
        yield from pairs
        return
    came = snapshot.news.entered.buckets(n_buckets)
    left = snapshot.news.exited.buckets(n_buckets)
    for (bucket, below), entered, exited in zip(pairs, came, left, strict=True):
        yield bucket, fold.overlay(below, entered, exited)


def _last_plan(
    binding: Binding, tally: Tally, *, anew: bool
) -> tuple[SnapshotDigest, str | None]:
    """What the next run takes for the last plan that went out: the one before this.

    But where open batches were asserted by a newer list, that plan is not what is at
    the destination: a digest that no list ever has, and the list is read again.
    """
    if binding.digest is not None and not tally.reasserted:
        return binding.digest, binding.source_mark
    never = SnapshotDigest(count=tally.members, total=0)
    return never, None if anew else binding.source_mark


# ---- the audit trail ----------------------------------------------------------------


def _record(run: Run, errand: Errand, made: Draft) -> None:
    parts, report, causes = run.parts, run.report, errand.causes
    report.numbers["repairs"] = {
        "missing": len(causes.missing),
        "ghosts_ours": len(causes.ours),
        "ghosts_returned": len(causes.returned),
        "ghosts_others": len(causes.others),
        "as_of": errand.as_of.isoformat(),
    }
    who: dict[str, Any] = {
        "actor": errand.actor,
        "via": errand.via,
        "reason": errand.reason,
    }
    with parts.database.begin() as connection:
        leases.check(connection, run.lease, parts.clock.wall())
        done = Action(
            at=parts.clock.now(),
            verb="repair",
            sync=report.sync,
            run_id=report.run_id,
            plan_hash=made.plan.hash,
            **who,
        )
        installation.record(connection, done)
    emit(
        events.OPERATOR_REPAIRED,
        sync=report.sync,
        run=report.run_id,
        add=made.plan.entered,
        remove=made.plan.exited,
        **who,
    )
