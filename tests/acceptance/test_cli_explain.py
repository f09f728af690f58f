"""`syncd explain` and `syncd logs -`, as the real command."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from tests.simulated import PROJECT

ENVIRONMENT: Mapping[str, str] = {"PATH": os.defpath, "PYTHONPATH": str(PROJECT)}
RUN = "019e1b75-47da-732d-8f77-c01b463ddf1e"


def syncd(*args: str, told: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "syncd", *args],
        input=told,
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(ENVIRONMENT),
    )


def line(**changes: object) -> str:
    ours = {
        "ts": "2026-05-12T09:12:13.608Z",
        "level": "info",
        "event": "run.finished",
        "msg": "vip: +412 -133",
        "service.name": "syncd",
        "sync": "vip",
        "run_id": RUN,
    }
    return json.dumps(ours | changes) + "\n"


def test_a_page_has_its_four_headings_and_fits_the_terminal() -> None:
    ended = syncd("explain", "guard.max_exit")

    lines = ended.stdout.splitlines()
    assert ended.returncode == 0
    assert lines[0] == "guard.max_exit"
    for heading in ("Meaning", "Impact", "Diagnosis", "Mitigation"):
        assert heading in lines
    assert "  $ syncd show RUN" in lines
    assert all(len(each) <= 100 for each in lines)


def test_help_knows_the_same_words() -> None:
    assert syncd("help", "stale").stdout == syncd("explain", "stale").stdout != ""


def test_an_unknown_word_names_the_nearest_three() -> None:
    ended = syncd("explain", "guard.max_exits")

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "guard.max_exit," in ended.stderr
    assert "next: syncd explain guard.max_exit" in ended.stderr


def test_json_has_the_page_and_all_pages() -> None:
    one = json.loads(syncd("explain", "source.stale", "--json").stdout)
    every = json.loads(syncd("explain", "--json").stdout)

    assert one["schema"] == "syncd.explain/1"
    (page,) = one["pages"]
    assert page["codes"] == ["source.stale"]
    assert page in every["pages"]


def test_log_lines_are_readable_and_others_pass() -> None:
    ended = syncd("logs", "-", told=f"plain\n{line(exited=133, error='two words')}")

    plain, ours = ended.stdout.splitlines()
    assert plain == "plain"
    assert ours.startswith("05-12 09:12:13.608 info    run.finished")
    assert ours.endswith('vip vip: +412 -133 exited=133 error="two words" run=463ddf1e')


def test_log_lines_are_chosen_by_run_sync_level_and_age() -> None:
    now = datetime.now(UTC)
    told = line(event="old.one", ts=(now - timedelta(hours=3)).isoformat())
    told += line(event="new.one", ts=now.isoformat(), level="warning")
    told += line(event="other.one", ts=now.isoformat(), sync="b", run_id="x")

    def events(*flags: str) -> list[str]:
        shown = syncd("logs", "-", *flags, told=told).stdout.splitlines()
        return [each.split()[3] for each in shown]

    assert events("--since", "2h") == ["new.one", "other.one"]
    assert events("--run", "463ddf1e") == ["old.one", "new.one"]
    assert events("--sync", "b") == ["other.one"]
    assert events("--level", "warning") == ["new.one"]
    assert syncd("logs", "-", "--since", "soon").returncode == 2


def test_a_line_cannot_move_the_cursor() -> None:
    ended = syncd("logs", "-", told=line(msg="a\x1b[2Jb"))

    assert "\x1b" not in ended.stdout


def test_a_line_is_shown_before_the_next_one_comes_and_a_gone_reader_is_no_error() -> (
    None
):
    with subprocess.Popen(
        [sys.executable, "-m", "syncd", "logs", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(ENVIRONMENT),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(line())
        process.stdin.flush()
        first = process.stdout.readline()
        process.stdout.close()
        process.stdin.write(line())
        process.stdin.close()
        errors = process.stderr.read()

    assert "run.finished" in first
    assert process.returncode == 141
    assert errors == ""
