"""Whether an audience's files are still those that the last plan was made from."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from syncd import events
from syncd.clock import Clock
from syncd.errors import SourceError
from syncd.events import emit
from syncd.sources import Question, Unchanged
from syncd.sources.files.file_list import FileList
from syncd.sources.files.found import Found, find
from syncd.sources.files.listing import FileListing
from syncd.sources.files.mark import Mark
from syncd.sources.files.stream import digest_of

_OURS = Clock()


class FilesSource:
    """A `Source` over the files that match a pattern, which together are one list."""

    def __init__(self, files: FileList, clock: Clock = _OURS) -> None:
        self._files = files
        self._clock = clock

    def ask(self, question: Question) -> FileListing | Unchanged:
        """The list; or that it is byte for byte the one of the question's mark.

        A look at the files decides, else all their bytes. To read the list again costs
        nothing, so it is had wherever it is wanted. Raises nothing: what is wrong with
        the files is said by reading them.
        """
        mark = Mark.parse(question.mark)
        if mark is None or question.again:
            return self.listing()
        with suppress(SourceError):
            found = find(self._files)
            if mark.looks_like(self._files, found) or self._holds(mark, found):
                return _unchanged(question, found)
        return self.listing()

    def listing(self) -> FileListing:
        """The list, to be read whatever was read before."""
        return FileListing(self._files, self._clock)

    def blocks(self) -> Iterator[list[bytes]]:
        """See `WholeList.blocks`."""
        return self.listing().blocks()

    def fingerprint(self) -> str:
        """See `FileList.fingerprint`."""
        return self._files.fingerprint()

    def _holds(self, mark: Mark, found: Found) -> bool:
        """Whether they have the mark's bytes, and kept them while those were read."""
        digests = {path: digest_of(Path(path)) for path in found.stamps}
        return mark.holds(self._files, digests) and find(self._files).holds_as(found)


def _unchanged(question: Question, found: Found) -> Unchanged:
    since = found.written_at()
    if not question.look_only:
        emit(events.SOURCE_UNCHANGED, sync=question.sync, since=since)
    return Unchanged(since=since)
