"""From what a database driver returns to raw ids: bytes, and nothing guessed.

A number that went through a float has lost digits, so it is refused, never formatted.
"""

import decimal
import uuid
from collections.abc import Sequence

from syncd.errors import SourceUntrusted


def to_ids(values: Sequence[object], *, column: str) -> list[bytes]:
    """The ids of one block of one column, in order; NULL becomes the empty id.

    `column` describes the column in the error. Raises `SourceUntrusted` for a type that
    cannot hold an id faithfully (float, boolean, binary, date, fraction).
    """
    kinds = set(map(type, values))
    if kinds == {str}:
        try:
            return list(map(str.encode, values))  # type: ignore[arg-type]
        except UnicodeEncodeError:
            pass
    return [_to_id(value, column) for value in values]


def _to_id(value: object, column: str) -> bytes:
    match value:
        case None:
            return b""
        case str():
            return _raw(value)
        case bool():
            pass
        case int():
            return b"%d" % value
        case decimal.Decimal() if value.is_finite() and value == value.to_integral():
            return b"%d" % int(value)
        case uuid.UUID():
            return str(value).encode()
        case _:
            pass
    raise SourceUntrusted(
        f"{column} arrives as {type(value).__name__}, which cannot hold an id",
        code="source.id_type",
        hint="select a text or integer column, or cast it to text in your own query",
    )


def _raw(text: str) -> bytes:
    """The text's bytes as stored, even where they are no UTF-8: hygiene counts those.

    Undecodable bytes of SQLite arrive as escapes; a lone surrogate has no UTF-8 form.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
