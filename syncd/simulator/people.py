"""Who exists in a project: user id <-> Amplitude ID.

Cohorts hold Amplitude IDs (integers), so that a set of two million members stays
small and an anonymous user (an Amplitude ID without a user id) can be a member.
Groups of another count group than `User` use the same table: group name <-> group id.
"""

from collections.abc import Iterable
from dataclasses import dataclass

FIRST_ID = 356_000_000_001
"""Amplitude IDs are handed out from here, in order of creation: 12 digits, as seen."""

NEVER_USERS = frozenset(
    "anonymous nil none null n/a na undefined unknown {} lmy47d 0 -1".split()
) | {"", "00000000-0000-0000-0000-000000000000"}
"""Ids that ingestion rejects, so that no such user can exist (contract section 6)."""


@dataclass(slots=True)
class Added:
    """What became of people offered to the table."""

    created: int = 0
    existing: int = 0
    refused: int = 0
    """Ids Amplitude would reject at ingestion."""


class People:
    """The users of one project, or its groups of one kind."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._names: dict[int, str | None] = {}
        self._next = FIRST_ID
        self._anonymous: list[int] = []
        self._twins: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._names)

    def add(self, names: Iterable[str]) -> Added:
        """Create those that do not exist; an event would do the same."""
        added = Added()
        for name in names:
            if name in self._ids:
                added.existing += 1
            elif len(name) > 1024 or name.strip().lower() in NEVER_USERS:
                added.refused += 1
            else:
                self._ids[name] = number = self._take_id()
                self._names[number] = name
                added.created += 1
        return added

    def add_numbered(self, number: int, name: str | None) -> bool:
        """Create one under a chosen Amplitude ID. False when either id is taken."""
        if number in self._names or (name is not None and name in self._ids):
            return False
        self._names[number] = name
        if name is not None:
            self._ids[name] = number
        return True

    def add_anonymous(self, count: int) -> None:
        """Create users that have an Amplitude ID only."""
        for _ in range(count):
            self._anonymous.append(number := self._take_id())
            self._names[number] = None

    def anonymous(self, count: int) -> list[int]:
        """So many users without a user id, created as far as there are fewer."""
        self.add_anonymous(max(0, count - len(self._anonymous)))
        return self._anonymous[:count]

    def twin_of(self, name: str) -> int:
        """A second Amplitude ID of a user, created when first asked for: the reason
        why an export can name one user id twice."""
        if name not in self._twins:
            self._twins[name] = number = self._take_id()
            self._names[number] = name
        return self._twins[name]

    def _take_id(self) -> int:
        while self._next in self._names:
            self._next += 1
        self._next += 1
        return self._next - 1

    def id_of(self, name: str) -> int | None:
        """The Amplitude ID behind an exact, case-sensitive user id."""
        return self._ids.get(name)

    def known_id(self, text: str) -> int | None:
        """An Amplitude ID given as decimal text, if it exists."""
        if not (text.isascii() and text.isdigit()) or text[0] == "0" or len(text) > 19:
            return None
        number = int(text)
        return number if number in self._names else None

    def name_of(self, number: int) -> str | None:
        """The user id of a member; None for an anonymous one."""
        return self._names.get(number)

    def ids_of(self, names: Iterable[str]) -> list[int | None]:
        """`id_of` each."""
        return list(map(self._ids.get, names))

    def known_ids(self, texts: Iterable[str]) -> list[int | None]:
        """`known_id` each."""
        return list(map(self.known_id, texts))

    def ids(self, names: Iterable[str]) -> set[int]:
        """The Amplitude IDs of those who exist."""
        found = set(map(self._ids.get, names))
        return {key for key in found if key is not None}

    def names(self, numbers: Iterable[int]) -> list[str | None]:
        """`name_of` each."""
        return list(map(self._names.get, numbers))

    def remove(self, names: Iterable[str] | None) -> set[int]:
        """Forget people by user id (None: everybody); returns their Amplitude IDs."""
        if names is None:
            gone = set(self._names)
            self._ids, self._names, self._anonymous, self._twins = {}, {}, [], {}
            return gone
        wanted = set(names)
        gone = {self._ids.pop(name) for name in wanted if name in self._ids}
        gone |= {self._twins.pop(name) for name in wanted if name in self._twins}
        for number in gone:
            del self._names[number]
        return gone
