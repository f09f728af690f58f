"""What pydantic found, as problems in our words, at the place in the file.

Built from the location and the type of an error only: a message of pydantic may quote
the input, and the input may be a secret. What a message quotes (`{text}`) is the text
of the file before `${…}` is filled in.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from syncd.config.overrides import unknown_variable, variable_of
from syncd.config.place import Place, did_you_mean
from syncd.config.reader import Mapping, Node, Scalar
from syncd.config.reader import Sequence as SequenceNode
from syncd.config.schema import (
    CronShape,
    DefaultDeliveryShape,
    DefaultsShape,
    DeliveryShape,
    Document,
    FromShape,
    GuardShape,
    LogShape,
    StoreShape,
    SyncShape,
    ToShape,
)
from syncd.config.schema_admin import AdminShape, AuthShape, UserShape
from syncd.config.schema_connections import (
    CONNECTION_SHAPES,
    FilesShape,
    QuotaShape,
    SecretShape,
    WarehouseShape,
)
from syncd.config.schema_inbound import (
    InboundShape,
    InboxShape,
    PushShape,
    SecondFactorShape,
    WebShape,
)
from syncd.config.schema_notifications import (
    CHANNEL_SHAPES,
    HeartbeatShape,
    NotificationsShape,
)
from syncd.config.schema_windows import WindowShape
from syncd.errors import Problem

Path = tuple[str | int, ...]

_GROUP_KEYS = ("cg", "count_group", "group", "group_type")
_LONGEST_QUOTE = 60

_SECRET_WORD = re.compile(r"key|pass|pwd|secret|token|value", re.IGNORECASE)
"""What people call a secret that they write where its file's name belongs."""

_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
}
_UNIONS = {
    "connections": tuple(CONNECTION_SHAPES),
    "snapshot": ("warehouse", "files"),
    "channels": tuple(CHANNEL_SHAPES),
}


def problems_of(root: Mapping, errors: Iterable[ErrorDetails]) -> list[Problem]:
    """One problem for each error, in the order of the errors."""
    return [_problem(root, error) for error in errors]


def node_at(root: Mapping, path: Path) -> Node | None:
    """The node a path of keys and indexes leads to; None where it ends early."""
    node: Node = root
    for step in path:
        match node:
            case Mapping(entries) if step in entries:
                node = entries[str(step)].node
            case SequenceNode(items) if isinstance(step, int) and step < len(items):
                node = items[step]
            case _:
                return None
    return node


def value_place(root: Mapping, path: Path) -> Place:
    """Where a value is written; of what is missing, where its nearest owner is."""
    while path:
        node = node_at(root, path)
        if node is not None:
            return node.place
        path = path[:-1]
    return root.place


def key_place(root: Mapping, path: Path) -> Place:
    """Where the last key of a path is written."""
    owner = node_at(root, path[:-1])
    if isinstance(owner, Mapping) and path[-1] in owner.entries:
        return owner.entries[str(path[-1])].key_place
    return value_place(root, path)


