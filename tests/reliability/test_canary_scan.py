"""The scan of all output, and a journey through the commands that no canary had seen.

The scan itself is part of every installation (`tests/installed.py`): what any of its
processes printed, and the files they wrote, are searched at the end of every test. Here
is a journey that meets faults which echo keys and people, a bug in the middle of a run,
and the commands that begin anew, forget, repair, read back and let go.
"""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.canaries import Output, leaks, secrets_in, spellings
from tests.installed import Ended, Installation
from tests.simulated import PATIENCE, Simulator

PEOPLE = [f"canary-{number:04d}@bird.example" for number in range(60)]
KEYS = ("demo-api-key", "demo-secret-key")
NEW = PEOPLE[40:44]
ECHO = json.dumps({"error": f"{' '.join(KEYS)}: no user {NEW[0]}", "ids": NEW})
"""What a vendor may say: all that it was told, keys and people."""
REASON = ("--reason", "a canary flies through", "--yes")
BUG = """
import sys
from syncd.sync import settling

def broken(*args, **more):
    try:
        raise KeyError({person!r})
    except KeyError as error:
        raise ValueError("cannot send {person} with {key}") from error

settling.deliver = broken
from syncd.__main__ import main
main()
"""
"""A process in which delivering meets a bug whose words name a person and a key."""


@pytest.fixture
def vip(installation: Installation, simulator: Simulator) -> Installation:
    """A cohort fed by a file, and a trait read from a cohort."""
    installation.config["defaults"]["delivery"] |= {"batch_size": 10, "retries": 1}
    installation.sync("vip")
    simulator.post("/_sim/config", {"job_seconds": 0})
    simulator.users(PEOPLE)
    simulator.cohort("c1", members=PEOPLE[:20])
    installation.cohort_sync("trait", "c1")
    installation.audience(PEOPLE[:40])
    return installation


def echoing(simulator: Simulator, endpoint: str, status: int, **which: str) -> None:
    """The next request is refused, with everything that is secret in the answer."""
    simulator.fault(endpoint, "status", calls=[1], status=status, body=ECHO, **which)


def crashed(installation: Installation) -> Ended:
    """A run that meets a bug."""
    command = installation.command("run", "--json", "-vv", "vip")
    code = BUG.format(person=PEOPLE[5], key=KEYS[0])
    done = subprocess.run(
        [sys.executable, "-c", code, *command[3:]],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=installation.folder,
    )
    return installation.overheard("run", done)


def forget(installation: Installation, *people: str) -> Ended:
    done = subprocess.run(
        installation.command("forget", "-", "--json"),
        input="\n".join(people),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=installation.folder,
    )
    return installation.overheard("forget", done)


def found(installation: Installation, simulator: Simulator) -> dict[str, Ended]:
    """What every command said on the way, by a name for it."""
    said: dict[str, Ended] = {"first": installation.run("vip")}
    installation.audience(PEOPLE[2:44])
    echoing(simulator, "membership", 400, operation="ADD")
    said["refused"] = installation.run("vip")
    simulator.no_faults()
    installation.audience(PEOPLE[4:48])
    said["crash"] = crashed(installation)
    said["after"] = installation.run("vip")
    keys = json.dumps({"error": f"not for {' '.join(KEYS)}"})
    simulator.fault("list", "status", calls=[1], status=403, body=keys)
    said["doctor"] = installation.syncd("doctor")
    simulator.no_faults()
    said["forget"] = forget(installation, *PEOPLE[10:12])
    said["verify"] = installation.syncd("verify", "vip", "--json")
    said["repair"] = installation.syncd("verify", "vip", "--repair", *REASON)
    said["resync"] = installation.syncd("resync", "vip", "--push", *REASON)
    said["notify"] = installation.syncd("notify", "test")
    said["detach"] = installation.syncd("detach", "vip", "--empty", *REASON)
    for verb in ("status", "runs"):
        said[verb] = installation.syncd(verb, "--json")
    return said


