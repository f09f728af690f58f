"""What people read is true: commands exist, CI runs what the README says."""

import re
from pathlib import Path

import pytest

from syncd import events
from syncd.cli.main import VERBS
from syncd.events import Event

ROOT = Path(__file__).parents[2]
CI = (ROOT / ".ci/run").read_text()
DOCUMENTS = ["README.md", "deploy/README.md"]
CATALOGUE = [entry for entry in vars(events).values() if isinstance(entry, Event)]


def fenced(document: str) -> list[str]:
    """The lines inside the code blocks of a document."""
    text = (ROOT / document).read_text()
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines()]


def verbs(lines: list[str]) -> set[str]:
    """The verbs of every `syncd VERB` typed in these lines."""
    typed = r"(?:^|[$&|;] *|bin/)syncd ([a-z]+)"
    return {verb for line in lines for verb in re.findall(typed, line)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_in_a_document_exists(document: str) -> None:
    assert verbs(fenced(document)) <= VERBS.keys()


def test_every_next_command_in_the_log_exists() -> None:
    named = {entry.next.split()[1] for entry in CATALOGUE if entry.next}

    assert named <= VERBS.keys()


def test_ci_runs_the_readmes_test_command() -> None:
    tests = [line for line in fenced("README.md") if "-m pytest" in line]

    assert len(tests) == 1
    assert "\nstep python -m pytest\n" in CI
    assert re.search(r"python3? -m pytest$", tests[0])


def test_ci_installs_what_system_tests_need() -> None:
    reasons = [
        package
        for path in (ROOT / "tests").rglob("test_*.py")
        for package in re.findall(
            r"reason=\"needs the package (\S+)\"", path.read_text()
        )
    ]

    (listed,) = re.findall(r"^packages=\((.*)\)$", CI, re.MULTILINE)
    assert set(reasons) == set(listed.split())
