"""What Segment knows: sources, and the traits of users by space (T6, T7).

A trait's value is that of the event with the newest stored timestamp; of two equally
new ones the later arrival. State is the row of that event (see `segment_history`), so
a user costs four bytes per trait.
"""

from array import array
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from syncd.simulator.segment_history import (
    CODES,
    EPOCH,
    NOBODY,
    OUTCOMES,
    History,
    shown_instant,
)
from syncd.simulator.segment_rate import Limit, Peaks
from syncd.simulator.segment_rules import Batch, Times, drop_code

REMEMBERED = 24 * 3600
"""Seconds for which a message id is remembered (T6)."""


@dataclass(slots=True, kw_only=True)
class Source:
    """One source of a workspace; several may feed one space."""

    id: str
    write_key: str = field(repr=False)
    region: str
    space: str


@dataclass(slots=True)
class Tally:
    """What became of the events of one request."""

    accepted: int = 0
    dropped: int = 0
    """Duplicates too."""


class SegmentWorld:
    """Sources, spaces, remembered message ids, counters."""

    def __init__(self, *, region: str) -> None:
        self.region = region
        self.sources = {
            "demo": Source(
                id="demo", write_key="demo-write-key", region=region, space="demo"
            )
        }
        self.history = History()
        self.limit = Limit()
        self.peaks = Peaks()
        self.outcomes: Counter[int] = Counter()
        self.requests = self.largest_bytes = self.largest_events = 0
        self.largest_event_bytes = 0
        self.dropped = array("I")
        """Rows that were dropped silently, in order."""
        self._spaces: dict[str, dict[str, array[int]]] = {}
        self._seen: dict[str, float] = {}
        self._remembered: deque[tuple[float, int, int]] = deque()

    def by_key(self, write_key: str | None) -> Source | None:
        """The source of a write key, of any region."""
        for source in self.sources.values():
            if source.write_key == write_key:
                return source
        return None

    def arrive(self, batch: Batch, *, seq: int, now: datetime) -> int:
        """Note a request before anything is decided; returns its first row."""
        self.requests += 1
        self.largest_bytes = max(self.largest_bytes, batch.size)
        self.largest_events = max(self.largest_events, len(batch.events))
        self.largest_event_bytes = max(self.largest_event_bytes, batch.largest_event)
        self.peaks.note(now.timestamp(), len(batch.events))
        at = now.isoformat()
        return self.history.record(batch.events, batch.common, seq=seq, at=at)

    def drop_all(self, first: int, count: int, reason: str) -> Tally:
        """A 200, and nothing happens."""
        self.history.close_all(first, count, CODES[reason])
        self.outcomes[CODES[reason]] += count
        self.dropped.extend(range(first, first + count))
        return Tally(dropped=count)

    def apply(
        self, space: str, batch: Batch, first: int, *, now: datetime, forever: bool
    ) -> Tally:
        """Take the events of one request that are to be taken."""
        seconds, tally = now.timestamp(), Tally()
        times = Times(received=_micros(now), sent_at=batch.sent_at)
        if not forever:
            self._forget(seconds - REMEMBERED)
        for place, event in enumerate(batch.events):
            row = first + place
            stored = 0
            code = drop_code(event, place)
            if code is None:
                code, stored = self._take(event, row, times, seconds)
            self.history.close(row, code, stored)
            self.outcomes[code] += 1
            if code == CODES["accepted"]:
                tally.accepted += 1
                self._set_traits(space, event, row, stored)
                continue
            tally.dropped += 1
            if code != CODES["duplicate"]:
                self.dropped.append(row)
        self._remembered.append((seconds, first, first + len(batch.events)))
        return tally

    def _take(
        self, event: dict[str, Any], row: int, times: Times, now: float
    ) -> tuple[int, int]:
        """Judge time and message id; remember the id of an accepted event."""
        stored = times.stored(event)
        if stored is None:
            return CODES["timestamp_without_zone"], 0
        message = self.history.messages[row]
        if message:
            if message in self._seen:
                return CODES["duplicate"], stored
            self._seen[message] = now
        else:
            # Without an id the API makes one, so a retry of this request doubles.
            self.history.messages[row] = f"assigned-{row}"
        return CODES["accepted"], stored

    def _forget(self, until: float) -> None:
        """Forget message ids accepted at or before an instant."""
        while self._remembered and self._remembered[0][0] <= until:
            at, first, end = self._remembered.popleft()
            for message in self.history.messages[first:end]:
                if self._seen.get(message) == at:
                    del self._seen[message]

    def _set_traits(
        self, space: str, event: dict[str, Any], row: int, stored: int
    ) -> None:
        traits, user = event.get("traits"), self.history.users[row]
        if event["type"] != "identify" or user == NOBODY or type(traits) is not dict:
            return
        held = self._spaces.setdefault(space, {})
        for name in traits:
            rows = held.get(name)
            if rows is None:
                rows = held[name] = array("I")
            if user >= len(rows):
                rows.frombytes(bytes((user + 1 - len(rows)) * rows.itemsize))
            newest = rows[user]
            if not newest or stored >= self.history.stored[newest - 1]:
                rows[user] = row + 1

    # ---- reading, for the control origin -------------------------------------------

    def spaces(self) -> list[str]:
        """All spaces that a source feeds or that hold traits."""
        fed = [source.space for source in self.sources.values()]
        return list(dict.fromkeys([*fed, *self._spaces]))

    def trait_names(self, space: str) -> list[str]:
        """The traits of a space, in order of first appearance."""
        return list(self._spaces.get(space, {}))

    def values(self, space: str, trait: str) -> Iterator[tuple[str, Any]]:
        """Everybody who has a trait, with its value."""
        history = self.history
        for user, after in enumerate(self._spaces.get(space, {}).get(trait, ())):
            if after:
                yield history.names[user], history.said(after - 1)["traits"][trait]

    def traits_of(self, space: str, user_id: str) -> dict[str, dict[str, Any]]:
        """One user's traits: value, timestamp, message_id."""
        user = self.history.numbers.get(user_id, NOBODY)
        shown: dict[str, dict[str, Any]] = {}
        for name, rows in self._spaces.get(space, {}).items():
            row = rows[user] - 1 if user != NOBODY and user < len(rows) else -1
            if row >= 0:
                shown[name] = {
                    "value": self.history.said(row)["traits"][name],
                    "timestamp": shown_instant(self.history.stored[row]),
                    "message_id": self.history.messages[row],
                }
        return shown

    def counters(self) -> dict[str, Any]:
        """What tests ask for; `events` counts what arrived, answered or not."""
        known = {OUTCOMES[code]: count for code, count in self.outcomes.items()}
        accepted, duplicates = known.pop("accepted", 0), known.pop("duplicate", 0)
        return {
            "requests": self.requests,
            "events": len(self.history),
            "accepted": accepted,
            "duplicates": duplicates,
            "dropped": known,
            "users": len(self.history.names) - 1,
            "largest_batch": {
                "bytes": self.largest_bytes,
                "events": self.largest_events,
            },
            "largest_event_bytes": self.largest_event_bytes,
            "most_events_in_seconds": self.peaks.most,
        }


def _micros(instant: datetime) -> int:
    past = instant - EPOCH
    return (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds
