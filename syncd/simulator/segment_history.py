"""Every event that came over Segment's wire, in order, also those of failed requests.

Two million events must fit into little memory, so an event is one row in typed
columns, users are numbers, and what events say (type, traits, context, integrations)
is kept once however many say it. The message id is the only text per event.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

OUTCOMES = (
    "not_applied",
    "accepted",
    "duplicate",
    "over_2500_events",
    "malformed",
    "no_user_or_anonymous_id",
    "message_id_too_long",
    "timestamp_without_zone",
    "too_many_traits",
    "wrong_region",
    "unknown_write_key",
)
"""What became of an event; a row holds the place in here. `not_applied`: the request
failed before it had an effect. All after `duplicate` are reasons of a silent drop."""

CODES = {name: code for code, name in enumerate(OUTCOMES)}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOBODY = 0
"""The number of an event without a user id."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """One request that brought events."""

    seq: int
    """Its number in the request log."""
    at: str
    """ISO 8601."""
    first: int
    """Row of its first event."""


@dataclass(frozen=True, slots=True)
class Common:
    """What a request says for all its events; an event's own words win."""

    context: dict[str, Any]
    integrations: dict[str, Any]


class History:
    """The rows, and the people in them."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {"": NOBODY}
        self.names: list[str] = [""]
        self.messages: list[str] = []
        """Message id by row, "" where none was sent."""
        self.users = array("I")
        """Number of the user by row."""
        self.stored = array("q")
        """Stored timestamp by row, µs since 1970; 0 until the event took effect."""
        self._before = array("I")
        self._last = array("I", [0])
        self._said = array("I")
        self._request = array("I")
        self._outcome = bytearray()
        self._requests: list[Arrived] = []
        self._payloads: list[dict[str, Any]] = []
        self._payload_numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.messages)

    def record(self, events: list[Any], common: Common, *, seq: int, at: str) -> int:
        """Write a request's events down as they arrive; returns the first row."""
        first = len(self.messages)
        request = len(self._requests)
        self._requests.append(Arrived(seq, at, first))
        head = orjson.dumps((common.context, common.integrations))
        for event in events:
            fields = event if isinstance(event, dict) else {}
            user = self._number(fields.get("userId"))
            message = fields.get("messageId")
            self.messages.append(message if type(message) is str else "")
            self.users.append(user)
            self._before.append(self._last[user])
            self._last[user] = len(self.messages)
            self._said.append(self._payload(fields, head, common))
            self._request.append(request)
        count = len(events)
        self.stored.frombytes(bytes(count * self.stored.itemsize))
        self._outcome += bytes(count)
        return first

    def _number(self, name: Any) -> int:
        if type(name) is not str:
            return NOBODY
        number = self.numbers.get(name)
        if number is None:
            number = self.numbers[name] = len(self.names)
            self.names.append(name)
            self._last.append(0)
        return number

    def _payload(self, event: dict[str, Any], head: bytes, common: Common) -> int:
        own = (
            event.get("type"),
            event.get("traits"),
            event.get("context"),
            event.get("integrations"),
        )
        key = head + orjson.dumps(own)
        number = self._payload_numbers.get(key)
        if number is None:
            number = self._payload_numbers[key] = len(self._payloads)
            kind, traits, context, integrations = own
            self._payloads.append(
                {
                    "type": kind,
                    "traits": object_or_empty(traits),
                    "context": {**common.context, **object_or_empty(context)},
                    "integrations": {
                        **common.integrations,
                        **object_or_empty(integrations),
                    },
                }
            )
        return number

    def said(self, row: int) -> dict[str, Any]:
        """What an event says: type, traits, context, integrations (merged)."""
        return self._payloads[self._said[row]]

    def said_in(self, first: int, count: int) -> list[dict[str, Any]]:
        """The different things that some rows say, in order of first use."""
        numbers = dict.fromkeys(self._said[first : first + count])
        return [self._payloads[number] for number in numbers]

    def close(self, row: int, outcome: int, stored: int = 0) -> None:
        """Write down what became of an event."""
        self._outcome[row] = outcome
        self.stored[row] = stored

    def close_all(self, first: int, count: int, outcome: int) -> None:
        """The same for a whole request."""
        self._outcome[first : first + count] = bytes((outcome,)) * count

    def outcome(self, row: int) -> str:
        """What became of an event, in a word."""
        return OUTCOMES[self._outcome[row]]

    def rows_of(self, user_id: str) -> list[int]:
        """The rows of one user in order of arrival."""
        rows: list[int] = []
        after = self._last[self.numbers[user_id]] if user_id in self.numbers else 0
        while after:
            rows.append(after - 1)
            after = self._before[after - 1]
        return rows[::-1]

    def show(self, row: int) -> dict[str, Any]:
        """One event, for people."""
        request = self._requests[self._request[row]]
        shown = {
            "request": request.seq,
            "received_at": request.at,
            "place": row - request.first,
            "user_id": self.names[self.users[row]] or None,
            "message_id": self.messages[row],
            "timestamp": shown_instant(self.stored[row]),
            "outcome": self.outcome(row),
        }
        return shown | self.said(row)

    def show_all(self, rows: list[int]) -> Iterator[dict[str, Any]]:
        """Several events, for people."""
        return (self.show(row) for row in rows)


def object_or_empty(value: Any) -> dict[str, Any]:
    """A JSON object as it is, everything else as an empty one."""
    return value if isinstance(value, dict) else {}


def shown_instant(micros: int) -> str | None:
    """µs since 1970 in ISO 8601; None for 0."""
    return (EPOCH + timedelta(microseconds=micros)).isoformat() if micros else None
