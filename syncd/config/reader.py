"""YAML text to a tree of nodes that know where they are written.

Built from ruamel.yaml's parse events and not from its loader, because every problem
of a file is wanted at once and with its place: the loader stops at the first
duplicate key, and resolves tags. What is accepted is small on purpose: one document,
maps with text keys, YAML 1.2 core scalars (`no`, `on` and `23:00` are text), plain
anchors; no tags and no merge keys.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from syncd.config.place import Place
from syncd.errors import Problem

DEEPEST = 40
MOST_NODES = 200_000
"""With every alias counted as what it stands for."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value."""

    value: str | int | float | bool | None
    place: Place
    text: str
    """As it is written, before `${…}` is filled in: the only form messages quote."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple["Node", ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a map and what it holds."""

    key_place: Place
    node: "Node"


@dataclass(frozen=True, slots=True)
class Mapping:
    """A map with its keys in the order in which they are written."""

    entries: dict[str, Entry]
    place: Place


Node = Scalar | Sequence | Mapping


def read(text: str, file: str, problems: list[Problem]) -> Mapping | None:
    """The root map of a file; None when it cannot be parsed at all.

    Everything wrong is appended to `problems`. An empty file is an empty map.
    """
    start = Place(file=file, line=1, column=1)
    try:
        root = _Builder(text, file, problems).root()
    except _Stop as stop:
        problems.append(stop.problem)
        return None
    except ReaderError as error:
        line, column = _line_and_column(text, int(error.position))
        place = Place(file=file, line=line, column=column)
        problems.append(place.problem("yaml.character", "a character YAML forbids"))
        return None
    except MarkedYAMLError as error:
        problems.append(_syntax_problem(error, start))
        return None
    except (YAMLError, ValueError, RecursionError):
        problems.append(start.problem("yaml.syntax", "this file is not valid YAML"))
        return None
    if isinstance(root, Scalar) and root.value is None:
        return Mapping({}, start)
    if isinstance(root, Mapping):
        return root
    problems.append(root.place.problem("yaml.not_a_map", "a config file is a map"))
    return None


def plain(node: Node) -> Any:
    """The tree as dicts, lists and scalars, without places."""
    match node:
        case Scalar(value):
            return value
        case Sequence(items):
            return [plain(item) for item in items]
        case Mapping(entries):
            return {key: plain(entry.node) for key, entry in entries.items()}


def core_scalar(text: str) -> str | int | float | bool | None:
    """What a plain scalar means by the YAML 1.2 core schema."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text[0] in "tT"
    if re.fullmatch(r"[-+]?[0-9]{1,400}", text):
        return int(text)
    if re.fullmatch(r"0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}", text):
        return int(text, base=0)
    number = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    if re.fullmatch(number, text):
        return float(text)
    if re.fullmatch(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", text):
        return float(text.replace(".", ""))
    return text


class _Stop(Exception):
    """The rest of the file cannot be read sensibly."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


class _Builder:
    """Turns the events of one file into nodes."""

    def __init__(self, text: str, file: str, problems: list[Problem]) -> None:
        self._events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(text))
        self._file = file
        self._problems = problems
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._count = 0

    def root(self) -> Node:
        """The only document's node; an empty scalar when there is none."""
        root: Node = Scalar(None, Place(file=self._file, line=1, column=1), "")
        documents = 0
        for event in self._events:
            if not isinstance(event, DocumentStartEvent):
                continue
            documents += 1
            if documents == 2:
                raise self._stop(event, "yaml.documents", "only one document per file")
            root = self._node(next(self._events), 0)
        return root

    def _node(self, event: Any, depth: int) -> Node:
        if depth > DEEPEST:
            raise self._stop(event, "yaml.too_deep", f"over {DEEPEST} levels deep")
        if isinstance(event, AliasEvent):
            return self._aliased(event)
        before = self._count
        self._add(event, 1)
        self._refuse_tag(event)
        node = self._built(event, depth)
        if event.anchor is not None:
            self._anchors[str(event.anchor)] = (node, self._count - before)
        return node

    def _built(self, event: Any, depth: int) -> Node:
        place = self._place(event)
        if isinstance(event, MappingStartEvent):
            return Mapping(self._entries(depth), place)
        if isinstance(event, SequenceStartEvent):
            return Sequence(tuple(self._items(depth)), place)
        text = str(event.value)
        is_plain = isinstance(event, ScalarEvent) and bool(event.implicit[0])
        return Scalar(core_scalar(text) if is_plain else text, place, text)

    def _items(self, depth: int) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, SequenceEndEvent):
                return
            yield self._node(event, depth + 1)

    def _entries(self, depth: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            key = self._key(event, depth)
            entry = Entry(self._place(event), self._node(next(self._events), depth + 1))
            if key is None:
                continue
            if key in entries:
                first = entries[key].key_place
                message = f"key '{key}' is already given at {first}"
                self._report(event, "key.duplicate", message, hint="keep one of them")
                continue
            entries[key] = entry
        return entries

    def _key(self, event: Any, depth: int) -> str | None:
        """The key's text; None, reported, when it cannot be a key here."""
        if not isinstance(event, ScalarEvent):
            self._node(event, depth + 1)
            self._report(event, "key.type", "a key must be plain text")
            return None
        self._add(event, 1)
        self._refuse_tag(event)
        if event.value == "<<" and event.implicit[0]:
            message = "merge keys are not part of YAML 1.2"
            hint = "what all syncs share goes into 'defaults:'"
            self._report(event, "yaml.merge_key", message, hint=hint)
            return None
        return str(event.value)

    def _aliased(self, event: Any) -> Node:
        name = str(event.anchor)
        if name not in self._anchors:
            message = f"no complete anchor '&{name}' before this alias"
            raise self._stop(event, "yaml.alias", message)
        node, size = self._anchors[name]
        self._add(event, size)
        return node

    def _add(self, event: Any, nodes: int) -> None:
        self._count += nodes
        if self._count > MOST_NODES:
            message = f"more than {MOST_NODES:,} values, aliases expanded"
            raise self._stop(event, "yaml.too_large", message)

    def _refuse_tag(self, event: Any) -> None:
        if event.ctag is not None:
            message = "tags ('!…') are not accepted"
            self._report(event, "yaml.tag", message, hint="write the plain value")

    def _report(self, event: Any, code: str, message: str, *, hint: str = "") -> None:
        self._problems.append(self._place(event).problem(code, message, hint=hint))

    def _stop(self, event: Any, code: str, message: str) -> _Stop:
        return _Stop(self._place(event).problem(code, message))

    def _place(self, event: Any) -> Place:
        mark = event.start_mark
        return Place(file=self._file, line=mark.line + 1, column=mark.column + 1)


def _syntax_problem(error: MarkedYAMLError, start: Place) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = start
    if mark is not None:
        place = Place(file=start.file, line=mark.line + 1, column=mark.column + 1)
    message = str(error.problem or error.context or "not valid YAML")
    hint = "indent with spaces, not tabs" if "\\t" in message else ""
    return place.problem("yaml.syntax", " ".join(message.split()), hint=hint)


def _line_and_column(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")