@pytest.mark.timeout(300)
def test_nobody_and_no_key_is_named_on_a_journey_through_every_trouble(
    vip: Installation, simulator: Simulator
) -> None:
    vip.secret("hook", "https://hooks.example.com/services/canary-hook-0123456789")
    vip.config["notifications"] = {
        "channels": {"ops": {"type": "slack", "webhook_url_file": "hook"}}
    }

    said = found(vip, simulator)

    codes = {name: ended.code for name, ended in said.items()}
    assert codes["first"] == codes["after"] == codes["forget"] == 0, codes
    assert "ValueError" in said["crash"].err, "the bug was met"
    assert codes["crash"] != 0
    assert codes["doctor"] != 0
    assert codes["notify"] != 0, "nobody listens at that address"
    assert said["refused"].events("batch.split"), "the words of a refusal were met"
    for name, ended in said.items():
        assert "canary-00" not in ended.out + ended.err, name
    assert vip.told() == []  # and so says the scan that follows every test


def test_a_key_in_the_wrong_place_of_the_configuration_is_not_repeated(
    vip: Installation,
) -> None:
    vip.secret("misplaced", wrong := "misplaced-key-0123456789")
    vip.config["connections"]["amplitude"]["api_key"] = wrong
    vip.config["connections"]["amplitude"]["owner"] = {"key": wrong}
    vip.config["syncs"][0]["schedule"] = wrong
    vip.config["store"]["url"] = f"postgresql://syncd:{wrong}@127.0.0.1:1/syncd"

    ended = [vip.syncd(verb) for verb in ("check", "run", "doctor", "status")]

    assert all(each.code != 0 for each in ended)
    assert wrong not in "".join(each.out + each.err for each in ended)


# ---- the scan itself -----------------------------------------------------------------

SECRET = "s3cret/+ \u00e9-value"
"""With a letter that every spelling writes differently."""


@pytest.mark.parametrize("form", sorted(spellings(SECRET)))
def test_the_scan_finds_a_secret_however_it_is_spelled(form: str) -> None:
    text = f'first line\n{{"event":"batch.sent","error":"xx{form}yy"}}\nlast'

    (where, *_) = secrets_in(text, {"api_key": [SECRET]})

    assert where.startswith("line 2 (batch.sent): the secret api_key, ")
    assert SECRET not in where


def store(folder: Path, *ids: str) -> Path:
    """As much of a store as the scan reads."""
    path = folder / "syncd.db"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE inbox (member_id TEXT)")
        made.executemany("INSERT INTO inbox VALUES (?)", [(each,) for each in ids])
        made.commit()
    return path


@pytest.mark.parametrize(
    ("verb", "text", "expected"),
    [
        ("run", "sent person-000777 away", ["out, line 1: a member id"]),
        ("run", "a\nb ada7@x.example", ["out, line 2: a member id"]),
        ("run", "person-12 is a cohort's name", []),
        ("run", "run 01f3a7 of vip-2, 777 ids", []),
        ("members", "person-000777", []),
    ],
)
def test_the_scan_knows_people_by_the_shape_of_their_ids(
    tmp_path: Path, verb: str, text: str, expected: list[str]
) -> None:
    database = store(tmp_path, "person-000001", "ada1@x.example", "777")
    said = Output(name="out", verb=verb, text=text)
    config = '{"cohort": "person-12"}'

    assert leaks(tmp_path, database, [said], no_secrets(), config) == expected


def test_the_scan_reads_the_files_that_the_product_wrote(tmp_path: Path) -> None:
    database = store(tmp_path, "person-000001")
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "run.tmp").write_text("x\nthe key is demo-key-1234")
    (tmp_path / "syncd.json").write_text("demo-key-1234")

    places = leaks(tmp_path, database, [], {"api_key": ["demo-key-1234"]}, "")

    assert places == ["spool/run.tmp, line 2: the secret api_key, plain"]


def no_secrets() -> Mapping[str, list[str]]:
    return {}
