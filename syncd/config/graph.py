"""Who writes what others read: two writers of one target, echoes, what feeds what.

Pure; rings are in `rings`. A node is an audience, a cohort, a trait or a list, in the
space or project of its vendor; each enabled sync is an edge. A trait leads on to every
audience of its space that is built on it: what we write there comes back as members.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["audience", "cohort", "trait", "list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One set of members somewhere."""

    kind: Kind
    space: str
    """The vendor's space or project, whatever the connection is called."""
    perhaps: frozenset[str] = frozenset()
    """Other spaces that it may be: the files do not say."""
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
class Shared:
    """A target with two writers."""

    index: int
    """Of the later edge."""
    writer: Edge
    """The earlier one."""
    assumed: bool
    """Only if connections that do not say their space share one."""


def shared_targets(edges: Sequence[Edge]) -> Iterator[Shared]:
    """Each edge with a target that an earlier one writes, or may write."""
    writers: dict[Node, Edge] = {}
    for index, edge in enumerate(edges):
        target = edge.target
        if target in writers:
            yield Shared(index, writers[target], assumed=False)
        elif near := [one for one in writers if may_be_same(one, target)]:
            yield Shared(index, writers[near[0]], assumed=True)
        writers.setdefault(target, edge)


def echoes(edges: Sequence[Edge]) -> Iterator[tuple[int, Edge]]:
    """Index of each edge that exports an unlinked cohort of a sync, and that sync."""
    writers = {edge.target: edge for edge in reversed(edges)}
    for index, edge in enumerate(edges):
        if edge.source.kind == "cohort" and edge.source in writers and not edge.linked:
            yield index, writers[edge.source]


def may_be_same(one: Node, other: Node) -> bool:
    """Whether two nodes are the same, or are if their spaces are."""
    if one.space != other.space and other.space not in one.perhaps:
        return False
    return _in_its_space(one) == _in_its_space(other)


def feeds(trait: Node, edge: Edge, *, assume_spaces: bool = False) -> bool:
    """Whether the audience an edge reads is built on a trait, as far as one can see.

    With `assume_spaces`, spaces that may be the same are.
    """
    audience = edge.source
    if (trait.kind, audience.kind) != ("trait", "audience"):
        return False
    perhaps = trait.perhaps if assume_spaces else ()
    if trait.space != audience.space and audience.space not in perhaps:
        return False
    if trait.cohort_id:
        said = (*edge.built_on, edge.query)
        return any(_holds_id(text, trait.cohort_id) for text in said)
    if _same(trait.key, audience.key):
        return True
    return any(_same(trait.key, name) for name in edge.built_on) or _names(
        edge.query, trait.key
    )


@lru_cache(maxsize=4096)
def folded(name: str) -> str:
    """A trait's name as warehouses spell it: `Churn Risk`, `churnRisk`: churn_risk."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[\W_]+", "_", words).strip("_").lower()


def _in_its_space(node: Node) -> tuple[str, ...]:
    return node.kind, node.key, node.by, node.cohort_id


def _same(one: str, other: str) -> bool:
    return one == other or (folded(one) == folded(other) != "")


def _names(query: str, trait: str) -> bool:
    """Whether SQL has the trait in it, as it is or as a column is spelled."""
    if trait in query and not trait.isidentifier():
        return True
    word, query = folded(trait), query.lower()
    if not word or word not in query:
        return False
    pattern = rf"(?<![a-z0-9_]){re.escape(word)}(?![a-z0-9_])"
    return re.search(pattern, query) is not None


def _holds_id(text: str, cohort_id: str) -> bool:
    # Warehouses put '_' around it and write it small.
    word, text = cohort_id.lower(), text.lower()
    if word not in text:
        return False
    return re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])", text) is not None
