"""`syncd db copy`: an installation moves, and goes on as it would have.

The real command, a real SQLite and a real Postgres, between runs of the real product.
"""

import sqlite3
import subprocess
import threading
from contextlib import closing
from typing import Any

import pytest

from syncd.cli.exit_codes import ExitCode
from syncd.errors import StoreError
from syncd.store.database import Database
from syncd.store.migrate import require_current, standing
from tests.installed import Installation
from tests.knocking import identify, knocking, people
from tests.simulated import PATIENCE, Simulator

PASSWORD = "pass-word-of-the-database"
MEMBERS = people(100)
STRANGERS = people(3, 900)
"""Nobody knows them at the destination."""
FORGOTTEN = "person-000950"
"""Asked to be forgotten before anybody knew them."""
LOOK = 0.02
"""Seconds between two looks at how far a copy is; filling one takes many of them."""
LATER = people(40, 200)
"""Whom a batch names that was not delivered."""


@pytest.fixture
def vip(installation: Installation, simulator: Simulator) -> Installation:
    """One sync that ran once."""
    installation.sync("vip")
    installation.audience(MEMBERS)
    simulator.users(MEMBERS)
    assert installation.run("vip").code == 0
    return installation


def on(installation: Installation, url: str) -> Installation:
    """The same installation, from now on with its state there."""
    installation.config["store"]["url"] = url
    installation.config["store"]["spool_dir"] = str(installation.folder / "spool")
    return installation


def sqlite(installation: Installation, name: str = "syncd.db") -> str:
    return f"sqlite:///{installation.folder / name}"


# ---- a whole installation ----------------------------------------------------------


@pytest.fixture
def busy(installation: Installation, simulator: Simulator) -> Installation:
    """Every kind of thing that a store remembers, by the product's own doing."""
    installation.config["defaults"]["delivery"] |= {"batch_size": 50, "retries": 1}
    simulator.users([*MEMBERS, *LATER, FORGOTTEN])
    simulator.post("/_sim/config", {"job_seconds": 0})
    for name in ("open", "dead", "held", "paused"):
        installation.sync(name, **{"from": {"via": "snapshot"} | engage(name)})
        installation.audience([*MEMBERS, *STRANGERS], name)
    simulator.cohort("c1", members=MEMBERS)
    installation.cohort_sync("trait", "c1")
    installation.inbox()
    pushed = engage("pushed") | {"via": "inbox", "relist_every": "never"}
    installation.sync("pushed", **{"from": pushed})
    installation.audience(MEMBERS, "pushed")
    be_pushed(installation, MEMBERS)
    assert installation.run().code == ExitCode.OK
    forget(installation, FORGOTTEN)
    leave_things_undone(installation, simulator)
    return installation


def engage(audience: str) -> dict[str, Any]:
    return {"connection": "engage", "audience": audience}


def be_pushed(installation: Installation, ids: list[str]) -> None:
    """A daemon takes in that these people entered; then it is gone."""
    daemon = installation.start("serve")
    with knocking(daemon) as at:
        said = at.engage([identify(one, key="pushed") for one in ids])
        assert said.status == 200, said.text
    assert daemon.stop() == 0


def forget(installation: Installation, person: str) -> None:
    """Somebody who is nowhere yet, and is not to be taken in."""
    done = subprocess.run(
        installation.command("forget", "-"),
        input=person,
        capture_output=True,
        text=True,
        cwd=installation.folder,
    )
    assert done.returncode == 0, done.stderr


def leave_things_undone(installation: Installation, simulator: Simulator) -> None:
    """A batch without an answer, one that was refused, a held plan, a pause."""
    installation.audience([*MEMBERS, *STRANGERS, *LATER], "open")
    simulator.fault("membership", "hang_before", seconds=2.0)
    assert installation.run("open").code == ExitCode.PARTIAL
    simulator.no_faults()
    installation.audience([*MEMBERS, *STRANGERS, *LATER], "dead")
    simulator.fault("membership", "status", status=422)
    assert installation.run("dead").code == ExitCode.PARTIAL
    simulator.no_faults()
    installation.audience(MEMBERS[:10], "held")
    assert installation.run("held").code == ExitCode.HELD
    assert installation.syncd("pause", "paused", "--reason", "INC-7").code == 0


