"""How far a plan has read a feed, and which whole list it stands on. Pure.

Kept with the plan as text. A mark is of one feed: that of another one says nothing. The
mark of a whole list alone, from before a sync was fed by events, says that nothing of
the feed was read.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from syncd.model import Feed

_TIMES = ("listed_at", "sure_until")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far the last plan had read."""

    position: int = 0
    listed_at: datetime | None = None
    """When a whole list was last read, or was found to be unnecessary; None: one is
    due, whatever `relist_every` says."""
    list_mark: str | None = None
    """The mark of that list."""
    sure_until: datetime | None = None
    """That list knew of everything up to here: an older word that arrives after it
    says nothing."""
    beyond: int | None = None
    """People the owner counts whom no id names (anonymous), as of that list."""
    agreed: int = 0
    """How often in a row sizes agreed since, and the list was not asked for."""

    def knows_of(self, moment: datetime) -> bool:
        """Whether the list below it was sure of all that was said up to then."""
        return self.sure_until is not None and self.sure_until >= moment

    @classmethod
    def parse(cls, text: str | None, feed: Feed) -> "Mark | None":
        """The mark as text; None where it is damaged, of another feed, or none."""
        if text is None:
            return None
        raw = _object(text)
        if raw is None:
            return cls(list_mark=text)
        if raw.pop("feed") != _named(feed):
            return None
        try:
            return cls._built(raw)
        except (KeyError, TypeError, ValueError):
            return None  # damaged: to read all of the feed again changes nothing

    @classmethod
    def _built(cls, raw: dict[str, Any]) -> "Mark":
        times = {
            name: None if at is None else datetime.fromisoformat(at)
            for name, at in ((name, raw.pop(name)) for name in _TIMES)
        }
        mark = cls(**(raw | times))
        beyond = 0 if mark.beyond is None else mark.beyond
        numbers = (mark.position, mark.agreed, beyond)
        if not all(type(each) is int and each >= 0 for each in numbers):
            raise ValueError("a count is no number")
        if not isinstance(mark.list_mark, str | None):
            raise TypeError("the list's mark is no text")
        if any(at and at.tzinfo is None for at in (mark.listed_at, mark.sure_until)):
            raise ValueError("a time has no zone")
        return mark

    def text(self, feed: Feed) -> str:
        """As a plan keeps it."""
        raw = asdict(self) | {"feed": _named(feed)}
        for name in _TIMES:
            raw[name] = raw[name].isoformat() if raw[name] else None
        return json.dumps(raw, sort_keys=True)


def adopted(feed: Feed, now: datetime) -> str:
    """The mark of what a destination held `now`, taken for whom the feed wants.

    Nothing of the feed was read, yet everybody is known: as after a list.
    """
    return Mark(listed_at=now).text(feed)


def position_of(mark: str | None, feed: Feed) -> int:
    """Up to which position a plan with this mark has read this feed."""
    parsed = Mark.parse(mark, feed)
    return parsed.position if parsed is not None else 0


def list_mark_of(mark: str | None) -> str | None:
    """The mark of the whole list that a plan with this mark last read."""
    if mark is None:
        return None
    raw = _object(mark)
    if raw is None:
        return mark
    return raw["list_mark"] if isinstance(raw["list_mark"], str) else None


def _object(text: str) -> dict[str, Any] | None:
    """The fields of a mark of a feed; None where it is that of a list alone."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(raw, dict) and {"feed", "position", "list_mark"} <= raw.keys()
    return raw if is_ours else None


def _named(feed: Feed) -> list[str]:
    return [feed.connection, feed.key, feed.id_type.value]
