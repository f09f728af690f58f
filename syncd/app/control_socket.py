"""Which commands of people the running daemon carries out, by their names."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from syncd.app import (
    backups,
    commands,
    detaching,
    forgetting,
    outbox,
    pausing,
    repairing,
    resyncing,
    verifying,
)
from syncd.app.engine import Engine
from syncd.app.health import Health
from syncd.app.reloading import Reloads
from syncd.store.location import is_sqlite, sqlite_path
from syncd.web.control import ControlServer
from syncd.web.control_address import socket_path


def open_control_socket(
    stack: ExitStack,
    engine: Engine,
    health: Health,
    reloads: Reloads,
    again: Callable[[str], None],
) -> None:
    """Listen beside a SQLite store until `stack` ends; nothing is done on Postgres,
    where commands work by themselves under the sync's lease.

    `again` has a sync that was resumed looked at anew. Raises `DaemonError`.
    """
    url = engine.blueprint.settings.store.read_url()
    if not is_sqlite(url):
        return
    control = ControlServer(
        socket_path(sqlite_path(url)),
        {
            "run": partial(commands.run, engine),
            "fetch": partial(commands.fetch, engine),
            "approve": partial(commands.approve, engine),
            "reject": partial(commands.reject, engine),
            "outbox-retry": partial(outbox.retry, engine),
            "outbox-drop": partial(outbox.drop, engine),
            "reload": reloads.ask,
            "note_backup": partial(backups.note, engine),
            "pause": partial(pausing.pause, engine),
            "resume": partial(pausing.resume, engine, again=again),
            "verify": partial(verifying.verify, engine),
            "forget": partial(forgetting.forget, engine),
            "repair": partial(repairing.repair, engine),
            "resync": partial(resyncing.resync, engine),
            "detach": partial(detaching.detach, engine),
        },
        healthy=health.healthy,
        ready=health.ready,
        clock=engine.clock,
    )
    control.start()
    stack.callback(control.stop)
