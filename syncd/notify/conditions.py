"""Which conditions open, go on and end, by what is seen now. Pure.

A row is written as soon as something is seen, and told only once it has lasted: what
passes by itself is never told. A paused sync's rows stay as they are.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from syncd.model import Condition
from syncd.notify import Channel, Kind, Seen

_GRAIN = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What becomes of the rows."""

    put: tuple[Condition, ...] = ()
    """To be written, in the place of the row with that key."""
    drop: tuple[str, ...] = ()
    """Keys of rows of which nobody was ever told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """All that is known at one moment, for one channel."""

    seen: Mapping[str, Seen]
    """By `Seen.name`."""
    unsure: Collection[str] = ()
    """Names about which nothing can be said now: their rows stay as they are."""


def wanted(
    channel: Channel,
    seen: Iterable[Seen],
    masked: Mapping[str, Collection[Kind]],
    unsure: Collection[str] = (),
) -> Sight:
    """What concerns a channel of all that is seen.

    `masked`: a name and the kinds that say the same with more right. A sync that is
    held is stale, too; whoever is told the one need not hear the other.
    """
    seen = [each for each in seen if each.kind in channel.kinds]
    told_better = {
        each.name for each in seen if channel.kinds & set(masked.get(each.name, ()))
    }
    return Sight(
        seen={each.name: each for each in seen if each.name not in told_better},
        unsure={*told_better, *unsure},
    )


def observe(
    channel: Channel, rows: Iterable[Condition], sight: Sight, now: datetime
) -> Changes:
    """What becomes of a channel's rows, and of what has none yet."""
    known = {row.key: row for row in rows}
    put = [*_opened(channel, known, sight, now)]
    drop = []
    for row in known.values():
        name = f"{row.kind}/{row.subject}"
        if name in sight.seen or name in sight.unsure or row.resolved_at is not None:
            continue
        if row.told_at is None:
            drop.append(row.key)
        else:
            put.append(_resolved(channel, row, row.told_at, now))
    return Changes(put=tuple(put), drop=tuple(drop))


def is_closed(row: Condition) -> bool:
    """Whether it ended, and everybody who wants to know was told."""
    if row.resolved_at is None:
        return False
    return row.told_at is None or row.told_at >= row.resolved_at


def _opened(
    channel: Channel, known: Mapping[str, Condition], sight: Sight, now: datetime
) -> Iterator[Condition]:
    for each in sight.seen.values():
        fresh = Condition(
            channel=channel.name,
            kind=each.kind,
            subject=each.subject,
            sync=each.sync,
            cause=each.cause,
            text=each.headline,
            opened_at=now,
        )
        row = known.get(fresh.key)
        if row is None or is_closed(row):
            yield fresh
        elif (row.cause, row.text, row.resolved_at) != (fresh.cause, fresh.text, None):
            # It goes on in other words, or came back before its end was told.
            yield replace(fresh, opened_at=row.opened_at, told_at=row.told_at)


def _resolved(
    channel: Channel, row: Condition, told_at: datetime, now: datetime
) -> Condition:
    # A clock that was set back must not make it look as if its end had been told.
    ended = max(now, told_at + _GRAIN)
    told = told_at if channel.tells_resolved else ended
    return replace(row, resolved_at=ended, told_at=told)
