"""Letting go of people who asked to be forgotten: they leave, then they are erased.

No source is asked. The plan is whom the plans so far wanted, without them: it takes
over every open batch, passes the guard and may be held like any other. Once its
removals are acknowledged, the ids are erased, and it is noted that the binding holds
none of them. Whatever cuts this off, the next try begins anew with what is left.
"""

from datetime import datetime
from functools import partial

from syncd import events
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.model import Found, Operation, Trigger
from syncd.store import (
    bindings,
    doubts,
    erasing,
    forgotten,
    installation,
    leases,
    runs,
)
from syncd.store.bindings import Binding, Role
from syncd.store.database import Connection
from syncd.store.forgotten import Forgotten
from syncd.store.installation import Action
from syncd.store.leases import Lease
from syncd.sync import credentials, landings
from syncd.sync.beginning import WaitsForPerson, leased
from syncd.sync.commit import drop_plan
from syncd.sync.finding import find_target
from syncd.sync.identity import compare
from syncd.sync.run import from_what_it_says, run
from syncd.sync.spec import Report, Spec
from syncd.sync.steps import Parts, Run, identity_of

OURSELVES = "syncd"
"""Who dropped a plan, in the audit trail."""
WHY_DROPPED = "it would have added people who asked to be forgotten"


class CannotLetGo(SyncdError):
    """Its people cannot be removed before a person decided something."""

    code = "forget.waits"


def let_go(parts: Parts, spec: Spec) -> Report | None:
    """Have one sync let go of whoever is to be forgotten, with one run at most.

    None where it held none of them. Raises `Busy`, `Paused`, `WaitsForPerson`, and
    `CannotLetGo` where its target is another one than the configuration names now.
    """
    with parts.database.read() as connection:
        binding = bindings.current(connection, spec.name)
        if binding is None or not forgotten.is_due(connection, binding.id):
            return None
        people = forgotten.load(connection, binding.id_type)
        left = erasing.held_by(connection, binding, people, parts.clock.now())
    _drop_plan_that_adds(parts, spec)
    report = None
    if left:
        _require_same_target(spec, binding)
        report = run(parts, spec, Trigger.FORGET, story=_remove)
    if report is None or report.outcome in runs.OK:
        with leased(parts, spec) as lease:
            if not erase(parts, spec, lease):
                _require_decided(parts, spec)
    return report


def _drop_plan_that_adds(parts: Parts, spec: Spec) -> None:
    """A held plan that would add them must not be approved: the next run makes it anew.

    One that only removes them, or does not name them, goes on waiting for a person.
    """
    now = parts.clock.now()
    with parts.database.begin() as connection:
        held = runs.waiting_for_a_person(connection, spec.name, lock=True)
        if held is None or not _adds(connection, spec):
            return
        batches = drop_plan(connection, held)
        installation.record(connection, _dropped(held, now))
    emit(
        events.GUARD_REJECTED,
        sync=spec.name,
        actor=OURSELVES,
        reason=WHY_DROPPED,
        plan_hash=held.plan_hash,
        batches=batches,
    )


def _adds(connection: Connection, spec: Spec) -> bool:
    return any(
        erasing.planned_for(
            connection,
            each,
            forgotten.load(connection, each.id_type),
            (Operation.ADD,),
        )
        for each in bindings.of_sync(connection, spec.name)
    )


def _dropped(held: runs.Run, now: datetime) -> Action:
    return Action(
        at=now,
        actor=OURSELVES,
        via="forget",
        verb="reject",
        sync=held.sync,
        run_id=held.id,
        reason=WHY_DROPPED,
        plan_hash=held.plan_hash,
    )


def _require_decided(parts: Parts, spec: Spec) -> None:
    with parts.database.read() as connection:
        held = runs.waiting_for_a_person(connection, spec.name)
    if held is not None:
        raise WaitsForPerson(held)


def _require_same_target(spec: Spec, binding: Binding) -> None:
    change = compare(
        identity_of(binding), spec.identity, external_id=binding.external_id
    )
    if change is not None:
        raise CannotLetGo(
            f"the configuration of {spec.name} changed since its last plan: "
            f"{change.sentence}",
            hint=f"syncd run {spec.name}, then decide on its plan",
        )


def _remove(run: Run) -> None:
    """The story: everybody as before, but for those who are to be forgotten."""
    found = _found(run)
    from_what_it_says(run, landings.as_before(run), found)


def _found(run: Run) -> Found | None:
    with run.phase("find"):
        credentials.require_open(run)
        return find_target(run)


# ---- erasing -------------------------------------------------------------------------


def erase(parts: Parts, spec: Spec, lease: Lease) -> bool:
    """Erase them from everything that is stored for this sync; False: one is left.

    The caller has the sync for itself. Its open batches may still name some: then a
    later run says what becomes of them.
    """
    with parts.database.read() as connection:
        binding = bindings.current(connection, spec.name)
        owned = bindings.of_sync(connection, spec.name)
        if binding is None:
            return True
        people = forgotten.load(connection, binding.id_type)
        if any(_names(connection, parts, each) for each in owned):
            return False
    check = partial(_check, parts, lease)
    rows = erasing.settled(parts.database, binding, people, check)
    with parts.database.begin() as connection:
        check(connection)
        for each in owned:
            if each.role is Role.RETIRED:
                rows += erasing.former(
                    connection, each, forgotten.load(connection, each.id_type)
                )
        forgotten.note_left(connection, binding.id, people.position)
    emit(events.FORGOTTEN_ERASED, sync=spec.name, rows=rows)
    return True


def _names(connection: Connection, parts: Parts, owned: Binding) -> bool:
    """Whether somebody has to be removed from a binding first, or a request may still
    land that puts them in."""
    if owned.role is Role.RETIRED:
        return False
    people: Forgotten = forgotten.load(connection, owned.id_type)
    held = erasing.held_by(connection, owned, people, parts.clock.now())
    return bool(
        held
        or erasing.planned_for(connection, owned, people)
        or doubts.names_any(connection, owned.id, people.among)
    )


def _check(parts: Parts, lease: Lease, connection: Connection) -> None:
    leases.check(connection, lease, parts.clock.wall())
