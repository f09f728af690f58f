"""How a command that failed says so: once, on stderr, with the next command to type.

`error[code]: message`, then `next: hint`; with `--json` one line
`{"type":"error","code":…}`. The message of an unexpected exception is shown only with
`-v`: it may quote somebody's data.
"""

import traceback
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from syncd.cli.exit_codes import ExitCode, for_error
from syncd.cli.frame import Frame
from syncd.errors import ConfigError, Problem, SyncdError
from syncd.report.documents import json_line


def report(error: SyncdError, frame: Frame) -> ExitCode:
    """Show an error that was raised on purpose; returns how to exit."""
    code = for_error(error)
    if frame.as_json:
        problems = error.problems if isinstance(error, ConfigError) else ()
        _json(frame, code, error.code, str(error), error.hint, problems)
    elif isinstance(error, ConfigError):
        _show_problems(error, frame)
    else:
        _show(frame, error.code, str(error), error.hint)
    return code


def report_usage(error: click.ClickException, frame: Frame) -> ExitCode:
    """Show what was wrong with the command itself."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"{context.command_path} --help" if context else "syncd --help"
    if frame.as_json:
        _json(frame, ExitCode.USAGE, "usage", error.format_message(), hint)
    else:
        _show(frame, "usage", error.format_message(), hint)
    return ExitCode.USAGE


def report_bug(error: Exception, frame: Frame) -> ExitCode:
    """Show an exception that nobody expected, by its type and place."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{last.filename.rpartition('/')[2]}:{last.lineno}"
    message = f"{type(error).__name__} at {place}: this is a bug in syncd"
    if frame.as_json:
        _json(frame, ExitCode.BUG, "internal", message, "")
    else:
        _show(frame, "internal", message, "the same command with -v, and report it")
    frame.out.detail("".join(traceback.format_exception(error)).rstrip())
    return ExitCode.BUG


def _show(frame: Frame, code: str, message: str, hint: str) -> None:
    frame.out.error(f"error[{code}]: {message}", style="bold red")
    if hint:
        frame.out.error(f"next: {hint}")


def _show_problems(error: ConfigError, frame: Frame) -> None:
    from syncd.config.loader import InvalidConfig
    from syncd.config.report import render

    sources = error.sources if isinstance(error, InvalidConfig) else {}
    for line in render(error.problems, sources, "full").splitlines():
        frame.out.error(line, style=style_of(line))
    if any(problem.code != "file.missing" for problem in error.problems):
        frame.out.error(f"next: {error.hint}{frame.config_flags()}")


def style_of(line: str) -> str:
    """The colour of a line of a finding."""
    if line.startswith("error["):
        return "bold red"
    return "bold yellow" if line.startswith("warning[") else ""


def _json(
    frame: Frame,
    exit_code: ExitCode,
    code: str,
    message: str,
    hint: str,
    problems: Sequence[Problem] = (),
) -> None:
    line: dict[str, Any] = {
        "type": "error",
        "code": code,
        "message": message,
        "hint": hint,
        "exit_code": int(exit_code),
    }
    if problems:
        line["problems"] = [asdict(problem) for problem in problems]
    frame.out.error(json_line(line))
