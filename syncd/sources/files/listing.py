"""One read of an audience's files: find them, read them, see that they held still."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import assert_never

from syncd.clock import Clock
from syncd.errors import SourceError, SourceUntrusted
from syncd.sources.csv_column import column
from syncd.sources.files.file_list import FileList, Shape
from syncd.sources.files.found import find
from syncd.sources.files.json_ids import JsonIds
from syncd.sources.files.mark import Mark
from syncd.sources.files.stream import Read, chunks, opened


class FileListing:
    """A `Listing`."""

    def __init__(self, files: FileList, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._mark: Mark | None = None

    def blocks(self) -> Iterator[list[bytes]]:
        """Every file to its end, in the order of their names, then the last look.

        Raises `SourceUnavailable` if there is none or one cannot be read, and
        `SourceUntrusted` for any that is malformed or changed while it was read.
        """
        files, began = self._files, self._clock.machine()
        before = find(files)
        wanted = JsonIds(files.id_name)
        digests = {}
        for path in before.stamps:
            with opened(Path(path)) as read:
                yield from self._ids(read, path, wanted)
                digests[path] = read.digest()
        wanted.check()
        if not find(files).holds_as(before):
            raise SourceUntrusted(
                f"files of {files.pattern} changed while they were read",
                code="source.file_changed",
                hint="write the file under another name, then rename it",
            )
        self._mark = Mark.made(files, digests, before, began)

    def left_out(self) -> Mapping[str, int]:
        """See `Listing.left_out`; hygiene counts who has no id."""
        return {}

    def mark(self) -> str | None:
        """Of the bytes that were read; None before their end."""
        return self._mark.text() if self._mark is not None else None

    def as_of(self) -> datetime | None:
        """When the oldest of the files was written, however late it is read: what was
        pushed since is newer. None for times to come, and where there is no file."""
        with suppress(SourceError):
            written = find(self._files).written_since()
            age = self._clock.machine() - written if written is not None else None
            if age is not None and age > timedelta(0):
                return self._clock.now() - age * self._clock.speed
        return None

    def _ids(self, read: Read, name: str, wanted: JsonIds) -> Iterator[list[bytes]]:
        files = self._files
        wanted.begin(name)
        lines = chunks(read, name)
        first = next(lines)
        lines = chain([first], lines)
        match _shape_of(first) if files.shape is Shape.AUTO else files.shape:
            case Shape.FORMATTED | Shape.AUTO:
                yield from column(lines, files.column, name)
            case Shape.UNFORMATTED:
                for profiles in column(lines, files.column, name):
                    yield wanted.of_profiles(profiles)
            case Shape.JSON_LINES:
                yield from map(wanted.of_lines, lines)
            case unknown:
                assert_never(unknown)


def _shape_of(first: bytes) -> Shape:
    """By the first chunk, which is never empty."""
    return Shape.JSON_LINES if first.lstrip().startswith(b"{") else Shape.FORMATTED
