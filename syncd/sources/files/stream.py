"""Files as chunks of whole lines, in bounded memory."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syncd.errors import SourceUnavailable, SourceUntrusted

CHUNK = 1 << 20
"""Bytes read at once."""

MAX_LINE = 4 << 20
"""Bytes. No row of an export is longer; a file without line breaks is no export."""

_GZIP = b"\x1f\x8b"


def chunks(path: Path) -> Iterator[bytes]:
    """The file's bytes, unpacked and without byte order mark, cut at line breaks only.

    Every chunk is non-empty and ends with a newline, but perhaps for the last. Raises
    `SourceUntrusted` for an empty, cut off or damaged file, or a line without end, and
    `SourceUnavailable` when it cannot be read.
    """
    with _reported(path), _opened(path) as file:
        rest = file.read(CHUNK).removeprefix(codecs.BOM_UTF8)
        if not rest:
            raise SourceUntrusted(f"{path} is empty", code="source.file_empty")
        while block := file.read(CHUNK):
            end = block.rfind(b"\n") + 1
            if end:
                yield rest + block[:end]
                rest = block[end:]
            else:
                rest += block
            if len(rest) > MAX_LINE:
                raise SourceUntrusted(
                    f"{path} has a line of more than {MAX_LINE} bytes",
                    code="source.file_malformed",
                )
        if rest:
            yield rest


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """The file, unpacked if its first bytes say gzip, whatever its name says."""
    with path.open("rb") as raw:
        packed = raw.read(len(_GZIP)) == _GZIP
        raw.seek(0)
        if not packed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as unpacked:
            yield unpacked


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
