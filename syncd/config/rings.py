"""Rings: ways from a sync's source over its target back to that source. Pure.

An edge leads to another that reads what the first one writes. Looked for first with
what the files say for sure, then with what they leave open: the space of a
connection, and the id of a cohort that a sync writes by its name.
"""

from collections import defaultdict, deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Flag, auto
from itertools import groupby

from syncd.config.graph import Edge, Node, feeds, may_be_same


class Assume(Flag):
    """What has to be so, though the files do not say it."""

    NOTHING = 0
    SPACES = auto()
    """Connections that may be one space are."""
    COHORTS = auto()
    """A cohort that is read as linked is the one that a sync writes by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Edges of which each leads to the next, and the last to the first."""

    index: int
    """Of the first one: it closes the ring, in file order, or reads the cohort."""
    edges: tuple[Edge, ...]
    assuming: Assume

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The whole way; both ends are the first edge's source."""
        ends = (node for edge in self.edges for node in (edge.source, edge.target))
        return tuple(node for node, _ in groupby((*ends, self.edges[0].source)))

    @property
    def guesses(self) -> list[tuple[Edge, Edge]]:
        """Writer and reader of each cohort that is assumed to be one."""
        after = (*self.edges[1:], self.edges[0])
        pairs = zip(self.edges, after, strict=True)
        return [(one, other) for one, other in pairs if _may_read(one, other)]

    def __str__(self) -> str:
        return " -> ".join(map(str, self.nodes))


_Steps = Mapping[int, Sequence[int]]
"""Index of an edge → those that it leads to."""


def rings(edges: Sequence[Edge]) -> list[Ring]:
    """Every ring, each at the edge that closes it; one path is named for each.

    Those that are one only if spaces are the same are among them.
    """
    ways = _ways(edges, (Assume.NOTHING, Assume.SPACES))
    found, accepted = [], set[int]()
    for index in range(len(edges)):
        accepted.add(index)
        for how, steps in ways:
            came = _reached(index, steps, accepted)
            if index in came:
                found.append(_ring(edges, _path(index, index, came), how))
                accepted.remove(index)
                break
    return found


def possible_rings(edges: Sequence[Edge]) -> Iterator[Ring]:
    """Rings if a linked cohort is one that a sync writes by name; at its reader.

    One for each pair of the two that can be one. A cohort that a sync writes by its id
    is known, so nothing is assumed of it.
    """
    known = {edge.target for edge in edges}
    edges = [replace(e, linked=e.linked and e.source not in known) for e in edges]
    indexes = range(len(edges))
    readers = [i for i in indexes if any(_may_read(e, edges[i]) for e in edges)]
    ways = _ways(edges, _CERTAINTIES if readers else ())
    for reader in readers:
        writers = [i for i in indexes if _may_read(edges[i], edges[reader])]
        for how, steps in ways:
            came = _reached(reader, steps, indexes)
            for writer in [one for one in writers if one in came]:
                path = _path(reader, writer, came)
                ring = _ring(edges, path, how | Assume.COHORTS)
                if _is_consistent(ring):
                    writers.remove(writer)
                    yield ring


_CERTAINTIES = (
    Assume.NOTHING,
    Assume.SPACES,
    Assume.COHORTS,
    Assume.SPACES | Assume.COHORTS,
)
"""What a way from a reader to a writer takes for granted, the likeliest first."""


def _is_consistent(ring: Ring) -> bool:
    """Whether no cohort would have to be two."""
    return len({reader.source for _, reader in ring.guesses}) == len(ring.guesses)


def _ring(edges: Sequence[Edge], path: Sequence[int], assuming: Assume) -> Ring:
    return Ring(index=path[0], edges=tuple(edges[at] for at in path), assuming=assuming)


def _reached(start: int, steps: _Steps, among: Container[int]) -> dict[int, int]:
    """Each edge that a way leads to → the one before it on the shortest way."""
    came: dict[int, int] = {}
    waiting = deque([start])
    while waiting:
        index = waiting.popleft()
        for after in steps[index]:
            if after in among and after not in came:
                came[after] = index
                waiting.append(after)
    return came


def _path(start: int, goal: int, came: Mapping[int, int]) -> list[int]:
    """From start to goal; a way round does not name its start again."""
    way = [] if goal == start else [goal]
    at = came[goal]
    while at != start:
        way.append(at)
        at = came[at]
    return [start, *reversed(way)]


# ---- steps ---------------------------------------------------------------------------


def _ways(edges: Sequence[Edge], hows: Iterable[Assume]) -> list[tuple[Assume, _Steps]]:
    """The steps under each assumption; none about spaces where all are said."""
    said = not any(edge.source.perhaps or edge.target.perhaps for edge in edges)
    return [
        (how, _steps(edges, how)) for how in hows if not (said and Assume.SPACES in how)
    ]


def _steps(edges: Sequence[Edge], assuming: Assume) -> _Steps:
    read_alike = _read_alike(edges, assume_spaces=Assume.SPACES in assuming)
    return {
        index: [
            other
            for other, after in enumerate(edges)
            if _leads(edge, after, read_alike[other], assuming)
        ]
        for index, edge in enumerate(edges)
    }


def _leads(edge: Edge, after: Edge, alike: Sequence[Edge], assuming: Assume) -> bool:
    """`alike` read what `after` reads: what one says of an audience holds for all."""
    if edge.target == after.source:
        return True
    if Assume.COHORTS in assuming and _may_read(edge, after):
        return True
    spaces = Assume.SPACES in assuming
    return any(feeds(edge.target, one, assume_spaces=spaces) for one in alike)


def _read_alike(
    edges: Sequence[Edge], *, assume_spaces: bool
) -> Sequence[Sequence[Edge]]:
    """For each edge those that read the same audience, itself among them."""
    named = defaultdict[str, list[Edge]](list)
    for edge in edges:
        if edge.source.kind == "audience":
            named[edge.source.key].append(edge)
    return [
        [
            one
            for one in named.get(edge.source.key, ())
            if one.source == edge.source
            or (assume_spaces and may_be_same(one.source, edge.source))
        ]
        for edge in edges
    ]


def _may_read(writer: Edge, reader: Edge) -> bool:
    """Whether a linked cohort may be the one that a sync writes by its name."""
    written, read = writer.target, reader.source
    if not reader.linked or (written.kind, written.by) != ("cohort", "name"):
        return False
    return (read.kind, read.by) == ("cohort", "id") and written.space == read.space
