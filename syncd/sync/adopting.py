"""Beginning anew by adopting: what is there today is what counts as acknowledged.

Where the destination can be read it is read; elsewhere today's source list is believed
to be there. Nothing is sent, so it is done though a pause is on.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.model import (
    Found,
    Operation,
    Outcome,
    PlannedBatch,
    SnapshotDigest,
    Trigger,
)
from syncd.sources import Listing, Postponed, Unchanged
from syncd.store import (
    bindings,
    compaction,
    failovers,
    forgotten,
    installation,
    leases,
    outbox,
)
from syncd.store.bindings import Binding, Role
from syncd.store.buckets import bucket_of
from syncd.store.database import Connection
from syncd.sync import credentials, steps
from syncd.sync.draft import Draft, draft
from syncd.sync.resync import NotResyncable, Wish, action, say, target_there
from syncd.sync.run import run
from syncd.sync.snapshot import Interrupted, Snapshot, take_snapshot
from syncd.sync.spec import Report, Spec
from syncd.sync.steps import Parts, Run, compared_binding

ADOPTED = "resync.adopted"
"""Reason of the run that adopts: the sync counts as fresh once a run compared."""

Reads = Callable[[Run, str], Listing | Postponed]
"""Prepares reading who is in a target, by the vendor's id of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What an adoption takes for the truth."""

    reads: Reads | None
    """Reads the destination; None: it cannot be read, the source is believed."""
    mark: str | None = None
    """From where on pushed words stand above who is there, where there is no list;
    None: the next run reads the source's list."""


