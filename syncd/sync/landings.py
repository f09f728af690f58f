"""Late landings: requests that take effect after we gave them up.

Whoever such a request may have moved the wrong way is asserted again by every plan, and
for the last time by the first plan after it has landed, if it ever does. Where the
source has nothing new to say, or may not be read, that plan is made of whom the plans
so far wanted: nothing is read and nothing paid for it.
"""

from collections.abc import Iterator

from syncd.sources import Pushed, Words
from syncd.store import acknowledged, bindings, doubts, leases
from syncd.store.bindings import Binding, Role
from syncd.store.database import Connection, Database
from syncd.sync.steps import Run, compared_binding


def are_overdue(run: Run) -> bool:
    """Whether somebody must be asserted again now, whatever the source says.

    Doubts that turned out to concern nobody are dropped.
    """
    binding, now = compared_binding(run), run.parts.clock.now()
    if binding is None:
        return False
    if former(run) is not None:
        return True
    with run.parts.database.read() as connection:
        if not doubts.any_overdue(connection, binding.id, now):
            return False
        if acknowledged.is_overdue(connection, binding, now):
            return True
    with run.parts.database.begin() as connection:
        leases.check(connection, run.lease, run.parts.clock.wall())
        doubts.settle(connection, binding.id, now)
    return False


def former(run: Run) -> Binding | None:
    """The same cohort by the ids of before, of which something has landed by now if it
    ever does.

    Whom that moved cannot be told by today's ids: they are removed once more by those
    of before, and then everybody is added again.
    """
    if run.change is not None:
        return None
    now = run.parts.clock.now()
    with run.parts.database.read() as connection:
        for each in bindings.of_sync(connection, run.spec.name):
            ours = each.connection == run.spec.identity.connection
            retiring = each.role is Role.RETIRING and ours
            if retiring and doubts.any_overdue(connection, each.id, now):
                return each
    return None


def as_before(run: Run) -> Pushed:
    """Whom the plans so far wanted, as what the source says."""
    mark = run.binding.source_mark if run.binding is not None else None
    return Pushed(words=_none, mark=lambda: mark)


def _none(_database: Database) -> Iterator[Words]:
    return iter(())


def note_unrecorded(connection: Connection, run: Run) -> None:
    """Requests were made of which nothing could be written down: any open batch of the
    sync may have been on the wire."""
    owned = [each.id for each in bindings.of_sync(connection, run.spec.name)]
    now = run.parts.clock.now()
    doubts.of_open(connection, owned, now, run.spec.late_landings)
