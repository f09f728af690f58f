"""Inputs near to valid ones: a seed, and a few changes to it.

JSON is changed as JSON (a part replaced, left out, doubled, wrapped) and as bytes. Some
changes repeat a piece until the input is as long as any may be: that is how time that
grows with the square of a length shows.
"""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.fuzzing.target import LARGEST, Target

ODD: tuple[bytes, ...] = (
    *(b"\x00 \xff \xc3\xa9 \xed\xa0\x80 \xef\xbb\xbf \xf0\x9f\x92\xa9 \\".split()),
    *(b'" "" \' { } [ ] , : ; % %41 &amp; \\u0041 \\ud800 \\" < ('.split()),
    *(b"\r\n \n \t - -1 0 1e999 1E400 0x10 9223372036854775808 NaN null true".split()),
    *(b"${HOME} .. / // :// @ * & ! | > # ? = + ~ \xc2\xa0 \xe2\x80\xa8".split()),
    b"\n",
    b"\r\n",
    b" ",
    b"9" * 400,
    b"9" * 5_000,
    b"0.1",
    b"a" * 300,
)
PARTS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**63, 10**30, 10**400, 1e300),
    *("", " ", "null", "true", "\ud800", "\x00", "é" * 300, "9" * 30, "a" * 3_000),
    *([], {}, [[]], [None], {"": None}, {"json": {}}, [{}, {}]),
    *("2026-03-02T12:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
)
_KINDS = ("put", "over", "cut", "end", "again", "many", "node", "drop", "wrap", "two")

Edit = tuple[str, int, int, bytes]
"""(kind, place, length, piece)"""


HOSTILE: tuple[bytes, ...] = (
    *(each * 5_000 for each in (b"[", b"{", b'{"a":', b'"', b"\\", b"(", b"%41", b"&")),
    *(b'{"a":' * 1_200 + b"1" + b"}" * 1_200, b"[" * 1_200 + b"]" * 1_200),
    *(
        b'"' + b"a" * 9_000,
        b'"' + b"\\u0041" * 2_000 + b'"',
        b"\xf0\x9f\x92\xa9" * 3_000,
    ),
    *(b"\n" * 9_000, b" " * 9_000, b"\0" * 9_000, b"\xff" * 9_000, b"9" * 9_000),
)
"""For every target: what is deep, long, or no text at all."""


def is_json(seed: bytes) -> bool:
    """Whether it is a document that `swept` changes."""
    return seed[:1] in (b"{", b"[") and next(swept(seed), None) is not None


def swept(seed: bytes) -> Iterator[bytes]:
    """A JSON document with each part in turn left out, or replaced by each odd value,
    or so deep that no stack holds it."""
    try:
        count = sum(1 for _ in _places([json.loads(seed)]))
    except ValueError:
        return
    for place in range(count):
        yield _as_json(seed, "drop", place, 0)
        for number in range(len(PARTS)):
            yield _as_json(seed, "node", place, number)
    yield b'{"json":' * 1_200 + seed + b"}" * 1_200


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Mutated seeds, now and then anything at all."""
    edit = st.tuples(
        st.sampled_from(_KINDS),
        st.integers(0, 4096),
        st.integers(1, 64),
        st.sampled_from(target.words + ODD) | st.binary(min_size=1, max_size=6),
    )
    edits = st.lists(edit, min_size=1, max_size=5)
    changed = st.tuples(st.sampled_from(target.seeds), edits).map(_changed)
    return changed | changed | changed | st.binary(max_size=200)


def _changed(chosen: tuple[bytes, list[Edit]]) -> bytes:
    data, edits = chosen
    for edit in edits:
        data = mutated(data, edit)
    return data[:LARGEST]


def mutated(data: bytes, edit: Edit) -> bytes:
    """The input with one change."""
    kind, place, length, piece = edit
    at = place % (len(data) + 1)
    match kind:
        case "put":
            return data[:at] + piece + data[at:]
        case "over":
            return data[:at] + piece + data[at + len(piece) :]
        case "cut":
            return data[:at] + data[at + length :]
        case "end":
            return data[:at]
        case "again":
            return data[:at] + data[at : at + length] * 3 + data[at + length :]
        case "many":
            room = max(0, LARGEST - len(data))
            return data[:at] + piece * (room // len(piece)) + data[at:]
        case _:
            return _as_json(data, kind, place, length)


def _as_json(data: bytes, kind: str, place: int, length: int) -> bytes:
    """A change of one part of a JSON document; other inputs stay as they are."""
    try:
        root = [json.loads(data)]
        holder, key = list(_places(root))[place % sum(1 for _ in _places(root))]
    except (ValueError, RecursionError):
        return data
    _alter(holder, key, kind, (place, length))
    try:
        return json.dumps(root[0]).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError, IndexError):
        return data


def _alter(holder: Any, key: Any, kind: str, chosen: tuple[int, int]) -> None:
    """Change one part where it stands."""
    place, length = chosen
    part, old = PARTS[length % len(PARTS)], holder[key]
    match kind:
        case "node":
            holder[key] = part
        case "drop" if isinstance(holder, dict):
            del holder[key]
        case "wrap":
            for _ in range(1 + place % 300):
                holder[key] = [holder[key]] if length % 2 else {"json": holder[key]}
        case "two" if isinstance(old, list):
            holder[key] = [*old, part] * (1 + place % 100)
        case "two" if isinstance(old, dict):
            holder[key] = {**old, str(part): part}
        case _:
            holder[key] = [old, part]


def _places(holder: Any) -> Iterator[tuple[Any, Any]]:
    """Every part of a document as who holds it, and under which key or index."""
    keys = holder.keys() if isinstance(holder, dict) else range(len(holder))
    for key in list(keys):
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from _places(holder[key])
