"""What a person decides about batches that are not settled: try again, or give up.

Neither forgets anybody. A batch that is tried again goes out as it stands, in a run of
its own; one that is given up is dead: its ids stay uncertain, and the next run asserts
them as the source then says. Batches of a held plan are decided on together.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd import events
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.model import BatchState, Operation, Trigger
from syncd.store import bindings, installation, leases, runs
from syncd.store.database import Connection
from syncd.store.installation import Action
from syncd.store.unsettled import Unsettled, give_up, hand_over, unsettled
from syncd.sync import credentials
from syncd.sync.beginning import leased
from syncd.sync.identity import compare
from syncd.sync.run import deliver_and_conclude, run
from syncd.sync.spec import Report, Spec
from syncd.sync.steps import Parts, Run, identity_of


class NotSteerable(SyncdError):
    """The batch does not wait, or may not be steered by itself."""

    code = "outbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who wants what of which batches, and why."""

    batches: tuple[int, ...]
    """Empty: every batch of the sync that is open or dead."""
    actor: str
    via: str
    """cli, socket or web."""
    reason: str


def try_again(parts: Parts, spec: Spec, choice: Choice) -> Report | None:
    """Send the chosen open and dead batches at once, with all their attempts, by a run.

    It has the trigger `resume`: no source is read. Raises `NotSteerable`, `Busy`, and
    `WaitsForPerson` while a plan of the sync is held.
    """
    with parts.database.read() as connection:
        _to_send(connection, spec, choice)

    def story(run: Run) -> None:
        credentials.require_open(run)
        chosen = _hand_over(run, choice)
        run.report.numbers["batches"] = len(chosen)
        deliver_and_conclude(run)

    return run(parts, spec, Trigger.RESUME, story=story)


def drop(parts: Parts, spec: Spec, choice: Choice) -> Sequence[Unsettled]:
    """Give the chosen open batches up; returns them as they were.

    Raises `NotSteerable`, and `Busy` while a run of the sync is in progress.
    """
    now = parts.clock.now()
    with leased(parts, spec) as lease, parts.database.begin() as connection:
        leases.check(connection, lease, parts.clock.wall())
        chosen = _to_give_up(connection, spec, choice)
        why = f"dropped by {choice.actor}: {choice.reason}"
        give_up(connection, [each.id for each in chosen], why)
        installation.record(connection, _action("drop", spec, choice, None, now))
    emit(events.OPERATOR_DROPPED, **_who(spec, choice, chosen))
    return chosen


def _hand_over(run: Run, choice: Choice) -> Sequence[Unsettled]:
    """One transaction: the batches are this run's, and its audit line is written."""
    parts, now, run_id = run.parts, run.parts.clock.now(), run.report.run_id
    with parts.database.begin() as connection:
        leases.check(connection, run.lease, parts.clock.wall())
        chosen = _to_send(connection, run.spec, choice)
        hand_over(connection, [each.id for each in chosen], run_id, now)
        runs.enter_phase(connection, run_id, "deliver")
        action = _action("retry", run.spec, choice, run_id, now)
        installation.record(connection, action)
    run.report.phase = "deliver"
    emit(events.OPERATOR_RETRIED, run=run_id, **_who(run.spec, choice, chosen))
    return chosen


# ---- which ones ---------------------------------------------------------------------


def _to_send(connection: Connection, spec: Spec, choice: Choice) -> Sequence[Unsettled]:
    _require_same_identity(connection, spec)
    chosen = [
        each
        for each in _chosen(connection, spec, choice)
        # It would go to the connection of today's configuration.
        if each.connection == spec.identity.connection
        and not _puts_others_out(each, choice)
    ]
    if not chosen:
        raise NotSteerable(
            f"{spec.name} has no batch to send again",
            code="outbox.nothing",
            hint=f"syncd outbox list {spec.name}",
        )
    return chosen


def _puts_others_out(each: Unsettled, choice: Choice) -> bool:
    """Whether it is an upload in the place of all members that is over.

    Who else is there now was never agreed to. Raises `NotSteerable` if it is named.
    """
    over = each.operation is Operation.REPLACE and each.state is BatchState.DEAD
    if over and each.id in choice.batches:
        raise NotSteerable(
            f"batch {each.id} would put out whoever is in the cohort by now",
            code="outbox.replaces",
            hint=f"syncd resync {each.sync} --push --replace --reason TEXT",
        )
    return over


def _to_give_up(
    connection: Connection, spec: Spec, choice: Choice
) -> Sequence[Unsettled]:
    chosen = _chosen(connection, spec, choice)
    for each in chosen:
        if each.state is BatchState.DEAD:
            raise NotSteerable(
                f"batch {each.id} is dead already: it is not sent, and the next run "
                "plans its ids anew",
                code="outbox.dead",
                hint=f"syncd run {spec.name}",
            )
    return chosen


def _chosen(connection: Connection, spec: Spec, choice: Choice) -> list[Unsettled]:
    known = {each.id: each for each in unsettled(connection, [spec.name])}
    _require_known(known, spec.name, choice.batches)
    for key in choice.batches:
        if known[key].state is BatchState.HELD:
            short = known[key].run_id[-8:]
            raise NotSteerable(
                f"batch {key} is part of the plan that run {short} holds",
                code="outbox.held",
                hint=f"syncd show {short}, then approve or reject it as a whole",
            )
    wanted = choice.batches or known.keys()
    return [
        each
        for each in known.values()
        if each.id in wanted and each.state is not BatchState.HELD
    ]


def _require_known(known: Collection[int], name: str, batches: Collection[int]) -> None:
    unknown = sorted(set(batches) - set(known))
    if unknown:
        raise NotSteerable(
            f"{name} has no batch {unknown[0]} that waits: it was settled, or a newer "
            "plan took its place",
            code="outbox.unknown",
            hint=f"syncd outbox list {name}",
        )


def _require_same_identity(connection: Connection, spec: Spec) -> None:
    """Batches of another identity must not go where the configuration points today."""
    binding = bindings.current(connection, spec.name)
    if binding is None:
        return
    change = compare(
        identity_of(binding), spec.identity, external_id=binding.external_id
    )
    if change is not None:
        raise NotSteerable(
            f"{spec.name}: {change.sentence}; its batches are of the time before",
            code="outbox.changed",
            hint=f"syncd run {spec.name}",
        )


# ---- the audit trail ----------------------------------------------------------------


def _action(
    verb: str, spec: Spec, choice: Choice, run_id: str | None, now: datetime
) -> Action:
    return Action(
        at=now,
        actor=choice.actor,
        via=choice.via,
        verb=verb,
        sync=spec.name,
        run_id=run_id,
        reason=choice.reason,
    )


def _who(spec: Spec, choice: Choice, chosen: Sequence[Unsettled]) -> dict[str, Any]:
    return {
        "sync": spec.name,
        "actor": choice.actor,
        "via": choice.via,
        "reason": choice.reason,
        "batches": [each.id for each in chosen][:_NAMED],
        "count": len(chosen),
    }


_NAMED = 20
"""Batches that a log line names at most; it says how many there are."""