def seen(installation: Installation) -> dict[str, Any]:
    """What people are shown of it, without what passes with time."""
    status = installation.syncd("status", "--json").document
    runs = installation.syncd("runs", "--json", "--limit", "100").document["runs"]
    return {
        "states": {each["name"]: each["state"] for each in status["syncs"]},
        "quotas": status["quotas"],
        "runs": runs,
        "outbox": outbox(installation),
        "members": installation.syncd("members", "open").out,
    }


def outbox(installation: Installation) -> list[tuple[Any, ...]]:
    found = installation.syncd("outbox", "list", "--json").document["batches"]
    return [(one["id"], one["sync"], one["state"], one["ids"]) for one in found]


def members(simulator: Simulator, sync: str) -> set[str]:
    """Who is in the cohort of a sync, in truth."""
    (made,) = (one for one in simulator.cohorts() if one["name"].endswith(f" {sync}"))
    return simulator.members(made["id"])


def test_an_installation_goes_on_in_the_new_store_where_it_was(
    busy: Installation, simulator: Simulator, postgres_database: str
) -> None:
    before, old = seen(busy), sqlite(busy)

    moved = busy.syncd("db", "copy", "--to", postgres_database, "--json")
    refused = busy.run("open")
    on(busy, postgres_database)
    after = seen(busy)

    assert moved.code == 0, moved.err
    assert moved.document["retired"]
    assert refused.code == ExitCode.UNAVAILABLE
    assert "store.moved" in refused.err
    assert {state for _, _, state, _ in before["outbox"]} == {"used_up", "dead", "held"}
    assert after == before
    (held,) = (one["id"] for one in before["runs"] if one["outcome"] == "held")
    does_what_was_left_undone(busy, simulator, held)
    downloads = simulator.downloads()["counted"]
    back = busy.syncd("db", "copy", "--to", old)
    on(busy, old)
    asked = simulator.last()
    again = busy.run("open", "dead", "held", "trait", "pushed")
    assert back.code == 0, back.err
    assert again.code == 0, again.err
    assert {one["outcome"] for one in again.document["runs"]} == {"no_change"}
    assert simulator.sent("ADD", asked) == simulator.sent("REMOVE", asked) == []
    assert simulator.downloads()["counted"] == downloads


def does_what_was_left_undone(
    busy: Installation, simulator: Simulator, held: str
) -> None:
    """By the new store: nobody is sent again whom the old one had delivered."""
    busy.audience([*MEMBERS, *LATER, FORGOTTEN], "dead")
    downloads, asked = simulator.downloads()["counted"], simulator.last()

    ran = busy.run("open", "dead", "trait", "pushed")
    approved = busy.syncd("approve", held, "--reason", "right")
    paused = busy.run("paused")

    outcomes = {one["sync"]: one["outcome"] for one in ran.document["runs"]}
    assert outcomes == {
        "open": "success",
        "dead": "success",
        "trait": "no_change",
        "pushed": "no_change",
    }
    assert sorted(simulator.sent("ADD", asked)) == sorted([*LATER, *LATER])
    assert members(simulator, "open") == {*MEMBERS, *LATER}
    assert members(simulator, "dead") == {*MEMBERS, *LATER}
    assert approved.code == ExitCode.OK
    assert members(simulator, "held") == set(MEMBERS[:10])
    assert paused.code == ExitCode.TRY_LATER
    assert simulator.downloads()["counted"] == downloads


# ---- what it says ------------------------------------------------------------------


