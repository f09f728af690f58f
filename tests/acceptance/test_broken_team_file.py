"""A team's file with six mistakes beside the shipped main file, by the real command.

Each is named at its exact `file:line:col`, all at once, with the way out.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = "config/conf.d/growth.yaml"
BROKEN = """\
# conf.d/growth.yaml
syncs:
  - name: vip-trials
    owner: growth
    from: {connection: engaje-main, audience: vip_trials}
    to: {connection: amplitude-main, cohort: "[syncd] VIP trials"}
    schedule: every 1h at 03:00
    fresh_within: 90

  - name: churn-risk
    owner: growth
    from: {connection: amplitude-main, cohort_id: 5t6y7u8}
    to: {connection: engage-main, trait: vip_watch}
    schedul: hourly
    schedule: hourly
"""
FOUND = [
    (5, 24, "connection.unknown"),
    (7, 15, "schedule.mixed"),
    (8, 19, "duration.no_unit"),
    (10, 11, "sync.duplicate"),
    (14, 5, "key.unknown"),
    (15, 15, "quota.exceeded"),
]
CARETS = {
    "connection.unknown": "engaje-main",
    "schedule.mixed": "every 1h at 03:00",
    "duration.no_unit": "90",
    "sync.duplicate": "churn-risk",
    "key.unknown": "schedul",
    "quota.exceeded": "hourly",
}
"""Code → what the caret underlines."""


def check(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    (folder / "config/conf.d").mkdir(parents=True, exist_ok=True)
    shipped = (ROOT / "config/syncd.yaml").read_text(encoding="utf-8")
    main = f"{shipped}\ninclude: [conf.d/*.yaml]\n"
    (folder / "config/syncd.yaml").write_text(main, encoding="utf-8")
    (folder / FILE).write_text(BROKEN, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "syncd", "check", *args],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        cwd=folder,
    )


def first_definition() -> str:
    """Where the shipped main file defines the name that is taken again."""
    lines = (ROOT / "config/syncd.yaml").read_text(encoding="utf-8").splitlines()
    (line,) = [n for n, text in enumerate(lines, 1) if "name: churn-risk" in text]
    return f"config/syncd.yaml:{line}:{lines[line - 1].index('churn-risk') + 1}"


def test_the_six_mistakes_are_named_at_their_places_with_the_way_out(
    tmp_path: Path,
) -> None:
    refused = check(tmp_path, "--format", "concise")

    *lines, last = refused.stdout.splitlines()
    assert refused.returncode == 78
    # What is left of the month depends on the shipped syncs.
    *exact, quota = lines
    assert exact == [
        (
            f"{FILE}:5:24: error[connection.unknown] no connection 'engaje-main'; "
            "did you mean 'engage-main'?"
        ),
        (
            f"{FILE}:7:15: error[schedule.mixed] 'every 1h at 03:00' mixes interval "
            "and clock time; 'every 1h', 'every 1h at :00' or 'daily at 03:00'"
        ),
        f"{FILE}:8:19: error[duration.no_unit] 90 has no unit; did you mean '90m'?",
        (
            f"{FILE}:10:11: error[sync.duplicate] sync 'churn-risk' is already "
            f"defined at {first_definition()}; rename one"
        ),
        (
            f"{FILE}:14:5: error[key.unknown] unknown key 'schedul'; "
            "did you mean 'schedule'?"
        ),
    ]
    assert re.fullmatch(
        re.escape(f"{FILE}:15:15: error[quota.exceeded] ")
        + r"'hourly' needs 744 downloads a month; \d+ of 500 are left "
        r"\(50 are reserved\); fits: every \d+h, or budget: \d+/day",
        quota,
    )
    assert last == "6 errors, 0 warnings in 1 file"


def test_each_mistake_is_shown_with_its_line_and_a_caret_below_it(
    tmp_path: Path,
) -> None:
    refused = check(tmp_path)

    shown = refused.stdout.splitlines()
    assert refused.returncode == 78
    for line, column, code in FOUND:
        at = shown.index(f"  --> {FILE}:{line}:{column}")
        assert shown[at - 1].startswith(f"error[{code}]: ")
        caret = next(n for n in range(at, len(shown)) if "^" in shown[n])
        start = shown[caret].index("^")
        underlined = shown[caret - 1][start : start + shown[caret].count("^")]
        assert underlined == CARETS[code]
        assert f"   more: syncd explain {code}" in shown


def test_programs_get_the_same_places(tmp_path: Path) -> None:
    refused = check(tmp_path, "--json")

    problems = json.loads(refused.stdout)["problems"]
    assert refused.returncode == 78
    assert [
        (each["file"], each["line"], each["column"], each["code"]) for each in problems
    ] == [(FILE, *each) for each in FOUND]
