"""The graph of the files: edges from the raw tree, what is wrong with them as problems.

Syncs that are disabled, or not complete enough to say what they read and write, are
left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from syncd.config.directions import PAIRS
from syncd.config.findings import node_at
from syncd.config.graph import Edge, Kind, Node, Shared, echoes, shared_targets
from syncd.config.raw import RawSync, raw_syncs, text, texts
from syncd.config.reader import Mapping as MappingNode
from syncd.config.reader import Scalar
from syncd.config.rings import Assume, Ring, possible_rings, rings
from syncd.config.schema_connections import (
    NAME_PREFIX,
    PARTNER_TEMPLATE,
    TRAIT_TEMPLATE,
)
from syncd.config.spaces import Space, engage_spaces
from syncd.errors import Problem

_UNKNOWN_NAME = "…"
"""Stands for a cohort's name, which only the vendor knows."""
_SAY_SPACE = "say `space:` on both connections if they are different spaces"


def loop_problems(root: MappingNode) -> Iterator[Problem]:
    """Rings, targets with two writers, and cohorts that go back to where they are from.

    A ring is refused even where it is linked: each round would feed the next. So is
    what is a ring, or one target, only if two connections are one space. What is a
    ring only if a linked cohort has a certain name is a warning: a run knows better.
    """
    spaces = engage_spaces(root)
    pairs = [(sync, edge) for sync in raw_syncs(root) if (edge := _edge(sync, spaces))]
    syncs, edges = [sync for sync, _ in pairs], [edge for _, edge in pairs]
    for shared in shared_targets(edges):
        # A sync that is defined twice is reported as such.
        if shared.writer.sync != edges[shared.index].sync:
            yield _shared(syncs[shared.index], edges[shared.index], shared)
    in_rings: set[Node] = set()
    for ring in rings(edges):
        in_rings.update(ring.nodes)
        yield _ring(syncs[ring.index], ring)
    for ring in possible_rings(edges):
        yield _possible_ring(syncs[ring.index], ring)
    for index, writer in echoes(edges):
        if edges[index].source not in in_rings:
            yield _echo(syncs[index], writer)


def _shared(sync: RawSync, edge: Edge, shared: Shared) -> Problem:
    kind = edge.target.kind
    message = f"sync '{shared.writer.sync}' writes the same {kind}"
    hint = f"one {kind}, one sync: choose another {kind}"
    return sync.place("to").problem(
        "target.shared", message, hint=_SAY_SPACE if shared.assumed else hint
    )


def _ring(sync: RawSync, ring: Ring) -> Problem:
    message = f"this sync closes a ring: {ring}"
    return sync.place("to").problem("sync.ring", message, hint=_way_out(ring))


def _possible_ring(sync: RawSync, ring: Ring) -> Problem:
    guesses = [
        f"{reader.source.key} is the cohort that sync '{writer.sync}' writes"
        for writer, reader in ring.guesses
    ]
    message = f"if {' and '.join(guesses)}, this is a ring: {ring}"
    return sync.place("from", "cohort_id").problem(
        "sync.ring_possible", message, hint=_way_out(ring), severity="warning"
    )


def _way_out(ring: Ring) -> str:
    if Assume.SPACES in ring.assuming:
        return _SAY_SPACE
    return "leave out one of them, or build the audience on other traits"


def _echo(sync: RawSync, writer: Edge) -> Problem:
    message = f"sync '{writer.sync}' writes this cohort, so it is not exported"
    hint = "choose another cohort, or say 'linked: true' if it is meant"
    return sync.place("from", "cohort_id").problem("echo.cohort", message, hint=hint)


