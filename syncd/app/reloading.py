"""A changed configuration put into use: by SIGHUP, or by a person who waits for it.

Only the daemon's main thread replaces a configuration. Whoever asks over the control
socket leaves a wish, wakes that thread as SIGHUP does, and gets its answer.
"""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import asdict, replace
from typing import Any, TypeVar

from syncd import events, metrics
from syncd.app.build import Blueprint, blueprint
from syncd.app.engine import Engine
from syncd.clock import Clock
from syncd.config.place import Place
from syncd.config.settings import Loaded, Settings, SyncSettings
from syncd.errors import ConfigError, DaemonError, StoreRefused, SyncdError
from syncd.events import emit

LOOK = 0.2
"""Real seconds between two looks at whether the daemon stops meanwhile."""

Answer = Mapping[str, Any]
Load = Callable[[], Loaded]
"""Reads the configuration again; raises `ConfigError`."""
T = TypeVar("T")


class Reloads:
    """The wishes of people; thread-safe."""

    def __init__(self, stop: threading.Event, clock: Clock) -> None:
        """`stop` is set when the daemon comes to its end."""
        self._stop = stop
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: list[Future[Answer]] = []
        self._refusal: SyncdError | None = None

    def ask(self, body: Mapping[str, Any]) -> Answer:
        """`{"actor", "via"}` -> what changed, or `{"problems": […]}` of the files.

        Raises `SyncdError` where the files are right and yet cannot be used.
        """
        emit(events.OPERATOR_RELOADED, actor=body["actor"], via=body["via"])
        wish: Future[Answer] = Future()
        with self._lock:
            self._waiting.append(wish)
        os.kill(os.getpid(), signal.SIGHUP)
        while not wait([wish], timeout=LOOK).done:
            if self._stop.is_set():
                raise DaemonError("the daemon stopped first", hint="syncd status")
        return wish.result()

    def why_refused(self) -> SyncdError | None:
        """Why the files that were last read are not in use; None: they are."""
        return self._refusal

    def answer(self, reload: Callable[[], Answer]) -> None:
        """Reload once, for all who asked so far; a refusal is logged and told."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        try:
            done = reload()
        except SyncdError as error:
            self._refusal = error
            metrics.config_read(good=False, at=self._clock.wall().timestamp())
            _say_not_reloaded(error)
            for wish in waiting:
                _refuse(wish, error)
            return
        self._refusal = None
        for wish in waiting:
            wish.set_result(done)


class Replacing:
    """Puts a changed configuration into use, and keeps those that were.

    Runs in progress finish with what they began with.
    """

    def __init__(self, engine: Engine, load: Load) -> None:
        self._engine = engine
        self._load = load
        self._retired: list[Blueprint] = []

    def replace(self, accept: Callable[[Settings], object]) -> Answer:
        """Use the files as they are now; returns what changed.

        `accept` is called with what they say, before it is used. Raises `SyncdError`,
        also one of its, and the old configuration stays.
        """
        engine, before, loaded = self._engine, self._engine.blueprint, self._load()
        require_same_process(before.settings, loaded.settings)
        built = blueprint(
            loaded.settings,
            loaded.config_hash,
            engine.clock,
            engine.database,
            engine.stop_event,
        )
        accept(loaded.settings)
        engine.replace(built)
        metrics.config_read(good=True, at=engine.clock.wall().timestamp())
        self._retired.append(before)
        done = changes(before.settings, loaded, before.config_hash)
        emit(
            events.CONFIG_LOADED,
            files=list(loaded.files),
            config_hash=loaded.config_hash,
            syncs=len(built.specs),
            added=done["added"],
            removed=done["removed"],
            changed=done["changed"],
        )
        return done

    def close(self) -> None:
        """Close what the retired ones hold. No run has begun with them, or all are
        left alone."""
        for old in self._retired:
            old.close()


def changes(before: Settings, after: Loaded, hash_before: str) -> Answer:
    """What a reload changed, by names."""
    was, now = _syncs(before), _syncs(after.settings)
    had, has = before.connections, after.settings.connections
    return {
        "files": list(after.files),
        "config_hash_before": hash_before,
        "config_hash": after.config_hash,
        "added": sorted(now.keys() - was.keys()),
        "removed": sorted(was.keys() - now.keys()),
        "changed": _different(was, now),
        "connections": sorted(had.keys() ^ has.keys()) + _different(had, has),
    }


def require_same_process(before: Settings, after: Settings) -> None:
    """Raise `StoreRefused` where what changed is fixed while the daemon runs."""
    if _fixed(before) != _fixed(after):
        raise StoreRefused(
            "store.url, store.codec, store.lease, cluster, delivery.workers and web "
            "change only with a restart",
            code="config.restart",
            hint="restart the daemon",
        )


def _fixed(settings: Settings) -> tuple[object, ...]:
    store = settings.store
    fixed = store.url, store.codec, store.lease
    return *fixed, settings.cluster, settings.delivery_workers, settings.web


_NOWHERE = Place(file="", line=1, column=1)


def _syncs(settings: Settings) -> Mapping[str, SyncSettings]:
    """Those that run, by name, wherever in the files they stand."""
    return {
        sync.name: replace(sync, place=_NOWHERE)
        for sync in settings.syncs
        if sync.enabled
    }


def _different(was: Mapping[str, T], now: Mapping[str, T]) -> list[str]:
    return sorted(name for name in was.keys() & now.keys() if was[name] != now[name])


def _refuse(wish: Future[Answer], error: SyncdError) -> None:
    if isinstance(error, ConfigError):
        wish.set_result({"problems": [asdict(each) for each in error.problems]})
    else:
        wish.set_exception(error)


def _say_not_reloaded(error: SyncdError) -> None:
    first = error.problems[0] if isinstance(error, ConfigError) else None
    emit(
        events.CONFIG_RELOAD_FAILED,
        error=first.message if first else str(error),
        code=first.code if first else error.code,
        file=first.file if first else None,
        line=first.line if first else None,
        column=first.column if first else None,
        problems=len(error.problems) if isinstance(error, ConfigError) else None,
        error_type="config",
    )
