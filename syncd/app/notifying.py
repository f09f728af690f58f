"""Telling people what is wrong, in a thread that no run ever waits for.

Every look reads what is wrong, opens and ends conditions, and sends what is due. A
channel that does not take a message is tried again later and later; others go on. A
lease lets one of several replicas send; whoever sent a message notes it by comparing,
so one that dies in between sends the same message, under the same id, once more.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from syncd import events, metrics
from syncd.app import posting
from syncd.app.engine import Engine
from syncd.app.hearing import (
    View,
    changes,
    has_company,
    of_config,
    others,
    scene_of,
    strangers,
    views_of,
)
from syncd.app.observing import Lately, look
from syncd.app.posting import NotTaken
from syncd.clock import Clock
from syncd.config.settings import Settings
from syncd.errors import StoreError, SyncdError
from syncd.events import emit
from syncd.model import Condition
from syncd.notify import Kind
from syncd.notify.messages import Message, due
from syncd.store import conditions, leases
from syncd.store.leases import Lease

LOOK = timedelta(seconds=30)
"""Between two looks, on the daemon's clock."""
SHORTEST = timedelta(milliseconds=200)
"""Real time between two looks, however fast that clock runs."""
AT_ONCE = 5
"""Messages that one channel gets in one look; the others wait for the next."""
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)
"""Between two tries of a channel that does not take messages; doubled each time."""
LONGEST_REST = timedelta(days=1)
"""Whatever a channel asks for: a rest that ends later was counted by another clock."""
STRANGE = timedelta(hours=2)
"""How long rows that this configuration does not know are left alone while others live:
longer than any condition must last before it is told."""
LAST_WRITE = 1.0
"""Real seconds for a write under way when the daemon stops."""
LEASE = "(notifications)"
"""No sync can have this name."""

