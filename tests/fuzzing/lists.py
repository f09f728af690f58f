"""Whole lists, as files and downloads bring them, and the ids in them."""

import csv
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from syncd.errors import SourceUntrusted
from syncd.model import IdType
from syncd.sources.amplitude_download.members import Members
from syncd.sources.csv_column import column
from syncd.sources.files import FileList, FilesSource, Shape
from syncd.sources.files.json_ids import JsonIds
from syncd.sources.lines import whole_lines
from syncd.sync.ids import accept, reason
from tests.fuzzing.doors import require_text
from tests.fuzzing.packed import CSV, PACKED
from tests.fuzzing.target import Target


def downloads(data: bytes) -> None:
    """The plain text of a downloaded cohort."""
    for id_type in IdType:
        members = Members(io.BytesIO(data), id_type)
        try:
            ids = [each for block in members.blocks() for each in block]
        except SourceUntrusted as error:
            require_text(str(error))
            continue
        assert members.rows == len(ids) + members.anonymous
        assert all(ids)


def columns(data: bytes) -> None:
    """One column of a CSV; read whole, it is what the csv module finds."""
    try:
        found = [
            each
            for block in column(whole_lines(io.BytesIO(data), "f"), "user_id", "f")
            for each in block
        ]
    except SourceUntrusted as error:
        require_text(str(error))
        return
    text = data.removeprefix(b"\xef\xbb\xbf").decode()
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    at = rows[0].index("user_id")
    assert found == [row[at].encode() for row in rows[1:]]


def of_json(read: Callable[[JsonIds, bytes], list[bytes]]) -> Callable[[bytes], None]:
    """A target: ids out of JSON."""

    def run(data: bytes) -> None:
        wanted = JsonIds("ids.user_id")
        wanted.begin("f")
        try:
            for each in read(wanted, data):
                each.decode()
            wanted.check()
        except SourceUntrusted as error:
            require_text(str(error))

    return run


def hygiene(data: bytes) -> None:
    """A block of ids: the quick way says what the rule says."""
    block = data.split(b"\n")
    for id_type in IdType:
        found = accept(block, id_type)
        kept = [each for each in block if reason(each, id_type) is None]
        assert found.ids == kept
        assert len(kept) + sum(found.refused.values()) == len(block)


class Folder:
    """A file that is written anew for each input, in a folder of its own."""

    def __init__(self) -> None:
        self._kept = tempfile.TemporaryDirectory(prefix="syncd-fuzz-")
        self.file = Path(self._kept.name) / "vip.csv"

    def sources(self) -> Iterator[FilesSource]:
        """A source of each shape."""
        for shape in Shape:
            files = FileList(
                pattern=str(self.file.with_name("{audience}.csv")),
                audience="vip",
                shape=shape,
            )
            yield FilesSource(files)

    def read(self, data: bytes) -> None:
        """A target: the bytes of one file, packed or not."""
        self.file.write_bytes(data)
        for source in self.sources():
            try:
                for block in source.blocks():
                    assert all(isinstance(each, bytes) for each in block)
            except SourceUntrusted as error:
                require_text(str(error))


_ROWS = (
    CSV,
    b"\xef\xbb\xbfuser_id,email\r\nperson-1,a@b.example\r\n\r\nperson-2,\r\n",
    b"email,user_id\nx,\xc3\xa9\ny,person-2",
    b'"\tuser_id","amplitude_id"\n"\tperson-1","9223372036854775807"\n"",""\n',
)
_OBJECTS = (
    b'{"ids": {"user_id": "person-1"}}\n{"ids": {"user_id": 42}}\n{"ids": null}\n',
)
_PROFILES = (
    b'{"ids.user_id": ["person-1", 3]}\n[{"type": "ids.user_id", "id": "person-1"}]\n',
)
_WORDS = (b'","', b'"\n"', b'""', b"user_id", b"\t", b"\r")
_FOLDER = Folder()

TARGETS = (
    Target(name="downloaded-members", run=downloads, seeds=_ROWS, words=_WORDS),
    Target(name="csv-columns", run=columns, seeds=_ROWS, words=_WORDS),
    Target(
        name="json-lines",
        run=of_json(lambda ids, data: ids.of_lines(data)),
        seeds=_OBJECTS,
    ),
    Target(
        name="json-profiles",
        run=of_json(lambda ids, data: ids.of_profiles(data.split(b"\n"))),
        seeds=_PROFILES,
    ),
    Target(
        name="source-files",
        run=_FOLDER.read,
        seeds=_ROWS + _OBJECTS + PACKED[:5],
        words=_WORDS,
    ),
    Target(
        name="ids",
        run=hygiene,
        seeds=(
            b"person-1\n\n NULL\n0\nn/a\n\xc2\xa0x\n12345\n9223372036854775808",
            "pérson\n\u2028\n汉字".encode(),
        ),
        words=(b"none", b"\xe2\x80\xa8", b"\xc2\x85", b"1" * 1_025),
    ),
)
