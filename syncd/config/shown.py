"""Every value of a configuration by the path of its key, with where it comes from.

What is written stands as it is written; what nobody wrote is the default that counts,
from `defaults:` or our own. Only keys that refer to a secret exist (`…_file`, `…_env`),
never a secret: the one value that may hold one, a database URL with variables in it,
stays as it is in the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from syncd.config.findings import Path as KeyPath
from syncd.config.findings import node_at, value_place
from syncd.config.interpolate import EnvText
from syncd.config.overrides import variable_of
from syncd.config.place import Place
from syncd.config.reader import Mapping, Node, Scalar, Sequence
from syncd.config.secrets import SecretRef
from syncd.config.settings import GuardSettings, Listen, Loaded, Settings
from syncd.config.settings_connections import PresentedSecret
from syncd.config.settings_notifications import NotificationSettings
from syncd.config.values import holds_password
from syncd.schedule import Cron, Every, Manual, Once, describe, duration_text
from syncd.windows import Window

Plain = str | int | float | bool | list[str]
Origin = Literal["file", "environment", "default"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One value."""

    path: str
    """Keys with a dot between; a sync by its name: `syncs.vip.guard.max_exit`."""
    value: Plain
    origin: Origin
    place: Place | None
    """Where it is written; None where it is a default of ours."""

    @property
    def where(self) -> str:
        """`file:line`, `$VARIABLE` or `default`."""
        if self.place is None:
            return self.origin
        if variable_of(self.place):
            return self.place.file
        return f"{self.place.file}:{self.place.line}"


def shown(loaded: Loaded, root: Mapping, *, resolved: bool) -> list[Shown]:
    """Every written value; with `resolved` every value that counts, in file order."""
    names = [sync.name for sync in loaded.settings.syncs]
    written = [_written(path, node, names) for path, node in _leaves(root, ())]
    if not resolved:
        return written
    filled = [
        _filled(root, path, value, names)
        for path, value in _settings(loaded.settings)
        if not _is_given(root, path)
    ]
    return _grouped([*written, *filled])


def _leaves(node: Node, path: KeyPath) -> Iterator[tuple[KeyPath, Node]]:
    """What is written: single values, and lists of them."""
    match node:
        case Mapping(entries):
            for key, entry in entries.items():
                yield from _leaves(entry.node, (*path, key))
        case Sequence(items) if not all(isinstance(item, Scalar) for item in items):
            for index, item in enumerate(items):
                yield from _leaves(item, (*path, index))
        case Sequence():
            yield path, node
        case Scalar(value) if value is not None:
            yield path, node
        case _:
            pass


def _written(path: KeyPath, node: Node, names: list[str]) -> Shown:
    place = _place_of(node)
    return Shown(
        path=_dotted(path, names),
        value=_plain_node(path, node),
        origin="environment" if variable_of(place) else "file",
        place=place,
    )


def _place_of(node: Node) -> Place:
    """Where a node is written; of a list, where its first item is."""
    if isinstance(node, Sequence) and node.items:
        return node.items[0].place
    return node.place


def _plain_node(path: KeyPath, node: Node) -> Plain:
    if isinstance(node, Sequence):
        return [str(_plain_node(path, item)) for item in node.items]
    assert isinstance(node, Scalar)  # noqa: S101 - `_leaves` yields no maps
    value = node.value
    if value is None:
        return ""
    if isinstance(value, EnvText) and _may_be_secret(path, value):
        return node.text
    return str(value) if isinstance(value, str) else value


def _may_be_secret(path: KeyPath, value: str) -> bool:
    return "headers" in path or (path[-1] == "url" and holds_password(value))


def _filled(root: Mapping, path: KeyPath, value: Plain, names: list[str]) -> Shown:
    """A value that is not written there: from `defaults:`, else a default of ours."""
    shared = ("defaults", *path[2:])
    from_defaults = path[0] == "syncs" and _is_given(root, shared)
    if not from_defaults:
        return Shown(
            path=_dotted(path, names), value=value, origin="default", place=None
        )
    place = value_place(root, shared)
    node = node_at(root, shared)
    if isinstance(node, Scalar) and isinstance(node.value, str):
        value = str(node.value)  # as it is written; numbers may have been limited
    return Shown(
        path=_dotted(path, names),
        value=value,
        origin="environment" if variable_of(place) else "file",
        place=place,
    )


