"""`init`, `check` and `schedule`: the real command on real files."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncd.schedule import Cron, Every, next_after, offset

GOOD = """\
version: 1
instance: prod-eu
connections:
  engage-main:
    type: engage
    space: acme
    snapshot: {type: warehouse, url_file: warehouse_url}
  amplitude-main:
    type: amplitude
    region: eu
    app_id: 187520
    api_key_file: amplitude_api_key
    secret_key_file: amplitude_secret_key
    owner: growth-ops@acme.example
defaults: {timezone: Europe/Berlin, jitter: 5m}
syncs:
  - name: power-users
    from: {connection: engage-main, audience: power_users}
    to: {connection: amplitude-main}
    schedule: every 1h at :10
  - name: night-owls
    from: {connection: engage-main, audience: night_owls}
    to: {connection: amplitude-main}
    schedule: daily at 02:30
"""
UNUSED = """\
connections:
  spare:
    type: amplitude
    region: eu
    app_id: 1
    api_key_file: a
    secret_key_file: b
"""


def syncd(
    *args: str, cwd: Path, stdin: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """The real command, started in `cwd`, with a bare environment."""
    checkout = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "syncd", *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": checkout, **environ},
        cwd=cwd,
    )


def written(folder: Path, text: str = GOOD, name: str = "config/syncd.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def with_sync(**keys: str) -> str:
    """The good file and one more sync; `from` is `from_`."""
    sync = {
        "name": "more",
        "from": "{connection: engage-main, audience: more}",
        "to": "{connection: amplitude-main}",
        "schedule": "hourly",
        **{key.rstrip("_"): value for key, value in keys.items()},
    }
    lines = [f"    {key}: {value}\n" for key, value in sync.items()]
    return GOOD + "  -" + "".join(lines)[3:]


# --- init ---------------------------------------------------------------------------


def test_init_writes_a_file_that_check_accepts(tmp_path: Path) -> None:
    wrote = syncd("init", cwd=tmp_path)
    checked = syncd("check", "--strict", cwd=tmp_path)

    assert wrote.returncode == 0
    assert wrote.stdout == ""
    assert wrote.stderr == (
        "wrote config/syncd.yaml\nNext: edit it, then syncd check\n"
    )
    text = (tmp_path / "config/syncd.yaml").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 100
    assert checked.returncode == 0, checked.stdout
    assert "0 errors, 0 warnings." in checked.stdout


def uncommented(text: str) -> str:
    """The starter with everything it offers beside what it has; no alternatives."""
    ours = r"write_key_file:|region:|inbox:|push:|web:| +\w+:|- name:| +\S+: {"
    offered = re.compile(rf"^( *)# ({ours})", re.MULTILINE)
    return offered.sub(r"\1\2", text)


def test_whatever_the_starter_offers_works_when_it_is_uncommented(
    tmp_path: Path,
) -> None:
    syncd("init", cwd=tmp_path)
    path = tmp_path / "config/syncd.yaml"
    whole = uncommented(path.read_text(encoding="utf-8"))
    path.write_text(whole, encoding="utf-8")

    checked = syncd("check", "--strict", "--json", cwd=tmp_path)

    document = json.loads(checked.stdout)
    assert checked.returncode == 0, checked.stdout
    assert [sync["name"] for sync in document["syncs"]] == ["power-users", "churn-risk"]
    for key in ("inbox", "second_factor", "push", "web", "inbound", "admin"):
        assert re.search(rf"^ *{key}:", whole, re.MULTILINE), key


def test_init_replaces_a_file_only_when_forced(tmp_path: Path) -> None:
    path = written(tmp_path, "mine: true\n", "conf/syncd.yaml")

    refused = syncd("init", "conf", cwd=tmp_path)
    kept = path.read_text(encoding="utf-8")
    forced = syncd("init", "conf", "--force", "-q", cwd=tmp_path)

    assert refused.returncode == 1
    assert "error[init.exists]: conf/syncd.yaml is already there" in refused.stderr
    assert "next: syncd init conf --force" in refused.stderr
    assert kept == "mine: true\n"
    assert forced.returncode == 0
    assert forced.stderr == ""
    assert path.read_text(encoding="utf-8").startswith("# syncd:")


def test_init_says_why_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, no folder", encoding="utf-8")

    shown = syncd("init", "taken/deeper", cwd=tmp_path)

    assert shown.returncode == 1
    assert (
        "error[init.unwritable]: cannot write taken/deeper/syncd.yaml" in shown.stderr
    )


# --- check --------------------------------------------------------------------------


def test_check_says_what_it_found(tmp_path: Path) -> None:
    written(tmp_path)

    shown = syncd("check", cwd=tmp_path)

    assert shown.returncode == 0
    assert shown.stderr == ""
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["config/syncd.yaml", "ok"]
    assert "2 syncs, 2 connections" in lines
    (row,) = (line for line in lines if line.startswith("  night-owls "))
    assert "Twilio → Amplitude" in row
    assert "daily at 02:30 Europe/Berlin" in row
    assert " next " in row
    assert sum(line.startswith("note: night-owls: 02:30 ") for line in lines) == 2
    assert lines[-1] == "0 errors, 0 warnings.  Next: syncd plan"


def test_check_touches_no_secret_and_no_store(tmp_path: Path) -> None:
    unreadable = 'secrets_dir: /nowhere\nstore: {url: "sqlite:////nowhere/syncd.db"}\n'
    written(tmp_path, GOOD + unreadable)

    assert syncd("check", cwd=tmp_path).returncode == 0


def test_a_bad_file_is_exit_78_with_every_finding_at_its_place(tmp_path: Path) -> None:
    text = with_sync(schedul="hourly", schedule="every 1h at 03:00")
    path = written(tmp_path, text, "bad.yaml")

    full = syncd("check", "bad.yaml", cwd=tmp_path)
    concise = syncd("check", "bad.yaml", "--format", "concise", cwd=tmp_path)
    github = syncd("check", "bad.yaml", "--format", "github", cwd=tmp_path)

    line = 1 + path.read_text().splitlines().index("    schedule: every 1h at 03:00")
    assert full.returncode == concise.returncode == github.returncode == 78
    assert "error[schedule.mixed]" in full.stdout
    assert f"--> bad.yaml:{line}:15" in full.stdout
    assert "^^^" in full.stdout
    assert f"bad.yaml:{line}:15: error[schedule.mixed]" in concise.stdout
    assert "error[key.unknown]" in concise.stdout
    assert "did you mean 'schedule'?" in concise.stdout
    assert f"::error file=bad.yaml,line={line},col=15" in github.stdout
    assert full.stderr == concise.stderr == github.stderr == ""


def test_check_as_json_is_one_document_for_good_and_bad(tmp_path: Path) -> None:
    written(tmp_path)
    written(tmp_path, with_sync(schedule="sometimes"), "bad.yaml")

    good = syncd("check", "--json", cwd=tmp_path)
    same = syncd("check", "--format", "json", cwd=tmp_path)
    bad = syncd("check", "--json", "bad.yaml", cwd=tmp_path)

    document = json.loads(good.stdout)
    assert good.stdout.startswith('{\n  "schema": "syncd.check/1",')
    assert document["ok"] is True
    assert document["problems"] == []
    assert [sync["name"] for sync in document["syncs"]] == ["power-users", "night-owls"]
    assert document["config_hash"] == json.loads(same.stdout)["config_hash"]
    assert bad.returncode == 78
    assert json.loads(bad.stdout)["ok"] is False
    (problem,) = json.loads(bad.stdout)["problems"]
    assert problem["file"] == "bad.yaml"
    error = json.loads(bad.stderr)
    assert (error["type"], error["code"], error["exit_code"]) == ("error", "config", 78)
    assert error["problems"] == [problem]


def test_a_warning_fails_only_when_strict(tmp_path: Path) -> None:
    written(tmp_path, GOOD.replace("connections:\n", UNUSED))

    lax = syncd("check", cwd=tmp_path)
    strict = syncd("check", "--strict", cwd=tmp_path)

    assert lax.returncode == 0
    assert "warning[connection.unused]" in lax.stdout
    assert "0 errors, 1 warning." in lax.stdout
    assert strict.returncode == 78
    assert strict.stdout == lax.stdout


def test_check_reads_stdin(tmp_path: Path) -> None:
    good = syncd("check", "-", cwd=tmp_path, stdin=GOOD)
    bad = syncd("check", "-", cwd=tmp_path, stdin="version: 1\nversion: 1\n")

    assert good.returncode == 0
    assert good.stdout.splitlines()[0].split() == ["<stdin>", "ok"]
    assert "2 syncs" in good.stdout
    assert bad.returncode == 78
    assert "<stdin>:2:1" in bad.stdout


# --- where the configuration is -----------------------------------------------------


def test_the_flag_beats_the_variable_beats_the_default_place(tmp_path: Path) -> None:
    written(tmp_path)
    written(tmp_path, with_sync(name="from-variable"), "variable.yaml")
    written(tmp_path, with_sync(name="from-flag"), "flag.yaml")

    def names(*args: str, **environ: str) -> list[str]:
        shown = syncd(*args, "--json", cwd=tmp_path, **environ)
        return [sync["name"] for sync in json.loads(shown.stdout)["syncs"]]

    assert names("schedule") == ["power-users", "night-owls"]
    assert names("schedule", SYNCD_CONFIG="variable.yaml")[-1] == "from-variable"
    for args in (["-c", "flag.yaml", "schedule"], ["schedule", "-c", "flag.yaml"]):
        assert names(*args, SYNCD_CONFIG="variable.yaml")[-1] == "from-flag"


def test_several_files_make_one_configuration(tmp_path: Path) -> None:
    main, _, syncs = GOOD.partition("syncs:\n")
    written(tmp_path, main, "main.yaml")
    written(tmp_path, "syncs:\n" + syncs, "team.yaml")

    together = syncd("check", "main.yaml", "team.yaml", cwd=tmp_path)
    flags = syncd("check", "-c", "main.yaml", "-c", "team.yaml", cwd=tmp_path)

    assert together.returncode == 0
    assert "2 syncs, 2 connections" in together.stdout
    assert flags.stdout == together.stdout
    assert together.stdout.endswith("Next: syncd plan -c main.yaml -c team.yaml\n")


@pytest.mark.skipif(
    Path("/etc/syncd/syncd.yaml").exists(), reason="syncd is installed on this machine"
)
def test_no_configuration_anywhere_names_init(tmp_path: Path) -> None:
    shown = syncd("schedule", cwd=tmp_path)

    assert shown.returncode == 78
    assert shown.stdout == ""
    assert "error[file.missing]: no configuration" in shown.stderr
    assert "syncd init" in shown.stderr


# --- schedule -----------------------------------------------------------------------


def test_schedule_shows_coming_times_in_the_syncs_zone_and_utc(tmp_path: Path) -> None:
    written(tmp_path)

    shown = syncd("schedule", "night-owls", "--next", "3", cwd=tmp_path)

    jitter = offset("prod-eu", "night-owls", timedelta(minutes=5))
    due = next_after(Cron("30 2 * * *", "Europe/Berlin"), datetime.now(UTC) - jitter)
    assert due is not None
    lines = shown.stdout.splitlines()
    assert shown.returncode == 0
    assert lines[0].startswith("night-owls   daily at 02:30 Europe/Berlin   jitter +")
    assert lines[1] == "  At 02:30 every day, Europe/Berlin"
    assert lines[2].endswith(f"{due + jitter:%H:%M:%SZ}")
    assert len([line for line in lines if line.endswith("Z")]) == 3
    assert " CET " in shown.stdout or " CEST " in shown.stdout
    assert sum("note: 02:30 " in line for line in lines) == 2


def test_schedule_as_json_has_rfc_3339_utc_times(tmp_path: Path) -> None:
    written(tmp_path)

    shown = syncd("schedule", "power*", "--next", "2", "--json", cwd=tmp_path)

    document = json.loads(shown.stdout)
    (sync,) = document["syncs"]
    jitter = timedelta(seconds=sync["jitter_seconds"])
    now = datetime.fromisoformat(document["now"])
    hourly = Every(timedelta(hours=1), timedelta(minutes=10))
    one = next_after(hourly, now - jitter)
    assert one is not None
    two = one + timedelta(hours=1)
    assert document["schema"] == "syncd.schedule/1"
    assert sync["schedule"] == "every 1h at :10"
    assert sync["next"] == [f"{t + jitter:%Y-%m-%dT%H:%M:%SZ}" for t in (one, two)]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"schedule": "once"}, "  at once, until it succeeded"),
        ({"schedule": "manual"}, "  by hand: syncd run more"),
        ({"schedule": "hourly", "enabled": "false"}, "  off (enabled: false)"),
    ],
)
def test_a_sync_without_times_says_so(
    tmp_path: Path, keys: dict[str, str], says: str
) -> None:
    written(tmp_path, with_sync(**keys))

    shown = syncd("schedule", "more", cwd=tmp_path)

    assert shown.returncode == 0
    assert says in shown.stdout.splitlines()


def test_a_sync_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    written(tmp_path)

    shown = syncd("schedule", "nigth-owls", cwd=tmp_path)

    assert shown.returncode == 2
    assert "No sync 'nigth-owls'" in shown.stderr
    assert "Did you mean 'night-owls'?" in shown.stderr
