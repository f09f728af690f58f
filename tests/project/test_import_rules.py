"""The import rules hold, and each of them fails when it is broken on purpose.

The rules themselves are in pyproject.toml. A seeded violation is one line appended to
a copy of the package; the linter then runs on the copy, in a process of its own, since
it imports by name.
"""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINTER = """
import sys
from importlinter.cli import lint_imports
sys.exit(lint_imports(no_cache=True, no_logo=True))
"""

LAYERS = "Each line imports only the lines below it"
PURE = "Decisions are pure"
NOUNS = "The nouns and errors know nothing"
VALIDATION = "Outside data is validated where it is read"
CONCRETE = "Concrete sources and sinks meet the engine only in app"
SOURCES = "Sources do not know each other"
SINKS = "Sinks do not know each other"
SIMULATOR = "The simulator shares nothing with the product"
STARTED = "Only a command starts the simulator"
HTTPX = "One owner for httpx"
APSCHEDULER = "One owner for apscheduler"
CRONSIM = "One owner for cronsim"
PROCRASTINATE = "One owner for procrastinate"
SQL = "SQL lives in the store and in the warehouse source"

SEEDS = [
    (LAYERS, "syncd/store/seeded.py", "import syncd.sync.ids"),
    (LAYERS, "syncd/clients/seeded.py", "import syncd.store.tables"),
    (LAYERS, "syncd/web/seeded.py", "import syncd.simulator"),
    (LAYERS, "syncd/seeded_story.py", "import syncd.model"),
    (PURE, "syncd/sync/ids.py", "import syncd.store.tables"),
    (PURE, "syncd/delivery/retry.py", "import syncd.events"),
    (PURE, "syncd/clients/limits.py", "import syncd.clients.http"),
    (NOUNS, "syncd/model.py", "import pydantic"),
    (VALIDATION, "syncd/store/tables.py", "import pydantic"),
    (CONCRETE, "syncd/sources/__init__.py", "import syncd.sources.files"),
    (CONCRETE, "syncd/cli/seeded.py", "import syncd.sinks.amplitude_cohort"),
    (SOURCES, "syncd/sources/files.py", "import syncd.sources.warehouse"),
    (SINKS, "syncd/sinks/amplitude_cohort.py", "import syncd.sinks.seeded"),
    (SIMULATOR, "syncd/simulator/seeded.py", "import syncd.model"),
    (STARTED, "syncd/config/seeded.py", "import syncd.simulator"),
    (HTTPX, "syncd/clients/amplitude.py", "import httpx"),
    (APSCHEDULER, "syncd/schedule.py", "import apscheduler.triggers.cron"),
    (CRONSIM, "syncd/config/seeded.py", "import cronsim"),
    (PROCRASTINATE, "syncd/app/jobs.py", "import procrastinate"),
    (SQL, "syncd/sources/files.py", "import sqlalchemy.exc"),
    (SQL, "syncd/cli/seeded.py", "import sqlite3"),
]

IMPURE = {
    "outbox": "carries out what a person decided about batches",
    "run": "the story: it reads, decides, writes",
    "beginning": "takes the lease and makes the run's row",
    "steps": "the steps of the story",
    "finding": "asks the destination for the target",
    "settling": "the steps of the story after its plan is durable",
    "telling": "logs what a plan would do",
    "failing_over": "asks the store whether it went back in time",
    "landings": "reads and drops what may land late",
    "news": "reads what was pushed",
    "readers": "makes threads wait for a place",
    "mending": "the story of a repair",
    "resync": "the story of a sync that begins anew by a push",
    "vouching": "writes down a person's word",
    "adopting": "the story of a sync that begins anew with what is there",
    "replacing": "writes the batches of a plan anew, behind an upload",
    "detach": "drops what is kept of a target",
    "snapshot": "reads the source",
    "draft": "reads the store",
    "commit": "stores a plan",
    "finish": "closes a run's row",
    "decide": "carries out what a person decided",
    "letting_go": "removes and erases people who are to be forgotten",
    "credentials": "stops and resumes connections",
    "trouble": "logs what stopped a run",
    "verdict": "logs what the guards said",
    "spec": "holds the parts of a sync",
    "sides": "reads what a changed identity stands on",
    "spill": "keeps a snapshot on disk while it is partitioned",
    "window": "reads who moved in the last 24 hours",
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINTER],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def contracts() -> dict[str, dict[str, object]]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {rule["name"]: rule for rule in table["tool"]["importlinter"]["contracts"]}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package and of its rules."""
    unread = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "syncd", tmp_path / "syncd", ignore=unread)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_import_rules_hold(package: Path) -> None:
    result = lint(package)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("rule", "file", "line"), SEEDS, ids=[f"{file}: {line}" for _, file, line in SEEDS]
)
def test_a_broken_rule_is_found(package: Path, rule: str, file: str, line: str) -> None:
    (package / "syncd/sinks/seeded.py").touch()
    with (package / file).open("a") as module:
        module.write(f"\n{line}\n")

    result = lint(package)

    assert result.returncode != 0
    assert f"{rule} BROKEN" in result.stdout, result.stdout + result.stderr


def test_every_rule_is_seen_to_fail() -> None:
    assert {rule for rule, _, _ in SEEDS} == contracts().keys()


def test_every_module_of_sync_is_a_decision_or_is_known_not_to_be() -> None:
    modules = {path.stem for path in (ROOT / "syncd/sync").glob("[!_]*")}

    pure = contracts()[PURE]["source_modules"]

    assert isinstance(pure, list)
    decisions = {name.removeprefix("syncd.sync.") for name in pure}
    assert modules - IMPURE.keys() == decisions & modules
    assert not decisions & IMPURE.keys()


def test_every_source_is_known_to_the_rules() -> None:
    folders = {path.parent.name for path in (ROOT / "syncd/sources").glob("*/*.py")}

    named = contracts()["Sources do not know each other"]["modules"]

    assert named == [f"syncd.sources.{name}" for name in sorted(folders, reverse=True)]
