"""The connection to Postgres is cut at each COMMIT of a sync in turn.

Before the server heard of it, and after it was carried out, with the answer lost: then
the product cannot know, and must read what is there instead of believing either.
Whatever becomes of the transaction, nobody is wrong without being uncertain, no plan
is made twice, and the next runs make it right.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from syncd.store.database import Database
from syncd.store.migrate import migrate
from syncd.store.tables import metadata
from tests.builders import World
from tests.reliability.storing.mishaps import ENOUGH, SCENARIOS, Play, Scenario
from tests.reliability.storing.severing import Cut, Wire, severing


@pytest.fixture
def direct(postgres_database: str) -> Iterator[Database]:
    """The store beside the wire."""
    made = Database(postgres_database)
    migrate(made)
    yield made
    made.close()


@pytest.fixture
def severed(postgres_database: str) -> Iterator[tuple[Wire, Database]]:
    """A wire, and the store by it."""
    with severing(postgres_database) as (wire, url):
        store = Database(url)
        yield wire, store
        store.close()


def empty(database: Database) -> None:
    with database.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))


def played(
    wire: Wire,
    store: Database,
    direct: Database,
    spool: Path,
    scenario: Scenario,
    nth: int,
    how: Cut,
) -> bool:
    """One scenario with a cut at its n-th COMMIT; returns whether there was one."""
    empty(direct)
    world = World(database=direct, spool=spool)
    with capture_logs([merge_contextvars]) as lines:
        play = Play(world=world, store=store, sees=direct)
        with play.engine:
            scenario.before(play)
            wire.at_commit(nth, how)
            scenario.act(play)
            struck = wire.struck
            wire.at_commit(None)
            play.require_contained()
            if scenario.name == "forget":
                scenario.act(play)
            play.heal()
            play.require_right()
            play.require_contained()
            play.require_told(lines)
    return struck


@pytest.mark.parametrize(
    "how", [Cut.UNHEARD, Cut.UNANSWERED], ids=lambda each: each.name
)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_a_connection_that_is_cut_at_any_commit_loses_nothing_and_heals(
    severed: tuple[Wire, Database],
    direct: Database,
    tmp_path: Path,
    scenario: Scenario,
    how: Cut,
    pytestconfig: pytest.Config,
) -> None:
    wire, store = severed
    # A full disk at each write leads to the same state as a COMMIT that is not heard.
    every = 1 if how is Cut.UNANSWERED or pytestconfig.getoption("--long") else 4
    struck = 0

    for nth in range(1, ENOUGH, every):
        if not played(wire, store, direct, tmp_path, scenario, nth, how):
            break
        struck += 1

    print(f"{scenario.name}: cut at {struck} commits, {how.value}")
    assert 1 < struck < ENOUGH - 1
