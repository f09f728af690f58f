"""The exported file: CSV with every value quoted, usually gzipped (R14, contract 4.4).

Bodies of two million rows are made in pieces, so that the loop serves others meanwhile.
"""

import asyncio
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import cycle, islice

from syncd.simulator.cohorts import USER
from syncd.simulator.people import People
from syncd.simulator.switches import Switches

PIECE = 20_000
"""Rows written at a time."""
GROUP = "group_value"
ODD_VALUES = ("a, b", 'say "hi"', "line 1\nline 2", "")
"""What extra columns hold in turn: all that a careless reader trips over."""
GZIPPED = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a file is written."""

    columns: tuple[str, ...]
    tab: bool
    """Each name and value begins with a tab."""
    bom: bool
    crlf: bool
    zipped: int
    """How often it is gzipped: 0, 1 or 2."""


def style_of(switches: Switches, count_group: str) -> Style:
    """The style of the moment."""
    extra = tuple(filter(None, switches.extra_columns.split(",")))
    wanted = tuple(filter(None, switches.column_order.split(",")))
    columns = wanted if count_group == USER else (GROUP,)
    return Style(
        columns=columns + tuple(name for name in extra if name not in columns),
        tab=switches.tab_prefix or count_group != USER,
        bom=switches.bom,
        crlf=switches.crlf,
        zipped={"none": 0, "twice": 2}.get(switches.gzip, 1),
    )


async def render(members: Collection[int], people: People, style: Style) -> bytes:
    """The whole file. Members without a name have an empty `user_id`."""
    parts: list[bytes] = []
    pack = zlib.compressobj(1, zlib.DEFLATED, 31) if style.zipped else None
    for text in _pieces(members, people, style):
        part = text.encode()
        parts.append(pack.compress(part) if pack else part)
        await asyncio.sleep(0)
    if pack:
        parts.append(pack.flush())
    body = b"".join(parts)
    return gzipped(body) if style.zipped == 2 else body


def gzipped(body: bytes) -> bytes:
    """Compressed fast."""
    pack = zlib.compressobj(1, zlib.DEFLATED, 31)
    return pack.compress(body) + pack.flush()


def gunzipped(body: bytes) -> bytes:
    """One layer of gzip less; our own files, so their size is known."""
    return zlib.decompress(body, 31)


def first_rows(body: bytes, *, keep: float) -> bytes:
    """A well-formed file of the first rows only, about the share `keep` of them."""
    return body[: _row_end(body, int(len(body) * keep))]


def without_header(body: bytes) -> bytes:
    """The rows alone."""
    return body[_row_end(body, 0) :]


def _row_end(body: bytes, place: int) -> int:
    """Where the row at a place ends: at a line feed outside quotes."""
    while (place := body.find(b"\n", place) + 1) > 0:
        if body.count(b'"', 0, place) % 2 == 0:
            return place
    return len(body)


def _pieces(members: Collection[int], people: People, style: Style) -> Iterator[str]:
    tab, end = "\t" if style.tab else "", "\r\n" if style.crlf else "\n"
    first, between, last = f'"{tab}', f'","{tab}', f'"{end}'
    header = first + between.join(style.columns) + last
    yield ("\ufeff" if style.bom else "") + header
    keys, odd = iter(members), cycle(ODD_VALUES)
    while piece := list(islice(keys, PIECE)):
        columns = [_column(name, piece, people, odd) for name in style.columns]
        rows = zip(*columns, strict=True)
        yield "".join([first + between.join(row) + last for row in rows])


def _column(
    name: str, piece: list[int], people: People, odd: Iterator[str]
) -> list[str]:
    if name == "amplitude_id":
        return [str(key) for key in piece]
    if name in ("user_id", GROUP):
        return [_escaped(value) if value else "" for value in people.names(piece)]
    return [_escaped(value) for value in islice(odd, len(piece))]


def _escaped(value: str) -> str:
    return value.replace('"', '""') if '"' in value else value
