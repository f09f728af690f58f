"""Asking the destination, for free: what the target is called, and whether it is there.

Done before anything is read or compared.
"""

from syncd.errors import DeliveryError, Fault, TargetUnusable
from syncd.model import Found
from syncd.store import bindings, leases
from syncd.sync import credentials
from syncd.sync.identity import Aspect
from syncd.sync.steps import Run, load_binding


def find_target(run: Run) -> Found | None:
    """Name the target, which may ask the source, and look it up."""
    with credentials.of_source(run):
        _name(run)
    return _look_up(run)


def _name(run: Run) -> None:
    """The target keeps the name it has; a new one may be named after its source."""
    known = None if _elsewhere(run) else run.binding
    kept = known.external_name if known is not None and known.external_id else None
    run.target_name = kept or run.spec.naming()


def _look_up(run: Run) -> Found | None:
    """A bound target may stay unseen: the request will decide."""
    known = None if _elsewhere(run) else run.binding
    target = run.spec.target(known, run.target_name)
    try:
        found = run.spec.sink.find(target)
    except DeliveryError as error:
        bound = target.external_id is not None and known is not None
        if bound and error.fault in {Fault.PASSING, Fault.THROTTLED}:
            return None
        raise
    if found is None and known is None and run.spec.target_id is not None:
        raise TargetUnusable(
            f"{run.spec.identity.connection} lists no cohort {run.spec.target_id}",
            code="target.not_found",
            hint="correct to.cohort_id, then: syncd check",
        )
    if found is not None:
        _require_only_writer(run, found)
        _recognise(run, found)
    return found


def _require_only_writer(run: Run, found: Found) -> None:
    """Two syncs that write one target would undo each other's work for ever.

    `check` sees that where both name it alike; here both are known by their id.
    """
    connection_name = run.spec.identity.connection
    with run.parts.database.read() as connection:
        writers = bindings.writers(connection, connection_name, found.external_id)
    others = sorted(run.spec.neighbours & set(writers))
    if others:
        raise TargetUnusable(
            f"sync {others[0]} writes {found.external_id} already",
            code="target.shared",
            hint="one target, one sync: choose another one, then: syncd check",
        )


def _recognise(run: Run, found: Found) -> None:
    """A target in other words that is the cohort we are bound to is no change of it."""
    before, now = run.binding, run.spec.identity
    if before is None or not _elsewhere(run):
        return
    if (before.connection, before.external_id) != (now.connection, found.external_id):
        return
    with run.parts.database.begin() as connection:
        leases.check(connection, run.lease, run.parts.clock.wall())
        bindings.set_target(connection, before.id, now.target)
    load_binding(run)


def _elsewhere(run: Run) -> bool:
    return run.change is not None and run.change.aspect is Aspect.TARGET
