"""Questions to the raw tree: what the files say, before anything is validated.

For rules that have to be checked even where something else in the files is wrong;
each answer is None, empty or left out where the tree has another shape than expected.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from syncd.config.findings import node_at
from syncd.config.place import Place
from syncd.config.reader import Entry, Mapping, Node, Scalar, Sequence, plain


@dataclass(frozen=True, slots=True)
class RawSync:
    """One entry of `syncs:`."""

    root: Mapping
    index: int
    node: Mapping

    @property
    def name(self) -> str:
        """Its name; `?` where it has none."""
        return text(self.node, "name") or "?"

    @property
    def enabled(self) -> bool:
        """Whether it runs; only a plain `false` says that it does not."""
        node = node_at(self.node, ("enabled",))
        return not isinstance(node, Scalar) or node.value not in (False, "false")

    def type_of(self, end: str) -> str:
        """The `type:` of the connection named under `from` or `to`; else empty."""
        name = text(self.node, end, "connection")
        return text(self.root, "connections", name or "", "type") or ""

    def entry(self, *path: str) -> Entry | None:
        """The key at a path and its value; None where it says nothing."""
        owner = node_at(self.node, path[:-1])
        if not isinstance(owner, Mapping) or path[-1] not in given(owner):
            return None
        return owner.entries[path[-1]]

    def place(self, *path: str) -> Place:
        """Where the value at a path is written, else where the sync is."""
        node = node_at(self.node, path)
        return self.node.place if node is None else node.place


def raw_syncs(root: Mapping) -> Iterator[RawSync]:
    """The entries of `syncs:` that are maps, in the order in which they are written."""
    node = node_at(root, ("syncs",))
    if isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            if isinstance(item, Mapping):
                yield RawSync(root, index, item)


def connections(root: Mapping) -> Iterator[tuple[str, Mapping, Place]]:
    """Name, map and the place of the name of each connection."""
    node = node_at(root, ("connections",))
    if isinstance(node, Mapping):
        for name, entry in node.entries.items():
            if isinstance(entry.node, Mapping):
                yield name, entry.node, entry.key_place


def raw_connections(root: Mapping) -> dict[str, object]:
    """Name → plain map, for looking names up while the schema is checked."""
    return {name: plain(node) for name, node, _ in connections(root)}


def text(mapping: Mapping, *path: str) -> str | None:
    """The text at a path."""
    return scalar_text(node_at(mapping, path))


def texts(mapping: Mapping, *path: str) -> list[str]:
    """The texts of the list at a path."""
    node = node_at(mapping, path)
    if not isinstance(node, Sequence):
        return []
    return [found for item in node.items if (found := scalar_text(item)) is not None]


def scalar_text(node: Node | None) -> str | None:
    """The text a node is."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return node.value
    return None


def given(mapping: Mapping) -> set[str]:
    """Keys that have a value: `owner:` with nothing behind it says nothing."""
    return {
        key
        for key, entry in mapping.entries.items()
        if not isinstance(entry.node, Scalar) or entry.node.value is not None
    }
