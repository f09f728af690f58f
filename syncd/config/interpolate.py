"""`${SYNCD_NAME}` inside one text, with `:-default` and `:?message`; `$${` is a `${`.

Only variables whose name starts with `SYNCD_` can be named, so that a file cannot
pull in whatever else happens to be in the environment. As in a shell, the forms with
a colon treat an empty variable like a missing one. What is filled in is not looked
at again.
"""

import re
from collections.abc import Callable

Lookup = Callable[[str], str | None]

_REFERENCE = re.compile(
    r"\$\$\{|\$\{(?P<name>SYNCD_[A-Z0-9_]+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}|\$\{"
)


class BadReference(Exception):
    """A `${…}` that cannot be filled in. `code` and the text are safe to show."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class EnvText(str):
    """Text that came from the environment: numbers may be read out of it."""

    __slots__ = ()


def fill(text: str, lookup: Lookup) -> str:
    """`text` with every reference replaced; `EnvText` if there was one."""
    if "${" not in text:
        return text
    filled = _REFERENCE.sub(lambda found: _value(found, lookup), text)
    return EnvText(filled) if names(text) else filled


def names(text: str) -> set[str]:
    """The variables that a text refers to."""
    return {found["name"] for found in _REFERENCE.finditer(text) if found["name"]}


def _value(found: re.Match[str], lookup: Lookup) -> str:
    if found[0] == "$${":
        return "${"
    name = found["name"]
    if name is None:
        message = (
            "'${…}' must name a variable like ${SYNCD_NAME}; '$${' is a plain '${'"
        )
        raise BadReference("env.syntax", message)
    value = lookup(name)
    if found["kind"] is None:
        if value is None:
            raise BadReference("env.missing", f"{name} is not set")
        return value
    if found["kind"] == "?" and not value:
        raise BadReference("env.missing", f"{name}: {found['rest'] or 'is not set'}")
    return value or str(found["rest"])