def _edge(sync: RawSync, spaces: Mapping[str, Space]) -> Edge | None:
    if not sync.enabled or (sync.type_of("from"), sync.type_of("to")) not in PAIRS:
        return None
    source, target = _source(sync), _target(sync)
    if source is None or target is None:
        return None
    linked = node_at(sync.node, ("from", "linked"))
    return Edge(
        sync=sync.name,
        source=_placed(source, sync, "from", spaces),
        target=_placed(target, sync, "to", spaces),
        linked=isinstance(linked, Scalar) and linked.value in (True, "true"),
        built_on=tuple(texts(sync.node, "from", "built_on")),
        query=text(sync.node, "from", "query") or "",
    )


def _placed(node: Node, sync: RawSync, end: str, spaces: Mapping[str, Space]) -> Node:
    """In its Engage space, if it is of one: other connections say what it is."""
    space = spaces.get(text(sync.node, end, "connection") or "")
    if space is None:
        return node
    return replace(node, space=space.name, perhaps=space.perhaps)


def _source(sync: RawSync) -> Node | None:
    if sync.type_of("from") == "engage":
        audience = text(sync.node, "from", "audience")
        return _node(sync, "from", "audience", audience) if audience else None
    return _cohort(sync, "from")


def _target(sync: RawSync) -> Node | None:
    match sync.type_of("to"):
        case "amplitude":
            return _cohort(sync, "to") or _new_cohort(sync)
        case "list_api":
            if list_id := text(sync.node, "to", "list_id"):
                return _node(sync, "to", "list", list_id, by_id=True)
            return _templated(sync, "list", "list", "name_template", PARTNER_TEMPLATE)
        case "engage":
            return _templated(sync, "trait", "trait", "trait_template", TRAIT_TEMPLATE)
        case _:
            return _templated(
                sync, "trait", "trait", "trait_template", PARTNER_TEMPLATE
            )


def _cohort(sync: RawSync, end: str) -> Node | None:
    cohort_id = text(sync.node, end, "cohort_id")
    return _node(sync, end, "cohort", cohort_id, by_id=True) if cohort_id else None


def _new_cohort(sync: RawSync) -> Node | None:
    """The cohort that a sync creates: as `resolve` names it."""
    if cohort := text(sync.node, "to", "cohort"):
        return _node(sync, "to", "cohort", cohort)
    audience = text(sync.node, "from", "audience")
    if audience is None:
        return None
    prefix = _setting(sync, "to", "name_prefix")
    return _node(
        sync, "to", "cohort", (NAME_PREFIX if prefix is None else prefix) + audience
    )


def _templated(
    sync: RawSync, kind: Kind, key: str, template_key: str, usual: str
) -> Node | None:
    """A trait or list by the name that is written, else by its template."""
    if name := text(sync.node, "to", key):
        return _node(sync, "to", kind, name)
    cohort_id = text(sync.node, "from", "cohort_id")
    if cohort_id is None:
        return None
    template = _setting(sync, "to", template_key) or usual
    name = template.replace("{id}", cohort_id).replace("{name}", _UNKNOWN_NAME)
    open_id = cohort_id if "{name}" in template else ""
    return _node(sync, "to", kind, name, cohort_id=open_id)


def _node(
    sync: RawSync,
    end: str,
    kind: Kind,
    key: str,
    *,
    by_id: bool = False,
    cohort_id: str = "",
) -> Node:
    return Node(
        kind=kind,
        space=_space(sync, end),
        key=key,
        by="id" if by_id else "name",
        cohort_id=cohort_id,
    )


def _space(sync: RawSync, end: str) -> str:
    """What two connections to one project or partner have in common."""
    if sync.type_of(end) == "amplitude":
        shared = [_setting(sync, end, "region"), _setting(sync, end, "app_id")]
    else:
        shared = [_setting(sync, end, "base_url")]
    if None in shared:
        return f"connection {text(sync.node, end, 'connection')}"
    return f"{sync.type_of(end)} {':'.join(map(str, shared))}"


def _setting(sync: RawSync, end: str, key: str) -> str | None:
    connection = text(sync.node, end, "connection") or ""
    node = node_at(sync.root, ("connections", connection, key))
    if not isinstance(node, Scalar) or node.value is None:
        return None
    return str(node.value)
