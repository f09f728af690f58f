"""What Engage knows: profiles, and the audiences of its spaces (section 4.3).

Engage tells a destination about changes, one event per identifier and change. So an
audience keeps its members (profiles) and a journal of every entry and exit, and each
sender remembers how far in the journal it is.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from syncd.simulator.public_rate import Window

SPACE = "spa_demo"
"""The space that is there at the start."""
TOKEN = "demo-public-token"  # noqa: S105 - opens the simulator only
"""Opens the Public API at the start."""


class Profile(NamedTuple):
    """One person: every identifier by which Engage tells about them."""

    user_ids: tuple[str, ...]
    anonymous_ids: tuple[str, ...]


class Change(NamedTuple):
    """One entry or exit."""

    profile: str
    entered: bool
    at: int
    """Milliseconds since 1970."""


@dataclass(slots=True, kw_only=True)
class Audience:
    """One audience of a space. Members are keys of profiles."""

    id: str
    key: str
    name: str
    space: str
    created_at: float
    """Epoch seconds."""
    updated_at: float
    members: set[str] = field(default_factory=set)
    journal: list[Change] = field(default_factory=list)
    status: str = "Live"
    enabled: bool = True
    size: int | None = None
    """What the Public API says instead of the truth; None: the truth."""
    warehouse: str = ""
    """A warehouse file (warehouse.py) that follows every change; "": none."""

    @property
    def shown_size(self) -> int:
        """Counts profiles, not identifiers (section 7)."""
        return len(self.members) if self.size is None else self.size

    def change(
        self,
        enter: Iterable[str],
        leave: Iterable[str],
        *,
        moment: float,
        again: bool = False,
    ) -> list[Change]:
        """Let profiles enter and leave; returns what is new in the journal.

        One who is in and enters changes nothing and is not told, unless `again` says
        so (E3). Two changes never share a millisecond, so that the newest word about a
        person is always one.
        """
        last = self.journal[-1].at if self.journal else 0
        at, start = max(int(moment * 1000), last + 1), len(self.journal)
        for one in dict.fromkeys(enter):
            if again or one not in self.members:
                self.members.add(one)
                self.journal.append(Change(one, True, at))
        for one in dict.fromkeys(leave):
            if again or one in self.members:
                self.members.discard(one)
                self.journal.append(Change(one, False, at + 1))
        if len(self.journal) > start:
            self.updated_at = moment
        return self.journal[start:]


class EngageWorld:
    """All spaces of a workspace, and the token that reads them."""

    def __init__(self) -> None:
        self.token = TOKEN
        self.spaces = {SPACE: None}
        """An ordered set of space ids."""
        self.audiences: dict[str, Audience] = {}
        """By audience id, in the order of creation."""
        self.rates: dict[str, Window] = {}
        """Of the Public API, by endpoint."""
        self._profiles: dict[str, Profile] = {}
        """Those that are not plain: one user id and one anonymous id."""

    def name_profile(self, key: str, profile: Profile) -> None:
        """Say which identifiers a profile has."""
        self._profiles[key] = profile

    def profile(self, key: str) -> Profile:
        """A profile is made when first asked for: its key is its user id."""
        known = self._profiles.get(key)
        return known if known is not None else Profile((key,), (anonymous_id(key),))

    def in_space(self, space: str) -> list[Audience]:
        """The audiences of a space."""
        return [one for one in self.audiences.values() if one.space == space]

    def new_id(self, key: str) -> str:
        """An audience id, the same for the same key unless it is taken."""
        for number in range(len(self.audiences) + 1):
            made = f"aud_{hashlib.sha256(f'{key}/{number}'.encode()).hexdigest()[:12]}"
            if made not in self.audiences:
                return made
        raise AssertionError("more ids than audiences were tried")

    def user_ids(self, audience: Audience) -> set[str]:
        """Everybody in an audience by user id: what a snapshot of it would hold."""
        return {
            user_id
            for key in audience.members
            for user_id in self.profile(key).user_ids
        }


def anonymous_id(key: str) -> str:
    """The anonymous id of a plain profile."""
    return f"a-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
