"""What a sync may say depends on its two connections: pairs, and the keys of each.

Like all crosschecks on the raw tree. Where a connection is unknown or has no type,
the schema has said so, and nothing more is said here.
"""

from collections.abc import Iterator

from syncd.config.findings import key_place, node_at
from syncd.config.place import Place
from syncd.config.raw import RawSync, connections, given, raw_syncs, text
from syncd.config.reader import Mapping, Scalar
from syncd.config.schema import LARGEST_BATCH
from syncd.config.schema_connections import CONNECTION_SHAPES
from syncd.errors import Problem

PAIRS = (
    ("engage", "amplitude"),
    ("amplitude", "engage"),
    ("amplitude", "list_api"),
    ("amplitude", "property_api"),
)
"""(read from, written to): what syncd can keep equal."""

_KEYS = {
    ("from", "engage"): (
        "audience",
        "query",
        "freshness_query",
        "max_age",
        "column",
        "path",
        "built_on",
        "via",
        "snapshot_lag",
        "relist_every",
        "without_value",
        "run_after",
    ),
    ("from", "amplitude"): (
        "cohort_id",
        "max_staleness",
        "linked",
        "via",
        "snapshot_lag",
        "relist_every",
        "run_after",
    ),
    ("to", "amplitude"): ("cohort", "cohort_id", "owner"),
    ("to", "engage"): ("trait",),
    ("to", "list_api"): ("list", "list_id"),
    ("to", "property_api"): ("trait",),
}
_NEEDED = {"engage": "audience", "amplitude": "cohort_id"}
"""Type of the source → the key that says who is read."""
_FAST = 1000
"""Events a second that Engage is documented to take (contract/segment.md 6, T4)."""


def direction_problems(root: Mapping) -> Iterator[Problem]:
    """Every key and every connection that does not fit its sync."""
    for sync in raw_syncs(root):
        pair = sync.type_of("from"), sync.type_of("to")
        if pair[0] not in CONNECTION_SHAPES or pair[1] not in CONNECTION_SHAPES:
            continue
        if pair not in PAIRS:
            yield _no_pair(sync, pair)
            continue
        yield from _misplaced(sync, "from", pair[0])
        yield from _misplaced(sync, "to", pair[1])
        yield from _missing_member_source(sync, pair[0])
        yield from _tuning(root, sync, pair)
    yield from _engage_needs(root)
    yield from _fast_rates(root)


def _no_pair(sync: RawSync, pair: tuple[str, str]) -> Problem:
    message = f"no sync goes from {pair[0]} to {pair[1]}"
    pairs = ", ".join(f"{source} to {target}" for source, target in PAIRS)
    place = sync.place("from", "connection")
    return place.problem("connection.pair", message, hint=f"these exist: {pairs}")


def _misplaced(sync: RawSync, end: str, kind: str) -> Iterator[Problem]:
    own, known = _KEYS[end, kind], {key for keys in _KEYS.values() for key in keys}
    owner = node_at(sync.node, (end,))
    for key in sorted(known - set(own)):
        if not isinstance(owner, Mapping) or key not in owner.entries:
            continue
        # A key that belongs to the other end is unknown here: the schema says so.
        if any(key in keys for (side, _), keys in _KEYS.items() if side == end):
            message = f"'{key}' does not go with '{end}' {kind}"
            hint = f"{kind} takes {', '.join(own)}"
            place = owner.entries[key].key_place
            yield place.problem("key.misplaced", message, hint=hint)


def _missing_member_source(sync: RawSync, kind: str) -> Iterator[Problem]:
    owner, key = node_at(sync.node, ("from",)), _NEEDED[kind]
    if isinstance(owner, Mapping) and key not in given(owner):
        place = sync.node.entries["from"].key_place
        yield place.problem("key.missing", f"'from' needs '{key}'")


def _tuning(root: Mapping, sync: RawSync, pair: tuple[str, str]) -> Iterator[Problem]:
    source, target = pair
    budget = sync.entry("budget")
    if budget is not None and source != "amplitude":
        message = "only a sync that reads a cohort has a budget"
        hint = "reading an audience costs no download: remove it"
        yield budget.key_place.problem("key.misplaced", message, hint=hint)
    if target == "engage":
        yield from _match(root, sync)
    size = sync.entry("delivery", "batch_size")
    if size is not None and isinstance(size.node, Scalar):
        yield from _batch_size(size.node, target)


def _match(root: Mapping, sync: RawSync) -> Iterator[Problem]:
    """Segment knows people by its user id; an Amplitude id means nothing there."""
    own = sync.entry("match")
    at = own.node if own is not None else node_at(root, ("defaults", "match"))
    if isinstance(at, Scalar) and at.value == "amplitude_id":
        message = f"sync '{sync.name}' writes to engage, which knows no amplitude_id"
        hint = "say 'match: user_id' in that sync"
        yield at.place.problem("match.unsupported", message, hint=hint)


def _batch_size(size: Scalar, target: str) -> Iterator[Problem]:
    limit, largest = LARGEST_BATCH[target], max(LARGEST_BATCH.values())
    # Beyond the largest of all limits it is the schema that refuses it.
    if isinstance(size.value, int) and limit < size.value <= largest:
        message = f"'batch_size' must be at most {limit:,} for {target}"
        yield size.place.problem("value.range", message)


def _engage_needs(root: Mapping) -> Iterator[Problem]:
    """Of the two things an engage connection can do, a sync needs one."""
    for name, connection, place in connections(root):
        if text(connection, "type") != "engage":
            continue
        reader = _user(root, "from", name)
        if reader and not {"snapshot", "inbox"} & given(connection):
            either = "'snapshot' or 'inbox'"
            yield _needs(place, name, either, f"'{reader}' reads from it")
        writer = _user(root, "to", name)
        # A key in plain sight is refused as such; that is enough.
        keys = {"write_key", "write_key_file", "write_key_env"}
        if writer and not keys & given(connection):
            either = "'write_key_file' or 'write_key_env'"
            yield _needs(place, name, either, f"'{writer}' writes to it")


def _needs(place: Place, name: str, what: str, why: str) -> Problem:
    message = f"'{name}' needs {what}: sync {why}"
    return place.problem("key.missing", message)


def _user(root: Mapping, end: str, connection: str) -> str:
    """The first sync that has a connection at an end, of a pair that exists."""
    for sync in raw_syncs(root):
        named = text(sync.node, end, "connection") == connection
        if named and (sync.type_of("from"), sync.type_of("to")) in PAIRS:
            return sync.name
    return ""


def _fast_rates(root: Mapping) -> Iterator[Problem]:
    for name, connection, _ in connections(root):
        rate = node_at(connection, ("max_events_per_second",))
        if not isinstance(rate, Scalar) or not isinstance(rate.value, int):
            continue
        if rate.value > _FAST and text(connection, "type") == "engage":
            path = ("connections", name, "max_events_per_second")
            message = f"Engage is documented to take {_FAST:,} events a second"
            hint = "above that Segment may queue or refuse them"
            yield key_place(root, path).problem(
                "rate.high", message, hint=hint, severity="warning"
            )
