"""Rules between parts of the files that no single value can break.

They look at the raw tree, so that they are checked even where something else in the
same file is wrong, and say nothing about what the schema refuses anyway.
"""

from collections.abc import Iterator

from syncd.config.findings import Path, key_place, node_at
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
    yield from _key_choices(root)
    yield from _owners(root)
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


def _key_choices(root: Mapping) -> Iterator[Problem]:
    """Keys of which one is needed, or at most one may be given."""
    yield from _choice(root, ("store",), ("url", "url_file"))
    for name, connection, _ in _connections(root):
        path = ("connections", name)
        match _text(connection, "type"):
            case "amplitude":
                for key in ("api_key", "secret_key"):
                    keys = (f"{key}_file", f"{key}_env")
                    # A key in plain sight is refused as such; that is enough.
                    needed = key not in connection.entries
                    yield from _choice(root, path, keys, needed=needed)
            case "engage" if _text(connection, "snapshot", "type") == "warehouse":
                snapshot = (*path, "snapshot")
                yield from _choice(root, snapshot, ("url", "url_file"), needed=True)
            case _:
                pass
    for index in _indexes(root):
        yield from _choice(root, ("syncs", index, "to"), ("cohort", "cohort_id"))


def _choice(
    root: Mapping, path: Path, keys: tuple[str, str], *, needed: bool = False
) -> Iterator[Problem]:
    owner = node_at(root, path)
    if not isinstance(owner, Mapping):
        return
    given = [key for key in keys if key in _given(owner)]
    either = f"'{keys[0]}' or '{keys[1]}'"
    place = key_place(root, path)
    if len(given) > 1:
        message = f"'{path[-1]}' takes only one of {either}"
        yield place.problem("key.exclusive", message, hint="remove one of them")
    if needed and not given:
        yield place.problem("key.missing", f"'{path[-1]}' needs {either}")


def _owners(root: Mapping) -> Iterator[Problem]:
    """A cohort can only be created for somebody."""
    for index in _indexes(root):
        to = node_at(root, ("syncs", index, "to"))
        if not isinstance(to, Mapping) or {"cohort_id", "owner"} & _given(to):
            continue
        connection = node_at(root, ("connections", _text(to, "connection") or ""))
        if not isinstance(connection, Mapping) or "owner" in _given(connection):
            continue
        if _text(connection, "type") == "amplitude":
            place = key_place(root, ("syncs", index, "to"))
            message = "'to' needs 'owner' to create a cohort"
            hint = "the login e-mail of an Amplitude user, here or at the connection"
            yield place.problem("key.missing", message, hint=hint)


def _given(mapping: Mapping) -> set[str]:
    """Keys that have a value: `owner:` with nothing behind it says nothing."""
    return {
        key
        for key, entry in mapping.entries.items()
        if not isinstance(entry.node, Scalar) or entry.node.value is not None
    }


def _indexes(root: Mapping) -> range:
    node = node_at(root, ("syncs",))
    return range(len(node.items)) if isinstance(node, Sequence) else range(0)


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
