"""How problems look: for a person, a narrow log, GitHub and a program."""

import json

import pytest

from syncd.config.report import caret_width, render
from syncd.errors import Problem

FILE = "conf.d/growth.yaml"
LINES = (
    "syncs:",
    "  - name: vip",
    "    schedule: every 1h at 03:00",
    "    api_key: hush-0123456789   # oops",
    "    url: postgresql://u:hush-0123456789@db/x",
)


def problem(
    *,
    file: str = FILE,
    line: int = 3,
    column: int = 15,
    message: str = "'every 1h at 03:00' mixes interval and clock time",
    hint: str = "'every 1h' or 'daily at 03:00'",
    severity: str = "error",
) -> Problem:
    return Problem(
        file=file,
        line=line,
        column=column,
        code="schedule.mixed",
        message=message,
        hint=hint,
        severity=severity,
    )


def test_the_full_form_shows_the_line_with_a_caret_and_the_fix() -> None:
    text = render([problem()], {FILE: LINES}, "full")

    assert text == (
        "error[schedule.mixed]: 'every 1h at 03:00' mixes interval and clock time\n"
        "  --> conf.d/growth.yaml:3:15\n"
        "   2 |   - name: vip\n"
        "   3 |     schedule: every 1h at 03:00\n"
        "     |               ^^^^^^^^^^^^^^^^^\n"
        "    fix: 'every 1h' or 'daily at 03:00'\n"
        "   more: syncd explain schedule.mixed\n"
        "\n"
        "1 error, 0 warnings in 1 file"
    )


def test_the_concise_form_is_a_line_for_each_problem() -> None:
    warning = problem(severity="warning", hint="", line=9)

    text = render([problem(), warning], {}, "concise")

    said = "'every 1h at 03:00' mixes interval and clock time"
    assert text.splitlines() == [
        f"{FILE}:3:15: error[schedule.mixed] {said}; 'every 1h' or 'daily at 03:00'",
        f"{FILE}:9:15: warning[schedule.mixed] {said}",
        "1 error, 1 warning in 1 file",
    ]


def test_the_github_form_escapes_what_github_reads_as_its_own() -> None:
    text = render(
        [problem(file="a,b:c.yaml", message="100%\nreally", hint="")], {}, "github"
    )

    assert text == (
        "::error file=a%2Cb%3Ac.yaml,line=3,col=15,title=schedule.mixed"
        "::100%25%0Areally"
    )


def test_the_json_form_names_its_version_and_every_field() -> None:
    document = json.loads(render([problem()], {}, "json"))

    assert document["schema"] == "syncd.check/1"
    assert document["problems"] == [
        {
            "file": FILE,
            "line": 3,
            "column": 15,
            "code": "schedule.mixed",
            "message": "'every 1h at 03:00' mixes interval and clock time",
            "hint": "'every 1h' or 'daily at 03:00'",
            "severity": "error",
        }
    ]


def test_a_variable_has_a_name_and_no_lines() -> None:
    one = problem(file="$SYNCD_LOG__LEVEL", line=1, column=1, hint="")

    assert render([one], {}, "concise").startswith("$SYNCD_LOG__LEVEL: error[")
    assert "file=" not in render([one], {}, "github")
    assert "  --> $SYNCD_LOG__LEVEL\n" in render([one], {}, "full")


@pytest.mark.parametrize("line", [3, 4, 5])
def test_a_shown_line_never_holds_a_secret(line: int) -> None:
    text = render([problem(line=line, column=5)], {FILE: LINES}, "full")

    assert "hush" not in text
    assert "0123456789" not in text


def test_a_shown_line_cannot_write_to_the_terminal() -> None:
    text = render([problem(line=1, column=1)], {FILE: ("a: \x1b[2Jb",)}, "full")

    assert "\x1b" not in text


def test_nothing_to_report_is_said_in_numbers() -> None:
    assert render([], {}, "concise") == "0 errors, 0 warnings"
    assert render([], {}, "github") == ""


@pytest.mark.parametrize(
    ("line", "column", "width"),
    [
        ("schedule: every 1h   # comment", 11, 8),
        ("schedule: every 1h", 1, 8),
        ('a: "two words", b: 1', 4, 11),
        ("a: 'it''s', b: 1", 4, 7),
        ("from: {connection: main, audience: vip}", 20, 4),
        ("from: {connection: main, audience: vip}", 36, 3),
        ("from: {connection: main}", 7, 1),
        ("from:", 6, 1),
        ("x", 9, 1),
    ],
)
def test_the_caret_is_as_wide_as_what_it_points_at(
    line: str, column: int, width: int
) -> None:
    assert caret_width(line, column) == width
