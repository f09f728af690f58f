"""The sign of life of a daemon or a worker, in the store that it shares with others."""

import os
import socket
from datetime import datetime

from syncd import __version__, events
from syncd.app.engine import Engine
from syncd.clock import Clock
from syncd.events import emit
from syncd.store import failovers, installation, shared_clock
from syncd.store.installation import Daemon, Role


def beat(engine: Engine, clock: Clock, started_at: datetime, role: Role) -> None:
    """Say that this process lives; see what time it is there, and whether the database
    failed over. Raises `StoreError`."""
    shared_clock.follow(engine.database, clock)
    me = Daemon(
        holder=engine.holder,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=__version__,
        started_at=started_at,
        heartbeat_at=clock.wall(),
        role=role,
    )
    with engine.database.begin() as connection:
        installation.beat(connection, me)
        marked = failovers.look(connection, clock.now(), lossless=engine.lossless)
    if marked is not None:
        emit(events.STORE_FAILED_OVER, syncs=marked)
