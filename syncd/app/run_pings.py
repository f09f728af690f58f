"""Telling a heartbeat service of each run of a sync, in a thread that no run waits for.

Runs are read from the store after the fact, so whatever becomes of a ping, no run
notices. Of several replicas the one that ran a sync pings; a run that died with its
process is not followed by a ping, which is what the service raises the alarm for.
"""

import threading
from datetime import timedelta

from syncd import events, metrics
from syncd.app import posting
from syncd.app.engine import Engine
from syncd.app.posting import NotTaken, Request
from syncd.clock import Clock
from syncd.config.settings import SyncSettings
from syncd.config.settings_notifications import Outward
from syncd.errors import StoreError
from syncd.events import emit
from syncd.notify.run_pings import Follower, Ping, path_of
from syncd.store import leases, runs

LOOK = timedelta(seconds=5)
"""Between two looks, on the daemon's clock: a start is told this late at most."""
SHORTEST = timedelta(milliseconds=200)
"""Real time between two looks, however fast that clock runs."""
RECENT = 10


class RunPings:
    """Pings until the daemon stops; `look` is called by one thread at a time."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._followers: dict[str, Follower] = {}
        self._thread = threading.Thread(target=self._work, name="pings", daemon=True)

    def start(self) -> None:
        """Look from now on: runs that ended before are nobody's news."""
        try:
            self._read()
        except StoreError:
            pass  # then what ended meanwhile is told as well
        self._thread.start()

    def _work(self) -> None:
        period = max(LOOK, SHORTEST * self._clock.speed)
        while not self._clock.wait(self._engine.stop_event, period):
            try:
                self.look()
            except StoreError:
                continue  # the runs are still there afterwards
            except Exception as error:  # noqa: BLE001  # one bug must not silence us
                name = type(error).__name__
                emit(events.DAEMON_CRASHED, error=name, thread="pings", exc_info=True)

    def look(self) -> None:
        """Read which runs are new, and send what is due; at most one of each sync."""
        for sync in self._read():
            ping = self._followers[sync.name].next(self._clock.now())
            if ping is not None and not self._engine.stop_event.is_set():
                self._send(sync, ping)

    def _read(self) -> list[SyncSettings]:
        syncs = [
            sync
            for sync in self._engine.blueprint.settings.syncs
            if sync.heartbeat_url is not None
        ]
        if not syncs:
            return []
        with self._engine.database.read() as connection:
            for sync in syncs:
                recent = runs.latest(connection, sync_name=sync.name, limit=RECENT)
                follower = self._followers.get(sync.name)
                if follower is None:
                    follower = self._followers[sync.name] = Follower(sync.name)
                    follower.begin(recent)
                if leases.last_holder(connection, sync.name) == self._engine.holder:
                    follower.follow(recent)
                else:
                    follower.pass_over(recent)
        return syncs

    def _send(self, sync: SyncSettings, ping: Ping) -> None:
        follower = self._followers[sync.name]
        assert sync.heartbeat_url is not None  # noqa: S101 - `_read` leaves others out
        outward = Outward(url=sync.heartbeat_url, ca_file=None, proxy_url=None)
        request = Request(body=ping.body, headers={"content-type": "application/json"})
        try:
            posting.send(
                outward, request, self._clock, path=lambda path: path_of(path, ping)
            )
        except NotTaken as error:
            metrics.HEARTBEATS.labels("failed").inc()
            if follower.failed(self._clock.now()):
                emit(
                    events.HEARTBEAT_FAILED,
                    sync=sync.name,
                    run_id=ping.run_id,
                    reason=str(error),
                    error_type=error.error_type,
                    tries=ping.tries + 1,
                )
            return
        metrics.HEARTBEATS.labels("sent").inc()
        follower.arrived()
