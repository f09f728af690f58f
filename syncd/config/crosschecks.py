"""Rules between parts of the files that no single value can break.

They look at the raw tree, so that they are checked even where something else in the
same file is wrong, and say nothing about what the schema refuses anyway.
"""

from collections.abc import Iterator
from importlib.util import find_spec

from syncd.config.admin import admin_problems
from syncd.config.choices import choice
from syncd.config.clustering import cluster_problems
from syncd.config.directions import direction_problems
from syncd.config.feeding import feeding_problems
from syncd.config.findings import key_place, node_at, value_place
from syncd.config.inbound import inbound_problems
from syncd.config.interpolate import EnvText
from syncd.config.loops import loop_problems
from syncd.config.notifications import notification_problems
from syncd.config.place import Place
from syncd.config.raw import connections, given, raw_syncs, text
from syncd.config.reader import Mapping, Scalar
from syncd.config.spending import spending_problems
from syncd.config.values import holds_password
from syncd.config.windows import window_problems
from syncd.errors import Problem

_SECRETS = {
    "amplitude": ("api_key", "secret_key"),
    "list_api": ("api_key",),
    "property_api": ("api_key",),
}
"""Type → secrets without which a connection is of no use."""
_ENDS = ("from", "to")


def crosschecks(root: Mapping) -> Iterator[Problem]:
    """Every broken rule."""
    yield from _duplicate_syncs(root)
    yield from _key_choices(root)
    yield from _double_headers(root)
    yield from _owners(root)
    yield from direction_problems(root)
    yield from feeding_problems(root)
    yield from inbound_problems(root)
    yield from admin_problems(root)
    yield from loop_problems(root)
    yield from spending_problems(root)
    yield from _inline_passwords(root)
    yield from _unread_connections(root)
    yield from window_problems(root)
    yield from notification_problems(root)
    yield from _codec_without_library(root)
    yield from cluster_problems(root)


def _duplicate_syncs(root: Mapping) -> Iterator[Problem]:
    places: dict[str, Place] = {}
    for sync in raw_syncs(root):
        name, node = text(sync.node, "name"), node_at(sync.node, ("name",))
        if name is None or node is None:
            continue
        if name in places:
            message = f"sync '{name}' is already defined at {places[name]}"
            yield node.place.problem("sync.duplicate", message, hint="rename one")
        places.setdefault(name, node.place)


def _key_choices(root: Mapping) -> Iterator[Problem]:
    """Keys of which one is needed, or at most one may be given."""
    yield from choice(root, ("store",), ("url", "url_file"))
    for name, connection, _ in connections(root):
        yield from _secret_choices(root, name, connection)
    for sync in raw_syncs(root):
        path = ("syncs", sync.index, "to")
        yield from choice(root, path, ("cohort", "cohort_id"))
        yield from choice(root, path, ("list", "list_id"))


def _secret_choices(root: Mapping, name: str, connection: Mapping) -> Iterator[Problem]:
    path, kind = ("connections", name), text(connection, "type") or ""
    for key in _SECRETS.get(kind, ()):
        keys = (f"{key}_file", f"{key}_env")
        # A key in plain sight is refused as such; that is enough.
        yield from choice(root, path, keys, needed=key not in connection.entries)
    if kind == "engage":
        yield from choice(root, path, ("write_key_file", "write_key_env"))
        yield from choice(root, path, ("api_token_file", "api_token_env"))
        yield from _sizes_of_a_space(root, name, connection)
    if text(connection, "snapshot", "type") == "warehouse":
        snapshot = (*path, "snapshot")
        yield from choice(root, snapshot, ("url", "url_file"), needed=True)
    headers = node_at(connection, ("secret_headers",))
    for header in headers.entries if isinstance(headers, Mapping) else ():
        owner = (*path, "secret_headers", header)
        yield from choice(root, owner, ("file", "env"), needed=True)


def _sizes_of_a_space(
    root: Mapping, name: str, connection: Mapping
) -> Iterator[Problem]:
    """A token of the Public API asks for the sizes of one space."""
    token = {"api_token_file", "api_token_env"} & given(connection)
    if token and "space_id" not in given(connection):
        place = key_place(root, ("connections", name, min(token)))
        message = f"'{name}' needs 'space_id' beside a token"
        hint = "as in the address of the space in Segment: spa_…"
        yield place.problem("key.missing", message, hint=hint)


def _double_headers(root: Mapping) -> Iterator[Problem]:
    """A header that is given twice would be sent twice, whatever its case."""
    for name, connection, _ in connections(root):
        seen = {(text(connection, "api_key_header") or "").lower()}
        for key in ("headers", "secret_headers"):
            headers = node_at(connection, (key,))
            for header in headers.entries if isinstance(headers, Mapping) else ():
                if header.lower() in seen:
                    place = key_place(root, ("connections", name, key, header))
                    message = "this header is given twice"
                    yield place.problem("key.duplicate", message, hint="keep one")
                seen.add(header.lower())


def _owners(root: Mapping) -> Iterator[Problem]:
    """A cohort can only be created for somebody."""
    for sync in raw_syncs(root):
        to = node_at(sync.node, ("to",))
        if sync.type_of("to") != "amplitude" or not isinstance(to, Mapping):
            continue
        connection = node_at(root, ("connections", text(to, "connection") or ""))
        own = {"cohort_id", "owner"} & given(to)
        if own or (isinstance(connection, Mapping) and "owner" in given(connection)):
            continue
        place = key_place(root, ("syncs", sync.index, "to"))
        message = "'to' needs 'owner' to create a cohort"
        hint = "the login e-mail of an Amplitude user, here or at the connection"
        yield place.problem("key.missing", message, hint=hint)


def _inline_passwords(root: Mapping) -> Iterator[Problem]:
    paths: list[tuple[str, ...]] = [("store", "url")]
    paths += [("connections", n, "snapshot", "url") for n, _, _ in connections(root)]
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


def _codec_without_library(root: Mapping) -> Iterator[Problem]:
    """What is asked for of the store, and can't be done by this installation."""
    if text(root, "store", "codec") == "zstd" and find_spec("zstandard") is None:
        message = "codec 'zstd' needs the library zstandard, which is not installed"
        hint = "python -m pip install 'syncd[zstd]'; or codec: text"
        place = value_place(root, ("store", "codec"))
        yield place.problem("codec.not_installed", message, hint=hint)


def _unread_connections(root: Mapping) -> Iterator[Problem]:
    ends = ((sync, end) for sync in raw_syncs(root) for end in _ENDS)
    used = {text(sync.node, end, "connection") for sync, end in ends}
    for name, _, place in connections(root):
        if name not in used:
            message = f"no sync uses the connection '{name}'"
            yield place.problem("connection.unused", message, severity="warning")
