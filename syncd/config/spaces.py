"""Which Engage connections lead to one space, as far as the files say it.

The space is not in a write key, and a connection that is only written to needs no
`space:`, so two connections may be one space without a word about it.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from syncd.config.raw import connections, text
from syncd.config.reader import Mapping

_Mark = tuple[str, str]
"""What connections of one space have in common: kind and value."""


@dataclass(frozen=True, slots=True)
class Space:
    """The space of one or more connections."""

    name: str
    """Equal for connections that are one for sure."""
    perhaps: frozenset[str]
    """Names of the other spaces that it may be, since one of both says none."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Connections that are one space."""

    members: tuple[str, ...]
    marks: frozenset[_Mark]

    @property
    def name(self) -> str:
        return f"engage {self.members[0]}"

    @property
    def said(self) -> bool:
        """Whether one of them says which space it is."""
        return any(kind == "space" for kind, _ in self.marks)


def engage_spaces(root: Mapping) -> dict[str, Space]:
    """Name of each engage connection → its space.

    The same `space:` is one space, and so is the same write key, which belongs to one
    Segment source. A connection without `space:` may be any other.
    """
    groups: list[_Group] = []
    for name, connection, _ in connections(root):
        if text(connection, "type") == "engage":
            marks = frozenset(_marks(connection))
            groups = _joined(groups, _Group((name,), marks))
    return {
        member: Space(group.name, _perhaps(group, groups))
        for group in groups
        for member in group.members
    }


def _marks(connection: Mapping) -> Iterator[_Mark]:
    if space := text(connection, "space"):
        yield "space", space
    if file := text(connection, "write_key_file"):
        yield "file", posixpath.normpath(file)
    if variable := text(connection, "write_key_env"):
        yield "env", variable


def _joined(groups: list[_Group], new: _Group) -> list[_Group]:
    """The groups and one more; those with a mark of it are one with it."""
    apart = [group for group in groups if not group.marks & new.marks]
    together = [*(group for group in groups if group.marks & new.marks), new]
    members = tuple(member for group in together for member in group.members)
    marks = frozenset[_Mark]().union(*(group.marks for group in together))
    return [*apart, _Group(members, marks)]


def _perhaps(group: _Group, groups: list[_Group]) -> frozenset[str]:
    return frozenset(
        other.name
        for other in groups
        if other is not group and not (group.said and other.said)
    )
