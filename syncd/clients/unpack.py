"""A downloaded file's body: raw pieces in, plain text out, in bounded memory.

Amplitude serves gzip mostly, said by Content-Encoding or not at all, and once within
another (contract 4.4). It must never let a cut body pass for a whole one: httpx is
silent when Content-Length is that of the cut body, or is missing (libraries.md 2.6).
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from syncd.clients.http import Answer

_GZIP = b"\x1f\x8b"
_GZIP_ONLY = 31
"""Window bits that make zlib read gzip and nothing else."""

_STEP = 256 * 1024
"""Bytes inflated at once: a piece of 64 KiB may hold 64 MiB of zeros."""

_SLICE = 16 * 1024
"""Bytes given to zlib at once: for each member it copies what comes after it."""

_KNOWN_CODINGS = {"", "identity", "gzip", "x-gzip", "aws-chunked"}
"""The last one is left on objects by some uploaders and changes nothing in them."""

_NO_CSV = (b"<", b"{", b"[", _GZIP)
"""HTML or XML, JSON, a third gzip: how no CSV with a header of names begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How large a file may be."""

    raw_bytes: int = 2 << 30
    """As sent. It may be sent plain, so as large as the plain text."""
    plain_bytes: int = 2 << 30
    """The largest cohort has 2,000,000 people (contract section 3); with the longest
    ids ingestion takes (1,024 characters) that is 2 GiB. Real ones are near 100 MB."""
    ratio: int = 200
    """Ids in order, the most compressible there are, shrink 10 to 30 times; a bomb
    1,000 times."""
    unsuspected_bytes: int = 16 << 20
    """The ratio counts from this size on."""
    part_bytes: int = 100
    """What the parts (members) of a gzip file hold at least, on average; tools that
    make many put 64 KiB into each. Empty ones cost time and grow nothing, so that no
    ratio tells: 50 KB of them, packed once more, took three seconds."""
    unsuspected_parts: int = 256
    """The average counts from so many parts on."""


class BrokenFile(Exception):
    """What came is not a whole file. The text says why, without any of it."""

    def __init__(self, why: str, *, again: bool = True) -> None:
        super().__init__(why)
        self.again = again
        """Whether another try may bring a better one."""


class Unpacked:
    """Writes the plain text of one body to `out`, piece by piece.

    `take` every piece, then `finish` with the answer; both raise `BrokenFile`. What
    `out.write` raises passes.
    """

    def __init__(self, out: BinaryIO, bounds: Bounds) -> None:
        self._out = out
        self._bounds = bounds
        self._begun = False
        self._inner = _Layer(self._write, bounds)
        self._outer = _Layer(self._inner.take, bounds)

    def take(self, piece: bytes) -> None:
        """The next piece of the body, as it was sent."""
        self._outer.take(piece)

    def finish(self, answer: Answer) -> None:
        """The body is over: was it all, and was it what the headers said?"""
        self._outer.finish()
        self._inner.finish()
        if not self._begun:
            raise BrokenFile("it is empty, without even a header")
        codings = answer.headers.get("content-encoding", "").lower().split(",")
        named = {coding.strip() for coding in codings}
        if not named <= _KNOWN_CODINGS:
            raise BrokenFile("it is packed in a way that was not asked for")
        if named & {"gzip", "x-gzip"} and not self._outer.packed:
            raise BrokenFile("it is said to be gzip and is not")
        if not self._outer.packed and not _declares_its_end(answer):
            raise BrokenFile("nothing shows whether it is whole")

    def _write(self, plain: bytes) -> None:
        if not self._begun and plain.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_NO_CSV):
            raise BrokenFile("it is a page or a message, not a CSV")
        self._begun = True
        self._out.write(plain)


class _Layer:
    """Takes one layer of gzip off if there is one, and else hands on what it gets."""

    def __init__(self, emit: Callable[[bytes], None], bounds: Bounds) -> None:
        self._emit = emit
        self._bounds = bounds
        self._head = b""
        self._decided = False
        self.packed = False
        """Whether it is gzip, by its first two bytes."""
        self._member = zlib.decompressobj(_GZIP_ONLY)
        self._members = 1
        self._taken = 0
        self._made = 0

    def take(self, data: bytes) -> None:
        self._taken += len(data)
        if not self._decided:
            data = self._head = self._head + data
            if len(data) < len(_GZIP):
                return
            self._decided = True
            self.packed = data.startswith(_GZIP)
        if self.packed:
            for start in range(0, len(data), _SLICE):
                self._inflate(data[start : start + _SLICE])
        else:
            self._hand_on(data)

    def finish(self) -> None:
        if not self._decided:
            self._hand_on(self._head)
        elif self.packed and not self._member.eof:
            raise BrokenFile("its gzip is cut off")

    def _inflate(self, data: bytes) -> None:
        """One small step after the other. Several members in a row are one file, and
        whatever else follows a member is an error, as it begins like none."""
        try:
            full = False  # a full step may leave more to come, even without new data
            while data or full:
                if self._member.eof:
                    self._next_member()
                plain = self._member.decompress(data, _STEP)
                data = self._member.unconsumed_tail or self._member.unused_data
                full = len(plain) == _STEP and not self._member.eof
                self._hand_on(plain)
        except zlib.error:
            raise BrokenFile(
                "its gzip is damaged, or something else follows it"
            ) from None

    def _next_member(self) -> None:
        self._members += 1
        suspected = self._members > self._bounds.unsuspected_parts
        if suspected and self._made < self._members * self._bounds.part_bytes:
            raise BrokenFile("its gzip has too many parts", again=False)
        self._member = zlib.decompressobj(_GZIP_ONLY)

    def _hand_on(self, plain: bytes) -> None:
        self._made += len(plain)
        bounds = self._bounds
        if self._made > bounds.plain_bytes:
            raise BrokenFile(
                f"it is larger than {bounds.plain_bytes} bytes", again=False
            )
        suspected = self._made > bounds.unsuspected_bytes
        if suspected and self._made > bounds.ratio * self._taken:
            raise BrokenFile("it grows beyond measure as it is unpacked", again=False)
        if plain:
            self._emit(plain)


def _declares_its_end(answer: Answer) -> bool:
    """Then the HTTP layer has seen the end; a body without either ends anywhere."""
    headers = answer.headers
    return "content-length" in headers or "chunked" in headers.get(
        "transfer-encoding", ""
    )
