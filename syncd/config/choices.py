"""Two keys of one map of which at most one may be given, or exactly one must."""

from collections.abc import Iterator

from syncd.config.findings import Path, key_place, node_at
from syncd.config.raw import given
from syncd.config.reader import Mapping
from syncd.errors import Problem


def choice(
    root: Mapping, path: Path, keys: tuple[str, str], *, needed: bool = False
) -> Iterator[Problem]:
    """Both of two keys of a map, or none of them where one is needed."""
    owner = node_at(root, path)
    if not isinstance(owner, Mapping):
        return
    written = [key for key in keys if key in given(owner)]
    either = f"'{keys[0]}' or '{keys[1]}'"
    place = key_place(root, path)
    if len(written) > 1:
        message = f"'{_name(path)}' takes only one of {either}"
        yield place.problem("key.exclusive", message, hint="remove one of them")
    if needed and not written:
        yield place.problem("key.missing", f"'{_name(path)}' needs {either}")


def _name(path: Path) -> str:
    """The last key of a path: an item of a list has none of its own."""
    return next(step for step in reversed(path) if isinstance(step, str))
