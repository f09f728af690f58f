"""Rules of `notifications:` and `notify:`: each channel has an address, and a name
means a channel.

Like all crosschecks on the raw tree, and silent about what the schema refuses anyway.
"""

from collections.abc import Iterator

from syncd.config.choices import choice
from syncd.config.findings import Path, node_at
from syncd.config.place import did_you_mean
from syncd.config.raw import given, raw_syncs, scalar_text, text
from syncd.config.reader import Mapping, Node, Sequence
from syncd.errors import Problem

_CHANNELS = ("notifications", "channels")
_HEARTBEAT = ("notifications", "heartbeat")
_NEEDED = {"slack": ("webhook_url",), "webhook": ("url", "secret")}
"""Type of a channel → secrets without which it is of no use."""


def notification_problems(root: Mapping) -> Iterator[Problem]:
    """Every broken rule."""
    channels = node_at(root, _CHANNELS)
    known = channels.entries if isinstance(channels, Mapping) else {}
    for name, entry in known.items():
        if isinstance(entry.node, Mapping):
            kind = text(entry.node, "type") or ""
            yield from _secrets(root, (*_CHANNELS, name), _NEEDED.get(kind, ()))
            yield from _nothing_told((*_CHANNELS, name), entry.node)
    yield from _secrets(root, _HEARTBEAT, ("url",))
    for sync in raw_syncs(root):
        keys = ("heartbeat_url_file", "heartbeat_url_env")
        yield from choice(root, ("syncs", sync.index), keys)
    yield from _unknown(root, list(known))


def _secrets(root: Mapping, path: Path, names: tuple[str, ...]) -> Iterator[Problem]:
    owner = node_at(root, path)
    for name in names:
        keys = (f"{name}_file", f"{name}_env")
        # A secret in plain sight is refused as such; that is enough.
        plain = isinstance(owner, Mapping) and name in owner.entries
        yield from choice(root, path, keys, needed=not plain)
    if "secret" in names:
        keys = ("previous_secret_file", "previous_secret_env")
        yield from choice(root, path, keys)


def _nothing_told(path: Path, channel: Mapping) -> Iterator[Problem]:
    """A list of events with nothing in it that is wrong."""
    events = node_at(channel, ("events",))
    if not isinstance(events, Sequence):
        return
    if not {scalar_text(item) for item in events.items} - {"resolved"}:
        message = f"the channel '{path[-1]}' is told nothing"
        hint = "list what is wrong, such as held, or leave events out for everything"
        place = channel.entries["events"].key_place
        yield place.problem("channel.empty", message, hint=hint)


def _unknown(root: Mapping, known: list[str]) -> Iterator[Problem]:
    for item in _named(root):
        name = scalar_text(item)
        if name is not None and name not in known:
            hint = did_you_mean(name, known) or "name it under notifications.channels:"
            message = f"no channel '{name}'"
            yield item.place.problem("channel.unknown", message, hint=hint)


def _named(root: Mapping) -> Iterator[Node]:
    yield from _items(node_at(root, ("defaults", "notify")))
    for sync in raw_syncs(root):
        if "notify" in given(sync.node):
            yield from _items(node_at(sync.node, ("notify",)))


def _items(node: Node | None) -> Iterator[Node]:
    if isinstance(node, Sequence):
        yield from node.items
