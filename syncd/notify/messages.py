"""Which messages are due, and what stands in them. Pure.

A condition is told once it has lasted, again every `repeat_every`, and once when it is
over. What is due together for one cause is one message. Its id is made of what it says,
so a message that is sent twice (a crash between sending and noting, another replica)
has the same id both times.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from syncd.model import Condition
from syncd.notify import Channel, Kind, News, Seen
from syncd.notify.conditions import is_closed

SHORT = timedelta(minutes=1)
"""So long at least: others of the same cause may follow, and it may pass by itself."""
LASTED: Mapping[Kind, timedelta] = {
    # Jitter puts syncs of one schedule up to 5 minutes apart: they fail together.
    Kind.FAILING: timedelta(minutes=5),
    Kind.STALE: timedelta(minutes=5),
    Kind.DEAD_LETTERS: timedelta(minutes=5),
    # A forecast moves with every download.
    Kind.QUOTA: timedelta(hours=1),
}
"""How long a condition must last before it is told; the others `SHORT`."""
NAMED = 10
"""Conditions that a message names; of further ones it gives the number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One condition in a message."""

    row: Condition
    seen: Seen | None
    """As it is now; None once it is over."""
    gone: bool = False
    """Over since its sync is not configured any more, or switched off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a channel is to be told; `items` has at least one."""

    id: str
    """The same whenever the same is told again; without a dot (Standard Webhooks)."""
    channel: str
    instance: str
    news: News
    kind: Kind
    cause: str
    items: tuple[Item, ...]
    at: datetime
    page: str = ""
    """Where the status page is, without a slash at its end; empty where nowhere."""
    is_test: bool = False

    def link(self, item: Item) -> str:
        """The address of the page about an item; empty where there is no page."""
        if not self.page:
            return ""
        if item.seen is not None and item.seen.run_id is not None:
            return f"{self.page}/runs/{item.seen.run_id}"
        return f"{self.page}/syncs/{item.row.sync}" if item.row.sync else self.page


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What messages are made from besides the rows."""

    instance: str
    page: str
    seen: Mapping[str, Seen]
    """By `Seen.name`."""
    syncs: frozenset[str]
    """Those that are configured and switched on."""
    now: datetime


def due(channel: Channel, rows: Iterable[Condition], scene: Scene) -> list[Message]:
    """The messages that a channel is to get now; worst first, oldest first."""
    found = [
        (news, row) for row in rows if (news := _news(channel, row, scene)) is not None
    ]
    found.sort(key=_order)
    grouped = groupby(found, key=lambda each: (each[0], each[1].kind, each[1].cause))
    return [
        message(
            channel.name,
            news,
            tuple(_item(row, news, scene) for _, row in each),
            scene,
        )
        for (news, _, _), each in grouped
    ]


def message(channel: str, news: News, items: tuple[Item, ...], scene: Scene) -> Message:
    """One message about conditions of one kind and cause."""
    first = items[0].row
    return Message(
        id=_id(scene.instance, channel, news, items),
        channel=channel,
        instance=scene.instance,
        news=news,
        kind=Kind(first.kind),
        cause=first.cause,
        items=items,
        at=scene.now,
        page=scene.page,
    )


def _news(channel: Channel, row: Condition, scene: Scene) -> News | None:
    """What is to be told of a row now."""
    if is_closed(row):
        return None
    if row.resolved_at is not None:
        return News.RESOLVED if scene.now - row.resolved_at >= SHORT else None
    if f"{row.kind}/{row.subject}" not in scene.seen:
        return None  # paused, or said better by another: nobody is reminded of it
    if row.told_at is None:
        lasted = LASTED.get(Kind(row.kind), SHORT)
        return News.OPENED if scene.now - row.opened_at >= lasted else None
    every = channel.repeat_every
    is_due = every is not None and scene.now - row.told_at >= every
    return News.REMINDED if is_due else None


def _order(each: tuple[News, Condition]) -> tuple[int, int, str, datetime, str]:
    news, row = each
    rank = list(News).index(news), list(Kind).index(Kind(row.kind))
    return (*rank, row.cause, row.opened_at, row.key)


def _item(row: Condition, news: News, scene: Scene) -> Item:
    if news is not News.RESOLVED:
        return Item(row=row, seen=scene.seen[f"{row.kind}/{row.subject}"])
    gone = row.sync is not None and row.sync not in scene.syncs
    return Item(row=row, seen=None, gone=gone)


def _id(instance: str, channel: str, news: News, items: Iterable[Item]) -> str:
    """Made of which conditions it is about, and of what was told of them before."""
    said = "\n".join([instance, channel, news, *_said(items)])
    return f"msg_{hashlib.sha256(said.encode()).hexdigest()[:40]}"


def _said(items: Iterable[Item]) -> Iterator[str]:
    for each in items:
        told = each.row.told_at.isoformat() if each.row.told_at is not None else ""
        yield f"{each.row.key} {each.row.opened_at.isoformat()} {told}"
