"""Runs soon after news: what was pushed to us is read before the schedule is due.

Looked at once a second. What is remembered is only which news a run was tried for: a
sync that fails or waits for a person is tried again when something newer arrives, or by
its schedule. Where several daemons share a store, each looks; the sync's lease lets one
of them run it, and the others find the news read.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from syncd.app.engine import Engine
from syncd.clock import Clock
from syncd.cluster.job import Job, Jobs
from syncd.config.feeds import fed
from syncd.config.settings import Settings
from syncd.errors import PutOff, StoreError, SyncdError
from syncd.model import Feed, Trigger
from syncd.sources.feed_mark import position_of
from syncd.store import bindings, inbox
from syncd.store.database import Connection
from syncd.sync.beginning import Busy

EVERY = timedelta(seconds=1)
"""Between two looks, on the daemon's clock."""
FASTEST = timedelta(milliseconds=50)
"""Real time between two looks, however fast that clock runs."""

Soon = Callable[[str, Callable[[], object]], None]
"""Calls an action in a thread of the scheduler, now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What is remembered of one sync between two looks."""

    tried: int = 0
    """The newest position a run was tried for."""
    since: datetime | None = None
    """When news that no run was tried for was first seen; None: there is none."""


def wait_or_run(
    before: News, *, newest: int, read: int, now: datetime, run_after: timedelta
) -> tuple[News, bool]:
    """What is to be remembered, and whether the sync is to run now. Pure.

    `newest` is the highest position of the sync's feed, `read` that of its last plan.
    """
    if newest <= max(read, before.tried):
        return replace(before, since=None), False
    since = now if before.since is None else min(before.since, now)
    if now - since < run_after:
        return replace(before, since=since), False
    return News(tried=newest), True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """A sync that is to run soon after news."""

    name: str
    feed: Feed
    run_after: timedelta


class Reacting:
    """Runs syncs after what arrives. `look` is called by one thread at a time."""

    def __init__(
        self, engine: Engine, clock: Clock, soon: Soon, jobs: Jobs | None = None
    ) -> None:
        """`jobs`: where runs are deferred to; without it they are run here."""
        self._engine = engine
        self._jobs = jobs
        self._clock = clock
        self._soon = soon
        self._news: dict[str, News] = {}
        self._busy: set[str] = set()
        """Syncs whose run could not begin: somebody had them, or the store was away."""
        self._settings: Settings | None = None
        self._highest = 0
        """The settings and the highest position at the last look."""

    @property
    def is_wanted(self) -> bool:
        """Whether any sync asks for it."""
        return bool(_asking(self._engine.blueprint.settings))

    def period(self) -> timedelta:
        """Real time between two looks."""
        return max(FASTEST, EVERY / self._clock.speed)

    def look(self) -> None:
        """Run every sync whose news waited for long enough. Cheap where none waits."""
        # While the store is away others say so; the news is still there afterwards.
        with suppress(StoreError):
            for name in self._due():
                self._soon(f"news:{name}", partial(self._run, name))

    def _due(self) -> list[str]:
        settings, now = self._engine.blueprint.settings, self._clock.now()
        asking = _asking(settings)
        if not asking:
            return []
        self._wait_again()
        with self._engine.database.read() as connection:
            highest = inbox.position(connection)
            if highest < self._highest:
                # A failover lost words, and their positions are given once more.
                self._news.clear()
            as_before = settings is self._settings and highest == self._highest
            if as_before and not self._is_any_waiting():
                return []
            due = [each.name for each in asking if self._is_due(connection, each, now)]
        self._settings, self._highest = settings, highest
        return due

    def _wait_again(self) -> None:
        """Whoever had a sync may have begun before the news: that waits anew."""
        while self._busy:
            self._news.pop(self._busy.pop(), None)
            self._settings = None

    def _is_any_waiting(self) -> bool:
        return any(each.since is not None for each in self._news.values())

    def _is_due(self, connection: Connection, each: _Asking, now: datetime) -> bool:
        row = inbox.find(connection, each.feed)
        binding = bindings.current(connection, each.name)
        news, runs = wait_or_run(
            self._news.get(each.name, News()),
            newest=inbox.newest_position(connection, row.id) if row is not None else 0,
            read=position_of(binding.source_mark, each.feed) if binding else 0,
            now=now,
            run_after=each.run_after,
        )
        if runs and each.name in self._engine.active():
            return False  # it goes on waiting: what runs may have begun before the news
        self._news[each.name] = news
        return runs

    def _run(self, name: str) -> None:
        try:
            if self._jobs is not None:
                self._jobs.put(Job(sync=name, trigger=Trigger.PUSH))
                # A worker may not be able to begin it: looked at anew until it is read.
                self._busy.add(name)
            else:
                self._engine.run(name, Trigger.PUSH)
        except (Busy, PutOff, StoreError):
            self._busy.add(name)
        except SyncdError:
            # It waits for a person, or is not to run now: the next news or due time
            # finds out whether that is over.
            pass


def _asking(settings: Settings) -> list[_Asking]:
    return [
        _Asking(name=sync.name, feed=feed, run_after=events.run_after)
        for sync, feed in fed(settings)
        if sync.enabled
        and (events := sync.source.events) is not None
        and events.run_after is not None
    ]
