"""The catalogue and the code agree: what is emitted is listed, what is listed happens.

Read from the syntax of the code, so that a line which no test reaches is checked too.
"""

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd import events
from syncd.events import CONTEXT, ERROR_TYPES, Event

ROOT = Path(__file__).parents[2]
OUR_EMIT = {"emit", "events.emit"}
CATALOGUE = {
    name: entry for name, entry in vars(events).items() if isinstance(entry, Event)
}


CODE = {
    path: path.read_text()
    for path in (ROOT / "syncd").rglob("*.py")
    if path.parent.name != "events"
}


def emits() -> Iterator[tuple[str, ast.Call]]:
    """Every call of our `emit` in the product, with its place."""
    for path in sorted((ROOT / "syncd").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in OUR_EMIT:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def named(expression: ast.expr) -> str:
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def constants(expression: ast.expr) -> list[str]:
    """The names that the first argument of `emit` may be."""
    match expression:
        case ast.IfExp(body=body, orelse=orelse):
            return [*constants(body), *constants(orelse)]
        case _:
            return [named(expression)]


EMITS = list(emits())


@pytest.mark.parametrize(("place", "call"), EMITS, ids=[place for place, _ in EMITS])
def test_only_events_of_the_catalogue_are_emitted(place: str, call: ast.Call) -> None:
    assert call.args, f"{place}: emit without an event"
    for name in constants(call.args[0]):
        assert name in CATALOGUE, f"{place}: {name} is not in the catalogue"
        listed = CATALOGUE[name].fields | CONTEXT | {"level"}
        given = {keyword.arg for keyword in call.keywords if keyword.arg}
        assert given <= listed, f"{place}: {name} has no {sorted(given - listed)}"


def test_every_event_of_the_catalogue_is_used_somewhere() -> None:
    used = {
        named(node)
        for path in (ROOT / "syncd").rglob("*.py")
        if path.parent.name != "events"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name | ast.Attribute)
    }

    assert CATALOGUE.keys() <= used


def words_of(path: Path) -> set[str]:
    """What a module may give an event: keywords of its calls, words in its strings."""
    tree = ast.parse(path.read_text())
    keywords = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    return strings_of(str(path)) | {each for each in keywords if each}


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_field_of_an_event_is_given_where_it_is_emitted(name: str) -> None:
    naming = [path for path, code in CODE.items() if re.search(rf"\b{name}\b", code)]

    given = {word for path in naming for word in words_of(path)}

    assert CATALOGUE[name].fields <= given, sorted(CATALOGUE[name].fields - given)


def test_every_error_type_in_the_code_is_one_of_the_closed_list() -> None:
    strangers = [
        f"{path.relative_to(ROOT)}:{node.value.lineno}"
        for path in sorted((ROOT / "syncd").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword)
        and node.arg == "error_type"
        and isinstance(node.value, ast.Constant)
        and node.value.value not in ERROR_TYPES
    ]

    assert strangers == []


BOUND = {"sync", "run_id", "trigger", "direction"}
"""What a run binds to all of its lines."""


def fields_of(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def strings_of(place: str) -> set[str]:
    """Every word in a module's code: what it spreads into an emit is named there."""
    tree = ast.parse((ROOT / place.partition(":")[0]).read_text())
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {word for text in texts for word in text.split()}


@pytest.mark.parametrize(("place", "call"), EMITS, ids=[place for place, _ in EMITS])
def test_whoever_emits_gives_the_fields_that_the_sentence_names(
    place: str, call: ast.Call
) -> None:
    given = {keyword.arg for keyword in call.keywords if keyword.arg} | BOUND
    if any(keyword.arg is None for keyword in call.keywords):
        given |= strings_of(place)

    for name in constants(call.args[0]):
        if name in CATALOGUE:
            entry = CATALOGUE[name]
            named = fields_of(entry.message) | fields_of(entry.next)
            assert named <= given, f"{place}: {name} lacks {sorted(named - given)}"
