"""Reading a downloaded cohort: from its CSV to the ids of one column.

The format is contract 4.4: a header, every value quoted, an empty `user_id` for people
that were never identified. Whatever does not look exactly like a list of people ends
the reading, since a list that is cut short would read as exits: half an id must not be
believed, nor a header that may be all that is left. What it cannot see is a plain text
that was cut just after a row; there the count of rows decides (`row_count`).
"""

from collections.abc import Iterator
from typing import BinaryIO

from syncd.errors import SourceUntrusted
from syncd.model import IdType
from syncd.sources.csv_column import CsvColumns
from syncd.sources.lines import whole_lines

_FILE = "the downloaded cohort"
"""What errors call the file; it has no name."""

_TAB = b"\t"
_BLOCK = 20_000
"""Ids in a block at most; a chunk of short lines holds more."""


class Members:
    """One reading of a plain CSV. The counts hold once `blocks` are through."""

    def __init__(self, file: BinaryIO, id_type: IdType) -> None:
        """`file` is read from where it stands."""
        self._file = file
        self._column = id_type.value
        self._tabbed = False
        """Whether any value read so far may begin with a tab."""
        self._requoted = False
        """Whether any may begin with a quote."""
        self.rows = 0
        """People, whether they have the id or not."""
        self.anonymous = 0
        """Those who have not, who are in no block."""
        self.quoted = 0
        """Ids that begin and end with a quote: one client was seen to strip them, for
        reasons unknown. They are kept as they are, and counted so that somebody asks
        (contract 4.4)."""

    def blocks(self) -> Iterator[list[bytes]]:
        """The ids, raw UTF-8, in the order of the file; to be called once.

        Raises `SourceUntrusted` for anything that is not a whole list of people.
        """
        table = CsvColumns(self._chunks(), _FILE)
        for values in table.values(self._position(table.header)):
            self.rows += len(values)
            ids = self._identified(values)
            for start in range(0, len(ids), _BLOCK):
                yield ids[start : start + _BLOCK]

    def _chunks(self) -> Iterator[bytes]:
        """Whole lines, looked at for what the csv module would let pass."""
        begun, ended, lined = False, True, False
        for chunk in whole_lines(self._file, _FILE):
            if not begun and chunk.lstrip().startswith(b"<"):
                raise SourceUntrusted(
                    f"{_FILE} is a page (HTML or XML), not a CSV",
                    code="source.file_malformed",
                )
            if b"\0" in chunk:
                raise SourceUntrusted(
                    f"{_FILE} holds NUL bytes", code="source.file_malformed"
                )
            # A closed value is whole, with a line end behind it or without: RFC 4180
            # leaves that open, and nobody has seen how Amplitude ends a file. (Cut in
            # an escaped quote it would look closed: such an id is not worth a refusal
            # of every file.)
            begun, ended = True, chunk.endswith((b"\n", b'"'))
            lined |= b"\n" in chunk
            self._tabbed |= _TAB in chunk
            self._requoted |= b'"""' in chunk
            yield chunk
        # A header alone must have its end: it may be all that is left of a list.
        if begun and not (ended and lined):
            raise SourceUntrusted(
                f"{_FILE} is cut off: its last line has no end",
                code="source.file_malformed",
            )

    def _position(self, header: list[str]) -> int:
        """Where the column is, by name; names may have a tab before them."""
        names = [name.removeprefix("\t") for name in header]
        if "group_value" in names and IdType.USER_ID.value not in names:
            raise SourceUntrusted(
                f"{_FILE} lists groups, not people",
                code="source.group",
                hint="only cohorts of users can be synced",
            )
        if names.count(self._column) != 1:
            raise SourceUntrusted(
                f"{_FILE} has {names.count(self._column)} columns {self._column!r}"
                f" among its {len(names)}",
                code="source.no_column",
            )
        return names.index(self._column)

    def _identified(self, values: list[bytes]) -> list[bytes]:
        if self._tabbed:
            values = [value.removeprefix(_TAB) for value in values]
        ids = [value for value in values if value]
        self.anonymous += len(values) - len(ids)
        if self._requoted:
            self.quoted += sum(
                len(one) > 1 and one.startswith(b'"') and one.endswith(b'"')
                for one in ids
            )
        return ids
