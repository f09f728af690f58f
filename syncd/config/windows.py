"""Rules of `windows:` and `blackout:`, and what they come to.

A window without days would never open, one that is always open would stop its syncs
for good, and one that outlasts `fresh_within` makes them stale each time.
"""

from collections.abc import Iterator, Sequence
from datetime import time, timedelta

from syncd.config.findings import key_place, node_at
from syncd.config.place import Place, did_you_mean
from syncd.config.raw import RawSync, given, raw_syncs, scalar_text, text
from syncd.config.reader import Mapping, Node
from syncd.config.reader import Sequence as SequenceNode
from syncd.config.schema_windows import WindowShape, clock_time
from syncd.config.settings import Settings, SyncSettings
from syncd.errors import Problem
from syncd.schedule import duration_text
from syncd.windows import LONGEST, Window, longest


def windows_of(name: str, shapes: Sequence[WindowShape], zone: str) -> list[Window]:
    """The pieces of one named window, in `zone` unless they name one."""
    return [
        Window(
            name=name,
            zone=shape.timezone or zone,
            first=shape.dates[0] if shape.dates else None,
            last=shape.dates[1] if shape.dates else None,
            days=shape.days if shape.days is not None else tuple(range(7)),
            start=shape.from_ or time(0),
            end=shape.to or time(0),
        )
        for shape in shapes
    ]


# --- rules of the raw tree ------------------------------------------------------------


def window_problems(root: Mapping) -> Iterator[Problem]:
    """Windows that are none, names that mean none, and windows nobody uses."""
    yield from _empty_windows(root)
    known = _names(root)
    used = set()
    for item in _all_named(root):
        name = scalar_text(item)
        if name is None:
            continue  # the schema refuses what is no text
        used.add(name)
        if name not in known:
            hint = did_you_mean(name, known) or "name it under windows:"
            message = f"no window '{name}'"
            yield item.place.problem("window.unknown", message, hint=hint)
    for name in known:
        if name not in used:
            place = key_place(root, ("windows", name))
            message = f"no sync uses the window '{name}'"
            yield place.problem("window.unused", message, severity="warning")


def _names(root: Mapping) -> list[str]:
    node = node_at(root, ("windows",))
    return list(node.entries) if isinstance(node, Mapping) else []


def _all_named(root: Mapping) -> Iterator[Node]:
    yield from _items(node_at(root, ("defaults", "blackout")))
    for sync in raw_syncs(root):
        yield from _items(node_at(sync.node, ("blackout",)))


def _items(node: Node | None) -> Iterator[Node]:
    if isinstance(node, SequenceNode):
        yield from node.items


def _empty_windows(root: Mapping) -> Iterator[Problem]:
    for name in _names(root):
        pieces = node_at(root, ("windows", name))
        if isinstance(pieces, SequenceNode) and not pieces.items:
            place = key_place(root, ("windows", name))
            yield place.problem("window.empty", f"the window '{name}' has no piece")
        for piece in _items(pieces):
            if isinstance(piece, Mapping):
                yield from _empty_piece(piece)


def _empty_piece(piece: Mapping) -> Iterator[Problem]:
    if not given(piece) & {"dates", "days", "from", "to"}:
        message = "this window says no time"
        hint = "dates, days, or from and to"
        yield piece.place.problem("window.empty", message, hint=hint)
    start, end = text(piece, "from") or "00:00", text(piece, "to") or "24:00"
    if start != end and (start, end) != ("24:00", "00:00"):
        return
    if clock_time(start) is not None:
        message = f"this window opens and closes at {start}"
        hint = "leave out from and to for whole days"
        yield piece.place.problem("window.empty", message, hint=hint)


# --- rules of what they come to -------------------------------------------------------


def long_blackouts(settings: Settings, root: Mapping) -> Iterator[Problem]:
    """Blackouts without an end, and such as make a sync stale each time."""
    raw = {sync.name: sync for sync in raw_syncs(root)}
    for sync in settings.syncs:
        if sync.blackout and sync.name in raw:
            yield from _too_long(sync, raw[sync.name], root)


def _too_long(sync: SyncSettings, raw: RawSync, root: Mapping) -> Iterator[Problem]:
    whole = longest(sync.blackout)
    if whole > LONGEST:
        place = _place(raw, root, "")
        message = f"'{sync.name}' would never run: its blackout has no end"
        hint = "leave some time between its windows"
        yield place.problem("window.always", message, hint=hint)
        return
    fresh = sync.fresh_within
    if fresh is None or whole <= fresh:
        return
    name, span = _longest_name(sync.blackout, whole, fresh)
    what = f"'{name}' lasts" if name else "the blackouts together last"
    message = (
        f"{what} {duration_text(span)} but {sync.name} "
        f"has fresh_within {duration_text(fresh)}"
    )
    hint = "it is stale before the window ends; raise fresh_within or shorten that"
    yield _place(raw, root, name).problem(
        "window.longer_than_fresh", message, hint=hint, severity="warning"
    )


def _longest_name(
    blackout: Sequence[Window], whole: timedelta, fresh: timedelta
) -> tuple[str, timedelta]:
    """The window that is too long by itself; else no name, and all of them."""
    for name in dict.fromkeys(window.name for window in blackout):
        span = longest([each for each in blackout if each.name == name])
        if span > fresh:
            return name, span
    return "", whole


def _place(raw: RawSync, root: Mapping, name: str) -> Place:
    """Where the sync, or `defaults`, names the window; else where it names any."""
    own = node_at(raw.node, ("blackout",))
    node = own if own is not None else node_at(root, ("defaults", "blackout"))
    for item in _items(node):
        if scalar_text(item) == name:
            return item.place
    return node.place if node is not None else raw.node.place
