"""Beginning anew with a target, on a person's word: push, or adopt what is there.

    push    everybody listed is sent once more, and whoever is known and not listed is
            removed: a plan like any other, judged, held and delivered as one.
    adopt   (`adopting`) what the destination holds today is what counts as acknowledged
            from now on, and nothing is sent.

Neither is begun while a plan of the sync waits for a person.
"""

from dataclasses import dataclass

from syncd import events
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.model import (
    Found,
    Trigger,
)
from syncd.store import (
    installation,
    leases,
)
from syncd.store.installation import Action
from syncd.sync import credentials
from syncd.sync.finding import find_target
from syncd.sync.replacing import Replacing
from syncd.sync.run import from_the_source, run
from syncd.sync.spec import Report, Spec
from syncd.sync.steps import Parts, Run, compared_binding


class NotResyncable(SyncdError):
    """The sync cannot begin anew like this."""

    code = "resync"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Who wants a sync to begin anew, and why."""

    actor: str
    via: str
    """cli, socket or web."""
    reason: str


def push(
    parts: Parts, spec: Spec, wish: Wish, *, strangers: int | None = None
) -> Report | None:
    """Send everybody again, in a run with trigger `resync`.

    `strangers`: one upload comes first and replaces all members, and so many people of
    others may be put out by that; None: no upload. Raises `Busy`, `Paused`,
    `WaitsForPerson`.
    """

    def story(run: Run) -> None:
        run.anew = True
        if strangers is not None:
            run.replacing = _replacing(run, strangers)
            run.reconciles = True
        replace = " replace" if strangers is not None else ""
        _note(run, wish, f"resync push{replace}")
        from_the_source(run)

    return run(parts, spec, Trigger.RESYNC, story=story)


def _replacing(run: Run, strangers: int) -> Replacing:
    """What the upload would replace, as the free list says it is. Raises
    `NotResyncable` where there is nothing to be replaced."""
    name, most = run.spec.name, run.spec.sink.capabilities.replaces
    if most is None:
        raise NotResyncable(
            f"{name}: its destination has no request that replaces all members",
            code="resync.no_replace",
            hint=f"syncd resync {name} --push",
        )
    if run.change is not None:
        raise NotResyncable(
            f"{name}: {run.change.sentence}; decide on that first",
            code="resync.changed",
            hint=f"syncd run {name}",
        )
    credentials.require_open(run)
    found = target_there(run)
    return Replacing(sync=name, most=most, there=found.size, strangers=strangers)


def _note(run: Run, wish: Wish, verb: str) -> None:
    """Keep and say who wanted it: the run may end in many ways."""
    parts = run.parts
    with parts.database.begin() as connection:
        leases.check(connection, run.lease, parts.clock.wall())
        installation.record(connection, action(run, wish, verb))
    say(run, wish, verb)


def action(run: Run, wish: Wish, verb: str) -> Action:
    """The line of the audit trail."""
    return Action(
        at=run.parts.clock.now(),
        actor=wish.actor,
        via=wish.via,
        verb=verb,
        sync=run.spec.name,
        run_id=run.report.run_id,
        reason=wish.reason,
    )


def say(run: Run, wish: Wish, verb: str) -> None:
    """Log who wanted it, once that is kept."""
    emit(
        events.OPERATOR_RESYNCED,
        sync=run.spec.name,
        actor=wish.actor,
        via=wish.via,
        reason=wish.reason,
        run=run.report.run_id,
        how=verb,
    )


def target_there(run: Run) -> Found:
    """The target that is there; one that is bound may stay unseen."""
    with run.phase("find"):
        found = find_target(run)
    bound = compared_binding(run)
    if found is not None:
        return found
    if bound is not None and bound.external_id is not None:
        name = bound.external_name or run.target_name
        return Found(external_id=bound.external_id, name=name, size=None)
    raise NotResyncable(
        f"{run.spec.name}: there is no {run.target_name} with members yet",
        code="resync.no_target",
        hint=f"syncd run {run.spec.name}",
    )
