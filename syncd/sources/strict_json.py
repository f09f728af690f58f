"""JSON that strangers send: read strictly, or refused with a reason.

What the standard reader lets pass is refused here: two values of one name (which one
a later reader takes is a guess), NaN and Infinity, numbers no sender of ours writes,
half a surrogate pair (no UTF-8 text, so no id). Limits are looked at before anything
is built, in a few passes over the bytes: a hostile body costs no more than an honest
one of its size, and no deep stack.

`element_span` finds the bytes that Segment signs in a batch. Nothing here puts a piece
of the body into an error.
"""

import math
import re
from json import JSONDecodeError, JSONDecoder
from typing import Any

from syncd.errors import SyncdError

MAX_DEPTH = 32
"""Arrays and objects in each other; an event of Segment has about six."""
MAX_VALUES = 500_000
"""Commas and opening brackets: small values take up to 50 times their text's memory."""
MAX_DIGITS = 20
"""Of an integer; 64 bits need 20."""
_MAX_FLOAT_CHARACTERS = 100
_FIRST_ELEMENT_BYTES = (8 * 1024, 256 * 1024)
"""How far into a batch the end of its first element is looked for, at first and at
most: it happens before anybody is authenticated. Segment takes 32 KB for an event
(contract T4)."""


class InvalidJson(SyncdError):
    """The body is not JSON as we take it; `code` says why (`json.duplicate_key`)."""

    code = "json"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message, code=f"json.{reason}")


def parse(
    body: bytes, *, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES
) -> Any:
    """The value that `body` is. Raises `InvalidJson`."""
    text = _text(body)
    if _values(body) > max_values:
        raise InvalidJson("too_many", f"the body has more than {max_values} values")
    if _too_deep(body, max_depth):
        raise InvalidJson("too_deep", f"the body nests deeper than {max_depth} levels")
    if _has_lone_surrogate(body):
        raise InvalidJson("surrogate", "a text holds half a surrogate pair")
    try:
        return _STRICT.decode(text)
    except JSONDecodeError as error:
        where = error.pos
    # Raised out here: the library's error carries the body.
    raise InvalidJson("syntax", f"the body is not JSON, see character {where}")


def element_span(body: bytes) -> tuple[int, int] | None:
    """Where the object that the array `body` begins with is, in bytes, or None.

    Of the rest of the body nothing is read. Read as Latin-1 a character is a byte, and
    JSON's own characters are the same, so the reader's offsets are those of the body.
    """
    if not (opening := _OPENING.match(body)):
        return None
    for length in _FIRST_ELEMENT_BYTES:
        piece = body[:length]
        if _too_deep(piece, MAX_DEPTH):
            return None
        if span := _span(piece, opening.end()):
            return span
    return None


def member_span(
    body: bytes, outer: tuple[int, int], name: str
) -> tuple[int, int] | None:
    """Where the value of `name` is, if that is all that the object at `outer` holds.

    `outer` must come from `element_span`, or its depth must have been looked at.
    """
    start, end = outer
    piece = body[start:end]
    head = re.match(rb'\{[ \t\r\n]*"%b"[ \t\r\n]*:[ \t\r\n]*' % name.encode(), piece)
    if head is None or len(piece) > _FIRST_ELEMENT_BYTES[-1]:
        return None
    inner = _span(piece, head.end())
    if inner is None or not _CLOSING.fullmatch(piece, inner[1]):
        return None
    return start + inner[0], start + inner[1]


_OPENING = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*(?=\{)")
_CLOSING = re.compile(rb"[ \t\r\n]*\}")
_BOM = b"\xef\xbb\xbf"


def _text(body: bytes) -> str:
    if body.startswith(_BOM):
        raise InvalidJson("bom", "the body begins with a byte order mark")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        where = error.start
    raise InvalidJson("not_utf8", f"the body is not UTF-8, see byte {where}")


def _values(body: bytes) -> int:
    """At least as many as there are; those inside of texts are counted, too."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_SHAPE = bytes(set(range(256)) - set(b'"[]{}'))
_QUOTED = re.compile(rb'"[^"]*(?:"|\Z)')


def _too_deep(body: bytes, max_depth: int) -> bool:
    """Whether brackets nest deeper; exact where `body` is JSON.

    Only the brackets outside of texts are kept, then the innermost pairs are taken out
    once per level. A body cut off leaves brackets over, but never a pair.
    """
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return False
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    shape = unescaped.translate(_SQUARE, _NOT_SHAPE).replace(b'""', b"")
    brackets = _QUOTED.sub(b"", shape)
    for _level in range(max_depth):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return b"[]" in brackets or brackets.count(b"[") > max_depth


_SURROGATE_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _has_lone_surrogate(body: bytes) -> bool:
    """Exact where `body` is JSON."""
    if b"\\ud" not in body and b"\\uD" not in body:
        return False
    unescaped = body.replace(b"\\\\", b"")
    return bool(_SURROGATE.search(_SURROGATE_PAIR.sub(b"", unescaped)))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidJson("duplicate_key", "an object holds a name twice")
    return members


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS and len(digits.lstrip("-")) > MAX_DIGITS:
        raise InvalidJson("number", f"an integer has more than {MAX_DIGITS} digits")
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > _MAX_FLOAT_CHARACTERS or math.isinf(number := float(digits)):
        raise InvalidJson("number", "a number is too long or too great")
    return number


def _constant(_name: str) -> Any:
    raise InvalidJson("number", "NaN and Infinity are not JSON")


_STRICT = JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_float,
    parse_constant=_constant,
)
_SCANNER = JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
"""Finds an end and converts no number."""


def _span(piece: bytes, start: int) -> tuple[int, int] | None:
    try:
        _value, end = _SCANNER.raw_decode(piece.decode("latin-1"), start)
    except JSONDecodeError:
        return None
    return start, end
