"""Bytes of a list as chunks of whole lines, in bounded memory."""

import codecs
from collections.abc import Iterator
from typing import Protocol

from syncd.errors import SourceUntrusted

CHUNK = 1 << 20
"""Bytes read at once."""

MAX_LINE = 4 << 20
"""Bytes. No row of an export is longer; a file without line breaks is no export."""


class Readable(Protocol):
    """A file, as far as it is needed here."""

    def read(self, size: int, /) -> bytes: ...


def whole_lines(file: Readable, name: str) -> Iterator[bytes]:
    """What `file` holds, without byte order mark, cut at line breaks only.

    Every chunk is non-empty and ends with a newline, but perhaps for the last. Raises
    `SourceUntrusted`, which calls the file `name`, if it is empty or has a line without
    end.
    """
    rest = file.read(CHUNK).removeprefix(codecs.BOM_UTF8)
    if not rest:
        raise SourceUntrusted(f"{name} is empty", code="source.file_empty")
    while block := file.read(CHUNK):
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end]
            rest = block[end:]
        else:
            rest += block
        if len(rest) > MAX_LINE:
            raise SourceUntrusted(
                f"{name} has a line of more than {MAX_LINE} bytes",
                code="source.file_malformed",
            )
    if rest:
        yield rest
