"""What a changed identity would do to its targets: numbers before a person decides."""

from datetime import datetime

from syncd.store import acknowledged
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.sync.identity import Change, Identity, Moves, Side, sides
from syncd.sync.plan import Plan
from syncd.sync.steps import identity_of


def changed_sides(
    database: Database,
    before: Binding | None,
    change: Change | None,
    identity: Identity,
    plan: Plan,
    now: datetime,
) -> tuple[Side, ...]:
    """The targets of a changed identity, the old one first; none without a change."""
    if before is None or change is None:
        return ()
    with database.read() as connection:
        members = acknowledged.count(connection, before, now)
    moves = Moves(members=members, entered=plan.entered, exited=plan.exited)
    return sides(change, identity_of(before), identity, moves)
