"""The files that match right now, and what of them changes when they are written to."""

import glob
import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from syncd.errors import SourceUnavailable, SourceUntrusted
from syncd.sources.files.file_list import FileList

GRAIN = timedelta(seconds=2)
"""Two writes within one tick of a file system's clock leave the same time behind. The
coarsest ticks are of two seconds (FAT), most of a few milliseconds."""
_SECOND = 10**9
"""In nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What the file system says of one file; times in nanoseconds since 1970."""

    device: int
    inode: int
    size: int
    written: int
    """When its content last changed; whoever copies a file may set it."""
    changed: int
    """When anything about it last changed, its name and its times as well; nobody can
    set it."""

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """Of a file."""
        return cls(
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            written=status.st_mtime_ns,
            changed=status.st_ctime_ns,
        )

    @property
    def content(self) -> tuple[int, int, int]:
        """What another content changes, and another name, link or owner does not."""
        return self.inode, self.size, self.written


@dataclass(frozen=True, slots=True)
class Found:
    """The matching files in the order of their names."""

    stamps: dict[str, Stamp]

    def holds_as(self, other: "Found") -> bool:
        """Whether both are the same files with the same content."""
        mine, theirs = (
            [(path, stamp.content) for path, stamp in each.stamps.items()]
            for each in (self, other)
        )
        return mine == theirs

    def rests(self, now: datetime) -> bool:
        """Whether none of them was touched so lately that a later write might leave
        the same times behind. `now` is the machine's: files have its times, whatever
        the speed of ours, and one of times to come does not rest."""
        last = max(max(each.written, each.changed) for each in self.stamps.values())
        return last < (now - GRAIN).timestamp() * _SECOND

    def written_at(self) -> datetime | None:
        """When the newest was written; None for a time that no calendar has."""
        return _instant(max(each.written for each in self.stamps.values()))

    def written_since(self) -> datetime | None:
        """When the oldest was written: the list knows of nothing later for sure."""
        return _instant(min(each.written for each in self.stamps.values()))


def _instant(written: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(written // _SECOND, UTC) if written >= 0 else None
    except (ValueError, OverflowError, OSError):
        return None


def find(files: FileList) -> Found:
    """Look for them now.

    Raises `SourceUnavailable` if there is none, `SourceUntrusted` where the audience
    cannot be a part of a name.
    """
    audience = files.audience
    if not audience or os.sep in audience or audience in (".", ".."):
        raise SourceUntrusted(
            f"the audience key {audience!r} cannot be part of a file's name",
            code="source.file_name",
        )
    pattern = files.pattern.replace("{audience}", glob.escape(audience))
    stamps = {}
    for path in sorted(glob.glob(pattern, recursive=True)):
        try:
            status = os.stat(path)
        except OSError:
            continue  # gone since: before the read no match, after it a change
        if stat.S_ISREG(status.st_mode):
            stamps[path] = Stamp.of(status)
    if not stamps:
        raise SourceUnavailable(
            f"no file matches {pattern}",
            code="source.file_missing",
            hint="see that the export was put there, or correct the pattern",
        )
    return Found(stamps)
