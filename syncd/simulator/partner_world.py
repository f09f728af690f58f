"""What a partner knows: its lists with members, and traits of users.

The same platform takes both kinds of integration, so that one origin serves tests of
either.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from syncd.simulator.answers import Refusal

KEPT_BODIES = 50
"""Bodies that can be read again."""


@dataclass(slots=True, kw_only=True)
class Setup:
    """How a partner has set its API up."""

    api_key: str = field(default="demo-partner-key", repr=False)
    app_id: str = "187520"
    """Wanted beside the key where credentials come as headers."""
    auth: str = "basic"
    """`basic` (key and empty password), `headers` (api_key, app_id), or `either`."""
    ids_key: str = "userIds"
    """The name of the list of user ids in an add or a remove."""
    property_path: str = "/property"


@dataclass(slots=True)
class PartnerList:
    """One list."""

    id: str
    name: str
    members: set[str] = field(default_factory=set)


class Crowd:
    """How many handlers work on each list."""

    def __init__(self) -> None:
        self._inside: Counter[str] = Counter()

    @contextmanager
    def join(self, list_id: str | None, *, most: int) -> Iterator[None]:
        """Work on a list beside others. Raises Refusal 429 beyond `most` (0: any)."""
        key = list_id or ""
        if most and list_id and self._inside[key] >= most:
            raise Refusal(429, "Too many requests for this list")
        self._inside[key] += 1
        try:
            yield
        finally:
            self._inside[key] -= 1


class PartnerWorld:
    """Lists, traits, known people, and the last bodies."""

    def __init__(self) -> None:
        self.setup = Setup()
        self.lists: dict[str, PartnerList] = {}
        self.traits: dict[str, dict[str, bool]] = {}
        """Trait -> user id -> value."""
        self.people: set[str] = set()
        """Who is known, where not everybody is."""
        self.bodies: deque[dict[str, Any]] = deque(maxlen=KEPT_BODIES)
        self.crowd = Crowd()
        self._last = 0

    def create(self, name: str, *, reuse: bool) -> tuple[PartnerList, bool]:
        """A list of this name, and whether it is a new one."""
        for one in self.lists.values():
            if reuse and one.name == name:
                return one, False
        self._last += 1
        made = PartnerList(f"L{self._last}", name)
        self.lists[made.id] = made
        return made, True

    def known(self, user_ids: Iterable[str]) -> bool:
        """All of them are known people."""
        return self.people.issuperset(user_ids)

    def traits_of(self, user_id: str) -> dict[str, bool]:
        """One user's traits."""
        return {
            trait: values[user_id]
            for trait, values in self.traits.items()
            if user_id in values
        }
