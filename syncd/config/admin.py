"""Rules of the page for people: no button without a sign-in, no sign-in without people.

Like all crosschecks on the raw tree, and silent about what the schema refuses anyway.
"""

from collections.abc import Iterator

from syncd.config.choices import choice
from syncd.config.findings import Path, key_place, node_at, value_place
from syncd.config.inbound_values import address_of, is_loopback
from syncd.config.raw import given, text
from syncd.config.reader import Mapping, Node, Scalar, Sequence
from syncd.config.schema_admin import UserShape
from syncd.errors import Problem

_ADMIN = ("web", "admin")
_AUTH = (*_ADMIN, "auth")
_KEYS = {
    "none": (),
    "basic": ("users",),
    "proxy_header": ("header", "trusted_proxies", "operators"),
}
"""Type of the sign-in → its keys."""
_NEEDED = {
    "none": {},
    "basic": {"users": "name who may sign in: users: {ana: {password_file: name}}"},
    "proxy_header": {
        "header": "the one in which the proxy names people: X-Forwarded-Email",
        "trusted_proxies": "without it anybody could name themselves: [10.20.0.0/16]",
    },
}
"""Type of the sign-in → the keys it cannot do without, and what to write."""


def admin_problems(root: Mapping) -> Iterator[Problem]:
    """Every broken rule of `web.admin`, but for its address and token."""
    kind = _kind(root)
    if kind in _KEYS:
        yield from _misplaced(root, kind)
        yield from _missing(root, kind)
        yield from _actions(root, kind)
        yield from _seen_by_all(root, kind)
    yield from _passwords(root)


def _kind(root: Mapping) -> str:
    """The type of the sign-in; empty where it is no word."""
    auth = node_at(root, _AUTH)
    if not isinstance(auth, Mapping) or "type" not in given(auth):
        return "none"
    return text(auth, "type") or ""


def _misplaced(root: Mapping, kind: str) -> Iterator[Problem]:
    auth = node_at(root, _AUTH)
    if not isinstance(auth, Mapping):
        return
    for other, keys in _KEYS.items():
        for key in keys:
            if other != kind and key in given(auth):
                message = f"'{key}' does not go with 'auth' of type {kind}"
                hint = f"it belongs to type: {other}"
                place = auth.entries[key].key_place
                yield place.problem("key.misplaced", message, hint=hint)


def _missing(root: Mapping, kind: str) -> Iterator[Problem]:
    for key, hint in _NEEDED[kind].items():
        node = node_at(root, (*_AUTH, key))
        if node is None or _is_empty(node):
            message = f"'auth' of type {kind} needs '{key}'"
            place = key_place(root, (*_AUTH, key) if node else _AUTH)
            yield place.problem("key.missing", message, hint=hint)


def _is_empty(node: Node) -> bool:
    match node:
        case Mapping(entries):
            return not entries
        case Sequence(items):
            return not items
        case Scalar(value):
            return value is None


def _actions(root: Mapping, kind: str) -> Iterator[Problem]:
    if text(root, *_ADMIN, "actions") != "enabled":
        return
    place = value_place(root, (*_ADMIN, "actions"))
    if kind == "none":
        message = "'actions: enabled' needs 'auth' of type basic or proxy_header"
        hint = "without it anybody who reaches the page could approve a plan"
        yield place.problem("key.missing", message, hint=hint)
    if text(root, *_ADMIN, "listen") == "none":
        message = "'actions: enabled' needs a page, and 'listen' is none"
        hint = "listen on 127.0.0.1:8081, or leave actions out"
        yield place.problem("value.conflict", message, hint=hint)


def _seen_by_all(root: Mapping, kind: str) -> Iterator[Problem]:
    listen = text(root, *_ADMIN, "listen")
    if kind != "none" or listen is None:
        return
    try:
        host = address_of(listen).host
    except ValueError:
        return
    if not is_loopback(host):
        message = "whoever reaches this address sees the page: 'auth' is none"
        hint = "names, counts and states, no ids; or set web.admin.auth"
        place = value_place(root, (*_ADMIN, "listen"))
        yield place.problem("auth.none", message, hint=hint, severity="warning")


def _passwords(root: Mapping) -> Iterator[Problem]:
    users: Path = (*_AUTH, "users")
    owner = node_at(root, users)
    for name, entry in owner.entries.items() if isinstance(owner, Mapping) else ():
        if isinstance(entry.node, Mapping):
            # An unknown key (a password in plain sight?) is refused as such.
            known = set(entry.node.entries) <= set(UserShape.model_fields)
            keys = ("password_file", "password_env")
            yield from choice(root, (*users, name), keys, needed=known)
