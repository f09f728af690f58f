"""One read of an audience's files: find them, read them, see that they held still."""

import glob
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import assert_never

from syncd.errors import SourceUnavailable, SourceUntrusted
from syncd.sources.csv_column import column
from syncd.sources.files.json_ids import JsonIds
from syncd.sources.files.stream import chunks


class Shape(StrEnum):
    """How a file holds the members."""

    AUTO = "auto"
    """JSON lines if the file begins with `{`, else formatted."""
    FORMATTED = "formatted"
    """CSV; one column is the id."""
    UNFORMATTED = "unformatted"
    """CSV; one column is JSON with the profile's ids by type."""
    JSON_LINES = "json_lines"
    """One JSON object a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileList:
    """Where an audience's files are, and where the id is in a row."""

    pattern: str
    """A path with `*`, `?`, `**` and `{audience}`, e.g. `/in/{audience}-*.csv.gz`."""
    audience: str
    """The audience's key, put into the pattern as it is, without any wildcard."""
    shape: Shape = Shape.FORMATTED
    column: str = "user_id"
    """Header of the column with the id, or with the JSON of ids; not for JSON lines."""
    id_name: str = "user_id"
    """Unformatted: the external id's type. JSON lines: dotted path to the id."""


class FilesSource:
    """A `Source` over the files that match a pattern, which together are one list."""

    def __init__(self, files: FileList) -> None:
        self._files = files

    def blocks(self) -> Iterator[list[bytes]]:
        """Every file to its end, in the order of their names, then the last look.

        Raises `SourceUnavailable` if there is none or one cannot be read, and
        `SourceUntrusted` for any that is malformed or changed while it was read.
        """
        before = self._stamps()
        wanted = JsonIds(self._files.id_name)
        for path in before:
            yield from self._read(Path(path), wanted)
        wanted.check()
        if self._stamps() != before:
            raise SourceUntrusted(
                f"files of {self._files.pattern} changed while they were read",
                code="source.file_changed",
                hint="write the file under another name, then rename it",
            )

    def fingerprint(self) -> str:
        """Pattern, audience and place of the id; not the files that match today."""
        files = self._files
        reads = {
            "source": "files",
            "pattern": files.pattern,
            "audience": files.audience,
            "shape": files.shape,
        }
        if files.shape is not Shape.JSON_LINES:
            reads["column"] = files.column
        if files.shape is not Shape.FORMATTED:
            reads["id_name"] = files.id_name
        return json.dumps(reads, sort_keys=True)

    def _read(self, path: Path, wanted: JsonIds) -> Iterator[list[bytes]]:
        files, name = self._files, str(path)
        wanted.begin(name)
        lines = chunks(path)
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

    def _stamps(self) -> dict[str, tuple[int, int, int]]:
        """The matching files in order, each with what changes when it is written to."""
        audience = self._files.audience
        if not audience or os.sep in audience or audience in (".", ".."):
            raise SourceUntrusted(
                f"the audience key {audience!r} cannot be part of a file's name",
                code="source.file_name",
            )
        pattern = self._files.pattern.replace("{audience}", glob.escape(audience))
        stamps = {}
        for path in sorted(glob.glob(pattern, recursive=True)):
            try:
                status = os.stat(path)
            except OSError:
                continue  # gone since: before the read no match, after it a change
            if stat.S_ISREG(status.st_mode):
                stamps[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
        if not stamps:
            raise SourceUnavailable(
                f"no file matches {pattern}",
                code="source.file_missing",
                hint="see that the export was put there, or correct the pattern",
            )
        return stamps


def _shape_of(first: bytes) -> Shape:
    """By the first chunk, which is never empty."""
    return Shape.JSON_LINES if first.lstrip().startswith(b"{") else Shape.FORMATTED
