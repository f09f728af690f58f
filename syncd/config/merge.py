"""Config files and what they include, merged into one tree.

Maps merge key by key, lists are appended, and a single value may be set only once in
all files together: two people cannot overrule each other without noticing.
"""

import glob
import os
import re
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from syncd.config.place import Place
from syncd.config.reader import Entry, Mapping, Node, Scalar, Sequence, read
from syncd.errors import Problem

LARGEST = 4 * 1024 * 1024
"""Bytes of one file."""
STDIN = "-"
_STDIN_NAME = "<stdin>"
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What YAML counts as the end of a line."""


@dataclass(slots=True)
class Gathered:
    """All files as one tree, with everything wrong that was seen on the way."""

    problems: list[Problem]
    root: Mapping = field(
        default_factory=lambda: Mapping({}, Place(file="", line=1, column=1))
    )
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """File → its lines, in reading order."""
    seen: set[str] = field(default_factory=set)
    """Real paths of what was read."""


def gather(
    paths: SequenceOf[Path | str], stdin: TextIO | None, problems: list[Problem]
) -> Gathered:
    """Read every path (file, folder, `-`) and its includes; each file once."""
    gathered = Gathered(problems)
    if not paths:
        place = Place(file="", line=1, column=1)
        problems.append(place.problem("file.missing", "no config file is named"))
    for path in paths:
        if str(path) == STDIN:
            _take_text(gathered, _STDIN_NAME, stdin.read() if stdin else "")
        elif os.path.isdir(path):
            _take_folder(gathered, str(path))
        else:
            _take_file(gathered, str(path), Place(file=str(path), line=1, column=1))
    return gathered


def _take_folder(gathered: Gathered, folder: str) -> None:
    names = sorted(
        name
        for name in os.listdir(folder)
        if name.endswith((".yaml", ".yml")) and not name.startswith(".")
    )
    if not names:
        place = Place(file=folder, line=1, column=1)
        message = "this folder has no .yaml file"
        gathered.problems.append(place.problem("file.missing", message))
    for name in names:
        file = os.path.join(folder, name)
        _take_file(gathered, file, Place(file=file, line=1, column=1))


def _take_file(gathered: Gathered, file: str, named_at: Place) -> None:
    """Read one file unless it was read before."""
    if "\0" in file:
        message = "a file name cannot hold a NUL character"
        gathered.problems.append(named_at.problem("file.unreadable", message))
        return
    real = os.path.realpath(file)
    if real in gathered.seen:
        return
    gathered.seen.add(real)
    text = _text_of(file, named_at, gathered.problems)
    if text is not None:
        _take_text(gathered, file, text)


def _take_text(gathered: Gathered, file: str, text: str) -> None:
    gathered.sources[file] = tuple(_LINE_END.split(text))
    tree = read(text, file, gathered.problems)
    if tree is None:
        return
    include = tree.entries.pop("include", None)
    gathered.root = _merged(gathered.root, tree, gathered.problems)
    if include is not None:
        _take_includes(gathered, file, include.node)


def _take_includes(gathered: Gathered, file: str, node: Node) -> None:
    if not isinstance(node, Sequence):
        problem = node.place.problem("value.type", "include needs a list of files")
        gathered.problems.append(problem)
        return
    for item in node.items:
        if isinstance(item, Scalar) and isinstance(item.value, str) and item.value:
            _take_pattern(gathered, file, item.value, item.place)
        else:
            message = "include needs file names or patterns"
            gathered.problems.append(item.place.problem("value.type", message))


def _take_pattern(gathered: Gathered, file: str, pattern: str, place: Place) -> None:
    """Read what one item of `include:` names, relative to the file it stands in."""
    folder = "" if file == _STDIN_NAME else os.path.dirname(file)
    path = os.path.normpath(os.path.join(folder, pattern))
    if glob.has_magic(pattern) and "\0" not in pattern:
        for found in sorted(glob.glob(path)):
            _take_file(gathered, found, place)
    else:
        _take_file(gathered, path, place)


def _text_of(file: str, named_at: Place, problems: list[Problem]) -> str | None:
    """The file's text, or None with a problem at the place that named the file."""
    try:
        with open(file, "rb") as stream:
            content = stream.read(LARGEST + 1)
    except FileNotFoundError:
        hint = "syncd init writes a first one" if named_at.file == file else ""
        message = f"there is no file {file}"
        problems.append(named_at.problem("file.missing", message, hint=hint))
        return None
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        problems.append(named_at.problem("file.unreadable", message))
        return None
    start = Place(file=file, line=1, column=1)
    if len(content) > LARGEST:
        problems.append(start.problem("file.too_large", f"over {LARGEST:,} bytes"))
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        place = Place(file=file, line=line, column=1)
        problems.append(place.problem("file.encoding", "this line is not UTF-8 text"))
        return None


def _merged(old: Mapping, new: Mapping, problems: list[Problem]) -> Mapping:
    entries = dict(old.entries)
    for key, entry in new.entries.items():
        if key in entries:
            entry = _joined(key, entries[key], entry, problems)
        entries[key] = entry
    return Mapping(entries, old.place if old.entries else new.place)


def _joined(key: str, old: Entry, new: Entry, problems: list[Problem]) -> Entry:
    match old.node, new.node:
        case Mapping(), Mapping():
            return Entry(old.key_place, _merged(old.node, new.node, problems))
        case Sequence(first), Sequence(second):
            return Entry(old.key_place, Sequence((*first, *second), old.node.place))
        case _:
            pass
    message = f"'{key}' is already set at {old.key_place}"
    hint = "set it in one file only"
    problems.append(new.key_place.problem("key.conflict", message, hint=hint))
    return old
