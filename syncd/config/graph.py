"""Who writes what others read: rings, two writers of one target, echoes.

Pure. A node is an audience, a cohort, a trait or a list, in the space or project of
its vendor; each enabled sync is an edge. A trait leads on to every audience of its
space that is built on it: what we write there comes back as members here.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["audience", "cohort", "trait", "list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One set of members somewhere."""

    kind: Kind
    space: str
    """The vendor's space or project, whatever the connection is called."""
    key: str
    by: Literal["id", "name"] = "name"
    cohort_id: str = ""
    """Of the cohort whose name a trait takes over: only its id is known before."""

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One enabled sync."""

    sync: str
    source: Node
    target: Node
    linked: bool = False
    """The sync says that it reads what another one writes on purpose."""
    built_on: tuple[str, ...] = ()
    """Traits that the audience it reads is said to be built on."""
    query: str = ""
    """The sync's own SQL for that audience."""


@dataclass(frozen=True, slots=True)
class Ring:
    """A way from a sync's source over its target back to that source."""

    index: int
    """Of the edge that closes it, in file order."""
    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        return " -> ".join(map(str, self.nodes))


def rings(edges: Sequence[Edge]) -> list[Ring]:
    """Every ring, each at the edge that closes it; one path is named for each."""
    found, accepted = [], list[Edge]()
    for index, edge in enumerate(edges):
        way = _way(edge.target, edge.source, [*accepted, edge])
        if way:
            found.append(Ring(index, (edge.source, *way)))
        else:
            accepted.append(edge)
    return found


def shared_targets(edges: Sequence[Edge]) -> Iterator[tuple[int, Edge]]:
    """Index of each edge with a target that an earlier one writes, and that one."""
    writers: dict[Node, Edge] = {}
    for index, edge in enumerate(edges):
        if edge.target in writers:
            yield index, writers[edge.target]
        writers.setdefault(edge.target, edge)


def echoes(edges: Sequence[Edge]) -> Iterator[tuple[int, Edge]]:
    """Index of each edge that exports an unlinked cohort of a sync, and that sync."""
    writers = {edge.target: edge for edge in reversed(edges)}
    for index, edge in enumerate(edges):
        if edge.source.kind == "cohort" and edge.source in writers and not edge.linked:
            yield index, writers[edge.source]


def feeds(trait: Node, edge: Edge) -> bool:
    """Whether the audience an edge reads is built on a trait, as far as one can see."""
    audience = edge.source
    if (trait.kind, audience.kind) != ("trait", "audience"):
        return False
    if trait.space != audience.space:
        return False
    if trait.cohort_id:
        said = (*edge.built_on, edge.query)
        return any(_holds_id(text, trait.cohort_id) for text in said)
    if _same(trait.key, audience.key):
        return True
    return any(_same(trait.key, name) for name in edge.built_on) or _names(
        edge.query, trait.key
    )


def folded(name: str) -> str:
    """A trait's name as warehouses spell it: `Churn Risk`, `churnRisk`: churn_risk."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[\W_]+", "_", words).strip("_").lower()


def _way(start: Node, goal: Node, edges: Sequence[Edge]) -> tuple[Node, ...]:
    """The shortest way, both ends included; empty when there is none."""
    came: dict[Node, Node | None] = {start: None}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        if node == goal:
            return tuple(reversed(list(_back(node, came))))
        for after in _following(node, edges):
            if after not in came:
                came[after] = node
                waiting.append(after)
    return ()


def _back(node: Node | None, came: dict[Node, Node | None]) -> Iterator[Node]:
    while node is not None:
        yield node
        node = came[node]


def _following(node: Node, edges: Sequence[Edge]) -> Iterator[Node]:
    for edge in edges:
        if edge.source == node:
            yield edge.target
        elif feeds(node, edge):
            yield edge.source


def _same(one: str, other: str) -> bool:
    return one == other or (folded(one) == folded(other) != "")


def _names(query: str, trait: str) -> bool:
    """Whether SQL has the trait in it, as it is or as a column is spelled."""
    if trait in query and not trait.isidentifier():
        return True
    word = folded(trait)
    pattern = rf"(?<![a-z0-9_]){re.escape(word)}(?![a-z0-9_])"
    return bool(word) and re.search(pattern, query.lower()) is not None


def _holds_id(text: str, cohort_id: str) -> bool:
    # Warehouses put '_' around it and write it small.
    pattern = rf"(?<![a-z0-9]){re.escape(cohort_id.lower())}(?![a-z0-9])"
    return re.search(pattern, text.lower()) is not None
