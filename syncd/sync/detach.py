"""Letting a target go: what is kept of it is dropped, on request after emptying it.

Emptying removes everybody whom we put there, by a plan like any other but for the
guard: whoever asked for it was told the number, and more than that are not removed.
The sync is paused before the first batch is durable, so that no later run fills the
target again: cut off anywhere, the command is given once more.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from syncd import events
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.model import Trigger
from syncd.store import (
    acknowledged,
    bindings,
    doubts,
    failovers,
    installation,
    leases,
    pauses,
    runs,
    unsettled,
    verifications,
)
from syncd.store.bindings import Binding, Role
from syncd.store.database import Connection
from syncd.store.installation import Action
from syncd.store.pauses import Pause
from syncd.sync import commit, credentials, landings
from syncd.sync.draft import Draft, draft
from syncd.sync.run import deliver_and_conclude, run
from syncd.sync.snapshot import Reading, Snapshot
from syncd.sync.spec import Report, Spec
from syncd.sync.steps import Parts, Run


class NotDetachable(SyncdError):
    """The target cannot be let go like this."""

    code = "detach"


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """Who lets a sync's target go, and why."""

    sync: str
    actor: str
    via: str
    """cli, socket or web."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A target that the sync had."""

    connection: str
    name: str
    """What it is called, or would have been."""
    external_id: str | None
    """None: it was never made."""
    members: int
    """Acknowledged there."""
    uncertain: int
    """In batches without a proven answer."""
    former: bool
    """The sync had gone on to another one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emptied:
    """What came of an emptying."""

    report: Report | None
    left: tuple[Left, ...] = ()
    """The targets that were let go: none, as long as somebody is in doubt."""
    again_at: datetime | None = None
    """Everybody is out, but a request without an answer may put people back until
    then: only after it can the target be let go."""


# ---- what is kept -------------------------------------------------------------------


def targets_of(connection: Connection, sync: str, now: datetime) -> tuple[Left, ...]:
    """Every target of the sync that anything is kept of, oldest first; counts all."""
    return tuple(
        _left(connection, each, now) for each in bindings.of_sync(connection, sync)
    )


def _left(connection: Connection, binding: Binding, now: datetime) -> Left:
    return Left(
        connection=binding.connection,
        name=binding.external_name or binding.target.partition(":")[2],
        external_id=binding.external_id,
        members=acknowledged.count(connection, binding, now),
        uncertain=unsettled.uncertain_count(connection, binding.id),
        former=binding.role is Role.RETIRED,
    )


def let_go(connection: Connection, farewell: Farewell, now: datetime) -> None:
    """Forget every target of the sync, with its batches and traces. Runs stay."""
    for each in bindings.of_sync(connection, farewell.sync):
        bindings.drop(connection, each.id)
    verifications.forget(connection, farewell.sync)
    failovers.forget(connection, farewell.sync)
    installation.record(connection, _action(farewell, None, now))


def keep_off(connection: Connection, farewell: Farewell, now: datetime) -> None:
    """Pause the sync until somebody resumes it: a run would begin a first sync."""
    pauses.put(
        connection,
        Pause(
            sync=farewell.sync,
            since=now,
            until=None,
            actor=farewell.actor,
            via=farewell.via,
            reason=f"detached: {farewell.reason}",
        ),
    )


def tell(farewell: Farewell, left: Sequence[Left], *, emptied: bool) -> None:
    """Say it, once it is done."""
    emit(
        events.OPERATOR_DETACHED,
        sync=farewell.sync,
        actor=farewell.actor,
        via=farewell.via,
        reason=farewell.reason,
        targets=[f"{each.connection} {each.name}" for each in left],
        emptied=emptied,
    )


def _action(farewell: Farewell, run_id: str | None, now: datetime) -> Action:
    return Action(
        at=now,
        actor=farewell.actor,
        via=farewell.via,
        verb="detach" if run_id is None else "detach empty",
        sync=farewell.sync,
        run_id=run_id,
        reason=farewell.reason,
    )


# ---- emptying it first --------------------------------------------------------------


def empty(parts: Parts, spec: Spec, farewell: Farewell, agreed: int) -> Emptied:
    """Remove everybody we put into the target, then let it go.

    A run with trigger `detach`, also of a paused sync; it leaves the sync paused.
    `agreed`: how many were told to whoever asked. Nothing is let go of as long as a
    batch waits or is dead, or a request may still put somebody in. Raises `Busy`,
    `WaitsForPerson`.
    """
    ends: list[Emptied] = []

    def story(run: Run) -> None:
        credentials.require_open(run)
        with closing(_everybody_out(run, agreed)) as made:
            _begin_emptying(run, farewell)
            with run.phase("commit"):
                commit.store_plan(run, made, None, held_until=None)
        emit(events.CHANGES_COMMITTED, batches=run.report.numbers["batches"])
        deliver_and_conclude(run)
        if run.report.outcome in runs.OK:
            ends.append(_finish(run, farewell))

    report = run(parts, spec, Trigger.DETACH, story=story, even_paused=True)
    end = ends[0] if ends else Emptied(report=report)
    if end.left:
        tell(farewell, end.left, emptied=True)
    return end


def _everybody_out(run: Run, agreed: int) -> Draft:
    """The plan that removes everybody, if it is the one that was agreed to."""
    binding, parts = _emptiable(run), run.parts
    # What is emptied is what was filled, whatever is configured today; by its name it
    # is found where the answer to its creation was lost.
    run.change, run.target_name = None, _name_of(run.binding)
    run.former = landings.former(run)
    how = Reading(
        id_type=binding.id_type,
        folder=parts.spool,
        n_buckets=binding.n_buckets,
        stop=parts.stop,
    )
    nobody = how.partition()
    snapshot = Snapshot(partition=nobody, digest=nobody.seal(), refused={}, doubts={})
    with run.phase("diff"), closing(snapshot):
        made = draft(
            parts.database,
            snapshot,
            binding=binding,
            leaving=run.former,
            id_type=binding.id_type,
            batch_size=run.spec.batch_size,
            folder=parts.spool,
            now=parts.clock.now(),
        )
    _require_agreed(run, made, agreed)
    run.report.numbers |= {"members_before": made.plan.acknowledged, "members": 0}
    run.report.numbers |= {"to_enter": 0, "to_exit": made.plan.exited}
    return made


def _emptiable(run: Run) -> Binding:
    name, binding = run.spec.name, run.binding
    if binding is None:
        raise NotDetachable(
            f"{name} holds nobody anywhere",
            code="detach.nothing",
            hint=f"syncd detach {name}",
        )
    if binding.connection != run.spec.identity.connection:
        raise NotDetachable(
            f"{name} filled a target of {binding.connection}, and is configured to "
            f"write to {run.spec.identity.connection}",
            code="detach.changed",
            hint="put the old target back into the file, or detach without --empty",
        )
    return binding


def _name_of(binding: Binding | None) -> str:
    return (binding.external_name if binding is not None else None) or ""


def _require_agreed(run: Run, made: Draft, agreed: int) -> None:
    name, union = run.spec.name, made.plan.union
    if made.baseline_intact and union <= agreed:
        return
    made.close()
    if not made.baseline_intact:
        raise NotDetachable(
            f"what is stored about the target of {name} does not add up, so not "
            "everybody in it is known",
            code="detach.baseline",
            hint=f"syncd resync {name} --adopt, then again",
        )
    raise NotDetachable(
        f"{union:,} people would be removed, {agreed:,} were agreed to",
        code="detach.grown",
        hint=f"syncd detach {name} --empty",
    )


def _begin_emptying(run: Run, farewell: Farewell) -> None:
    parts, now = run.parts, run.parts.clock.now()
    with parts.database.begin() as connection:
        leases.check(connection, run.lease, parts.clock.wall())
        keep_off(connection, farewell, now)
        installation.record(connection, _action(farewell, run.report.run_id, now))


def _finish(run: Run, farewell: Farewell) -> Emptied:
    """Drop what is kept, unless somebody is in doubt: they would stay unknown.

    Also whom a request that got no answer may put back: nobody would mind it.
    """
    parts, now = run.parts, run.parts.clock.now()
    with parts.database.begin() as connection:
        leases.check(connection, run.lease, parts.clock.wall())
        left = targets_of(connection, farewell.sync, now)
        if any(each.uncertain for each in left if not each.former):
            return Emptied(report=run.report)
        owned = bindings.of_sync(connection, farewell.sync)
        ours = [each.id for each in owned if each.role is not Role.RETIRED]
        until = doubts.puts_in_until(connection, ours)
        if until is not None:
            return Emptied(report=run.report, again_at=until)
        let_go(connection, farewell, now)
    return Emptied(report=run.report, left=left)
