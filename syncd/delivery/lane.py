"""A lane: the batches of one run towards one target, in order. Pure state.

One lane is one ordering key. With a width of 1 (Amplitude: one request per cohort at
a time) only the head may go; a wider lane lets any ready batch go, since a plan names
an id once. A lane is narrow while its target does not exist yet, or it would be
created several times, and while two bindings are worked on, whose order matters. The
pool guards every call with its lock.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from syncd.delivery.retry import RetryPolicy
from syncd.delivery.turn import Turn
from syncd.model import Settlement
from syncd.sinks import Sink
from syncd.store.leases import Lease
from syncd.store.outbox import Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How the batches of a sync reach their destination; built by `app`."""

    connection: str
    sink: Sink
    policy: RetryPolicy
    request_deadline: timedelta
    """Real time after which a request is over, whatever became of it."""
    late_landings: timedelta = timedelta(0)
    """How long a request without a known outcome may still take effect; 0: never."""
    ids_per_second: float | None = None
    """What the connection may be sent, all workers together; None is any."""
    turn: Turn | None = None
    """Where several processes may send to the connection; None: this one is alone."""


@dataclass(slots=True, kw_only=True)
class Lane:
    """The batches of one run, and what keeps them from going."""

    run_id: str
    lease: Lease
    route: Route
    not_before: datetime
    """Nothing goes earlier (a request of a dead process may still land)."""
    queue: deque[Waiting] = field(default_factory=deque)
    in_flight: int = 0
    """Requests without an answer."""
    recording: int = 0
    """Batches that the destination took, which is not durable yet."""
    total: int = 0
    """Batches at the start, for `batch n of m`."""
    empty_creations: int = 0
    """Batches of which the destination knew nobody while the target was created."""
    accepted: int = 0
    """Ids that the destination took."""
    rejected: int = 0
    """Ids that it refused one by one."""
    rejections: int = 0
    """The same, since the last one that was accepted."""
    unbound: bool = False
    """The target does not exist yet: the first batch creates it."""
    mixed: bool = False
    """Batches of two bindings: the older ones must be applied first."""
    ended: Settlement | None = None
    """Set when nothing more may go; the lane is settled once nothing is in flight."""

    def next_ready(self, now: datetime) -> Waiting | None:
        """The batch that may go now; it leaves the queue. None if none may."""
        if self.ended or self.in_flight >= self._width() or now < self.not_before:
            return None
        candidates = 1 if self._width() == 1 else len(self.queue)
        for index in range(min(candidates, len(self.queue))):
            waiting = self.queue[index]
            if waiting.retry_at is not None and waiting.retry_at <= now:
                del self.queue[index]
                self.in_flight += 1
                return waiting
        return None

    def ready_at(self) -> datetime | None:
        """When a batch may go, None when none ever will without an answer first."""
        if self.ended or not self.queue or self.in_flight >= self._width():
            return None
        heads = [self.queue[0]] if self._width() == 1 else self.queue
        earliest: datetime | None = None
        for waiting in heads:
            if waiting.retry_at is None:
                continue
            if waiting.retry_at <= self.not_before:
                return self.not_before  # usually the first: a lane may hold thousands
            earliest = min(earliest or waiting.retry_at, waiting.retry_at)
        return earliest

    def make_way(self) -> bool:
        """A batch was taken: whether the next may go while that is made durable.

        Its ids stay uncertain until then, as those of the next one are; a batch that is
        sent again because of a crash undoes nothing, since a plan names an id once. Not
        where order matters, and not before the destination took somebody: how further
        answers are read depends on that.
        """
        if self.unbound or self.mixed or not self.accepted:
            return False
        self.in_flight -= 1
        self.recording += 1
        return True

    def at_rest(self) -> bool:
        """Whether nothing is under way or still to be made durable."""
        return not self.in_flight and not self.recording

    def put_back(self, waiting: Sequence[Waiting]) -> None:
        """Return batches to the head of the lane, in order."""
        self.queue.extendleft(reversed(waiting))

    def end(self, settlement: Settlement) -> None:
        """Nothing more may go; the first reason stays."""
        self.ended = self.ended or settlement

    def settled(self) -> bool:
        """Whether all is said: nothing is under way, and nothing more may go."""
        return self.at_rest() and (self.ended is not None or not self.queue)

    def _width(self) -> int:
        if self.unbound or self.mixed:
            return 1
        return self.route.sink.capabilities.max_in_flight
