"""`syncd config show`: each value with the line it comes from, by the real command."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SECRET = "canary-4711"
MAIN = """\
version: 1
secrets_dir: secrets
store:
  url: postgresql://syncd:${SYNCD_PASSWORD}@db/syncd
connections:
  amplitude-main:
    {type: amplitude, region: us, app_id: 1, api_key_file: a, secret_key_file: b}
  partner:
    type: list_api
    base_url: https://lists.example.com
    api_key_file: partner_key
    headers: {X-Team: "${SYNCD_TEAM}"}
    secret_headers: {X-Sign: {env: SYNCD_SIGN}}
windows:
  night: [{days: mon..fri, from: "01:30", to: "02:45"}]
defaults:
  blackout: [night]
  guard: {max_exit: 25%}
  delivery: {max_delay: 128s}
include: [team.yaml]
"""
TEAM = """\
syncs:
  - name: vip
    from: {connection: amplitude-main, cohort_id: abc}
    to: {connection: partner}
    schedule: {cron: "5 4 * * *", timezone: UTC}
    guard: {ignore_below: 7}
  - name: always
    from: {connection: amplitude-main, cohort_id: def}
    to: {connection: partner}
    schedule: daily at 05:00
    blackout: []
"""


def show(folder: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "secrets").mkdir(exist_ok=True)
    (folder / "secrets/partner_key").write_text(SECRET, encoding="utf-8")
    (folder / "main.yaml").write_text(MAIN, encoding="utf-8")
    (folder / "team.yaml").write_text(TEAM, encoding="utf-8")
    names = {"SYNCD_PASSWORD": SECRET, "SYNCD_TEAM": SECRET, "SYNCD_SIGN": SECRET}
    return subprocess.run(
        [sys.executable, "-m", "syncd", "config", "show", "-c", "main.yaml", *args],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **names,
            **environ,
        },
        cwd=folder,
    )


def values(shown: subprocess.CompletedProcess[str]) -> dict[str, tuple[Any, ...]]:
    """Path → value, origin, file and line."""
    assert shown.returncode == 0, shown.stderr
    return {
        each["path"]: (each["value"], each["origin"], each["file"], each["line"])
        for each in json.loads(shown.stdout)["values"]
    }


def test_each_value_comes_with_the_file_and_line_that_win(tmp_path: Path) -> None:
    found = values(show(tmp_path, "--resolved", "--json"))

    vip = "syncs.vip"
    assert found[f"{vip}.guard.ignore_below"] == (7, "file", "team.yaml", 6)
    assert found[f"{vip}.guard.max_exit"] == ("25%", "file", "main.yaml", 18)
    assert found[f"{vip}.delivery.max_delay"] == ("128s", "file", "main.yaml", 19)
    assert found[f"{vip}.guard.max_enter"] == ("1000%", "default", None, None)
    assert found[f"{vip}.delivery.first_delay"] == ("1s", "default", None, None)
    assert found[f"{vip}.schedule.cron"] == ("5 4 * * *", "file", "team.yaml", 5)
    assert f"{vip}.schedule" not in found
    assert found[f"{vip}.blackout"] == (["night"], "file", "main.yaml", 17)
    assert found["syncs.always.blackout"] == ([], "file", "team.yaml", 11)
    assert found["windows.night.0.days"] == ("mon..fri", "file", "main.yaml", 15)
    assert found["log.level"] == ("info", "default", None, None)
    assert found["web.admin.listen"] == ("127.0.0.1:8081", "default", None, None)
    assert found["connections.partner.request_deadline"][0] == "30s"


def test_a_variable_beats_a_file_and_is_named_as_the_origin(tmp_path: Path) -> None:
    found = values(
        show(
            tmp_path,
            *("--resolved", "--json"),
            SYNCD_DEFAULTS__GUARD__MAX_EXIT="15%",
            SYNCD_LOG__LEVEL="debug",
        )
    )

    variable = "$SYNCD_DEFAULTS__GUARD__MAX_EXIT"
    assert found["syncs.vip.guard.max_exit"] == ("15%", "environment", variable, 1)
    assert found["log.level"] == ("debug", "environment", "$SYNCD_LOG__LEVEL", 1)


def test_without_resolved_only_what_is_written_is_shown(tmp_path: Path) -> None:
    found = values(show(tmp_path, "--json"))

    assert found["syncs.vip.guard.ignore_below"][0] == 7
    assert "syncs.vip.guard.max_exit" not in found
    assert {origin for _, origin, *_ in found.values()} == {"file"}


def test_secrets_are_shown_as_references_and_never_as_values(tmp_path: Path) -> None:
    text = show(tmp_path, "--resolved", "-v")
    document = show(tmp_path, "--resolved", "--json")

    found = values(document)
    for output in (text.stdout, text.stderr, document.stdout, document.stderr):
        assert SECRET not in output
    password = "postgresql://syncd:${SYNCD_PASSWORD}@db/syncd"
    assert found["store.url"] == (password, "file", "main.yaml", 4)
    assert found["connections.partner.headers.X-Team"][0] == "${SYNCD_TEAM}"
    assert found["connections.partner.secret_headers.X-Sign.env"][0] == "SYNCD_SIGN"
    assert found["connections.partner.api_key_file"][0] == "partner_key"


def test_a_path_shows_one_value_or_all_below_it(tmp_path: Path) -> None:
    one = show(tmp_path, "--resolved", "syncs.vip.guard.max_exit")
    below = show(tmp_path, "syncs.*.guard", "log", "--resolved")

    assert one.stdout == "main.yaml:18  syncs.vip.guard.max_exit  25%\n"
    assert [line.split()[1] for line in below.stdout.splitlines()][-2:] == [
        "log.format",
        "log.level",
    ]


def test_a_path_at_which_nothing_is_is_a_usage_error(tmp_path: Path) -> None:
    missed = show(tmp_path, "syncs.vip.gard.ignore_below")

    assert missed.returncode == 2
    assert missed.stdout == ""
    assert "Did you mean 'syncs.vip.guard.ignore_below'?" in missed.stderr
    assert "--resolved" in missed.stderr


def test_broken_files_are_reported_as_everywhere(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("version: 1\nstor: {}\n", encoding="utf-8")

    failed = show(tmp_path, "-c", "bad.yaml")

    assert failed.returncode == 78
    assert "bad.yaml:2:1" in failed.stderr
