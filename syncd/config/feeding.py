"""How a sync gets its members: by whole lists alone, or by what is pushed to us.

Like all crosschecks on the raw tree; where something has another shape than expected,
the schema has said so.
"""

from collections.abc import Iterator
from datetime import timedelta

from syncd.config.directions import PAIRS
from syncd.config.findings import node_at
from syncd.config.place import Place
from syncd.config.raw import RawSync, given, raw_syncs, text
from syncd.config.reader import Mapping, Node, Scalar
from syncd.errors import Problem

INBOX, SNAPSHOT = "inbox", "snapshot"
PUSH, DOWNLOAD = "push", "download"
RELIST_BY_DOWNLOAD = timedelta(days=7)
"""Default of `relist_every` with pushes: downloads are counted, and most of what a
list would find was pushed."""

_WAYS = {"engage": (INBOX, SNAPSHOT), "amplitude": (PUSH, DOWNLOAD)}
"""Type of the source → its values of `via`."""
_EVENT_KEYS = ("snapshot_lag", "relist_every", "without_value", "run_after")
_OWN_LIST = ("query", "path")
"""With one of them a sync says that it wants to be read by a list."""
_LIST_KEYS = (
    "snapshot_lag",
    "relist_every",
    "query",
    "freshness_query",
    "max_age",
    "column",
    "path",
)
"""What has no effect where no whole list is ever read."""


def default_via(kind: str, *, has_inbox: bool, own_list: bool) -> str:
    """How a sync is fed whose files do not say it; `kind` is the source's type."""
    if kind == "amplitude":
        return DOWNLOAD
    return INBOX if has_inbox and not own_list else SNAPSHOT


def via_of(sync: RawSync) -> str:
    """How a sync that reads from a vendor is fed."""
    given_from, connection = _given(node_at(sync.node, ("from",))), _connection(sync)
    return text(sync.node, "from", "via") or default_via(
        sync.type_of("from"),
        has_inbox=INBOX in _given(connection),
        own_list=bool(given_from & set(_OWN_LIST)),
    )


def feeding_problems(root: Mapping) -> Iterator[Problem]:
    """Every sync that is fed by what its connection does not have."""
    for sync in raw_syncs(root):
        kind, via = sync.type_of("from"), via_of(sync)
        if (kind, sync.type_of("to")) not in PAIRS:
            continue
        if via in _WAYS[kind]:
            yield from _needs(sync, via)
            yield from _idle_keys(sync, via)
            yield from _ids(root, sync, via)
        elif via in {way for ways in _WAYS.values() for way in ways}:
            ways = " or ".join(_WAYS[kind])
            message = f"'via' must be {ways} where a sync reads from {kind}"
            yield sync.place("from", "via").problem("value.choice", message)
    yield from _two_meanings(root)


def _two_meanings(root: Mapping) -> Iterator[Problem]:
    """One audience whose events mean one thing to one sync, and another to the next.

    They are understood once, when they arrive, for all that read them.
    """
    seen: dict[tuple[str | None, str], tuple[str, str]] = {}
    for sync in raw_syncs(root):
        audience = text(sync.node, "from", "audience")
        if audience is None or via_of(sync) != INBOX:
            continue
        read = text(sync.node, "from", "connection"), audience
        meaning = text(sync.node, "from", "without_value") or "ignore"
        other, before = seen.setdefault(read, (sync.name, meaning))
        if meaning != before:
            message = f"'without_value' is {before} in sync '{other}' of this audience"
            place = _place(sync, "without_value", "audience")
            hint = "events are understood once: say the same in both"
            yield place.problem("value.conflict", message, hint=hint)


def _needs(sync: RawSync, via: str) -> Iterator[Problem]:
    """A part of the connection without which this sync gets nobody."""
    parts = _given(_connection(sync))
    # An engage connection with neither is reported once, not for each of its syncs.
    nothing = sync.type_of("from") == "engage" and not parts & {INBOX, SNAPSHOT}
    if via == DOWNLOAD or via in parts or nothing:
        return
    name = text(sync.node, "from", "connection")
    message = f"'{name}' needs '{via}': sync '{sync.name}' reads with 'via: {via}'"
    yield _place(sync, "via", *_OWN_LIST).problem("key.missing", message)


