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
