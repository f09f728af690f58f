"""What queries of rules and dashboards may name, read from the code that exports it."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncd import events, metrics
from syncd.app.gauges import GAUGES
from syncd.events import Event

EVERYWHERE = frozenset({"job", "instance"})
"""Labels that Prometheus itself puts on each series."""
SUFFIXES = {
    "Counter": ("_total",),
    "Gauge": ("",),
    "Histogram": ("_bucket", "_count", "_sum"),
}
NAME = re.compile(r"\b(?:syncd|process|python)_\w+|\bup\b")
SELECTOR = re.compile(rf"({NAME.pattern})(?:\{{([^}}]*)\}})?")
GROUPING = re.compile(r"\b(?:by|on|group_left|group_right)\s*\(([^)]*)\)")
EVENTS = {each.name for each in vars(events).values() if isinstance(each, Event)}


def counted() -> Iterator[tuple[str, frozenset[str]]]:
    """(series, its labels) of every metric that the process counts itself."""
    for node in ast.walk(ast.parse(Path(metrics.__file__).read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in SUFFIXES:
            name, *rest = [ast.literal_eval(each) for each in node.args]
            labels = frozenset(rest[1] if len(rest) > 1 else ())
            suffixes = SUFFIXES[ast.unparse(node.func)]
            for suffix in suffixes:
                le = {"le"} if suffix == "_bucket" else set()
                yield name + suffix, labels | le


def exported() -> dict[str, frozenset[str]]:
    """Series -> its labels, of all that a scrape shows."""
    shown = {name: frozenset(labels) for name, (_, labels) in GAUGES.items()}
    for family in metrics.REGISTRY.collect():
        for sample in family.samples:
            if sample.name.startswith(("process_", "python_")):
                shown[sample.name] = frozenset(sample.labels)
    return {"up": frozenset(), **shown, **dict(counted())}


def complaints(series: dict[str, frozenset[str]], query: str) -> Iterator[str]:
    """Each series, label and event of a query that nothing exports."""
    named = re.findall(r'event="([^"]*)"', query)
    yield from (f"no event {event}" for event in named if event not in EVENTS)
    bare = re.sub(r'"[^"]*"', '""', query)
    selected = SELECTOR.findall(GROUPING.sub("", bare))
    yield from (f"no series {name}" for name, _ in selected if name not in series)
    known = [(name, series[name], text) for name, text in selected if name in series]
    for name, labels, text in known:
        asked = set(re.findall(r"(\w+)\s*[=!]", text))
        for label in sorted(asked - labels - EVERYWHERE):
            yield f"{name} has no label {label}"
    # What is recorded (`syncd:sync_fresh:bool`) has the label `sync`.
    has = EVERYWHERE.union(
        {"sync"} if ":" in bare else (), *(each[1] for each in known)
    )
    groups = re.findall(r"\w+", " ".join(GROUPING.findall(bare)))
    yield from (
        f"nothing has the label {label}" for label in groups if label not in has
    )


@pytest.fixture(scope="session")
def unknown_in() -> Callable[[str], list[str]]:
    """What a PromQL query names and nothing exports; empty where all of it exists."""
    series = exported()
    return lambda query: list(complaints(series, query))
