"""What makes a sync the same sync: what it reads, writes and matches on. Pure.

The acknowledged set belongs to one identity. When the configuration changes it, the
next run is held: the diff would otherwise read one audience's members as another's
exits.
"""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

from syncd.model import IdType


class Aspect(StrEnum):
    """Which part of the identity changed; the first that applies, in this order."""

    TARGET = "target"
    """Another cohort: the old one is left as it is, the new one gets a first sync."""
    ID_TYPE = "id_type"
    """The same cohort under another id: emptied of the old ids, then filled."""
    SOURCE = "source"
    """Another audience or query for the same cohort: the difference is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One sync's identity."""

    connection: str
    """The connection written to."""
    target: str
    """`name:…` or `id:…`, as configured."""
    id_type: IdType
    source: str
    """Fingerprint of the source, free of secrets."""

    @property
    def hash(self) -> str:
        """Short and stable, to compare a held plan with today's configuration."""
        # JSON, since a query has lines: no part may run into the next one.
        text = json.dumps([self.connection, self.target, self.id_type, self.source])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A changed identity, said in one sentence."""

    aspect: Aspect
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One target of a changed identity, and what the plan would do to it."""

    identity: Identity
    members: int
    """Acknowledged there so far."""
    entered: int = 0
    exited: int = 0

    @property
    def sentence(self) -> str:
        """`amplitude name:VIP by user_id: 1,204 acknowledged, they would stay`."""
        where, there = self.identity, f"{self.members:,} acknowledged"
        moves = [
            f"{count:,} would {verb}"
            for count, verb in ((self.entered, "enter"), (self.exited, "exit"))
            if count
        ]
        fate = " and ".join(moves) or ("they would stay" if self.members else "")
        told = f"{there}, {fate}" if fate else there
        return f"{where.connection} {where.target} by {where.id_type}: {told}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """The plan of a changed identity in numbers."""

    members: int
    """Acknowledged under the identity so far."""
    entered: int
    exited: int


def sides(
    change: Change, before: Identity, now: Identity, moves: Moves
) -> tuple[Side, ...]:
    """What a changed identity means, target by target: the old one first."""
    if change.aspect is Aspect.SOURCE:
        same = Side(
            identity=now,
            members=moves.members,
            entered=moves.entered,
            exited=moves.exited,
        )
        return (same,)
    # A former target is left as it is; a former id type is emptied.
    left = Side(identity=before, members=moves.members, exited=moves.exited)
    return left, Side(identity=now, members=0, entered=moves.entered)


def compare(
    before: Identity, now: Identity, *, external_id: str | None
) -> Change | None:
    """How the identity changed; None when it did not.

    `external_id` is the vendor's id the old identity is bound to: naming the same
    cohort by its id instead of by its name is no change.
    """
    bound = None if external_id is None else f"id:{external_id}"
    same_target = before.connection == now.connection and (
        now.target in (before.target, bound)
    )
    if not same_target:
        return Change(
            aspect=Aspect.TARGET,
            sentence=f"the target changed from {before.connection} {before.target} "
            f"to {now.connection} {now.target}; the old one would be left as it is",
        )
    if before.id_type is not now.id_type:
        return Change(
            aspect=Aspect.ID_TYPE,
            sentence=f"match changed from {before.id_type} to {now.id_type}; every "
            "member would be removed under the old id and added under the new one",
        )
    if before.source != now.source:
        return Change(
            aspect=Aspect.SOURCE,
            sentence="the source changed (connection, audience, query or tables)",
        )
    return None
