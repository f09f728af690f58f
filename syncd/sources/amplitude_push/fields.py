"""Parts of a parsed JSON body: what must be there, and in which shape.

Errors name the part, never what is in it.
"""

from collections.abc import Mapping
from typing import Any

from syncd.sources.door import Refused


def malformed(message: str, *, hint: str = "") -> Refused:
    """A 400: this body is not what the path takes."""
    return Refused(400, message, code="push.malformed", hint=hint)


def as_object(value: Any, part: str) -> dict[str, Any]:
    """`value`, which must be a JSON object."""
    if not isinstance(value, dict):
        raise malformed(f"{part} must be an object")
    return value


def as_array(value: Any, part: str) -> list[Any]:
    """`value`, which must be a JSON array."""
    if not isinstance(value, list):
        raise malformed(f"{part} must be an array")
    return value


def one_of(body: Mapping[str, Any], *spellings: str) -> Any:
    """The value under whichever of the spellings is there; None: there is none.

    Null is none, as a template leaves it. Raises where two of them differ.
    """
    found = [body[name] for name in spellings if body.get(name) is not None]
    if any(value != found[0] for value in found[1:]):
        raise malformed(f"{' and '.join(spellings)} contradict each other: send one")
    return found[0] if found else None


def user_id(person: Mapping[str, Any], part: str) -> str | None:
    """The id of a person; None for one who has none, or an empty one."""
    id_ = one_of(person, "userId", "user_id")
    if id_ is not None and not isinstance(id_, str):
        raise malformed(f"the user id in {part} must be text")
    return id_ or None


def boolean(value: Any) -> bool | None:
    """In or out: a JSON boolean, or the words true and false in any case.

    None for all else, which says neither. Vendor page 1 prints Python's `True`.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return None
