"""The sentences of a message, the same in every channel. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from syncd.model import Condition
from syncd.notify import Kind, News
from syncd.notify.messages import NAMED, Item, Message

GLYPHS = {
    Kind.CONNECTION_STOPPED: "✖",
    Kind.HELD: "◆",
    Kind.FAILING: "✖",
    Kind.STALE: "▲",
    Kind.DEAD_LETTERS: "✖",
    Kind.REJECTED: "▲",
    Kind.INBOX_SILENT: "▲",
    Kind.DRIFT: "▲",
    Kind.QUOTA: "▲",
    Kind.CONFIG: "✖",
}
"""As the states have them, beside words and never instead of them."""
OVER = "●"

_MANY = {
    Kind.CONNECTION_STOPPED: "connections are stopped",
    Kind.HELD: "syncs are held",
    Kind.FAILING: "syncs are failing",
    Kind.STALE: "syncs are stale",
    Kind.DEAD_LETTERS: "syncs have dead batches",
    Kind.REJECTED: "syncs have many ids refused",
    Kind.INBOX_SILENT: "syncs hear nothing although their audiences move",
    Kind.DRIFT: "syncs differ from their destinations",
    Kind.QUOTA: "projects run out of downloads",
    Kind.CONFIG: "daemons refused their configuration",
}
_OVER = {
    Kind.CONNECTION_STOPPED: "is accepted again",
    Kind.HELD: "is no longer held",
    Kind.FAILING: "is no longer failing",
    Kind.STALE: "is fresh again",
    Kind.DEAD_LETTERS: "has no dead batches any more",
    Kind.REJECTED: "has few ids refused again",
    Kind.INBOX_SILENT: "hears of its audience again",
    Kind.DRIFT: "agrees with its destination again",
    Kind.QUOTA: "has downloads left again",
    Kind.CONFIG: "uses its configuration again",
}
_OVER_MANY = {
    Kind.CONNECTION_STOPPED: "connections are accepted again",
    Kind.HELD: "syncs are no longer held",
    Kind.FAILING: "syncs are no longer failing",
    Kind.STALE: "syncs are fresh again",
    Kind.DEAD_LETTERS: "syncs have no dead batches any more",
    Kind.REJECTED: "syncs have few ids refused again",
    Kind.INBOX_SILENT: "syncs hear of their audiences again",
    Kind.DRIFT: "syncs agree with their destinations again",
    Kind.QUOTA: "projects have downloads left again",
    Kind.CONFIG: "daemons use their configuration again",
}
_AGAIN = {News.OPENED: "", News.REMINDED: "still: ", News.RESOLVED: ""}


def headline(message: Message) -> str:
    """One glyph and one sentence with the numbers in it."""
    glyph = OVER if message.news is News.RESOLVED else GLYPHS[message.kind]
    test = "TEST, nothing is wrong: " if message.is_test else ""
    return f"{glyph} {test}{_AGAIN[message.news]}{_sentence(message)}"


def context(message: Message) -> str:
    """The second line: what is worth knowing beside it."""
    first = message.items[0]
    parts = list(first.seen.context) if first.seen and len(message.items) == 1 else []
    parts.append(message.instance)
    parts.append(_when(message))
    if len(message.items) == 1 and first.seen and first.seen.run_id:
        parts.append(f"run {first.seen.run_id[-8:]}")
    return " · ".join(parts)


def advice(message: Message) -> str:
    """The third line: usual causes, and the command to begin with; empty when over."""
    seen = message.items[0].seen
    if seen is None:
        return ""
    usual = f"Usual causes: {seen.usual}.  " if seen.usual else ""
    return f"{usual}Begin with: {seen.command}"


def runbook(message: Message) -> str:
    """The code of the page that helps; empty when over."""
    seen = message.items[0].seen
    return seen.code if seen is not None else ""


def details(message: Message) -> list[str]:
    """One line for each condition, where there are several."""
    if len(message.items) == 1:
        return []
    lines = [_line(message, item) for item in message.items[:NAMED]]
    left = len(message.items) - NAMED
    return [*lines, f"and {left:,} more"] if left > 0 else lines


def plain(message: Message) -> str:
    """The whole message as text."""
    return "\n".join(_lines(message))


def span(length: timedelta) -> str:
    """`45 m`, `8 h 40 m`, `2 d 3 h`: whole minutes."""
    minutes = max(0, int(length.total_seconds() // 60))
    if minutes < 60:
        return f"{minutes} m"
    if minutes < 24 * 60:
        return f"{minutes // 60} h" + _rest(minutes % 60, "m")
    return f"{minutes // 1440} d" + _rest(minutes % 1440 // 60, "h")


def _lines(message: Message) -> Iterator[str]:
    yield headline(message)
    yield from (f"- {line}" for line in details(message))
    yield context(message)
    if message.news is not News.RESOLVED:
        yield advice(message)
        yield f"Runbook: syncd explain {runbook(message)}"
    if link := message.link(message.items[0]):
        yield link


def _sentence(message: Message) -> str:
    items, kind = message.items, message.kind
    if len(items) == 1:
        return _one(message, items[0])
    if message.news is News.RESOLVED:
        return f"{len(items):,} {_OVER_MANY[kind]}"
    cause = f": {message.cause}" if message.cause else ""
    return f"{len(items):,} {_MANY[kind]}{cause}"


def _one(message: Message, item: Item) -> str:
    if item.seen is not None:
        return item.seen.headline
    if item.gone:
        said = f"it was {item.row.kind.replace('_', ' ')}"
        return f"{item.row.subject} is not run any more; {said}"
    return f"{item.row.subject} {_OVER[message.kind]}"


def _line(message: Message, item: Item) -> str:
    since = f"since {_clock(item.row.opened_at, message.at)}"
    return f"{_one(message, item)} ({since})"


def _when(message: Message) -> str:
    oldest = min((item.row for item in message.items), key=_opened)
    since = f"since {_clock(oldest.opened_at, message.at)}"
    if message.news is News.OPENED:
        return since
    end = oldest.resolved_at or message.at
    return f"{since}, for {span(end - oldest.opened_at)}"


def _opened(row: Condition) -> datetime:
    return row.opened_at


def _clock(at: datetime, now: datetime) -> str:
    """`03:01 UTC`, with the day where it was another one."""
    utc = at.astimezone(UTC)
    day = "" if utc.date() == now.astimezone(UTC).date() else f"{utc:%a} {utc.day} "
    return f"{day}{utc:%b} {utc:%H:%M} UTC" if day else f"{utc:%H:%M} UTC"


def _rest(count: int, unit: str) -> str:
    return f" {count} {unit}" if count else ""
