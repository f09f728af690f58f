"""`syncd config show`: the configuration that counts, and where each value stands."""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import click

from syncd.cli.frame import Frame, common_flags, verb
from syncd.config.loader import load_with_places
from syncd.config.shown import Shown, shown


@click.group("config")
@common_flags
def config() -> None:
    """Look at the configuration as syncd sees it."""


@verb("show", reads=True)
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("--resolved", is_flag=True, help="Also what nobody wrote: defaults.")
def show(frame: Frame, paths: tuple[str, ...], resolved: bool) -> None:
    """Show the merged files, and the file and line of each value.

    PATH is a key or all below it: syncs.power-users.guard.max_exit, store,
    'syncs.*.schedule'. A variable beats a file, and a file beats a default. Secrets
    are shown as the files name them; none is read.
    """
    loaded, root = load_with_places(
        frame.config_paths(), frame.environ, stdin=sys.stdin
    )
    values = chosen(shown(loaded, root, resolved=resolved), paths)
    if frame.as_json:
        document = {
            "resolved": resolved,
            "files": list(loaded.files),
            "config_hash": loaded.config_hash,
            "values": [_document(each) for each in values],
        }
        frame.out.json("config", document)
        return
    # The value last: it may be long, and a copied line stays whole.
    wide = [
        max(map(len, column), default=0)
        for column in ([each.where for each in values], [each.path for each in values])
    ]
    for each in values:
        frame.out.line(
            f"{each.where:<{wide[0]}}  {each.path:<{wide[1]}}  {_text(each)}"
        )


config.add_command(show)


def chosen(values: Sequence[Shown], paths: Sequence[str]) -> list[Shown]:
    """The values at the paths and below them; all where none is given.

    Raises `click.UsageError` for a path at which nothing is.
    """
    for path in paths:
        if not any(_is_at(each, path) for each in values):
            near = get_close_matches(path, [each.path for each in values], n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(
                f"Nothing is set at '{path}'.{hint} --resolved shows defaults, too."
            )
    return [
        each
        for each in values
        if not paths or any(_is_at(each, path) for path in paths)
    ]


def _is_at(each: Shown, path: str) -> bool:
    return fnmatchcase(each.path, path) or fnmatchcase(each.path, f"{path}.*")


def _text(each: Shown) -> str:
    match each.value:
        case bool():
            return str(each.value).lower()
        case list():
            return ", ".join(each.value) or "[]"
        case _:
            return " ".join(str(each.value).split())


def _document(each: Shown) -> dict[str, Any]:
    place = each.place
    return {
        "path": each.path,
        "value": each.value,
        "origin": each.origin,
        "file": None if place is None else place.file,
        "line": None if place is None else place.line,
        "column": None if place is None else place.column,
    }