def test_it_says_what_was_copied_and_what_to_do_next(
    vip: Installation, postgres_database: str
) -> None:
    moved = vip.syncd("db", "copy", "--from", sqlite(vip), "--to", postgres_database)

    assert moved.code == 0, moved.err
    assert moved.out.splitlines()[0].split()[:2] == ["TABLE", "ROWS"]
    assert "the same on both sides" in moved.out
    assert f"{sqlite(vip)} is retired" in moved.err
    assert f"Next: store.url: {postgres_database}, then: " in moved.err
    assert "syncd serve -c" in moved.err


def test_a_try_leaves_the_old_store_at_work_and_warns(vip: Installation) -> None:
    new = sqlite(vip, "new.db")

    tried = vip.syncd("db", "copy", "--keep", "--to", new, "--json")
    told = vip.syncd("db", "copy", "--keep", "--to", sqlite(vip, "newer.db"))

    assert (tried.code, tried.document["retired"]) == (0, False)
    assert "warning: " in told.err
    assert "Never let a daemon run on both" in told.err
    assert vip.run("vip").run["outcome"] == "no_change"
    assert (vip.folder / "new.db").stat().st_mode & 0o777 == 0o600


def test_no_password_is_asked_for_or_shown(
    vip: Installation, postgres_database: str
) -> None:
    url = with_password(postgres_database)
    file = vip.folder / "secrets" / "database_url"
    vip.secret("database_url", url)

    typed = vip.syncd("db", "copy", "--to", url)
    read = vip.syncd("db", "copy", "--to-file", str(file))
    refused = vip.run("vip")

    assert typed.code == ExitCode.USAGE
    assert "--to-file" in typed.err
    assert read.code == 0, read.err
    assert f"Next: store.url_file: {file}, then: " in read.err
    assert "store.moved" in refused.err
    for each in (typed, read, refused):
        assert PASSWORD not in each.out + each.err
    assert PASSWORD.encode() not in vip.database.read_bytes()


def with_password(url: str) -> str:
    before, _, after = url.partition("@")
    return f"{before.removesuffix(':')}:{PASSWORD}@{after}"


@pytest.mark.parametrize("flag", ["--to", "--from"])
def test_a_password_in_the_query_of_a_url_is_refused_as_well(
    installation: Installation, flag: str
) -> None:
    url = f"postgresql://db/syncd?user=u&password={PASSWORD}"
    other = "--from" if flag == "--to" else "--to"

    refused = installation.syncd("db", "copy", flag, url, other, sqlite(installation))

    assert refused.code == ExitCode.USAGE
    assert f"no password in {flag}: put the URL into a file, {flag}-file" in refused.err
    assert PASSWORD not in refused.err


def test_a_store_of_an_older_program_is_copied_after_its_migration(
    vip: Installation, simulator: Simulator, postgres_database: str
) -> None:
    with closing(sqlite3.connect(vip.database)) as connection, connection:
        connection.execute("ALTER TABLE daemon DROP COLUMN role")
        connection.execute("UPDATE alembic_version SET version_num = '0008'")

    refused = vip.syncd("db", "copy", "--to", postgres_database)
    migrated = vip.syncd("db", "migrate")
    moved = vip.syncd("db", "copy", "--to", postgres_database)

    assert refused.code == ExitCode.UNAVAILABLE
    assert "the old store has schema 0008" in refused.err
    assert "next: syncd db migrate, with a configuration whose store.url is " in (
        refused.err
    )
    assert (migrated.code, moved.code) == (0, 0), migrated.err + moved.err
    asked = simulator.last()
    assert on(vip, postgres_database).run("vip").run["outcome"] == "no_change"
    assert simulator.sent("ADD", asked) == simulator.sent("REMOVE", asked) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "where shall it go?"),
        (("--to", "mysql://db/syncd"), "no URL of a store"),
        (("--to", "new.db"), "no URL of a store"),
        (("--to", "sqlite:////new.db", "--to-file", "x"), "either --to or --to-file"),
    ],
)
def test_what_means_no_place_is_a_wrong_command(
    installation: Installation, words: tuple[str, ...], why: str
) -> None:
    refused = installation.syncd("db", "copy", *words)

    assert refused.code == ExitCode.USAGE
    assert why in refused.err