def _idle_keys(sync: RawSync, via: str) -> Iterator[Problem]:
    """Keys that say nothing about a sync that is fed this way."""
    if via in (SNAPSHOT, DOWNLOAD):
        other = INBOX if via == SNAPSHOT else PUSH
        message = f"'{{}}' goes with 'via: {other}' only"
        yield from _misplaced(sync, _EVENT_KEYS, message)
    elif via == PUSH:
        message = "'{}' goes with 'via: download' only"
        hint = "relist_every says how often a list is downloaded"
        yield from _misplaced(sync, ("max_staleness",), message, hint)
        yield from _never_a_list(sync)
    elif SNAPSHOT not in _given(_connection(sync)):
        name = text(sync.node, "from", "connection")
        message = f"'{{}}' is about whole lists, and '{name}' has no 'snapshot'"
        yield from _misplaced(sync, _LIST_KEYS, message)


def _never_a_list(sync: RawSync) -> Iterator[Problem]:
    """What would limit or correct downloads, where there are none."""
    if text(sync.node, "from", "relist_every") != "never":
        return
    for path in (("budget",), ("from", "snapshot_lag")):
        entry = sync.entry(*path)
        if entry is not None:
            message = f"'{path[-1]}' is about lists: 'relist_every: never' reads none"
            yield entry.key_place.problem("key.misplaced", message, hint="remove it")


def _misplaced(
    sync: RawSync, keys: tuple[str, ...], message: str, hint: str = "remove it"
) -> Iterator[Problem]:
    for key in keys:
        entry = sync.entry("from", key)
        # What goes with no way of this type is a matter of `directions`.
        if entry is not None and not _of_other_type(sync, key):
            yield entry.key_place.problem(
                "key.misplaced", message.format(key), hint=hint
            )


def _of_other_type(sync: RawSync, key: str) -> bool:
    return key == "without_value" and sync.type_of("from") != "engage"


def _ids(root: Mapping, sync: RawSync, via: str) -> Iterator[Problem]:
    """Whether what is pushed names people as the sync matches them."""
    own = sync.entry("match")
    at = own.node if own is not None else node_at(root, ("defaults", "match"))
    # Segment knows no Amplitude id at all: that is said in `directions`.
    if not isinstance(at, Scalar) or sync.type_of("to") == "engage":
        return
    if at.value != "amplitude_id":
        return
    if via == PUSH:
        message = f"sync '{sync.name}' reads pushes, which carry user ids only"
        hint = "say 'match: user_id' in that sync, or 'via: download'"
        yield at.place.problem("match.unsupported", message, hint=hint)
    inbox = _given_map(_connection(sync), INBOX)
    if via == INBOX and inbox is not None and "amplitude_id" not in given(inbox):
        yield _no_amplitude_id(sync, at.place)


def _no_amplitude_id(sync: RawSync, place: Place) -> Problem:
    name = text(sync.node, "from", "connection")
    message = f"sync '{sync.name}' needs the Amplitude ids of events"
    hint = f"say where they are: connections.{name}.inbox.amplitude_id"
    return place.problem("match.unsupported", message, hint=hint)


def _connection(sync: RawSync) -> Node | None:
    name = text(sync.node, "from", "connection") or ""
    return node_at(sync.root, ("connections", name))


def _given(node: Node | None) -> set[str]:
    return given(node) if isinstance(node, Mapping) else set()


def _given_map(node: Node | None, key: str) -> Mapping | None:
    found = node_at(node, (key,)) if isinstance(node, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _place(sync: RawSync, *keys: str) -> Place:
    """Where the first of these keys of `from` is, else `from` itself."""
    entries = (sync.entry("from", key) for key in keys)
    found = next((entry for entry in entries if entry is not None), None)
    return sync.place("from") if found is None else found.key_place