Refusal = Callable[[], SyncdError | None]
"""Why the files that were last read are not in use; None: they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """A channel that takes no messages, or a message that a channel does not take."""

    failures: int
    retry_at: datetime


@dataclass(slots=True)
class Memory:
    """What is remembered between two looks; a restart may forget it."""

    lately: Lately = field(default_factory=Lately)
    backoffs: dict[str, Backoff] = field(default_factory=dict)
    """By the name of a channel, or the id of a message."""
    strange: dict[str, datetime] = field(default_factory=dict)
    """By the key of a row that the configuration does not know: since when."""

    def overdue(self, strange: Collection[str], now: datetime) -> frozenset[str]:
        """Those of these rows that were strange for long enough.

        A row that another replica opens again has the whole time once more.
        """
        since = {key: min(self.strange.get(key, now), now) for key in strange}
        found = frozenset(key for key, at in since.items() if now - at >= STRANGE)
        self.strange = {key: at for key, at in since.items() if key not in found}
        return found

    def rests(self, key: str, now: datetime) -> bool:
        """Whether it is not to be tried yet."""
        backoff = self.backoffs.get(key)
        return (
            backoff is not None
            and timedelta(0) < backoff.retry_at - now <= LONGEST_REST
        )

    def give_rest(self, key: str, now: datetime, asked: float | None) -> datetime:
        """Until when it is not to be tried; `asked` are seconds that it wants."""
        before = self.backoffs.get(key)
        failures = before.failures + 1 if before is not None else 1
        doubled: int = 2 ** min(failures - 1, 10)
        wait = min(FIRST_WAIT * doubled, LONGEST_WAIT)
        if asked is not None:
            wait = max(wait, timedelta(seconds=asked))
        self.backoffs = {
            other: backoff
            for other, backoff in self.backoffs.items()
            # What was not tried for so long is no longer to be told.
            if now - backoff.retry_at < 2 * LONGEST_WAIT
        }
        self.backoffs[key] = Backoff(failures=failures, retry_at=now + wait)
        return now + wait


class Notifying:
    """Looks and tells until it is stopped; `look` is called by one thread at a time."""

    def __init__(self, engine: Engine, clock: Clock, refusal: Refusal) -> None:
        self._engine = engine
        self._clock = clock
        self._refusal = refusal
        self._memory = Memory()
        self._writing = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="notify", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Write nothing any more; a request under way is left alone.

        What it told is told again, under the same id, by the next daemon.
        """
        self._stopped = True
        if self._writing.acquire(timeout=LAST_WRITE):
            self._writing.release()

    def _work(self) -> None:
        period = max(LOOK, SHORTEST * self._clock.speed)
        while not self._clock.wait(self._engine.stop_event, period):
            try:
                self.look()
            except StoreError:
                continue  # those who need it say so; conditions wait meanwhile
            except Exception as error:  # noqa: BLE001  # one bug must not silence us
                name = type(error).__name__
                emit(events.DAEMON_CRASHED, error=name, thread="notify", exc_info=True)

    def look(self) -> None:
        """Once: what is wrong, which conditions that makes, what is to be told."""
        settings, now = self._engine.blueprint.settings, self._clock.now()
        with self._engine.database.read() as connection:
            rows = conditions.unclosed(connection)
            if not rows and not settings.notifications.channels:
                return
            sights = look(connection, settings, self._clock, self._memory.lately)
            wall = self._clock.wall()
            hosts = others(connection, wall)
            company = has_company(connection, self._engine.holder, wall)
        seen = [*sights.seen, *of_config(self._refusal())]
        unsure = {*sights.unsure, *(f"{Kind.CONFIG}/{host}" for host in hosts)}
        views = views_of(settings, seen, sights.masked, unsure)
        strange = strangers(settings, views, rows) if company else []
        tidied = self._memory.overdue(strange, now)
        self._keep(settings, views, rows, now, tidied if company else None)
        self._tell(settings, views, now)

    # ---- what is wrong -------------------------------------------------------------

    def _keep(
        self,
        settings: Settings,
        views: Mapping[str, View],
        rows: Sequence[Condition],
        now: datetime,
        tidied: Collection[str] | None,
    ) -> None:
        """Write what changed; most looks write nothing."""
        if not changes(settings, views, rows, now, tidied):
            return
        with self._writing, self._engine.database.begin() as connection:
            if not self._stopped:
                rows = conditions.unclosed(connection, lock=True)
                for each in changes(settings, views, rows, now, tidied):
                    conditions.put(connection, each.put)
                    conditions.drop(connection, each.drop)

    # ---- telling -------------------------------------------------------------------

    def _tell(
        self, settings: Settings, views: Mapping[str, View], now: datetime
    ) -> None:
        with self._engine.database.read() as connection:
            rows = conditions.unclosed(connection)
        if not any(self._due(settings, view, rows, now) for view in views.values()):
            return
        with self._writing, self._engine.database.begin() as connection:
            if self._stopped:
                return
            lease = leases.acquire(
                connection, LEASE, self._engine.holder, self._clock.wall()
            )
            # Read anew: another replica may have told some of it meanwhile.
            rows = conditions.unclosed(connection)
        if not isinstance(lease, Lease):
            return
        for view in views.values():
            messages = self._due(settings, view, rows, now)
            self._send(settings, messages[:AT_ONCE], lease, now)
        with self._writing, self._engine.database.begin() as connection:
            if not self._stopped:
                leases.release(connection, lease)

    def _due(
        self,
        settings: Settings,
        view: View,
        rows: Sequence[Condition],
        now: datetime,
    ) -> list[Message]:
        """What a channel is to get now; nothing while it is given a rest."""
        if self._memory.rests(view.channel.name, now):
            return []
        own = [row for row in rows if row.channel == view.channel.name]
        messages = due(view.channel, own, scene_of(settings, view, now))
        return [each for each in messages if not self._memory.rests(each.id, now)]

    def _send(
        self,
        settings: Settings,
        messages: Sequence[Message],
        lease: Lease,
        now: datetime,
    ) -> None:
        """Send in order, and stop at the first that tells of a broken channel."""
        for message in messages:
            if self._engine.stop_event.is_set():
                return
            try:
                channel = settings.notifications.channels[message.channel]
                posting.post(channel, message, self._clock)
            except NotTaken as error:
                self._give_rest(message, error, now)
                if not error.of_message:
                    return
                continue
            self._memory.backoffs.pop(message.channel, None)
            self._note(message, lease, now)

    def _note(self, message: Message, lease: Lease, now: datetime) -> None:
        metrics.NOTIFICATIONS.labels(message.channel, "sent").inc()
        emit(
            events.NOTIFICATION_SENT,
            channel=message.channel,
            news=message.news.value,
            kind=message.kind.value,
            count=len(message.items),
            message_id=message.id,
        )
        with self._writing, self._engine.database.begin() as connection:
            if not self._stopped:
                leases.check(connection, lease, self._clock.wall())
                for item in message.items:
                    told_at = max(now, item.row.resolved_at or now)
                    conditions.note_told(connection, item.row, told_at)

    def _give_rest(self, message: Message, error: NotTaken, now: datetime) -> None:
        key = message.id if error.of_message else message.channel
        retry_at = self._memory.give_rest(key, now, error.wait)
        metrics.NOTIFICATIONS.labels(message.channel, "failed").inc()
        emit(
            events.NOTIFICATION_FAILED,
            channel=message.channel,
            reason=str(error),
            error_type=error.error_type,
            kind=message.kind.value,
            message_id=message.id,
            retry_at=retry_at,
        )
