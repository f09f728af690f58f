"""Plans that people ask for on a page: computed aside, kept until the next one.

The same reading, diff and guard as `syncd plan`, from what costs nothing: where a
download would be needed, that is the answer. Only counts are kept, one plan per sync.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from syncd import events
from syncd.app.engine import Engine, UnknownSync
from syncd.app.preview import Look, Preview
from syncd.app.prices import planned_for_free
from syncd.app.store import spool_folder
from syncd.app.vendors import Vendors
from syncd.config.settings import SyncSettings
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.report.words import moment, number, plural
from syncd.web.pages.actions import Planned
from syncd.web.pages.views import Figure
from syncd.web.threads import Threads

_AT_ONCE = 2
"""Plans that are computed at one time; each reads a whole source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    sync: SyncSettings
    by: str
    at: datetime
    plan: Future[Preview]


class Planning:
    """The newest plan of each sync that was asked for here. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = Threads("planned", size=_AT_ONCE)
        self._asked: dict[str, _Asked] = {}
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Begin no more."""
        self._threads.stop()

    def ask(self, name: str, by: str, patience: float) -> None:
        """Have a sync planned; returns when that is done, or after `patience` seconds.

        One that is being computed is not begun again. Raises `UnknownSync`, `Busy`.
        """
        with self._lock:
            asked = self._asked.get(name)
            if asked is None or asked.plan.done():
                sync = self._sync(name)
                plan = self._threads.submit(self._preview, sync)
                now = self._engine.clock.now()
                asked = self._asked[name] = _Asked(sync=sync, by=by, at=now, plan=plan)
        wait([asked.plan], patience)

    def newest(self, name: str) -> Planned | None:
        """The plan that was asked for last, or that it is being computed."""
        with self._lock:
            asked = self._asked.get(name)
        if asked is None:
            return None
        when = moment(asked.at, self._engine.clock.now(), asked.sync.timezone)
        said = f"asked for by {asked.by} at {when}"
        if not asked.plan.done():
            return Planned(sync=name, said=said)
        match asked.plan.exception():
            case None:
                return _shown(asked, said)
            case SyncdError() as error:
                return Planned(sync=name, said=said, refused=error)
            case error:
                problem = SyncdError(f"a bug: {type(error).__name__}")
                return Planned(sync=name, said=said, refused=problem)

    def _preview(self, sync: SyncSettings) -> Preview:
        engine = self._engine
        settings = engine.blueprint.settings
        store = settings.store
        try:
            folder = spool_folder(store.read_url(), store.spool_dir)
            with closing(Vendors(settings, engine.clock, engine.database)) as vendors:
                look = Look(settings, engine.database, folder, vendors, engine.clock)
                return planned_for_free(look, sync)
        except SyncdError:
            raise
        except Exception as error:
            name = type(error).__name__
            emit(events.DAEMON_CRASHED, error=name, thread="planned", exc_info=error)
            raise

    def _sync(self, name: str) -> SyncSettings:
        for sync in self._engine.blueprint.settings.syncs:
            if sync.name == name and sync.enabled:
                return sync
        raise UnknownSync(name)


def _shown(asked: _Asked, said: str) -> Planned:
    result = asked.plan.result()
    plan = result.plan
    tone = "held" if result.trips else ""
    return Planned(
        sync=asked.sync.name,
        said=said,
        figures=(
            Figure(label="members now", value=number(plan.acknowledged)),
            Figure(label="would enter", value=number(plan.entered)),
            Figure(
                label="would exit",
                value=number(plan.exited),
                note=f"{plan.exit_share:.1%}",
                tone=tone,
            ),
            Figure(label="members after", value=number(plan.members)),
            Figure(label="requests", value=number(plan.batches)),
        ),
        trips=tuple(f"{trip.guard}: {trip.reason}" for trip in result.trips),
        notes=tuple(_notes(result)),
    )


def _notes(result: Preview) -> Iterator[str]:
    if result.note:
        yield result.note
    for side in result.sides:
        yield side.sentence
    if result.exits_24h > result.plan.exited:
        share = f"{result.exit_share_24h:.1%}"
        yield f"{number(result.exits_24h)} exits in 24 hours with this plan ({share})"
    if result.waits is not None:
        short = result.waits.short_id
        yield f"run {short} waits for a decision before anything is sent"
    for reason, count in sorted(result.refused.items()):
        yield f"{plural(count, 'id')} left out: {reason}"
