"""Rules of what is received: whose secrets prove it, which path is whose, who listens.

Like all crosschecks on the raw tree, and silent about what the schema refuses anyway.
"""

from collections.abc import Iterator

from syncd.config.choices import choice
from syncd.config.findings import Path, key_place, node_at, value_place
from syncd.config.inbound_values import address_of, door_refusal, is_loopback
from syncd.config.place import Place
from syncd.config.raw import connections, given, text
from syncd.config.reader import Mapping
from syncd.config.resolve_inbound import ADMIN, INBOUND, default_path
from syncd.config.schema_inbound import SecondFactorShape
from syncd.config.settings import Listen
from syncd.errors import Problem

_DOORS = {"engage": "inbox", "amplitude": "push"}
"""Type of a connection → its key for what it receives."""


def inbound_problems(root: Mapping) -> Iterator[Problem]:
    """Every broken rule of `inbox:`, `push:` and `web:`."""
    for path, door in _doors(root):
        if path[-1] == "inbox":
            yield from _inbox(root, path, door)
        else:
            yield from _push(root, path, door)
    yield from _shared_paths(root)
    yield from choice(root, ("web", "admin"), ("token_file", "token_env"))
    yield from _open_admin(root)
    yield from _one_port(root)


def _doors(root: Mapping) -> Iterator[tuple[Path, Mapping]]:
    for name, connection, _ in connections(root):
        key = _DOORS.get(text(connection, "type") or "", "")
        door = node_at(connection, (key,))
        if isinstance(door, Mapping):
            yield ("connections", name, key), door


# ---- secrets -------------------------------------------------------------------------


def _inbox(root: Mapping, path: Path, inbox: Mapping) -> Iterator[Problem]:
    yield from _secret(root, path, "secret", until="previous_until")
    second = inbox.entries.get("second_factor")
    if not {"secret_file", "secret_env", "secret", "second_factor"} & given(inbox):
        message = "'inbox' needs 'secret_file', 'secret_env' or 'second_factor'"
        hint = "without a secret anybody could send members"
        yield key_place(root, path).problem("key.missing", message, hint=hint)
    if second is not None and isinstance(second.node, Mapping):
        factor = (*path, "second_factor")
        yield from _secret(root, factor, "", until="previous_until")
        # An unknown key (a secret in plain sight?) is refused as such; that is enough.
        known = set(second.node.entries) <= set(SecondFactorShape.model_fields)
        yield from choice(root, factor, ("file", "env"), needed=known)
        yield from choice(root, factor, ("header", "basic_user"))


def _push(root: Mapping, path: Path, push: Mapping) -> Iterator[Problem]:
    names = ("api_key", "webhook_secret")
    for name in names:
        yield from _secret(root, path, name, until=f"previous_{name}_until")
    if not {key for name in names for key in (name, *_keys(name))} & given(push):
        message = "'push' needs 'api_key_file' or 'webhook_secret_file'"
        hint = "or the same with _env: without a secret anybody could send members"
        yield key_place(root, path).problem("key.missing", message, hint=hint)


def _secret(root: Mapping, path: Path, name: str, *, until: str) -> Iterator[Problem]:
    """A secret, the one before it, and the end of that."""
    keys, old = _keys(name), _keys(f"previous_{name}".rstrip("_"))
    if name:
        yield from choice(root, path, keys)
    yield from choice(root, path, old)
    owner = node_at(root, path)
    written = given(owner) if isinstance(owner, Mapping) else set()
    for key in sorted({*old, until} & written):
        needed = old if key == until else keys
        if not {*needed} & written:
            message = f"'{key}' needs '{needed[0]}' or '{needed[1]}'"
            yield key_place(root, (*path, key)).problem("key.missing", message)


def _keys(name: str) -> tuple[str, str]:
    return f"{name}_file".lstrip("_"), f"{name}_env".lstrip("_")


# ---- paths ---------------------------------------------------------------------------


def _shared_paths(root: Mapping) -> Iterator[Problem]:
    """Two doors at one path, or one below the other: a sender could mean both."""
    seen: dict[str, str] = {}
    for path, door in _doors(root):
        name, at = str(path[1]), text(door, "path")
        written = at if at is not None else default_path(name)
        if door_refusal(written):
            continue
        other = next((one for one in seen if _overlap(one, written)), None)
        if other is None:
            seen[written] = name
            continue
        place = (
            key_place(root, path) if at is None else value_place(root, (*path, "path"))
        )
        message = f"'{written}' and '{other}' of '{seen[other]}' overlap"
        hint = "give each connection a path of its own"
        yield place.problem("path.shared", message, hint=hint)


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


# ---- servers -------------------------------------------------------------------------


def _open_admin(root: Mapping) -> Iterator[Problem]:
    path = ("web", "admin")
    admin, listen = node_at(root, path), _listen(root, "admin")
    if listen is None or is_loopback(listen.host) or not isinstance(admin, Mapping):
        return
    # A token in plain sight is refused as such; that is enough.
    if not {"token", "token_file", "token_env"} & given(admin):
        message = "'web.admin' needs 'token_file' or 'token_env': others reach it"
        hint = "or listen on 127.0.0.1"
        place = value_place(root, (*path, "listen"))
        yield place.problem("key.missing", message, hint=hint)


def _one_port(root: Mapping) -> Iterator[Problem]:
    inbound, admin = _listen(root, "inbound"), _listen(root, "admin")
    if inbound is None or admin is None or not any(_doors(root)):
        return
    if inbound.port == admin.port != 0:
        message = f"'web.inbound' and 'web.admin' both listen on port {admin.port}"
        place = _second(root)
        yield place.problem("port.shared", message, hint="give each its own")


def _listen(root: Mapping, server: str) -> Listen | None:
    """None where it is switched off, or is no address."""
    owner = node_at(root, ("web", server))
    written = isinstance(owner, Mapping) and "listen" in given(owner)
    if not written:
        return INBOUND if server == "inbound" else ADMIN
    try:
        return address_of(text(root, "web", server, "listen") or "")
    except ValueError:
        return None


def _second(root: Mapping) -> Place:
    """The later of both addresses, or the only one that is written."""
    paths = [("web", server, "listen") for server in ("inbound", "admin")]
    places = [node.place for path in paths if (node := node_at(root, path))]
    return max(places, key=lambda place: (place.line, place.column))
