"""What the environment says, laid over the tree of the files.

`SYNCD_STORE__URL` sets `store.url`; two underscores lead one level down. A name that
the files chose is found in upper case with `_` for `-`, so
`SYNCD_CONNECTIONS__AMPLITUDE_MAIN__REGION` sets the region of `amplitude-main`. An
empty variable sets nothing. A `SYNCD_…` variable that means nothing is an error: a
typing mistake there must not pass for a setting.
"""

import re
from collections.abc import Mapping as MappingOf

from syncd.config.interpolate import BadReference, EnvText, fill, names
from syncd.config.place import Place
from syncd.config.reader import Entry, Mapping, Node, Scalar, Sequence
from syncd.errors import Problem

PREFIX = "SYNCD_"

PROCESS_VARIABLES = frozenset({"SYNCD_CONFIG", "SYNCD_REVISION"})
"""Read by `config/process`, not settings of a sync."""

_SERVICE_LINK = re.compile(
    r"SYNCD_([A-Z0-9]+_)*"
    r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)
"""What Kubernetes sets in every container beside a Service called `syncd…`."""


def interpolated(
    node: Node, environ: MappingOf[str, str], problems: list[Problem]
) -> Node:
    """The tree with `${SYNCD_…}` filled in, in values and never in keys."""
    match node:
        case Scalar(str() as value, place, text):
            try:
                return Scalar(fill(value, environ.get), place, text)
            except BadReference as error:
                problems.append(place.problem(error.code, str(error)))
                return node
        case Scalar():
            return node
        case Sequence(items, place):
            filled = (interpolated(item, environ, problems) for item in items)
            return Sequence(tuple(filled), place)
        case Mapping(entries, place):
            return Mapping(
                {
                    key: Entry(
                        entry.key_place, interpolated(entry.node, environ, problems)
                    )
                    for key, entry in entries.items()
                },
                place,
            )


def overridden(
    root: Mapping, environ: MappingOf[str, str], problems: list[Problem]
) -> Mapping:
    """The tree with every setting that a `SYNCD_…` variable names replaced."""
    used = _named_in(root) | PROCESS_VARIABLES
    for name in sorted(environ):
        if not name.startswith(PREFIX) or not environ[name] or name in used:
            continue
        if _SERVICE_LINK.fullmatch(name):
            continue
        root = _with(root, name, environ[name], problems)
    return root


def variable_of(place: Place) -> str:
    """The variable's name where a place is the environment, else nothing."""
    return place.file.removeprefix("$") if place.file.startswith("$") else ""


def _with(root: Mapping, name: str, text: str, problems: list[Problem]) -> Mapping:
    place = Place(file=f"${name}", line=1, column=1)
    segments = name.removeprefix(PREFIX).split("__")
    if segments[0] in ("SYNCS", "INCLUDE", ""):
        problems.append(unknown_variable(place))
        return root
    if segments[0] == "CONNECTIONS" and not _is_connection(root, segments):
        problems.append(unknown_variable(place, "no connection has that name"))
        return root
    leaf = Scalar(EnvText(text), place, f"${{{name}}}")
    return _set(root, segments, leaf, place)


def unknown_variable(place: Place, why: str = "") -> Problem:
    """The finding for a variable that is neither a setting nor referred to."""
    reason = why or "it is no setting, and no file refers to it"
    message = f"unknown variable {variable_of(place)}: {reason}"
    return place.problem("env.unknown", message)


def _set(mapping: Mapping, segments: list[str], leaf: Scalar, place: Place) -> Mapping:
    head, *rest = segments
    key = next((key for key in mapping.entries if _normal(key) == head), head.lower())
    old = mapping.entries.get(key)
    if not rest:
        entry = Entry(place, leaf)
    else:
        inner = (
            old.node if old and isinstance(old.node, Mapping) else Mapping({}, place)
        )
        key_place = old.key_place if old else place
        entry = Entry(key_place, _set(inner, rest, leaf, place))
    return Mapping({**mapping.entries, key: entry}, mapping.place)


def _is_connection(root: Mapping, segments: list[str]) -> bool:
    connections = root.entries.get("connections")
    if connections is None or not isinstance(connections.node, Mapping):
        return False
    known = {_normal(name) for name in connections.node.entries}
    return len(segments) > 2 and segments[1] in known


def _normal(key: str) -> str:
    return key.upper().replace("-", "_")


def _named_in(node: Node, key: str = "") -> set[str]:
    """Variables that the files refer to: by `${…}`, `…_env:` or `env:` of a header."""
    match node:
        case Scalar(_, _, text):
            return names(text) | ({text} if _names_a_variable(key) else set())
        case Sequence(items):
            return set().union(*(_named_in(item) for item in items))
        case Mapping(entries):
            found = (_named_in(entry.node, key) for key, entry in entries.items())
            return set().union(*found)


def _names_a_variable(key: str) -> bool:
    return key == "env" or key.endswith("_env")
