"""One column out of CSV lines.

Two shapes are split by hand, three times as fast as by the csv module: a chunk without
any quote, and one in which every field is quoted and holds no quote itself. Any other
chunk goes through csv.reader, which may run over into the next chunk while it is inside
a quoted field. All agree on every file (a test compares them). A row with too few or
too many fields ends the read: half a row is what a file that is cut off ends with.
"""

import csv
import difflib
import re
from collections import deque
from collections.abc import Iterator

from syncd.errors import SourceUntrusted

_NAME = re.compile(r"[A-Za-z][A-Za-z_ .]{0,40}")
"""What an error may repeat of a first line: one that is no header holds ids."""


def column(chunks: Iterator[bytes], name: str, file: str) -> Iterator[list[bytes]]:
    """The named column's values, in order, as raw UTF-8; blank lines are no rows.

    `chunks` end at line breaks, and the first line is the header. `file` is named in
    errors. A field is at most what the csv module allows (131,072 characters).
    """
    table = CsvColumns(chunks, file)
    yield from table.values(table.position(name))


class CsvColumns:
    """One pass over one file: its header, then the values of one of its columns."""

    def __init__(self, chunks: Iterator[bytes], file: str) -> None:
        """Reads the header. `chunks` yields one at least."""
        self._chunks = chunks
        self._file = file
        self._used = 0
        """Lines behind us, for errors."""
        self._pending: deque[str] = deque()
        """Lines of a quoted chunk that csv.reader has not asked for yet."""
        head, _, self._first = next(chunks).partition(b"\n")
        self.header = self._header(head)

    def values(self, at: int) -> Iterator[list[bytes]]:
        """The values at a position of the header, in blocks, once."""
        width = len(self.header)
        if self._first:
            yield self._take(self._first, at, width)
        for chunk in self._chunks:
            yield self._take(chunk, at, width)

    def position(self, name: str) -> int:
        """Where the column is; raises `SourceUntrusted` unless there is just one."""
        header = self.header
        found = header.count(name)
        if found == 1:
            return header.index(name)
        names = [known for known in header if _NAME.fullmatch(known)]
        close = difflib.get_close_matches(name, names, n=3)
        raise SourceUntrusted(
            f"{self._file} has {found} columns {name!r} among its {len(header)}: "
            + (", ".join(names[:30]) or "its first line is no header"),
            code="source.unknown_column",
            hint=f"did you mean {' or '.join(map(repr, close))}?" if close else "",
        )

    def _header(self, line: bytes) -> list[str]:
        try:
            names = next(csv.reader([self._decode(line)], strict=True), [])
        except csv.Error as error:
            raise self._malformed(f"has no CSV header: {error}") from None
        self._used += 1
        if not names:
            raise self._malformed("has no header in its first line")
        return names

    def _take(self, chunk: bytes, at: int, width: int) -> list[bytes]:
        plain = chunk.replace(b"\r\n", b"\n")
        if b'"' not in plain and b"\r" not in plain:
            return self._split(plain, at, width)
        quoted = self._split_quoted(chunk, at, width)
        if quoted is not None:
            return quoted
        self._queue(chunk)
        found = []
        for row in self._rows():
            if row and len(row) != width:
                raise self._wrong_width(len(row), width)
            if row:
                found.append(row[at].encode())
            if not self._pending:
                break  # this row ended with a chunk, be it a later one than ours
        return found

    def _split(self, plain: bytes, at: int, width: int) -> list[bytes]:
        """The quick way, for a chunk in which a comma is always a separator."""
        if not plain.isascii():
            self._decode(plain)
        if width == 1 and b"," not in plain:
            # The usual list: cutting each line at its commas costs five times as much.
            self._used += plain.count(b"\n")
            return list(filter(None, plain.split(b"\n")))
        rows = [line.split(b",") for line in plain.split(b"\n") if line]
        if set(map(len, rows)) - {width}:
            for line in plain.split(b"\n"):
                self._used += 1
                if line and line.count(b",") + 1 != width:
                    raise self._wrong_width(line.count(b",") + 1, width)
        self._used += plain.count(b"\n")
        return [row[at] for row in rows]

    def _split_quoted(self, chunk: bytes, at: int, width: int) -> list[bytes] | None:
        """The quick way, for whole rows of quoted fields without a quote in them.

        Cut at its quotes such a chunk is: nothing, a field, a comma, a field, a line
        end, a field, a comma, ... If what lies between the fields is just that, then no
        quote was part of a value, and each field stands where csv.reader finds it (with
        the commas and line ends within its quotes). None if it is any other chunk.
        """
        parts = chunk.split(b'"')
        step = 2 * width
        rows, rest = divmod(len(parts) - 1, step)
        ends = parts[step::step]
        if rest or parts[0] or ends.count(b"\n") + ends.count(b"\r\n") != rows:
            return None
        for between in range(2, step, 2):
            if parts[between::step].count(b",") != rows:
                return None
        if not chunk.isascii():
            self._decode(chunk)
        self._used += chunk.count(b"\n")
        return parts[2 * at + 1 :: step]

    def _rows(self) -> Iterator[list[str]]:
        """Rows by the csv module, from the queued lines and on into the next chunk."""
        try:
            yield from csv.reader(self._lines(), strict=True)
        except csv.Error as error:
            raise self._malformed(f"is no CSV at line {self._used}: {error}") from None

    def _lines(self) -> Iterator[str]:
        while True:
            while self._pending:
                self._used += 1
                yield self._pending.popleft()
            chunk = next(self._chunks, None)
            if chunk is None:
                return
            self._queue(chunk)

    def _queue(self, chunk: bytes) -> None:
        """Only a newline ends a line here; str.splitlines knows too many others."""
        *whole, last = self._decode(chunk).split("\n")
        self._pending.extend(line + "\n" for line in whole)
        if last:
            self._pending.append(last)

    def _decode(self, chunk: bytes) -> str:
        try:
            return chunk.decode()
        except UnicodeDecodeError as error:
            line = self._used + 1 + chunk.count(b"\n", 0, error.start)
            raise self._malformed(f"is not UTF-8 at line {line}") from None

    def _wrong_width(self, fields: int, width: int) -> SourceUntrusted:
        return self._malformed(
            f"has {fields} fields in line {self._used}, and {width} in its header"
        )

    def _malformed(self, what: str) -> SourceUntrusted:
        return SourceUntrusted(f"{self._file} {what}", code="source.file_malformed")
