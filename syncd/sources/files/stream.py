"""Files, packed or not, as chunks of whole lines."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syncd.errors import SourceUnavailable, SourceUntrusted
from syncd.sources.lines import whole_lines

_GZIP = b"\x1f\x8b"


def chunks(path: Path) -> Iterator[bytes]:
    """The file's bytes, unpacked, as `whole_lines`.

    Raises `SourceUntrusted` for an empty, cut off or damaged file, or a line without
    end, and `SourceUnavailable` when it cannot be read.
    """
    with _reported(path), _opened(path) as file:
        yield from whole_lines(file, str(path))


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
