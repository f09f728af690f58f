"""Telling people what is wrong, in a thread that no run ever waits for.

Every look reads what is wrong, opens and ends conditions, and sends what is due. A
channel that does not take a message is tried again later and later; others go on. A
lease lets one of several replicas send; whoever sent a message notes it by comparing,
so one that dies in between sends the same message, under the same id, once more.
"""

import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from syncd import events, metrics
from syncd.app import posting
from syncd.app.engine import Engine
from syncd.app.observing import Lately, look
from syncd.app.posting import NotTaken
from syncd.clock import Clock
from syncd.config.settings import Settings
from syncd.config.settings_notifications import ChannelSettings
from syncd.errors import StoreError, SyncdError
from syncd.events import emit
from syncd.model import Condition
from syncd.notify import RESOLVED, Channel, Kind, Seen
from syncd.notify.conditions import Changes, Sight, observe, wanted
from syncd.notify.messages import Message, Scene, due
from syncd.report.daemons import SILENT_AFTER
from syncd.store import conditions, installation, leases
from syncd.store.database import Connection
from syncd.store.leases import Lease

LOOK = timedelta(seconds=30)
"""Between two looks, on the daemon's clock."""
SHORTEST = timedelta(milliseconds=200)
"""Real time between two looks, however fast that clock runs."""
AT_ONCE = 5
"""Messages that one channel gets in one look; the others wait for the next."""
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)
"""Between two tries of a channel that does not take messages; doubled each time."""
LAST_WRITE = 1.0
"""Real seconds for a write under way when the daemon stops."""
LEASE = "(notifications)"
"""No sync can have this name."""

Refusal = Callable[[], SyncdError | None]
"""Why the files that were last read are not in use; None: they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """A channel that does not take messages."""

    failures: int
    retry_at: datetime


@dataclass(slots=True)
class Memory:
    """What is remembered between two looks; a restart may forget it."""

    lately: Lately = field(default_factory=Lately)
    backoffs: dict[str, Backoff] = field(default_factory=dict)


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
            others = _others(connection, self._clock.wall())
        seen = [*sights.seen, *_of_config(self._refusal())]
        unsure = {*sights.unsure, *(f"{Kind.CONFIG}/{host}" for host in others)}
        views = {
            channel.name: _view(settings, channel, seen, sights.masked, unsure)
            for channel in map(channel_of, settings.notifications.channels.values())
        }
        self._keep(settings, views, rows, now)
        self._tell(settings, views, now)

    # ---- what is wrong -------------------------------------------------------------

    def _keep(
        self,
        settings: Settings,
        views: "Mapping[str, _View]",
        rows: Sequence[Condition],
        now: datetime,
    ) -> None:
        """Write what changed; most looks write nothing."""
        if not _changes(settings, views, rows, now):
            return
        with self._writing, self._engine.database.begin() as connection:
            if not self._stopped:
                rows = conditions.unclosed(connection, lock=True)
                for each in _changes(settings, views, rows, now):
                    conditions.put(connection, each.put)
                    conditions.drop(connection, each.drop)

    # ---- telling -------------------------------------------------------------------

    def _tell(
        self, settings: Settings, views: "Mapping[str, _View]", now: datetime
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
        view: "_View",
        rows: Sequence[Condition],
        now: datetime,
    ) -> list[Message]:
        """What a channel is to get now; nothing while it is given a rest."""
        backoff = self._memory.backoffs.get(view.channel.name)
        if backoff is not None and now < backoff.retry_at:
            return []
        own = [row for row in rows if row.channel == view.channel.name]
        return due(view.channel, own, _scene(settings, view, now))

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
        before = self._memory.backoffs.get(message.channel)
        failures = before.failures + 1 if before is not None else 1
        wait = min(FIRST_WAIT * 2 ** min(failures - 1, 10), LONGEST_WAIT)
        if error.wait is not None:
            wait = max(wait, timedelta(seconds=error.wait))
        self._memory.backoffs[message.channel] = Backoff(
            failures=failures, retry_at=now + wait
        )
        metrics.NOTIFICATIONS.labels(message.channel, "failed").inc()
        emit(
            events.NOTIFICATION_FAILED,
            channel=message.channel,
            reason=str(error),
            error_type=error.error_type,
            kind=message.kind.value,
            message_id=message.id,
            retry_at=now + wait,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """One channel, and what concerns it now."""

    channel: Channel
    sight: Sight


def channel_of(settings: ChannelSettings) -> Channel:
    """What a channel wants to be told."""
    return Channel(
        name=settings.name,
        kinds=frozenset(Kind(each) for each in settings.events if each != RESOLVED),
        tells_resolved=RESOLVED in settings.events,
        repeat_every=settings.repeat_every,
    )


def _view(
    settings: Settings,
    channel: Channel,
    seen: Sequence[Seen],
    masked: Mapping[str, frozenset[Kind]],
    unsure: Collection[str],
) -> _View:
    about = (
        (each, (each.sync,) if each.sync is not None else each.concerns)
        for each in seen
    )
    heard = [each for each, syncs in about if _hears(settings, channel.name, syncs)]
    return _View(channel=channel, sight=wanted(channel, heard, masked, unsure))


def _changes(
    settings: Settings,
    views: Mapping[str, _View],
    rows: Sequence[Condition],
    now: datetime,
) -> list[Changes]:
    """What becomes of the rows; empty where nothing does."""
    heard = [row for row in rows if _is_heard(settings, row, views)]
    found = [
        observe(
            view.channel,
            [row for row in heard if row.channel == name],
            view.sight,
            now,
        )
        for name, view in views.items()
    ]
    found.append(Changes(drop=tuple(row.key for row in rows if row not in heard)))
    return [each for each in found if each.put or each.drop]


def _hears(settings: Settings, channel: str, about: Collection[str | None]) -> bool:
    """Whether a channel is told of these syncs: one names it, or there is none."""
    named = [sync.notify for sync in settings.syncs if sync.name in about]
    return not named or any(each is None or channel in each for each in named)


def _of_config(refusal: SyncdError | None) -> list[Seen]:
    if refusal is None:
        return []
    host = socket.gethostname()
    problems = getattr(refusal, "problems", ())
    code = problems[0].code if problems else refusal.code
    return [
        Seen(
            kind=Kind.CONFIG,
            subject=host,
            cause=code,
            headline=f"{host}: the changed configuration is refused ({code}), "
            "the old one stays",
            command="syncd check",
            code="config.reload_failed",
        )
    ]


def _others(connection: Connection, wall: datetime) -> set[str]:
    """The hosts of other replicas: they know how it is with their configuration."""
    alive = {
        each.host
        for each in installation.daemons(connection)
        if wall - each.heartbeat_at < SILENT_AFTER
    }
    return alive - {socket.gethostname()}


def _is_heard(settings: Settings, row: Condition, views: Mapping[str, _View]) -> bool:
    """Whether its channel still exists and wants such rows."""
    view = views.get(row.channel)
    if view is None or row.kind not in view.channel.kinds:
        return False
    return row.sync is None or _hears(settings, row.channel, (row.sync,))


def _scene(settings: Settings, view: _View, now: datetime) -> Scene:
    return Scene(
        instance=settings.instance,
        page=settings.web.page.base_url or "",
        seen=view.sight.seen,
        syncs=frozenset(sync.name for sync in settings.syncs if sync.enabled),
        now=now,
    )
