"""The systemd units fit the command, its exit codes and their configuration."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.cli import main
from syncd.cli.exit_codes import ExitCode
from syncd.config import load
from syncd.store.location import sqlite_path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/systemd"
UNITS = sorted([*FOLDER.glob("*.service"), *FOLDER.glob("*.timer")])
CONFIG = FOLDER / "syncd.yaml"
PROGRAM = "/opt/syncd/bin/syncd"
EXPOSURE = 15
"""Tenths of systemd's own figure: 0 is a wall, 100 none."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs the package systemd"
)


def values(unit: str, key: str) -> list[str]:
    """What a unit says for this key, line by line; comments say nothing."""
    text = (FOLDER / unit).read_text()
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def value(unit: str, key: str) -> str:
    (only,) = values(unit, key)
    return only


def commands() -> list[list[str]]:
    """The arguments of every syncd that a unit starts."""
    text = "\n".join(path.read_text() for path in UNITS)
    lines = re.findall(rf"^Exec\w+=.*?{PROGRAM} (.*)$", text, re.MULTILINE)
    return [shlex.split(line.removesuffix("'")) for line in lines]


def here(unit: str, folder: Path) -> Path:
    """The unit as it is, with a program that exists."""
    copy = folder / unit
    text = (FOLDER / unit).read_text()
    copy.write_text(text.replace(PROGRAM, str(Path(sys.executable).parent / "syncd")))
    return copy


def analyzed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True
    )


@pytest.mark.parametrize("command", commands(), ids=lambda command: command[0])
def test_what_a_unit_starts_is_a_command(command: list[str]) -> None:
    assert main.run([*command, "--help"], dict) == 0


def test_every_command_was_found() -> None:
    started = [command[0] for command in commands()]

    assert sorted(started) == ["check", "db", "serve"]


def test_a_reload_asks_nobody_who_is_only_there_beside_a_sqlite_store() -> None:
    first, then = values("syncd.service", "ExecReload")

    assert first == f"{PROGRAM} check"
    assert then == "/bin/kill -HUP $MAINPID"


def test_it_is_not_started_again_where_that_cannot_help() -> None:
    codes = {
        int(code) for code in value("syncd.service", "RestartPreventExitStatus").split()
    }

    assert codes == {ExitCode.USAGE, ExitCode.CONFIG}
    assert value("syncd.service", "Restart") == "on-failure"


def test_systemd_waits_longer_than_the_daemon_takes_to_stop() -> None:
    grace = load([CONFIG], {}).settings.shutdown_grace.total_seconds()

    patience = float(value("syncd.service", "TimeoutStopSec").removesuffix("s"))
    assert patience >= grace + 5


def test_it_waits_for_no_word_that_the_daemon_never_says() -> None:
    said = [
        path
        for path in ROOT.glob("syncd/**/*.py")
        if "NOTIFY_SOCKET" in path.read_text()
    ]

    assert (value("syncd.service", "Type") == "notify") == bool(said)


def test_the_configuration_beside_it_is_accepted_without_a_warning() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "syncd", "check", "--strict", str(CONFIG)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_daemon_gets_a_copy_of_each_secret_and_no_other() -> None:
    wanted = re.findall(r"_file: (\w+)|\{file: (\w+)\}", CONFIG.read_text())
    names = sorted({one or other for one, other in wanted})
    folder = re.findall(r"^secrets_dir: (\S+)", CONFIG.read_text(), re.MULTILINE)[0]

    given = values("syncd.service", "LoadCredential")
    assert given == [f"{name}:{folder}/{name}" for name in names]


def test_secrets_are_read_where_systemd_puts_them() -> None:
    environ = dict(
        pair.split("=", 1) for pair in values("syncd.service", "Environment")
    )
    there = "/run/credentials/syncd.service"

    assert environ.pop("SYNCD_SECRETS_DIR") == there
    shown = repr(load([CONFIG], {"SYNCD_SECRETS_DIR": there}).settings)
    folders = set(re.findall(r"file=PosixPath\('(/[^']+)/\w+'\)", shown))
    assert folders == {there}
    assert environ.pop("SYNCD_CONFIG") == "/etc/syncd/syncd.yaml"
    assert environ == {"PYTHONDONTWRITEBYTECODE": "1"}


