"""Once a day what nobody needs any more is dropped, by one of those that share a store.

Several at once would wait for one another's rows, and might do so in a circle.
"""

from datetime import timedelta

from syncd import events
from syncd.app import forgetting, unread
from syncd.app.engine import Engine
from syncd.app.turns import one_at_a_time
from syncd.events import emit
from syncd.report.backlog import folded
from syncd.store import inbox, installation

ALONE = timedelta(hours=1)
"""How long a process that died over it keeps the others from it."""


def prune(engine: Engine) -> None:
    """Drop what is old, unless another process is at it. Raises `StoreError`."""
    with one_at_a_time(engine.database, "prune", ALONE) as alone:
        rows = _pruned(engine) if alone else 0
    if rows:
        emit(events.PRUNE_FINISHED, rows=rows)


def _pruned(engine: Engine) -> int:
    keep = engine.blueprint.settings.store.keep_runs
    with engine.database.begin() as connection:
        rows = installation.prune(connection, now=engine.clock.now(), keep=keep)
    rows += _inbox_pruned(engine)
    rows += forgetting.prune(engine)
    rows += unread.prune(engine)
    engine.database.give_space_back()
    return rows


def _inbox_pruned(engine: Engine) -> int:
    """In steps of their own transaction, so that what arrives waits for none."""
    rows, settings = 0, engine.blueprint.settings
    while not engine.stop_event.is_set():
        with engine.database.begin() as connection:
            reached = folded(connection, settings)
            dropped = inbox.prune(connection, engine.clock.now(), reached)
        if not dropped:
            break
        rows += dropped
    return rows
