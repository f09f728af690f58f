"""Which bytes a list was read from: an equal mark is the same list, and nothing else.

`files:BYTES:STAMPS`, both digests. BYTES is of every byte as it was read, with the
files' names, STAMPS of what the file system said of them before: as long as it says the
same, no byte need be read. It is `-` where a file was touched just before, since then a
later write might not show. In both is how the files are read, and by which version of
ours: another one may read them otherwise, so it does so once.

xxh3-128, as everywhere here (`store/buckets`): 74 MB take 7 ms, blake2b's take 78, and
each run that finds something new would pay them. Whoever could make two lists of one
digest would keep a change of their own from being sent.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime

from xxhash import xxh3_128_hexdigest

from syncd import __version__
from syncd.sources.files.file_list import FileList
from syncd.sources.files.found import Found

_TEXT = re.compile(r"files:([0-9a-f]{32}):([0-9a-f]{32}|-)")
_UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Mark:
    """Of one read of all files."""

    content: str
    stamps: str = _UNKNOWN

    @classmethod
    def made(
        cls, files: FileList, digests: Mapping[str, str], found: Found, at: datetime
    ) -> "Mark":
        """Of files as they were found `at` a moment and read after it.

        `digests`: of the bytes of each, by its path, in the order they were read.
        """
        stamps = _looks_of(files, found) if found.rests(at) else _UNKNOWN
        return cls(_content_of(files, digests), stamps)

    @classmethod
    def parse(cls, text: str | None) -> "Mark | None":
        """The mark as text; None where it is damaged, of another source, or none."""
        read = _TEXT.fullmatch(text) if text is not None else None
        return cls(*read.groups()) if read is not None else None

    def text(self) -> str:
        """As a plan keeps it."""
        return f"files:{self.content}:{self.stamps}"

    def looks_like(self, files: FileList, found: Found) -> bool:
        """Whether these are surely the files of the mark, by a look alone."""
        return self.stamps == _looks_of(files, found)

    def holds(self, files: FileList, digests: Mapping[str, str]) -> bool:
        """Whether files with these digests have the bytes of the mark."""
        return self.content == _content_of(files, digests)


def _content_of(files: FileList, digests: Mapping[str, str]) -> str:
    return _digest([__version__, files.fingerprint(), list(digests.items())])


def _looks_of(files: FileList, found: Found) -> str:
    stamps = [(path, astuple(each)) for path, each in found.stamps.items()]
    return _digest([__version__, files.fingerprint(), stamps])


def _digest(said: Sequence[object]) -> str:
    return xxh3_128_hexdigest(json.dumps(said).encode())
