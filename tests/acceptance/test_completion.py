"""TAB: what the shell offers, asked of the real command and through a real bash."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installed import Installation

ROOT = Path(__file__).parents[2]


def offered(folder: Path, *words: str) -> list[str]:
    """What may stand in the place of the last word."""
    asked = subprocess.run(
        [sys.executable, "-m", "syncd", "completion", "words", "--", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        cwd=folder,
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    return asked.stdout.split()


@pytest.fixture
def vip(installation: Installation) -> Installation:
    installation.sync("vip")
    installation.sync("late")
    installation.audience([], "vip")
    return installation


def test_verbs_their_parts_and_their_options_are_offered(tmp_path: Path) -> None:
    assert offered(tmp_path, "conf") == ["config"]
    assert offered(tmp_path, "config", "") == ["show"]
    assert offered(tmp_path, "config", "show", "--res") == ["--resolved"]
    assert offered(tmp_path, "status", "--color", "a") == ["always", "auto"]
    assert {"status", "run", "db"} <= set(offered(tmp_path, ""))


def test_names_of_syncs_and_recent_runs_are_offered(vip: Installation) -> None:
    run_id = vip.run("vip").run["id"]
    config = ("-c", str(vip.folder / "syncd.json"))

    assert offered(vip.folder, *config, "run", "") == ["late", "vip"]
    assert offered(vip.folder, "run", *config, "v") == ["vip"]
    assert offered(vip.folder, *config, "approve", "") == [run_id[-8:]]
    assert offered(vip.folder, *config, "show", "v") == ["vip"]


def test_a_broken_configuration_offers_nothing_and_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("syncs: [", encoding="utf-8")

    assert offered(tmp_path, "-c", "broken.yaml", "run", "") == []
    assert offered(tmp_path, "run", "") == []
    assert not (tmp_path / "data").exists()


def test_bash_completes_with_the_printed_script(vip: Installation) -> None:
    config = vip.command("run")[-1]
    binaries = vip.folder / "bin"
    binaries.mkdir()
    command = binaries / "syncd"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m syncd "$@"\n', "utf-8")
    command.chmod(0o755)
    script = (
        "source <(syncd completion bash)\n"
        f'COMP_WORDS=(syncd -c "{config}" run l); COMP_CWORD=4\n'
        '_syncd; echo "${COMPREPLY[@]}"\n'
        'COMP_WORDS=(syncd sta); COMP_CWORD=1; _syncd; echo "${COMPREPLY[@]}"\n'
    )

    completed = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": f"{binaries}:{os.defpath}", "PYTHONPATH": str(ROOT)},
        cwd=vip.folder,
    )

    assert completed.stdout.splitlines() == ["late", "status"]
    assert completed.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_is_one_its_shell_can_read(shell: str, tmp_path: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "syncd", "completion", shell],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    )
    (tmp_path / "script").write_text(printed.stdout, encoding="utf-8")

    assert "syncd completion words -- " in printed.stdout
    if found := shutil.which(shell):
        read = subprocess.run([found, "-n", str(tmp_path / "script")])
        assert read.returncode == 0
