"""The ordered request log (R25): what was asked, when, and what became of it.

Holds key ids, never secrets, and a hash of each body. The ids of writing requests are
kept beside it in memory, if the switch `record_ids` says so, since tests compare what
was sent with what should have been.
"""

import time
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from syncd.simulator.answers import Outcome
from syncd.simulator.calls import Call, Sent


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request. It holds no header and no body, so it cannot hold a secret."""

    seq: int
    at: str
    """Virtual time of arrival, ISO 8601."""
    started: float
    """Real monotonic seconds of this machine; so is `ended`."""
    method: str
    path: str
    endpoint: str
    key: str | None
    """The api key, if it is a known one."""
    cohort_id: str | None
    operation: str | None
    id_count: int
    body_sha256: str
    request_id: str | None = None
    """The download it was about, or that it started."""
    counted: bool = False
    """It was counted against the month's quota of downloads."""
    limit: str | None = None
    """The limit that refused it with a 429 (`quota.LIMITS`)."""
    ended: float | None = None
    """Just before the answer left; None while running."""
    status: int | None = None
    """None while running, and when no status was ever sent."""
    fault: str | None = None
    effect: str = "none"
    """none, applied, pending (a late commit to come), late (it came)."""
    added: int = 0
    removed: int = 0
    skipped: int = 0
    sent: tuple[Sent, ...] = ()
    """What was sent, unless ids are not recorded."""

    def note(self, outcome: Outcome, *, effect: str) -> None:
        """Write down what the handler did; `effect` is how, if it did anything."""
        self.cohort_id = self.cohort_id or outcome.cohort_id
        self.request_id = self.request_id or outcome.request_id
        self.counted = self.counted or outcome.counted
        self.effect = effect if outcome.changed else "none"
        self.added, self.removed = outcome.added, outcome.removed
        self.skipped = outcome.skipped

    def close(self, status: int | None) -> None:
        """The answer leaves now, or never will."""
        self.status = status
        self.ended = time.monotonic()

    def as_dict(self, *, with_ids: bool) -> dict[str, Any]:
        """The entry as `/_sim/log` shows it."""
        names = [field.name for field in fields(self) if field.name != "sent"]
        shown: dict[str, Any] = {name: getattr(self, name) for name in names}
        if with_ids:
            shown["sent"] = self.sent
        return shown


class RequestLog:
    """All requests of the outside systems, in order of arrival."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._last = 0

    @property
    def last(self) -> int:
        """The newest sequence number handed out; 0 before the first."""
        return self._last

    def open(self, call: Call, *, at: datetime, key: str | None, ids: bool) -> Entry:
        """Note a request that has arrived."""
        self._last += 1
        entry = Entry(
            seq=self._last,
            at=at.isoformat(),
            started=time.monotonic(),
            method=call.method,
            path=call.path,
            endpoint=call.endpoint,
            key=key,
            cohort_id=call.cohort_id,
            operation=call.operation,
            id_count=call.id_count,
            body_sha256=call.body_sha256,
            request_id=call.request_id,
            sent=call.sent if ids else (),
        )
        self._entries.append(entry)
        return entry

    def since(self, seq: int) -> list[Entry]:
        """Entries after a sequence number, oldest first."""
        first = self._entries[0].seq if self._entries else 1
        return self._entries[max(0, seq + 1 - first) :]

    def forget(self) -> int:
        """Drop all entries; sequence numbers go on. Returns how many there were."""
        dropped = len(self._entries)
        self._entries = []
        return dropped
