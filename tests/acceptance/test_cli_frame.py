"""The frame of the command line: the real command, on pipes and on a terminal."""

import json
import os
import pty
import signal
import subprocess
import sys
from importlib import import_module
from io import StringIO
from pathlib import Path

import click
import pytest
from rich.text import Text

from syncd.cli import failure
from syncd.cli.exit_codes import MEANINGS, ExitCode, for_error
from syncd.cli.frame import Frame
from syncd.cli.main import SECTIONS, VERBS, run
from syncd.cli.output import ColorChoice, Column, Output, auto_color, columns_that_fit
from syncd.errors import (
    ConfigError,
    DaemonError,
    DeliveryError,
    Fault,
    LeaseLost,
    SourceUnavailable,
    SourceUntrusted,
    StoreInUse,
    StoreRefused,
    StoreUnavailable,
    SyncdError,
    TargetUnusable,
)

HEAVY = ("sqlalchemy", "httpx", "starlette", "pydantic", "rich", "uvicorn", "ruamel")


def syncd(
    *args: str, cwd: Path | None = None, stdin: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """The real command on pipes, in an environment without the caller's wishes."""
    return subprocess.run(
        [sys.executable, "-m", "syncd", *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=clean(environ),
        cwd=cwd,
    )


def clean(environ: dict[str, str]) -> dict[str, str]:
    path = str(Path(__file__).parents[2])
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "TERM": "xterm", **environ}


def on_a_terminal(*args: str, **environ: str) -> tuple[int, str]:
    """Exit code and everything a terminal of unknown size would get."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "syncd", *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=clean(environ),
    ) as process:
        os.close(theirs)
        shown = b""
        while chunk := read_from(ours):
            shown += chunk
        os.close(ours)
        return process.wait(timeout=60), shown.decode()


def read_from(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says EIO when the last writer is gone
        return b""


# --- help ---------------------------------------------------------------------------


@pytest.mark.parametrize("args", [(), ("--help",), ("-h",), ("help",)])
def test_the_first_page_lists_each_verb_once_by_occasion(args: tuple[str, ...]) -> None:
    shown = syncd(*args)

    assert shown.returncode == 0
    assert shown.stderr == ""
    for name, entry in VERBS.items():
        line = f"{name:<13}{entry.summary}\n"
        assert shown.stdout.count(line) == 1
    assert all(len(line) <= 88 for line in shown.stdout.splitlines())


@pytest.mark.parametrize("name", list(VERBS))
def test_each_listed_verb_exists_and_has_a_page(name: str) -> None:
    module, _, function = VERBS[name].target.partition(":")
    command = getattr(import_module(module), function)

    page = syncd("help", name)

    assert isinstance(command, click.Command)
    assert command.name == name
    assert VERBS[name].section in SECTIONS
    assert page.returncode == 0
    assert page.stdout.startswith(f"Usage: syncd {name} ")
    assert page.stdout == syncd(name, "--help").stdout
    for flag in ("--config", "--quiet", "--verbose", "--color", "--no-input", "--yes"):
        assert flag in page.stdout


def test_help_loads_nothing_heavy() -> None:
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "syncd", "--help"],
        capture_output=True,
        text=True,
        env=clean({}),
        check=True,
    )

    loaded = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}

    assert "click" in loaded
    assert not {name for name in loaded if name.partition(".")[0] in HEAVY}
    assert not {name for name in loaded if name.startswith("syncd.store")}


def test_the_exit_codes_page_has_every_code() -> None:
    shown = syncd("help", "exit-codes")

    codes = [line.split()[0] for line in shown.stdout.splitlines()]

    assert shown.returncode == 0
    assert list(MEANINGS) == list(ExitCode)
    assert [code for code in codes if code.isdecimal()] == [
        str(int(code)) for code in ExitCode
    ]


def test_the_version_is_one_line() -> None:
    shown = syncd("--version")

    assert shown.returncode == 0
    assert shown.stdout.startswith("syncd ")
    assert shown.stdout.count("\n") == 1


# --- wrong usage --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "says", "next_command"),
    [
        (("chekc",), "Did you mean 'check'?", "syncd --help"),
        (("help", "shedule"), "Did you mean 'schedule'?", "syncd help --help"),
        (("check", "--strikt"), "--strict", "syncd check --help"),
        (("schedule", "--next", "0"), "not in the range", "syncd schedule --help"),
        (("check", "--color", "red"), "auto", "syncd check --help"),
    ],
)
def test_wrong_usage_is_exit_2_with_the_way_out(
    args: tuple[str, ...], says: str, next_command: str
) -> None:
    shown = syncd(*args)

    assert shown.returncode == 2
    assert shown.stdout == ""
    assert shown.stderr.startswith("error[usage]: ")
    assert says in shown.stderr
    assert shown.stderr.endswith(f"next: {next_command}\n")


def test_with_json_a_failure_is_one_line_on_stderr() -> None:
    shown = syncd("schedule", "--json", "--next", "x")

    assert shown.returncode == 2
    assert shown.stdout == ""
    line = json.loads(shown.stderr)
    assert line["type"] == "error"
    assert line["code"] == "usage"
    assert line["exit_code"] == 2
    assert shown.stderr.count("\n") == 1


# --- errors -------------------------------------------------------------------------


def delivery(fault: Fault) -> DeliveryError:
    return DeliveryError("no", fault=fault, error_type="auth")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError([]), 78),
        (SyncdError("gone", code="secret.missing"), 78),
        (SourceUnavailable("no answer"), 69),
        (SourceUntrusted("short"), 1),
        (TargetUnusable("archived"), 3),
        (delivery(Fault.CREDENTIALS), 77),
        (delivery(Fault.THROTTLED), 75),
        (delivery(Fault.PASSING), 69),
        (delivery(Fault.TARGET_GONE), 3),
        (delivery(Fault.REFUSED), 1),
        (StoreUnavailable("disk full"), 69),
        (StoreRefused("newer schema"), 69),
        (StoreInUse("another daemon"), 75),
        (LeaseLost("taken over"), 75),
        (DaemonError("no answer"), 69),
    ],
)
def test_each_error_has_its_exit_code(error: SyncdError, code: int) -> None:
    assert for_error(error) == code


def test_an_error_says_its_code_and_the_next_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = StoreInUse("daemon 41 has the store", hint="syncd status")

    code = failure.report(error, Frame(read_environ=dict))

    assert code == ExitCode.TRY_LATER
    assert capsys.readouterr().err == (
        "error[store.in_use]: daemon 41 has the store\nnext: syncd status\n"
    )


def test_a_bug_shows_its_place_but_no_data_unless_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        raise KeyError("user-4711")
    except KeyError as error:
        quiet = failure.report_bug(error, Frame(read_environ=dict))
        shown = capsys.readouterr().err
        failure.report_bug(error, Frame(read_environ=dict, verbosity=1))
        verbose = capsys.readouterr().err

    assert quiet == ExitCode.BUG
    assert "KeyError at test_cli_frame.py:" in shown
    assert "user-4711" not in shown
    assert "user-4711" in verbose


def test_ctrl_c_is_exit_130() -> None:
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "syncd", "check", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean({}),
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:  # the loader is in: it now waits for stdin
            if line.rstrip().endswith(" syncd.config.loader"):
                break
        process.send_signal(signal.SIGINT)
        process.stderr.read()

        assert process.wait(timeout=60) == 130


def test_a_reader_that_goes_away_is_no_trace() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    shown = subprocess.run(
        [sys.executable, "-m", "syncd", "help", "exit-codes"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env=clean({}),
        timeout=60,
    )

    os.close(writer)
    assert shown.returncode == 141
    assert shown.stderr == ""


def test_a_question_is_asked_only_where_somebody_can_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("y\n"))  # a pipe is nobody

    assert Frame(read_environ=dict, yes=True).confirm("Send?") is True
    assert Frame(read_environ=dict).confirm("Send?") is False
    assert Frame(read_environ=dict, no_input=True).confirm("Send?") is False


def test_quiet_leaves_data_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for verbosity in (-1, 0, 1):
        out = Frame(read_environ=dict, verbosity=verbosity).out
        out.line("data")
        out.error("error")
        out.message("message")
        out.detail("detail")

    shown = capsys.readouterr()

    assert shown.out.split() == ["data"] * 3
    assert shown.err.split() == [
        *("error",),
        *("error", "message"),
        *("error", "message", "detail"),
    ]


def test_run_returns_the_code_instead_of_leaving(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["--version"], dict) == 0
    assert run(["nothing-like-it"], dict) == 2
    assert "nothing-like-it" in capsys.readouterr().err


# --- colour -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "tty", "colored"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_no_color_beats_force_color_beats_the_terminal(
    environ: dict[str, str], tty: bool, colored: bool
) -> None:
    assert auto_color(environ, tty=tty) is colored


@pytest.mark.parametrize(("choice", "colored"), [("always", True), ("never", False)])
def test_the_color_flag_beats_all_variables(choice: ColorChoice, colored: bool) -> None:
    variables = {"NO_COLOR": "1"} if colored else {"FORCE_COLOR": "1"}

    out = Output(color=choice, read_environ=lambda: variables)

    assert out.in_color(StringIO()) is colored


def test_a_terminal_gets_colors_and_a_pipe_the_same_text_without() -> None:
    code, shown = on_a_terminal("help", "exit-codes")
    piped = syncd("help", "exit-codes").stdout

    assert code == 0
    assert "\x1b[" in shown
    assert "\x1b" not in piped
    assert "\x1b" not in on_a_terminal("help", "exit-codes", NO_COLOR="1")[1]
    assert "\x1b" not in on_a_terminal("help", "exit-codes", TERM="dumb")[1]
    assert "\x1b[" in syncd("help", "--color=always", "exit-codes", NO_COLOR="1").stdout
    plain = on_a_terminal("--color", "never", "help", "exit-codes")[1]
    assert plain.replace("\r\n", "\n") == piped


# --- tables -------------------------------------------------------------------------


def written(columns: list[Column], rows: list[list[str | Text]], color: str) -> str:
    stream = StringIO()
    out = Output(
        color="always" if color == "always" else "never",
        read_environ=dict,
        stdout=stream,
    )
    out.table(columns, rows)
    return stream.getvalue()


def test_data_is_never_markup_nor_a_terminal_command() -> None:
    names: list[list[str | Text]] = [["[/] [red]x[/red] :smile:"], ["a\x1b[2Jb\rc"]]

    for color in ("always", "never"):
        table = written([Column(title="NAME")], names, color)

        assert "[/] [red]x[/red] :smile:" in table
        assert "a\\x1b[2Jb\\rc" in table


def test_a_table_drops_its_least_important_columns_to_fit() -> None:
    columns = [
        Column(title="SYNC"),
        Column(title="NOTE", drop=2),
        Column(title="SIZE", right=True, drop=1),
    ]
    rows = [["power-users", "x" * 60, "48,489"]]

    assert columns_that_fit(columns, rows, 100) == [0, 1, 2]
    assert columns_that_fit(columns, rows, 60) == [0, 2]
    assert columns_that_fit(columns, rows, 12) == [0]
    assert columns_that_fit(columns, rows, 5) == [0]


def test_a_table_is_at_most_100_columns_and_loses_no_text() -> None:
    long = "word " * 60

    table = written([Column(title="A"), Column(title="B")], [["key", long]], "never")

    assert max(map(len, table.splitlines())) <= 100
    assert table.split().count("word") == 60