def test_nothing_is_moved_while_a_daemon_works(
    vip: Installation, postgres_database: str
) -> None:
    first = vip.start("serve")
    assert first.reached("daemon.started")
    on_a_file = vip.syncd("db", "copy", "--to", postgres_database)
    assert first.stop() == 0
    assert vip.syncd("db", "copy", "--to", postgres_database).code == 0
    second = on(vip, postgres_database).start("serve")
    assert second.reached("daemon.started")
    on_postgres = vip.syncd("db", "copy", "--to", sqlite(vip))
    assert second.stop() == 0
    stopped = vip.syncd("db", "copy", "--to", sqlite(vip))

    for refused in (on_a_file, on_postgres):
        assert refused.code == ExitCode.TRY_LATER
        assert "error[store.in_use]" in refused.err
        assert "next: stop every daemon" in refused.err
    assert stopped.code == 0, stopped.err


# ---- without room, and killed --------------------------------------------------------


def marked(url: str) -> str | None:
    """What stands where the revision does; None: nothing yet."""
    database = Database(url, readers=1)
    try:
        with database.read() as connection:
            return standing(connection)
    except StoreError:
        return None  # not even a file
    finally:
        database.close()


def usable(url: str) -> str:
    """Empty, or why nobody may work on it."""
    database = Database(url, readers=1)
    try:
        require_current(database)
    except StoreError as error:
        return error.code
    finally:
        database.close()
    return ""


def test_a_new_file_without_room_is_no_store_and_the_same_command_fills_it_later(
    vip: Installation,
) -> None:
    old, new = sqlite(vip), sqlite(vip, "new.db")
    command = vip.command("db", "copy", "--to", new)
    # As on a disk with this many KiB left.
    small = ["bash", "-c", 'ulimit -f 100 && exec "$@"', "bash"]

    without_room = vip.begin("db", [*small, *command])
    code = without_room.process.wait(PATIENCE)
    without_room.reader.join(PATIENCE)
    states = usable(old), usable(new)
    again = vip.syncd("db", "copy", "--to", new)

    assert code == ExitCode.UNAVAILABLE, without_room.text
    assert "error[store.unavailable]" in without_room.text
    assert "the same command again" in without_room.text
    assert states == ("", "store.unfinished")
    assert again.code == 0, again.err
    assert (usable(old), usable(new)) == ("store.moved", "")


@pytest.mark.parametrize(
    "way",
    ["sqlite to sqlite", "sqlite to postgresql", "postgresql to sqlite"],
)
def test_whatever_kills_it_half_a_copy_is_no_store_and_the_same_command_ends_it(
    vip: Installation, simulator: Simulator, request: pytest.FixtureRequest, way: str
) -> None:
    old, new = sqlite(vip), sqlite(vip, "new.db")
    if way == "sqlite to postgresql":
        new = request.getfixturevalue("postgres_database")
    if way == "postgresql to sqlite":
        old = request.getfixturevalue("postgres_database")
        assert vip.syncd("db", "copy", "--to", old).code == 0
        on(vip, old)
    copying = vip.start("db", "copy", "--to", new)
    pause = threading.Event()
    for _ in range(int(PATIENCE / LOOK)):
        if marked(new) or copying.ended:
            break
        pause.wait(LOOK)

    killed = copying.kill()
    states = usable(old), usable(new)
    again = vip.syncd("db", "copy", "--to", new)

    assert killed, copying.text
    # It may have come as far as retiring the old one; both are never usable.
    assert states in {("", "store.unfinished"), ("store.moved", "store.unfinished")}
    assert again.code == 0, again.err
    assert (usable(old), usable(new)) == ("store.moved", "")
    asked = simulator.last()
    assert on(vip, new).run("vip").run["outcome"] == "no_change"
    assert simulator.sent("ADD", asked) == simulator.sent("REMOVE", asked) == []
