"""Files, packed or not, as chunks of whole lines; and their bytes as a digest."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xxhash import xxh3_128

from syncd.errors import SourceUnavailable, SourceUntrusted
from syncd.sources.lines import CHUNK, whole_lines

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_GZIP = b"\x1f\x8b"
_BUFFER = 1 << 17
"""Bytes that are read of a packed file at once."""


class Read(io.RawIOBase):
    """A file that is digested while it is read: just the bytes that were handed on."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._digest = xxh3_128()

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """See `io.RawIOBase`."""
        count = self._raw.readinto(buffer) or 0
        self._digest.update(memoryview(buffer)[:count])
        return count

    def digest(self) -> str:
        """Of all bytes so far."""
        return self._digest.hexdigest()


@contextmanager
def opened(path: Path) -> Iterator[Read]:
    """The file's bytes as they are.

    Raises `SourceUntrusted` within for a gzip file that is cut off or damaged, and
    `SourceUnavailable` when the file cannot be read.
    """
    with _reported(path), path.open("rb", buffering=0) as raw:
        yield Read(raw)


def chunks(read: Read, name: str) -> Iterator[bytes]:
    """The bytes, unpacked, as `whole_lines`; to its end every byte was read.

    Unpacked if the first bytes say gzip, whatever the name says. Raises
    `SourceUntrusted` for an empty file, or a line without end.
    """
    file = io.BufferedReader(read, _BUFFER)
    if file.peek(len(_GZIP)).startswith(_GZIP):
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield from whole_lines(unpacked, name)
    else:
        yield from whole_lines(file, name)


def digest_of(path: Path) -> str:
    """Of the file's bytes, without looking at them. Raises `SourceUnavailable`."""
    with opened(path) as read:
        buffer = bytearray(CHUNK)
        while read.readinto(buffer):
            pass
        return read.digest()


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise SourceUntrusted(
            f"{path} is a gzip file that is cut off or damaged",
            code="source.file_damaged",
            hint="copy it again under another name, then rename it",
        ) from None
    except OSError as error:
        raise SourceUnavailable(
            f"{path} cannot be read: {error.strerror}", code="source.file_unreadable"
        ) from error
