"""What was not taken, told once a minute: senders repeat, and attackers never tire.

The first of a kind is told at once, those of the next minute as one count. A kind is a
connection, a reason and a door's path, all of them from closed lists: nothing that a
stranger sends can make more of them.
"""

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from syncd import events, metrics
from syncd.clock import Clock
from syncd.events import emit

K = TypeVar("K", bound=Hashable)

PERIOD = 60.0
"""Seconds between two lines of one kind."""
NOBODY = "-"
"""Stands for the connection where none is known."""
NO_LOSS = frozenset(
    {
        "accepted",
        "duplicate",
        "anonymous",
        "unnamed",
        "ignored",
        "test",
        "from_the_future",
        "previous_secret",
    }
)
"""Results of events that are as they should be."""


@dataclass(slots=True)
class _Count:
    told_at: float
    untold: int = 0


class Folded(Generic[K]):
    """Tells counts by kind: the first at once, later ones once a period."""

    def __init__(
        self, clock: Clock, tell: Callable[[K, int], None], period: float = PERIOD
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._period = period
        self._counts: dict[K, _Count] = {}
        self._lock = threading.Lock()

    def add(self, kind: K, count: int = 1) -> bool:
        """Count; True when it was told now."""
        now = self._clock.monotonic()
        with self._lock:
            known = self._counts.get(kind)
            if known is not None and now - known.told_at < self._period:
                known.untold += count
                return False
            total = count + (known.untold if known else 0)
            self._counts[kind] = _Count(told_at=now)
        self._tell(kind, total)
        return True

    def flush(self, *, last: bool = False) -> None:
        """Tell what waited for its period; with `last` all that waits."""
        now = self._clock.monotonic()
        due: list[tuple[K, int]] = []
        with self._lock:
            for kind, known in list(self._counts.items()):
                if not last and now - known.told_at < self._period:
                    continue
                if known.untold:
                    due.append((kind, known.untold))
                    self._counts[kind] = _Count(told_at=now)
                else:
                    del self._counts[kind]
        for kind, count in due:
            self._tell(kind, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    connection: str
    reason: str
    path: str | None
    status: int | None


class Refusals:
    """Requests and events that were pushed to us and not taken. Thread-safe."""

    def __init__(self, clock: Clock, period: float = PERIOD) -> None:
        self._rejected: Folded[_Kind] = Folded(clock, _tell_rejected, period)
        self._tested: Folded[str] = Folded(clock, _tell_tested, period)

    def turned_away(self, reason: str, status: int) -> None:
        """A connection that never became a request (a `deadlines.Gate`)."""
        self.refused(NOBODY, f"http.{reason}", status)

    def refused(
        self, connection: str, reason: str, status: int, path: str | None = None
    ) -> bool:
        """A request refused as a whole; True when that was told now.

        `path` is the door's own, never what was asked for.
        """
        metrics.INBOX_EVENTS.labels(connection, f"refused_{status}").inc()
        kind = _Kind(connection=connection, reason=reason, path=path, status=status)
        return self._rejected.add(kind)

    def left_out(self, connection: str, results: Mapping[str, int], path: str) -> None:
        """Events of a request that was taken, by why they were not; the intake counts
        them once they are stored."""
        for result, count in results.items():
            if count and result == "test":
                self._tested.add(connection, count)
            elif count and result not in NO_LOSS:
                kind = _Kind(
                    connection=connection, reason=result, path=path, status=None
                )
                self._rejected.add(kind, count)

    def flush(self, *, last: bool = False) -> None:
        """Tell what waited for its minute; with `last` all that waits."""
        self._rejected.flush(last=last)
        self._tested.flush(last=last)


def _tell_rejected(kind: _Kind, count: int) -> None:
    emit(
        events.INBOX_REJECTED,
        connection=kind.connection,
        reason=kind.reason,
        count=count,
        path=kind.path,
        http_status=kind.status,
    )


def _tell_tested(connection: str, count: int) -> None:
    emit(events.INBOX_TESTED, connection=connection, count=count)


class Denied:
    """Requests to the admin server without a valid token or sign-in. Thread-safe."""

    def __init__(self, clock: Clock, period: float = PERIOD) -> None:
        self._paths: Folded[str] = Folded(clock, _tell_denied, period)

    def add(self, path: str) -> None:
        """One; `path` is a route of ours."""
        self._paths.add(path)

    def flush(self, *, last: bool = False) -> None:
        """Tell what waited for its minute; with `last` all that waits."""
        self._paths.flush(last=last)


def _tell_denied(path: str, count: int) -> None:
    emit(events.WEB_DENIED, via="admin", path=path, count=count)
