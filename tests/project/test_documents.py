"""What people read is true: commands, keys, words and numbers it names exist."""

import re
from pathlib import Path

import pytest

from syncd import events, metrics
from syncd.app.gauges import GAUGES
from syncd.cli.main import VERBS
from syncd.config import load
from syncd.config.resolve_inbound import ADMIN, INBOUND, MAX_CONNECTIONS
from syncd.events import Event
from syncd.sources.amplitude_push.names import SPELLINGS
from syncd.sources.amplitude_push.words import LeftOut
from syncd.sources.engage_inbox.event import Result

ROOT = Path(__file__).parents[2]
CI = (ROOT / ".ci/run").read_text()
DOCUMENTS = ["README.md", "deploy/README.md"]
CATALOGUE = [entry for entry in vars(events).values() if isinstance(entry, Event)]


def fenced(document: str) -> list[str]:
    """The lines inside the code blocks of a document."""
    text = (ROOT / document).read_text()
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines()]


def configurations(document: str) -> list[str]:
    """The configurations that a document shows, each a whole or what is worth saying
    of it."""
    text = (ROOT / document).read_text()
    shown = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ours = [block for block in shown if re.match(r"version:|connections:", block)]
    return [
        block if block.startswith("version:") else f"version: 1\n{block}"
        for block in ours
    ]


README = (ROOT / "README.md").read_text()
CONFIGURATIONS = [text for each in DOCUMENTS for text in configurations(each)]


def verbs(lines: list[str]) -> set[str]:
    """The verbs of every `syncd VERB` typed in these lines."""
    typed = r"(?:^|[$&|;] *|bin/)syncd ([a-z]+)"
    return {verb for line in lines for verb in re.findall(typed, line)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_in_a_document_exists(document: str) -> None:
    assert verbs(fenced(document)) <= VERBS.keys()


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_a_shown_configuration_is_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "shown.yaml"
    path.write_text(text, encoding="utf-8")

    loaded = load([path], {})

    assert loaded.settings.syncs
    assert loaded.warnings == ()


def test_every_metric_in_a_document_exists() -> None:
    counted = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in metrics.REGISTRY.collect()
    }
    texts = [(ROOT / document).read_text() for document in DOCUMENTS]
    named = {name for text in texts for name in re.findall(r"`(syncd_\w+)", text)}

    assert named
    assert named <= counted | set(GAUGES)


def test_every_log_event_in_a_symptom_exists() -> None:
    emitted = re.findall(r"^\| `((?:inbox|web)\.\w+)`", README, re.MULTILINE)

    assert emitted
    assert set(emitted) <= {entry.name for entry in CATALOGUE}


def test_the_readme_names_every_reason_for_which_an_event_is_left_out() -> None:
    words = [*Result, *LeftOut]

    assert [word.value for word in words if f"`{word.value}`" not in README] == []


def test_the_readme_names_every_spelling_of_a_cohort() -> None:
    assert [each for each in SPELLINGS if f"`{each}`" not in README] == []


def test_the_readme_names_the_usual_addresses() -> None:
    assert f"{INBOUND.host}:{INBOUND.port}" in README
    assert f"`{ADMIN.host}:{ADMIN.port}`" in README
    assert f"{MAX_CONNECTIONS:,} connections" in README


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
        for path in (ROOT / "tests").rglob("*.py")
        for package in re.findall(
            r"reason=\"needs the package (\S+)\"", path.read_text()
        )
    ]

    (listed,) = re.findall(r"^packages=\((.*)\)$", CI, re.MULTILINE)
    # Without letters of its own a browser lays pages out differently.
    assert {*reasons, "fonts-dejavu-core"} == set(listed.split())
