"""Problems as text: for a person, a narrow log, GitHub's annotations, a program.

Pure: problems and the lines of the files in, text out. Colour is the command's task.
A shown line is masked where it seems to hold a secret that should not stand there.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from syncd.errors import Problem

Format = Literal["full", "concise", "github", "json"]
Sources = Mapping[str, Sequence[str]]
"""File → its lines; a file that could not be read is missing."""

SCHEMA = "syncd.check/1"

_SECRET_VALUE = re.compile(
    r"((?:key|secret|password|passwd|token|webhook_url)[\"']?\s*[:=]\s*)[^\s,}\]&]+",
    re.IGNORECASE,
)
_SECRET_LOGIN = re.compile(r"(://[^\s:/@]*:)[^\s]*(@)")
_PLAIN_END = re.compile(r"\s+#|\s*$")
_FLOW_END = re.compile(r"\s+#|\s*[,\]}]|:\s|\s*$")
_KEY = re.compile(r"[\w-]+(?=\s*:(\s|$))")
_KEY_BEFORE = re.compile(r"[\"']?[\w-]+[\"']?\s*:(\s+|$)")
_QUOTED = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:''|[^'])*'")


def render(problems: Sequence[Problem], sources: Sources, form: Format) -> str:
    """All problems in one form, without a line end at the end."""
    match form:
        case "full":
            shown = _without_inline_secrets(problems, sources)
            blocks = [_full(problem, shown) for problem in problems]
            return "\n\n".join([*blocks, summary(problems)])
        case "concise":
            return "\n".join([*map(concise, problems), summary(problems)])
        case "github":
            return "\n".join(map(_github, problems))
        case "json":
            return as_json(problems)


def concise(problem: Problem) -> str:
    """One line: `file:line:col: error[code] message; fix`."""
    fix = f"; {problem.hint}" if problem.hint else ""
    kind = f"{problem.severity}[{problem.code}]"
    return f"{_place(problem)}: {kind} {problem.message}{fix}"


def summary(problems: Sequence[Problem]) -> str:
    """`6 errors, 0 warnings in 2 files`."""
    errors = sum(problem.severity == "error" for problem in problems)
    files = len({problem.file for problem in problems})
    counted = [
        _counted(errors, "error"),
        _counted(len(problems) - errors, "warning"),
    ]
    where = f" in {_counted(files, 'file')}" if files else ""
    return ", ".join(counted) + where


def as_json(problems: Sequence[Problem]) -> str:
    """A document for programs; keys are only ever added to it."""
    found = [
        {
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "code": problem.code,
            "message": problem.message,
            "hint": problem.hint,
            "severity": problem.severity,
        }
        for problem in problems
    ]
    return json.dumps({"schema": SCHEMA, "problems": found}, indent=2)


def _without_inline_secrets(problems: Sequence[Problem], sources: Sources) -> Sources:
    """The files with the rest of each line masked in which a secret stands.

    Its place is the secret, or the key before it: under which name it stands there
    says nothing (a header of a partner may have any).
    """
    shown = {file: list(lines) for file, lines in sources.items()}
    for problem in problems:
        lines = shown.get(problem.file, [])
        if problem.code != "secret.inline" or not 1 <= problem.line <= len(lines):
            continue
        line, start = lines[problem.line - 1], problem.column - 1
        if key := _KEY_BEFORE.match(line, start):
            start = key.end()
        lines[problem.line - 1] = f"{line[:start]}****"
    return shown


def _full(problem: Problem, sources: Sources) -> str:
    lines = [f"{problem.severity}[{problem.code}]: {problem.message}"]
    lines.append(f"  --> {_place(problem)}")
    lines += _excerpt(problem, sources.get(problem.file, ()))
    if problem.hint:
        lines.append(f"    fix: {problem.hint}")
    lines.append(f"   more: syncd explain {problem.code}")
    return "\n".join(lines)


def _excerpt(problem: Problem, source: Sequence[str]) -> list[str]:
    """The line with the one before it and a caret below; nothing without a file."""
    if not 1 <= problem.line <= len(source):
        return []
    shown = []
    if problem.line > 1:
        shown.append(_numbered(problem.line - 1, source[problem.line - 2]))
    text = source[problem.line - 1]
    shown.append(_numbered(problem.line, text))
    indent = " " * (problem.column - 1)
    shown.append(f"     | {indent}{'^' * caret_width(text, problem.column)}")
    return shown


def _numbered(number: int, text: str) -> str:
    return f"{number:4} | {_visible(text)}".rstrip()


def caret_width(line: str, column: int) -> int:
    """How many characters the key or value at a 1-based column takes."""
    rest = line[column - 1 :]
    if found := _QUOTED.match(rest) or _KEY.match(rest):
        return len(found[0])
    if rest[:1] in ("{", "["):
        return 1
    before = line[: column - 1]
    in_flow = before.count("{") + before.count("[") > before.count("}") + before.count(
        "]"
    )
    end = (_FLOW_END if in_flow else _PLAIN_END).search(rest)
    return max(1, end.start() if end else len(rest))


def _github(problem: Problem) -> str:
    """GitHub's workflow command for an annotation, with its own escapes."""
    place = ""
    if not problem.file.startswith(("$", "<")):
        position = f"line={problem.line},col={problem.column}"
        place = f"file={_escaped(problem.file, ':,')},{position},"
    fix = f"; {problem.hint}" if problem.hint else ""
    title = _escaped(problem.code, ":,")
    message = _escaped(f"{problem.message}{fix}", "")
    return f"::{problem.severity} {place}title={title}::{message}"


def _escaped(text: str, more: str) -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _place(problem: Problem) -> str:
    # A variable has a name and no lines.
    if problem.file.startswith("$") or not problem.file:
        return problem.file or "command line"
    return f"{problem.file}:{problem.line}:{problem.column}"


def _visible(text: str) -> str:
    """Without secrets, and without control characters that rewrite a terminal."""
    text = _SECRET_LOGIN.sub(r"\1****\2", _SECRET_VALUE.sub(r"\1****", text))
    return "".join(character if character.isprintable() else " " for character in text)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
