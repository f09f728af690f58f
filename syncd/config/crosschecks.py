"""Rules between parts of the files that no single value can break.

They look at the raw tree, so that they are checked even where something else in the
same file is wrong, and say nothing about what the schema refuses anyway.
"""

from collections.abc import Iterator

from syncd.config.findings import node_at
from syncd.config.interpolate import EnvText
from syncd.config.place import Place
from syncd.config.reader import Mapping, Scalar, Sequence, plain
from syncd.config.schema import NAME_PREFIX
from syncd.config.values import holds_password
from syncd.errors import Problem


def crosschecks(root: Mapping) -> Iterator[Problem]:
    """Every broken rule."""
    yield from _duplicate_syncs(root)
    yield from _shared_targets(root)
    yield from _inline_passwords(root)
    yield from _unread_connections(root)


def _syncs(root: Mapping) -> Iterator[Mapping]:
    node = node_at(root, ("syncs",))
    if isinstance(node, Sequence):
        yield from (item for item in node.items if isinstance(item, Mapping))


def _connections(root: Mapping) -> Iterator[tuple[str, Mapping, Place]]:
    node = node_at(root, ("connections",))
    if isinstance(node, Mapping):
        for name, entry in node.entries.items():
            if isinstance(entry.node, Mapping):
                yield name, entry.node, entry.key_place


def _text(mapping: Mapping, *path: str) -> str | None:
    node = node_at(mapping, path)
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return node.value
    return None


def _duplicate_syncs(root: Mapping) -> Iterator[Problem]:
    places: dict[str, Place] = {}
    for sync in _syncs(root):
        name, node = _text(sync, "name"), node_at(sync, ("name",))
        if name is None or node is None:
            continue
        if name in places:
            message = f"sync '{name}' is already defined at {places[name]}"
            yield node.place.problem("sync.duplicate", message, hint="rename one")
        places.setdefault(name, node.place)


def _shared_targets(root: Mapping) -> Iterator[Problem]:
    """Two syncs that write one cohort would undo each other's work for ever."""
    writers: dict[tuple[str, str, str], str] = {}
    for sync in _syncs(root):
        target, name = _target(root, sync), _text(sync, "name") or "?"
        if target is None:
            continue
        if target in writers and writers[target] != name:
            place = sync.entries["to"].node.place
            message = f"sync '{writers[target]}' writes the same cohort"
            hint = "one cohort, one sync: choose another cohort"
            yield place.problem("target.shared", message, hint=hint)
        writers.setdefault(target, name)


def _target(root: Mapping, sync: Mapping) -> tuple[str, str, str] | None:
    """(connection, `id` or `name`, value) of the cohort a sync writes."""
    connection = _text(sync, "to", "connection")
    if connection is None:
        return None
    if cohort_id := _text(sync, "to", "cohort_id"):
        return connection, "id", cohort_id
    if cohort := _text(sync, "to", "cohort"):
        return connection, "name", cohort
    audience = _text(sync, "from", "audience")
    if audience is None:
        return None
    prefix = _text(root, "connections", connection, "name_prefix")
    return connection, "name", (NAME_PREFIX if prefix is None else prefix) + audience


def _inline_passwords(root: Mapping) -> Iterator[Problem]:
    paths: list[tuple[str, ...]] = [("store", "url")]
    paths += [("connections", n, "snapshot", "url") for n, _, _ in _connections(root)]
    for path in paths:
        node = node_at(root, path)
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            continue
        if not isinstance(node.value, EnvText) and _safe_holds_password(node.value):
            message = "a password may not stand in a config file"
            hint = "put the whole URL into a file and name that: url_file"
            yield node.place.problem("secret.inline", message, hint=hint)


def _safe_holds_password(url: str) -> bool:
    try:
        return holds_password(url)
    except ValueError:
        return False


def _unread_connections(root: Mapping) -> Iterator[Problem]:
    used = {_text(sync, end, "connection") for sync in _syncs(root) for end in _ENDS}
    for name, _, place in _connections(root):
        if name not in used:
            message = f"no sync uses the connection '{name}'"
            yield place.problem("connection.unused", message, severity="warning")


_ENDS = ("from", "to")


def raw_connections(root: Mapping) -> dict[str, object]:
    """Name → plain map, for looking names up while the schema is checked."""
    return {name: plain(node) for name, node, _ in _connections(root)}
