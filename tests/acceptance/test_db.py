"""`syncd db`: copies of a store that is in use, and migrations by hand."""

import json
import sqlite3
import stat
import subprocess
import sys
import urllib.request
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncd.app.store import locked
from syncd.store.backup import NotBackedUp, backup
from tests.installed import Installation, Running

METRIC = "syncd_store_last_backup_timestamp_seconds"


@pytest.fixture
def vip(installation: Installation) -> Installation:
    """An installation with one sync that ran once: there is a store."""
    installation.sync("vip")
    installation.audience(["vip-001"])
    installation.simulator.users(["vip-001"])
    assert installation.run("vip").code == 0
    return installation


def serve(installation: Installation) -> Running:
    daemon = installation.start("serve")
    assert daemon.reached("daemon.started"), daemon.text
    return daemon


def runs_in(store: Path) -> int:
    with closing(sqlite3.connect(store)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM run").fetchone()
    return int(count)


def last_backup(daemon: Running) -> float | None:
    """The gauge, as a scrape sees it."""
    with urllib.request.urlopen(f"{daemon.url('admin')}/metrics") as answer:  # noqa: S310
        lines = answer.read().decode().splitlines()
    values = [line.split()[1] for line in lines if line.startswith(f"{METRIC} ")]
    return float(values[0]) if values else None


def test_a_backup_of_a_live_store_is_whole_and_its_time_is_a_metric(
    vip: Installation,
) -> None:
    target, began = vip.folder / "copy.db", datetime.now(UTC)
    daemon = serve(vip)
    never = last_backup(daemon)

    made = vip.syncd("db", "backup", str(target), "--json")

    document = json.loads(made.out)
    assert made.code == 0, made.err
    assert document["schema"] == "syncd.backup/1"
    assert document["file"] == str(target)
    assert document["bytes"] == target.stat().st_size
    assert document["noted"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert runs_in(target) == 1
    assert never is None
    (said,) = daemon.events("store.backup_finished")
    assert (said["file"], said["bytes"]) == (str(target), document["bytes"])
    assert daemon.stop() == 0
    again = serve(vip)
    noted = last_backup(again)
    assert noted is not None
    assert began.timestamp() <= noted < (began + timedelta(minutes=2)).timestamp()
    assert again.stop() == 0


def test_without_a_name_the_time_is_in_the_name(vip: Installation) -> None:
    made = vip.syncd("db", "backup")

    (copy,) = vip.folder.glob("syncd.db.*.backup")
    assert made.code == 0, made.err
    assert made.out.startswith(str(copy))
    assert runs_in(copy) == 1


def test_a_backup_never_replaces_a_file(vip: Installation) -> None:
    target = vip.folder / "mine.txt"
    target.write_text("mine", encoding="utf-8")
    daemon = serve(vip)

    refused = vip.syncd("db", "backup", str(target))

    assert refused.code == 69
    assert "error[backup.exists]" in refused.err
    assert target.read_text(encoding="utf-8") == "mine"
    assert [path.name for path in vip.folder.glob(".*.partial")] == []
    assert len(daemon.events("store.backup_failed", file=str(target))) == 1
    assert daemon.stop() == 0


def test_a_damaged_store_gives_no_backup(vip: Installation) -> None:
    pages = vip.database.read_bytes()
    size = int.from_bytes(pages[16:18])
    broken = vip.folder / "broken.db"
    # The root of a table, somewhere behind the first pages.
    broken.write_bytes(pages[: 4 * size] + b"\xff" * size + pages[5 * size :])

    with pytest.raises(NotBackedUp) as refused:
        backup(broken, vip.folder / "copy.db")

    assert refused.value.code == "backup.damaged"
    assert not (vip.folder / "copy.db").exists()


def test_a_backup_beside_another_process_is_made_though_its_time_is_not_kept(
    vip: Installation,
) -> None:
    target = vip.folder / "copy.db"

    with locked(f"sqlite:///{vip.database}"):
        made = vip.syncd("db", "backup", str(target))

    assert made.code == 0
    assert "the time of this backup is not noted" in made.err
    assert runs_in(target) == 1


def test_there_is_no_backup_of_nothing(installation: Installation) -> None:
    refused = installation.syncd("db", "backup")

    assert refused.code == 69
    assert "error[store.missing]" in refused.err
    assert not installation.database.exists()


def test_postgres_has_its_own_tools(tmp_path: Path) -> None:
    path = tmp_path / "syncd.yaml"
    path.write_text("version: 1\nstore: {url: 'postgresql://db/syncd'}\n", "utf-8")

    refused = subprocess.run(
        [sys.executable, "-m", "syncd", "db", "backup", "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
    )

    assert refused.returncode == 1
    assert "error[backup.postgres]" in refused.stderr
    assert "next: pg_dump" in refused.stderr


# --- migrations -----------------------------------------------------------------------


def test_a_store_that_is_migrated_by_hand_needs_the_command_and_then_works(
    installation: Installation,
) -> None:
    installation.sync("vip")
    installation.audience([])
    installation.config["store"]["migrate"] = "manual"

    refused = installation.run("vip")
    migrated = installation.syncd("db", "migrate", "--json")
    again = installation.syncd("db", "migrate")
    works = installation.run("vip")

    assert refused.code == 69
    assert "next: syncd db migrate" in refused.err or "db migrate" in refused.err
    document = json.loads(migrated.out)
    assert (document["from"], document["changed"]) == (None, True)
    assert again.out == f"schema {document['to']}: nothing to do\n"
    assert works.code == 0, works.err


def test_nothing_is_migrated_while_a_daemon_works(vip: Installation) -> None:
    daemon = serve(vip)

    refused = vip.syncd("db", "migrate")

    assert refused.code == 75
    assert "another syncd works on" in refused.err
    assert daemon.stop() == 0