def _problem(root: Mapping, error: ErrorDetails) -> Problem:
    path = _without_tags(error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    if path and path[-1] == "[key]":
        return _own(root, path[:-1], kind, context, key_place(root, path[:-1]))
    match kind:
        case "extra_forbidden":
            return _unknown_key(root, path)
        case "missing" | "union_tag_not_found":
            key = "type" if kind == "union_tag_not_found" else path[-1]
            owner = path if kind == "union_tag_not_found" else path[:-1]
            message = f"{_name_of(owner)} needs '{key}'"
            return _owner_place(root, owner).problem("key.missing", message)
        case "union_tag_invalid":
            return _wrong_choice(root, (*path, "type"), str(context["expected_tags"]))
        case "literal_error":
            return _wrong_choice(root, path, str(context["expected"]))
        case _:
            pass
    if "message" in context:
        return _own(root, path, kind, context, value_place(root, path))
    return _wrong_value(root, path, kind, context)


def _own(
    root: Mapping, path: Path, code: str, context: dict[str, Any], place: Place
) -> Problem:
    """A refusal of our own validators: only the quoted text is to be filled in."""
    text = _quotable(node_at(root, path))
    message = str(context["message"]).replace("{text}", text)
    if code.startswith("key."):
        place, message = _owner_place(root, path), f"{_name_of(path)} {message}"
    hint = str(context["hint"]).replace("{text}", text)
    return place.problem(code, message, hint=hint)


def _unknown_key(root: Mapping, path: Path) -> Problem:
    place, key = key_place(root, path), str(path[-1])
    if variable_of(place):
        return unknown_variable(place)
    known = [] if (shape := _shape_at(root, path[:-1])) is None else _keys(shape)
    if f"{key}_file" in known:
        message = f"'{key}' may not stand in a config file"
        others = [name for name in known if name in (f"{key}_file", f"{key}_env")]
        hint = f"put it into a file and name that: {' or '.join(sorted(others))}"
        return place.problem("secret.inline", message, hint=hint)
    if {"file", "env"} <= set(known) and _SECRET_WORD.search(key):
        message = "a secret may not stand in a config file"
        hint = "put it into a file and name that: {file: name}"
        return place.problem("secret.inline", message, hint=hint)
    hint = did_you_mean(key, known)
    if key in _GROUP_KEYS:
        hint = "only cohorts of people exist here: match user_id or amplitude_id"
    return place.problem("key.unknown", f"unknown key '{key}'", hint=hint)


def _wrong_choice(root: Mapping, path: Path, expected: str) -> Problem:
    node = node_at(root, path)
    words = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
    hint = did_you_mean(_quotable(node), words)
    name = next(step for step in reversed(path) if isinstance(step, str))
    message = f"'{name}' must be {' or '.join(words)}"
    return value_place(root, path).problem("value.choice", message, hint=hint)


def _wrong_value(
    root: Mapping, path: Path, kind: str, context: dict[str, Any]
) -> Problem:
    place, name = value_place(root, path), _name_of(path)
    if kind in _TYPES:
        node = node_at(root, path)
        message = f"{name} needs {_TYPES[kind]}"
        if isinstance(node, Scalar) and node.value is None:
            message += ", but is empty"
        # What stands in a header may be a secret by mistake.
        quotable = kind == "string_type" and "headers" not in path
        quote = quotable and isinstance(node, Scalar) and node.text
        hint = f'quote it: "{_quotable(node)}"' if quote else ""
        return place.problem("value.type", message, hint=hint)
    limits = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    for key, words in limits.items():
        if key in context:
            message = f"{name} must be {words} {context[key]:,}"
            return place.problem("value.range", message)
    if "max_length" in context:
        message = f"{name} is longer than {context['max_length']} characters"
        return place.problem("value.range", message)
    return place.problem("value.invalid", f"{name} cannot be used ({kind})")


def _owner_place(root: Mapping, path: Path) -> Place:
    """Where a map that lacks something is best pointed at: its key, if it has one."""
    if path and isinstance(path[-1], str):
        return key_place(root, path)
    return value_place(root, path)


def _without_tags(loc: Sequence[str | int]) -> Path:
    """A location without the `type` pydantic puts in after a choice of models."""
    path: list[str | int] = []
    for index, step in enumerate(loc):
        before = loc[index - 1] if index else ""
        before_two = loc[index - 2] if index > 1 else ""
        if before == "snapshot" and step in _UNIONS["snapshot"] and path[0] != "syncs":
            continue
        if index == 2 and loc[0] == "connections" and step in _UNIONS["connections"]:
            continue
        if index == 3 and before_two == "channels" and step in _UNIONS["channels"]:
            continue
        path.append(step)
    return tuple(path)


def _shape_at(root: Mapping, path: Path) -> type[BaseModel] | None:
    """The model of the map at a path."""
    match path:
        case ("connections", _, *_):
            return _shape_in_connection(root, path)
        case ("syncs", _) | ("windows", _, int()):
            return _IN_LIST[str(path[0])]
        case ("syncs", _, str() as key):
            return _IN_SYNC.get(key)
        case ("defaults", str() as key):
            return DefaultDeliveryShape if key == "delivery" else _IN_SYNC.get(key)
        case ("web" | "notifications", _, *_):
            return _shape_of_section(root, path)
        case ():
            return Document
        case (str() as key,):
            return _AT_TOP.get(key)
        case _:
            return None


def _shape_of_section(root: Mapping, path: Path) -> type[BaseModel] | None:
    match path:
        case ("notifications", "channels", _):
            return CHANNEL_SHAPES.get(_type_at(root, path))
        case ("notifications", "heartbeat"):
            return HeartbeatShape
        case ("web", *rest):
            return _shape_in_web(tuple(rest))
        case _:
            return None


def _shape_in_web(path: Path) -> type[BaseModel] | None:
    match path:
        case ("admin", "auth"):
            return AuthShape
        case ("admin", "auth", "users", _):
            return UserShape
        case (str() as key,):
            return _IN_WEB.get(key)
        case _:
            return None


def _shape_in_connection(root: Mapping, path: Path) -> type[BaseModel] | None:
    match path[2:]:
        case () | ("snapshot",):
            return _BY_TYPE.get(_type_at(root, path))
        case ("secret_headers", _):
            return SecretShape
        case ("inbox", "second_factor"):
            return SecondFactorShape
        case (str() as key,):
            return _IN_CONNECTION.get(key)
        case _:
            return None


def _type_at(root: Mapping, path: Path) -> str:
    node = node_at(root, (*path, "type"))
    return str(node.value) if isinstance(node, Scalar) else ""


_AT_TOP: dict[str, type[BaseModel]] = {
    "store": StoreShape,
    "defaults": DefaultsShape,
    "log": LogShape,
    "notifications": NotificationsShape,
    "web": WebShape,
}
_IN_LIST: dict[str, type[BaseModel]] = {"syncs": SyncShape, "windows": WindowShape}
_IN_WEB: dict[str, type[BaseModel]] = {"inbound": InboundShape, "admin": AdminShape}
_IN_CONNECTION: dict[str, type[BaseModel]] = {
    "quota": QuotaShape,
    "inbox": InboxShape,
    "push": PushShape,
}
_BY_TYPE: dict[str, type[BaseModel]] = {
    **CONNECTION_SHAPES,
    "warehouse": WarehouseShape,
    "files": FilesShape,
}
_IN_SYNC: dict[str, type[BaseModel]] = {
    "from": FromShape,
    "to": ToShape,
    "guard": GuardShape,
    "delivery": DeliveryShape,
    "schedule": CronShape,
}


def _keys(shape: type[BaseModel]) -> list[str]:
    fields = shape.model_fields.items()
    names = [field.alias or name for name, field in fields]
    return [*names, "include"] if shape is Document else names


def _name_of(path: Path) -> str:
    """How a message names what a path leads to."""
    if not path:
        return "the file"
    return f"'{path[-1]}'" if isinstance(path[-1], str) else "this entry"


def _quotable(node: Node | None) -> str:
    text = node.text if isinstance(node, Scalar) else ""
    return text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…"