def _is_given(root: Mapping, path: KeyPath) -> bool:
    """Whether something is written there, or in one value above (`budget: 4/day`)."""
    nodes = [node_at(root, path[:end]) for end in range(1, len(path) + 1)]
    scalars = [node for node in nodes if isinstance(node, Scalar)]
    if scalars:
        return scalars[0].value is not None
    return nodes[-1] is not None


def _dotted(path: KeyPath, names: list[str]) -> str:
    steps = list(path)
    if len(steps) > 1 and steps[0] == "syncs" and isinstance(steps[1], int):
        steps[1] = names[steps[1]]
    return ".".join(map(str, steps))


def _grouped(values: list[Shown]) -> list[Shown]:
    """Defaults beside what is written in the same map, in the order of the files."""
    rank: dict[str, int] = {}
    for each in values:
        for end in range(len(keys := each.path.split("."))):
            rank.setdefault(".".join(keys[: end + 1]), len(rank))

    def order(each: Shown) -> list[int]:
        keys = each.path.split(".")
        return [rank[".".join(keys[: end + 1])] for end in range(len(keys))]

    return sorted(values, key=order)


# --- what counts, by the keys of the files --------------------------------------------

_ELSEWHERE: dict[str, KeyPath] = {
    "team": ("owner",),
    "source": ("from",),
    "target": ("to",),
    "delivery_workers": ("defaults", "delivery", "workers"),
    "max_connections": ("inbound", "max_connections"),
    "page": ("admin",),
    # In the files these are keys of the map that they belong to.
    "transport": (),
    "access": (),
    "outward": (),
    "events": (),
}
"""Field of the settings → its keys in the files, where those differ."""
_NOT_KEYS = frozenset({"place", "signature", "secret_headers"})
_SCHEDULES = (Every, Cron, Once, Manual)


def _settings(settings: Settings) -> Iterator[tuple[KeyPath, Plain]]:
    for each in fields(settings):
        value = getattr(settings, each.name)
        match each.name:
            case "connections":
                for name, connection in value.items():
                    yield from _fields(("connections", name), connection, "name")
            case "syncs":
                for index, sync in enumerate(value):
                    yield from _fields(("syncs", index), sync)
            case "notifications":
                yield from _notifications(value)
            case name:
                yield from _values(_key((), name), value)


def _notifications(told: NotificationSettings) -> Iterator[tuple[KeyPath, Plain]]:
    for name, channel in told.channels.items():
        path = ("notifications", "channels", name)
        every = channel.repeat_every
        yield (*path, "events"), list(channel.events)
        yield (*path, "repeat_every"), _duration(every) if every else "never"
    if told.heartbeat is not None:
        yield from _fields(("notifications", "heartbeat"), told.heartbeat)


def _fields(
    path: KeyPath, owner: Any, without: str = ""
) -> Iterator[tuple[KeyPath, Plain]]:
    for each in fields(owner):
        if each.name not in _NOT_KEYS and each.name != without:
            value = getattr(owner, each.name)
            if isinstance(owner, GuardSettings) and isinstance(value, float):
                value = f"{value * 100:g}%"
            yield from _values(_key(path, each.name), value)


def _key(path: KeyPath, name: str) -> KeyPath:
    return (*path, *_ELSEWHERE.get(name, (name,)))


def _values(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Plain]]:
    match value:
        case SecretRef() | PresentedSecret():
            return  # these are written, or they are not there
        case Listen(host=host, port=port):
            yield (*path, "listen"), f"{host}:{port}"
        case dict():
            for key, item in value.items():
                yield from _values((*path, key), item)
        case _ if isinstance(value, _SCHEDULES) or not is_dataclass(value):
            text = _plain(value)
            if text is not None and text not in ("", []):
                yield path, text
        case _:
            yield from _fields(path, value)


def _plain(value: Any) -> Plain | None:
    """A single value as the files write it; None for what they have no key for."""
    match value:
        case bool() | int() | float():
            return value
        case Every() | Cron() | Once() | Manual():
            return describe(value)
        case timedelta():
            return _duration(value)
        case datetime():
            return value.isoformat()
        case Enum():
            return str(value.value)
        case str() | Path():
            return str(value)
        case tuple():
            return list(dict.fromkeys(map(_named, value)))
        case _:
            return None


def _named(item: object) -> str:
    """An item of a list as the files write it: text, or the name of what it means."""
    return item.name if isinstance(item, Window) else str(item)


def _duration(value: timedelta) -> str:
    milliseconds = value // timedelta(milliseconds=1)
    return f"{milliseconds}ms" if milliseconds % 1000 else duration_text(value)
