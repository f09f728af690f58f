"""The disk of the store becomes full at each write in turn, and is freed again.

Each scenario is played with a full disk from its first write transaction on, then from
its second, until it ends before that. The long form also leaves each number of pages,
so that a transaction finds room for a part of it, and strikes at random. What a run
reads, the copies of a backup and what is pushed to us lie on that disk as well.
"""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from syncd.errors import StoreError
from syncd.model import Outcome
from syncd.store.backup import backup
from syncd.store.database import Database
from syncd.sync.spec import Report
from tests.builders import World, new_database, people
from tests.reliability.storing.disks import PAGE, Disk, small_disk
from tests.reliability.storing.mishaps import (
    ENOUGH,
    SCENARIOS,
    Play,
    Scenario,
    Striking,
)

SEED = 20261122
FEW = 12
RANDOM = 500
"""Strikes at a random write that leave random room, in the long form."""


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    with small_disk() as made:
        print(f"the store lies on {made.kind}")
        yield made


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store with this program's schema, to be copied."""
    folder = tmp_path_factory.mktemp("empty")
    new_database(folder).close()
    return folder / "syncd.db"


def whole(database: Database) -> str:
    """What SQLite says of its file, by a connection of its own."""
    with closing(sqlite3.connect(database.path)) as connection:
        (said,) = connection.execute("PRAGMA integrity_check").fetchone()
    return str(said)


def played(
    disk: Disk, empty_store: Path, scenario: Scenario, nth: int, leave: int = 0
) -> bool:
    """One scenario with a disk that is full from its n-th write on, until it is freed.

    Returns whether the disk became full at all.
    """
    folder = Path(mkdtemp(dir=disk.folder))
    shutil.copy(empty_store, folder / "syncd.db")
    database = Database(f"sqlite:///{folder / 'syncd.db'}")
    world = World(database=database, spool=folder)
    sent: list[int] = []

    def strike() -> None:
        disk.fill(leave)
        sent.append(len(world.vendor.requests))

    store = Striking(database, strike)
    with capture_logs([merge_contextvars]) as lines:
        play = Play(world=world, store=store, sees=database)
        with play.engine:
            scenario.before(play)
            before = len(play.world.vendor.requests)
            store.at(nth)
            scenario.act(play)
            struck = store.struck
            play.require_contained()
            if struck and not leave:
                require_stopped(play, *sent)
            disk.free()
            store.at(None)
            heal(play, scenario, before)
            play.require_told(lines)
    assert whole(database) == "ok"
    database.close()
    shutil.rmtree(folder)
    return struck


def require_stopped(play: Play, sent: int) -> None:
    """Nothing more is sent on a full disk, however often it is tried.

    But for the batch that goes while the answer of the one before it is made durable:
    it was durable before the disk was full.
    """
    ended, stopped = len(play.ended), len(play.world.vendor.requests)
    assert sent <= stopped <= sent + 1
    play.run()
    assert len(play.world.vendor.requests) == stopped
    for each in play.ended[ended:]:
        failed = isinstance(each, Report) and each.outcome is Outcome.FAILED
        assert failed or isinstance(each, StoreError)
    play.require_contained()


def heal(play: Play, scenario: Scenario, before: int) -> None:
    """It goes on by itself; only what a person asked for is asked for again."""
    if scenario.name == "forget":
        scenario.act(play)
    play.heal()
    play.require_right()
    play.require_contained()
    assert len(play.world.vendor.requests) >= before


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_a_disk_that_becomes_full_at_any_write_loses_nothing_and_heals(
    disk: Disk, empty_store: Path, scenario: Scenario
) -> None:
    struck = 0

    for nth in range(1, ENOUGH):
        if not played(disk, empty_store, scenario, nth):
            break
        struck += 1

    print(f"{scenario.name}: the disk was full at each of {struck} writes")
    assert 2 < struck < ENOUGH - 1


def test_a_disk_with_room_for_a_part_of_a_transaction_loses_nothing_and_heals(
    disk: Disk, empty_store: Path, pytestconfig: pytest.Config
) -> None:
    is_long = pytestconfig.getoption("--long")
    dice = random.Random(SEED)  # noqa: S311  # repeatable, guards nothing
    # Leaving more than a transaction takes strikes a later one, whichever that is.
    strikes = [(dice.randint(1, 12), dice.randint(1, 40)) for _ in range(RANDOM)]
    if is_long:
        strikes += [(1, pages) for pages in range(1, 150)]

    for number, (nth, leave) in enumerate(strikes if is_long else strikes[:FEW]):
        scenario = SCENARIOS[number % len(SCENARIOS)]
        print(f"{scenario.name}: {leave} pages left at write {nth}")
        played(disk, empty_store, scenario, nth, leave)


def test_a_list_that_finds_no_room_fails_its_run_and_removes_nobody(
    disk: Disk, empty_store: Path
) -> None:
    shutil.copy(empty_store, disk.folder / "syncd.db")
    database = Database(f"sqlite:///{disk.folder / 'syncd.db'}")
    store = Striking(database, disk.fill)
    world = World(database=database, spool=disk.folder)
    with capture_logs([merge_contextvars]) as lines:
        play = Play(world=world, store=store, sees=database)
        with play.engine:
            play.run()
            sent = len(world.vendor.requests)
            world.sources["vip"].members |= people(20, 21)
            world.sources["vip"].while_reading = disk.fill

            play.run()

            assert len(world.vendor.requests) == sent
            assert isinstance(play.ended[-1], Report)
            assert play.ended[-1].reason == "spool"
            world.sources["vip"].while_reading = lambda: None
            disk.free()
            play.heal()
            play.require_right()
            play.require_told(lines)
    database.close()


def copied(source: Path, target: Path) -> StoreError | None:
    """A backup, or why there is none."""
    try:
        backup(source, target)
    except StoreError as error:
        return error
    return None


def test_a_backup_that_finds_no_room_leaves_nothing_and_the_store_alone(
    disk: Disk, empty_store: Path
) -> None:
    size = empty_store.stat().st_size
    room = range(0, size // PAGE + 24, 1 if disk.is_real else size // PAGE)
    target = disk.folder / "copies" / "syncd.db"
    refused = 0

    for pages in room:
        target.parent.mkdir()
        disk.fill(pages)
        error = copied(empty_store, target)
        left = list(target.parent.iterdir())
        disk.free()
        shutil.rmtree(target.parent)
        if error is not None:
            refused += 1
            assert error.hint
            assert left == []
        else:
            assert left == [target]

    assert 1 < refused < len(room)