def test_the_store_lies_in_the_state_directory() -> None:
    store = sqlite_path(load([CONFIG], {}).settings.store.read_url())

    for unit in ("syncd.service", "syncd-backup.service"):
        assert "syncd" in value(unit, "StateDirectory").split()
        assert value(unit, "StateDirectoryMode") == "0700"
    assert store == Path("/var/lib/syncd/syncd.db")
    assert value("syncd-backup.service", "ConditionPathExists") == "%S/syncd/syncd.db"


def test_both_services_are_of_the_user_that_is_made() -> None:
    (made,) = re.findall(
        r"^u (\w+)", (FOLDER / "syncd.sysusers").read_text(), re.MULTILINE
    )

    assert {
        value(path.name, "User") for path in UNITS if path.suffix == ".service"
    } == {made}


def backup(state: Path, config: Path) -> list[subprocess.CompletedProcess[str]]:
    """Carry out what the backup's unit says, as systemd would."""
    environ = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "SYNCD_CONFIG": str(config)}
    specifiers = {"S": str(state), "%": "%"}
    ended = []
    for key in ("ExecStart", "ExecStartPost"):
        line = value("syncd-backup.service", key)
        filled = re.sub("%(.)", lambda found: specifiers[found[1]], line)
        words = shlex.split(filled.replace(PROGRAM, f"{sys.executable} -m syncd"))
        ended.append(subprocess.run(words, env=environ, capture_output=True, text=True))
    return ended


def test_the_backup_is_made_and_old_ones_go(tmp_path: Path) -> None:
    for folder in ("syncd", "syncd-backups"):
        (tmp_path / folder).mkdir(mode=0o700)
    config = tmp_path / "syncd.yaml"
    store = tmp_path / "syncd/syncd.db"
    config.write_text(CONFIG.read_text().replace("/var/lib/syncd/syncd.db", str(store)))
    environ = {"PYTHONPATH": str(ROOT)}
    migrate = [sys.executable, "-m", "syncd", "db", "migrate", "-c", str(config)]
    subprocess.run(migrate, env=environ, check=True, capture_output=True)
    old = tmp_path / "syncd-backups/syncd-20260101T000000Z.db"
    old.touch()
    os.utime(old, (0, 0))

    ended = backup(tmp_path, config)

    assert [each.returncode for each in ended] == [0, 0], ended[0].stderr
    (kept,) = (tmp_path / "syncd-backups").iterdir()
    assert re.fullmatch(r"syncd-\d{8}T\d{6}Z\.db", kept.name)
    assert kept.read_bytes().startswith(b"SQLite format 3")


@pytest.mark.system
@needs_systemd
@pytest.mark.parametrize("unit", [path.name for path in UNITS])
def test_systemd_finds_nothing_wrong(unit: str, tmp_path: Path) -> None:
    for each in UNITS:
        here(each.name, tmp_path)

    done = analyzed("verify", tmp_path / unit)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.system
@needs_systemd
def test_systemd_would_say_what_is_wrong(tmp_path: Path) -> None:
    unit = here("syncd.service", tmp_path)
    unit.write_text(unit.read_text().replace("[Service]", "[Service]\nBogus=yes"))

    done = analyzed("verify", unit)

    assert "Unknown key 'Bogus'" in done.stderr


@pytest.mark.system
@needs_systemd
@pytest.mark.parametrize("unit", ["syncd.service", "syncd-backup.service"])
def test_a_service_is_exposed_little(unit: str, tmp_path: Path) -> None:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    here(unit, tmp_path / "etc/systemd/system")

    done = analyzed(
        *("--no-pager", f"--root={tmp_path}", "security", "--offline=true"),
        *(f"--threshold={EXPOSURE}", unit),
    )

    assert done.returncode == 0, done.stdout[-200:] + done.stderr
    assert "Overall exposure level" in done.stdout
