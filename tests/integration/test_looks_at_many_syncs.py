"""However many syncs there are, a look at all of them asks the store as often."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from syncd.app import sync_gauges
from syncd.app.board.histories import Histories
from syncd.app.observing import Lately, look, not_fresh
from syncd.config.settings import Settings
from syncd.model import Outcome, Trigger
from syncd.report.overview import overview
from syncd.report.standing import standings
from syncd.store import runs
from syncd.store.database import Connection, Database
from tests.builders import ManualClock, new_database, settings_of, sync_settings

CLOCK = ManualClock()
HOUR = timedelta(hours=1)


def drawn(connection: Connection, settings: Settings) -> object:
    found = standings(connection, settings, settings.syncs, CLOCK)
    return Histories().of(connection, found, CLOCK.now())


LOOKS: dict[str, Callable[[Connection, Settings], object]] = {
    "status": lambda connection, settings: overview(
        connection, settings, settings.syncs, CLOCK
    ),
    "pictures": drawn,
    "gauges": lambda connection, settings: list(
        sync_gauges.samples(connection, settings, CLOCK.now())
    ),
    "notifications": lambda connection, settings: look(
        connection, settings, CLOCK, Lately()
    ),
    "heartbeat": lambda connection, settings: not_fresh(
        connection, settings, CLOCK, Lately()
    ),
}


@contextmanager
def statements() -> Iterator[list[str]]:
    """What is asked of any store meanwhile."""
    found: list[str] = []

    def note(_1: object, _2: object, text: str, *_: object) -> None:
        found.append(text)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def with_runs(database: Database, settings: Settings) -> None:
    """Every sync moved somebody two hours ago, and nothing happened since."""
    ends = (Outcome.SUCCESS, {"entered": 3, "members": 3, "members_after": 3})
    quiet = (Outcome.NO_CHANGE, {"entered": 0, "members_after": None})
    with database.begin() as connection:
        for sync in settings.syncs:
            runs.know_sync(connection, sync.name, CLOCK.now())
            for ago, (outcome, summary) in ((2, ends), (1, quiet)):
                run_id, at = f"{sync.name}-{ago}", CLOCK.now() - ago * HOUR
                runs.begin(
                    connection,
                    run_id=run_id,
                    sync_name=sync.name,
                    slot=None,
                    trigger=Trigger.SCHEDULE,
                    config_hash="c0ffee",
                    now=at,
                )
                runs.finish(
                    connection,
                    run_id,
                    outcome=outcome,
                    reason=None,
                    summary=summary,
                    now=at,
                )


@pytest.mark.parametrize("kind", LOOKS)
def test_a_look_at_many_syncs_asks_no_more_than_one_at_few(
    tmp_path: Path, kind: str
) -> None:
    asked = []
    for count in (2, 25):
        folder = tmp_path / str(count)
        folder.mkdir()
        database = new_database(folder)
        names = [f"sync-{number}" for number in range(count)]
        settings = settings_of(*(sync_settings(name) for name in names))
        with_runs(database, settings)
        with statements() as found, database.read() as connection:
            LOOKS[kind](connection, settings)
        asked.append(len(found))
        database.close()

    assert asked[0] == asked[1] <= 25
