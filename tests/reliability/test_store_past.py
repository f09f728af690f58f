"""A store of another day: an old backup, half a migration, a newer or another program.

An old copy does not know what was sent after it was made. With what `deploy/backup.md`
says the cohort is right again; without it nobody whom the source lists is removed, and
these tests hold down exactly what is wrong then, so that the page stays honest.
"""

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from syncd.app.doctor.store import LONG_LOG, look
from syncd.cli.exit_codes import ExitCode
from syncd.config.settings import StoreSettings
from syncd.errors import StoreUnavailable, SyncdError
from syncd.model import Operation, Trigger
from syncd.store.backup import backup
from syncd.store.database import Database
from syncd.store.migrate import current, head, migrate
from tests.builders import (
    FAILED_BEFORE,
    FakeVendor,
    ManualClock,
    Request,
    World,
    new_database,
    people,
)
from tests.installed import Installation
from tests.reliability.storing.mishaps import GUARD
from tests.simulated import Simulator

# ---- an old backup ------------------------------------------------------------------


class History:
    """A sync of five runs, with a copy of its store made before the last of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vendor = FakeVendor(known=people(*range(100)))
        self.vendor.watch = self._judge
        self.clock = ManualClock()
        self.removed_wrongly: set[bytes] = set()
        self.listed: set[bytes] = set()

    def world(self, database: Database) -> World:
        world = World(database=database, spool=self.folder, clock=self.clock)
        world.vendors["amplitude"] = self.vendor
        world.sync(members=self.listed, guard=GUARD)
        return world

    def run(self, database: Database, listed: set[bytes]) -> None:
        self.listed = listed
        self.clock.advance(timedelta(hours=1))
        with capture_logs(), self.world(database).engine() as engine:
            for name in engine.close_abandoned():
                with suppress(SyncdError):
                    engine.resume(name)
            engine.run("vip", Trigger.MANUAL)

    def restore(self, copy: Path) -> Database:
        place = self.folder / "restored"
        place.mkdir()
        shutil.copy(copy, place / "syncd.db")
        database = Database(f"sqlite:///{place / 'syncd.db'}")
        migrate(database)
        return database

    def _judge(self, request: Request) -> None:
        if request.operation is Operation.REMOVE:
            self.removed_wrongly |= set(request.ids) & self.listed


EVERYBODY = people(*range(30))
BACK = people(0, 1)
"""Left after the copy was made, and came back before the restored store ran."""
BRIEF = people(50)
"""Entered after the copy was made, and left before the restored store ran."""


@pytest.fixture
def history(tmp_path: Path) -> Iterator[tuple[History, Database]]:
    """The store of five runs ago, beside a cohort as it is now."""
    made = History(tmp_path)
    database = new_database(tmp_path)
    made.run(database, EVERYBODY)
    backup(tmp_path / "syncd.db", tmp_path / "copy.db")
    made.run(database, EVERYBODY - BACK)
    for number in range(40, 43):
        made.run(database, EVERYBODY - BACK | people(number))
    made.run(database, EVERYBODY - BACK | BRIEF)
    database.close()
    restored = made.restore(tmp_path / "copy.db")
    yield made, restored
    restored.close()


def test_an_old_copy_removes_nobody_and_goes_on_from_what_the_source_says(
    history: tuple[History, Database],
) -> None:
    made, restored = history
    now = EVERYBODY - BACK - people(5) | people(60) | BRIEF

    made.run(restored, now)

    assert made.removed_wrongly == set()
    assert made.vendor.cohort.members == now


def test_what_an_old_copy_cannot_know_is_exactly_who_left_and_came_back_or_the_reverse(
    history: tuple[History, Database],
) -> None:
    """So the page says: adopt first. No run would ever notice these."""
    made, restored = history

    made.run(restored, EVERYBODY)
    made.run(restored, EVERYBODY)

    assert made.removed_wrongly == set()
    assert EVERYBODY - made.vendor.cohort.members == BACK
    assert made.vendor.cohort.members - EVERYBODY == BRIEF


def test_a_copy_that_was_made_in_mid_run_resumes_an_old_plan_and_the_next_run_mends_it(
    tmp_path: Path,
) -> None:
    """Its open removals are of an old list: who came back is out until the next run,
    which follows at once where there is a schedule. Adopting first forgets them."""
    made = History(tmp_path)
    database = new_database(tmp_path)
    made.run(database, EVERYBODY)
    made.vendor.always = FAILED_BEFORE
    made.run(database, EVERYBODY - BACK)
    made.vendor.always = None
    with database.begin() as connection:  # as the copy of a run in progress has it
        unfinished = "UPDATE run SET outcome = NULL WHERE outcome = 'partial'"
        assert connection.execute(text(unfinished)).rowcount == 1
        connection.execute(text("UPDATE batch SET retry_at = planned_at"))
    backup(tmp_path / "syncd.db", tmp_path / "copy.db")
    made.run(database, EVERYBODY)
    database.close()
    restored = made.restore(tmp_path / "copy.db")

    made.run(restored, EVERYBODY)

    restored.close()
    assert made.removed_wrongly == BACK
    assert made.vendor.cohort.members == EVERYBODY


def test_an_old_copy_with_what_the_page_says_is_right(
    installation: Installation, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.post("/_sim/config", {"job_seconds": 0})
    everybody = [each.decode() for each in sorted(EVERYBODY)]
    installation.config["connections"]["amplitude"]["storage_origin"] = (
        simulator.origins["storage"]
    )
    installation.config["defaults"]["guard"] = {"max_exit": "60%"}
    installation.sync("vip")
    simulator.users([*everybody, "person-0050"])
    installation.audience(everybody)
    assert installation.run("vip").code == ExitCode.OK
    copy = tmp_path / "copy.db"
    assert installation.syncd("db", "backup", str(copy)).code == ExitCode.OK
    installation.audience([*everybody[2:], "person-0050"])
    assert installation.run("vip").code == ExitCode.OK

    for each in tmp_path.glob("syncd.db*"):
        each.unlink()
    shutil.copy(copy, installation.database)
    installation.audience(everybody)
    adopted = installation.syncd(
        "resync", "vip", "--adopt", "--yes", "--reason", "restored a backup"
    )
    ran = installation.run("vip")

    assert adopted.code == ExitCode.OK, adopted.err
    assert ran.code == ExitCode.OK, ran.err
    assert simulator.members() == set(everybody)


# ---- schemas ------------------------------------------------------------------------


def test_a_migration_that_fails_leaves_a_store_that_the_old_program_still_works_with(
    tmp_path: Path,
) -> None:
    made = History(tmp_path)
    database = new_database(tmp_path)
    made.run(database, EVERYBODY)
    with database.begin() as connection:  # as a program one step older left it
        newest = head()
        older = f"{int(newest) - 1:04d}"
        connection.execute(
            text("UPDATE alembic_version SET version_num = :older"), {"older": older}
        )

    with pytest.raises(StoreUnavailable):  # what it is to add is there already
        migrate(database)

    with database.read() as connection:
        assert current(connection) == older
    with database.begin() as connection:
        connection.execute(
            text("UPDATE alembic_version SET version_num = :head"), {"head": newest}
        )
    made.run(database, EVERYBODY - BACK)
    database.close()
    assert made.vendor.cohort.members == EVERYBODY - BACK


def test_an_older_program_does_not_touch_a_newer_store_also_while_its_daemon_works(
    installation: Installation, simulator: Simulator
) -> None:
    installation.sync("vip")
    installation.audience(["person-0001"])
    simulator.users(["person-0001"])
    assert installation.run("vip").code == ExitCode.OK
    with closing(sqlite3.connect(installation.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        before = list(connection.iterdump())

    stopped = [installation.run("vip"), installation.syncd("serve")]
    with opened_elsewhere(installation):
        beside = [installation.run("vip"), installation.syncd("serve")]

    for each in stopped:
        assert each.code == ExitCode.UNAVAILABLE, each.err
        assert "9999" in each.err
        assert "newer" in each.err
        assert "restore the backup" in each.err
    for each in beside:
        assert each.code == ExitCode.TRY_LATER, each.err
        assert "another syncd works on" in each.err
    with closing(sqlite3.connect(installation.database)) as connection:
        assert list(connection.iterdump()) == before


def opened_elsewhere(installation: Installation) -> "subprocess.Popen[str]":
    """Another process that works on the store."""
    lock = f"{installation.database}.lock"
    code = (
        "import fcntl, sys; lock = open(sys.argv[1], 'r+'); "
        "fcntl.flock(lock, fcntl.LOCK_EX); lock.truncate(0); lock.write('1'); "
        "lock.flush(); print('locked', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, lock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_second_daemon_on_one_file_is_refused_and_the_first_works_on(
    installation: Installation, simulator: Simulator
) -> None:
    installation.sync("vip")
    installation.audience(["person-0001"])
    simulator.users(["person-0001"])
    daemon = installation.start("serve")
    assert daemon.reached("daemon.started")

    second = installation.syncd("serve")
    ran = installation.run("vip")

    assert second.code == ExitCode.TRY_LATER, second.err
    assert f"process {daemon.process.pid}" in second.err
    assert ran.code == ExitCode.OK
    assert daemon.stop() == 0


# ---- locks and readers --------------------------------------------------------------


def test_a_stranger_who_holds_the_write_lock_fails_what_writes_and_nothing_else(
    tmp_path: Path,
) -> None:
    """Longer than we wait for it; here that is a moment."""
    made = History(tmp_path)
    database = new_database(tmp_path)
    made.run(database, EVERYBODY)
    with database.begin() as connection:
        connection.execute(text("PRAGMA busy_timeout = 20"))
    sent, stranger = (
        len(made.vendor.requests),
        sqlite3.connect(database.path, isolation_level=None, check_same_thread=False),
    )

    with closing(stranger):
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            made.run(database, EVERYBODY - BACK)
        assert len(made.vendor.requests) == sent
        took = [database.takes_writes]
        stranger.execute("ROLLBACK")
    made.run(database, EVERYBODY - BACK)
    took.append(database.takes_writes)

    database.close()
    assert took == [False, True]
    assert made.vendor.cohort.members == EVERYBODY - BACK


def test_a_lock_that_a_stranger_takes_in_mid_run_leaves_its_ids_uncertain(
    tmp_path: Path,
) -> None:
    made = History(tmp_path)
    database = new_database(tmp_path)
    made.run(database, EVERYBODY)
    with database.begin() as connection:
        connection.execute(text("PRAGMA busy_timeout = 20"))
    stranger = sqlite3.connect(
        database.path, isolation_level=None, check_same_thread=False
    )
    taken = threading.Event()

    def take(_: Request) -> None:
        if not taken.is_set():
            taken.set()
            stranger.execute("BEGIN IMMEDIATE")

    made.vendor.watch = take
    made.run(database, EVERYBODY - BACK)
    sent = [each for each in made.vendor.requests if BACK & set(each.ids)]
    stranger.execute("ROLLBACK")
    stranger.close()
    made.run(database, EVERYBODY - BACK)

    database.close()
    assert len(sent) >= 1
    assert made.vendor.cohort.members == EVERYBODY - BACK


def test_a_reader_that_never_ends_costs_room_that_is_used_again_and_doctor_tells(
    tmp_path: Path,
) -> None:
    made = History(tmp_path)
    database = new_database(tmp_path)
    made.run(database, EVERYBODY)
    with database.begin() as connection:
        connection.execute(text("PRAGMA wal_autocheckpoint = 20"))
    log = tmp_path / "syncd.db-wal"

    def rewrite(times: int) -> int:
        """Write so often; returns how long the log is then."""
        for number in range(times):
            with database.begin() as connection:
                # The same rows: what grows is the log alone.
                connection.execute(
                    text("UPDATE run SET config_hash = :n"), {"n": str(number)}
                )
        return log.stat().st_size

    with closing(sqlite3.connect(database.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM run").fetchone()
        short, long = rewrite(20), rewrite(200)
        assert reader.execute("SELECT count(*) FROM run").fetchone() == (1,)
    after = rewrite(200)

    assert long > 2 * short
    assert after <= long + short
    database.close()
    with log.open("wb") as file:
        file.truncate(LONG_LOG + 1)
    told = [each.detail for each in look(store_settings(database))]
    assert any("somebody has been reading for long" in each for each in told)


def store_settings(database: Database) -> StoreSettings:
    return StoreSettings(
        url=str(database.url),
        password=None,
        migrate="auto",
        lease=timedelta(seconds=90),
        replication="asynchronous",
        keep_runs=timedelta(days=400),
        spool_dir=None,
    )
