"""From paths and an environment to `Loaded`, or one `ConfigError` with every problem.

Reads the named files and nothing else: no secret, no store, no network.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from syncd.config import reader
from syncd.config.crosschecks import crosschecks
from syncd.config.findings import node_at, problems_of
from syncd.config.merge import gather
from syncd.config.overrides import interpolated, overridden
from syncd.config.place import Place
from syncd.config.raw import raw_connections
from syncd.config.resolve import resolve, short_freshness
from syncd.config.schema import DEFAULT_ZONE, Document, Known
from syncd.config.secrets import SecretRef
from syncd.config.settings import Loaded, Settings
from syncd.config.windows import long_blackouts
from syncd.errors import ConfigError, Problem


class InvalidConfig(ConfigError):
    """A `ConfigError` that brings the lines of the files along, for showing them."""

    def __init__(
        self, problems: Sequence[Problem], sources: Mapping[str, tuple[str, ...]]
    ) -> None:
        super().__init__(problems)
        self.sources = sources


def load(
    paths: Sequence[Path | str],
    environ: Mapping[str, str],
    *,
    stdin: TextIO | None = None,
) -> Loaded:
    """Read files, folders or `-` (standard input) and what they include.

    Raises `InvalidConfig` with all problems, sorted by file, line and column.
    """
    return load_with_places(paths, environ, stdin=stdin)[0]


def load_with_places(
    paths: Sequence[Path | str],
    environ: Mapping[str, str],
    *,
    stdin: TextIO | None = None,
) -> tuple[Loaded, reader.Mapping]:
    """The same, and the merged tree it was read from, which knows all places.

    Raises `InvalidConfig`.
    """
    problems: list[Problem] = []
    gathered = gather(paths, stdin, problems)
    root = gathered.root
    filled = interpolated(root, environ, problems)
    assert isinstance(filled, reader.Mapping)  # noqa: S101 - a map stays a map
    root = overridden(filled, environ, problems)
    unread = bool(problems) and not gathered.root.entries
    document = None if unread else _validated(root, problems)
    if document is None or _errors(problems):
        raise InvalidConfig(_sorted(problems), gathered.sources)
    settings = resolve(document, root, environ.get)
    problems += short_freshness(settings, root)
    problems += long_blackouts(settings, root)
    if _errors(problems):
        raise InvalidConfig(_sorted(problems), gathered.sources)
    loaded = Loaded(
        settings=settings,
        warnings=tuple(_sorted(problems)),
        files=tuple(gathered.sources),
        config_hash=config_hash(settings),
        sources=gathered.sources,
    )
    return loaded, root


def config_hash(settings: Settings) -> str:
    """`sha256:` and 8 hex digits; the same for files that mean the same."""
    text = json.dumps(_canonical(settings), sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _validated(root: reader.Mapping, problems: list[Problem]) -> Document | None:
    problems += crosschecks(root)
    zone = node_at(root, ("defaults", "timezone"))
    known = Known(
        connections=raw_connections(root),
        timezone=_zone(zone),
    )
    try:
        return Document.model_validate(reader.plain(root), context=known)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        problems += problems_of(root, errors)
        return None


def _zone(node: reader.Node | None) -> str:
    if isinstance(node, reader.Scalar) and isinstance(node.value, str):
        return node.value
    return DEFAULT_ZONE


def _errors(problems: list[Problem]) -> bool:
    return any(problem.severity == "error" for problem in problems)


def _sorted(problems: list[Problem]) -> list[Problem]:
    def order(problem: Problem) -> tuple[str, int, int, str]:
        return problem.file, problem.line, problem.column, problem.code

    return sorted(set(problems), key=order)


def _canonical(value: Any) -> Any:
    """Settings as JSON values; what has no effect (places) is left out."""
    match value:
        case Place():
            return None
        case timedelta():
            return value.total_seconds()
        case SecretRef() | Path() | date() | time():
            return str(value)
        case Mapping():
            return {key: _canonical(item) for key, item in value.items()}
        case tuple():
            return [_canonical(item) for item in value]
        case _:
            pass
    if is_dataclass(value):
        inner = {f.name: _canonical(getattr(value, f.name)) for f in fields(value)}
        return {"type": type(value).__name__, **inner}
    return value