def adopt(parts: Parts, spec: Spec, wish: Wish, belief: Belief) -> Report | None:
    """Take what is there, or what the source lists, as acknowledged; send nothing.

    A run with trigger `resync`, also of a paused sync. Raises `Busy`,
    `WaitsForPerson`.
    """

    def story(run: Run) -> None:
        credentials.require_open(run)
        found = target_there(run)
        _require_nobody_to_forget(run, belief)
        _let_land(run)
        run.anew = True
        readers = run.parts.readers
        with run.phase("collect"), readers.of(run.spec.source_connection):
            snapshot = _collected(run, found, belief)
        with closing(snapshot):
            with run.phase("diff"), readers.comparing:
                made = _compared(run, snapshot)
            with closing(made), run.phase("commit"):
                told = _Told(snapshot=snapshot, draft=made, found=found, belief=belief)
                members = _store(run, told, wish)
        _conclude(run, told, members)
        say(run, wish, "resync adopt")

    return run(parts, spec, Trigger.RESYNC, story=story, even_paused=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """Who is said to be there, and how that differs from what is stored."""

    snapshot: Snapshot
    draft: Draft
    found: Found
    belief: Belief

    def buckets(self) -> Iterator[tuple[int, Iterable[bytes]]]:
        """Who counts as acknowledged, bucket by bucket.

        Of a destination that was read, everybody: also those who are to be forgotten,
        so that the next plan removes them.
        """
        n_buckets, partition = self.draft.n_buckets, self.snapshot.partition
        if self.belief.reads is None or partition is None:
            return by_bucket(self.draft.file.batches(), n_buckets)
        return enumerate(partition.buckets(n_buckets))


def _let_land(run: Run) -> None:
    """Wait until the last request of a process that died is surely over: what lands
    after the list was read is in nobody's books."""
    parts = run.parts
    left = run.quiet_at() - parts.clock.now()
    if left > timedelta(0) and parts.clock.wait(parts.stop, left):
        raise Interrupted


def _require_nobody_to_forget(run: Run, belief: Belief) -> None:
    """The source's list must not hide whom the destination has yet to let go."""
    if belief.reads is not None or run.binding is None:
        return
    with run.parts.database.read() as connection:
        due = forgotten.is_due(connection, run.binding.id)
    if due:
        raise NotResyncable(
            f"{run.spec.name} still has to let go of people who are to be forgotten",
            code="resync.forgetting",
            hint=f"syncd run {run.spec.name}",
        )


def _compared(run: Run, snapshot: Snapshot) -> Draft:
    """What is told beside what is stored, as a draft that adds everybody."""
    return draft(
        run.parts.database,
        snapshot,
        binding=compared_binding(run),
        leaving=None,
        below=None if snapshot.anew else run.binding,
        everybody=True,
        id_type=run.spec.identity.id_type,
        batch_size=run.spec.batch_size,
        folder=run.parts.spool,
        now=run.parts.clock.now(),
    )


def _collected(run: Run, found: Found, belief: Belief) -> Snapshot:
    if belief.reads is None:
        with credentials.of_source(run):
            answer = steps.ask(run)
            if isinstance(answer, Unchanged | Postponed):
                raise _no_list(run, answer)
            return steps.collect(run, answer)
    listing = belief.reads(run, found.external_id)
    if isinstance(listing, Postponed):
        raise _no_list(run, listing)
    return take_snapshot(listing, steps.how_to_read(run))


def _no_list(run: Run, why: Unchanged | Postponed) -> NotResyncable:
    message = why.message if isinstance(why, Postponed) else "its source lists nothing"
    return NotResyncable(
        f"{run.spec.name}: {message}",
        code="resync.no_list",
        hint=f"syncd runs {run.spec.name}",
    )


def _store(run: Run, told: _Told, wish: Wish) -> int:
    """One transaction: another baseline in the place of the one there was."""
    parts, now = run.parts, run.parts.clock.now()
    digest, mark = _where_to_go_on(told)
    with parts.database.begin() as connection:
        leases.check(connection, run.lease, parts.clock.wall())
        work = _working_binding(connection, run, told.found, now)
        n_buckets = told.draft.n_buckets
        members = compaction.adopt(connection, work.id, n_buckets, told.buckets())
        forgotten.look_again(connection, work.id)
        source = run.spec.identity.source
        bindings.plan_went_out(connection, work.id, digest, source, mark)
        installation.record(connection, action(run, wish, "resync adopt"))
        if run.unreconciled is not None:
            # Where nothing can be read, it is a person's word that counts.
            failovers.reconciled(connection, run.spec.name, run.unreconciled)
    run.binding, run.change = work, None
    return members


def _where_to_go_on(told: _Told) -> tuple[SnapshotDigest | None, str | None]:
    """What the next run finds known of the source."""
    plan, belief = told.draft.plan, told.belief
    if belief.reads is None:
        return plan.digest, told.draft.mark
    if belief.mark is None:
        return None, None
    # As of a plan from words: one that no list will ever equal.
    return SnapshotDigest(count=plan.members, total=0), belief.mark


def _working_binding(
    connection: Connection, run: Run, found: Found, now: datetime
) -> Binding:
    """Today's binding; where the identity changed, or nothing is known, a new one."""
    work, spec = compared_binding(run), run.spec
    if work is None:
        if run.binding is not None:
            # Who was under the old id type is in the list that was read; a former
            # target is left as it is.
            outbox.take_over(connection, run.binding.id)
            bindings.set_role(connection, run.binding.id, Role.RETIRED)
        work = bindings.create(
            connection,
            sync=spec.name,
            role=Role.CURRENT,
            connection_name=spec.identity.connection,
            target=spec.identity.target,
            owner=spec.owner,
            id_type=spec.identity.id_type,
            source_fingerprint=spec.identity.source,
            now=now,
        )
    if work.external_id is None:
        bindings.bind(connection, work.id, found)
    return bindings.get(connection, work.id)


def by_bucket(
    batches: Iterable[PlannedBatch], n_buckets: int
) -> Iterator[tuple[int, list[bytes]]]:
    """The ids of the ADD batches of a plan, bucket by bucket; pure.

    Batches come in order of buckets, so what is kept meanwhile is a batch's worth.
    """
    begun: dict[int, list[bytes]] = {}
    for each in batches:
        if each.operation is not Operation.ADD:
            continue
        for index in sorted(one for one in begun if one < each.first_bucket):
            yield index, begun.pop(index)
        for member_id in each.ids:
            begun.setdefault(bucket_of(member_id, n_buckets), []).append(member_id)
    yield from sorted(begun.items())


def _conclude(run: Run, told: _Told, members: int) -> None:
    plan, report = told.draft.plan, run.report
    whose = "source" if told.belief.reads is None else "destination"
    adopted = {
        "from": whose,
        "members": members,
        "before": plan.union,
        "new": max(0, members - (plan.union - plan.exited)),
        "gone": plan.exited,
    }
    report.numbers |= {"adopted": adopted, "members_before": plan.acknowledged}
    # Nothing was delivered: the sync is as fresh as it was, the next run compares.
    report.outcome, report.reason = Outcome.SKIPPED, ADOPTED
    verb = "lists" if told.belief.reads is None else "holds"
    report.message = f"whom the {whose} {verb} counts as acknowledged: {members:,}"
