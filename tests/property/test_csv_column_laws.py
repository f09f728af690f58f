"""Laws of the CSV reader: quick way and csv module read the same, however it is cut."""

import csv
import io
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.errors import SourceUntrusted
from syncd.sources.csv_column import column

FIELDS = st.text(st.sampled_from('ab"\n\r, é\u2028\x00\x1c'), max_size=5)
TIDY = FIELDS.map(lambda text: text.replace("\r", ""))  # csv.writer leaves it bare


def rows_of(fields: st.SearchStrategy[str], min_size: int = 0):
    return st.lists(
        st.lists(fields, min_size=3, max_size=3), min_size=min_size, max_size=8
    )


def written(rows: list[list[str]], newline: str, *, quote_all: bool) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(
        text,
        lineterminator=newline,
        quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL,
    )
    writer.writerow(["first", "user_id", "last"])
    writer.writerows(rows)
    return text.getvalue().encode()


def cut_at_newlines(data: bytes, cuts: list[bool]) -> Iterator[bytes]:
    """Chunks as the stream makes them; `cuts` says after which lines one ends."""
    chunk = b""
    for number, line in enumerate(io.BytesIO(data)):
        chunk += line
        if cuts and cuts[number % len(cuts)]:
            yield chunk
            chunk = b""
    if chunk:
        yield chunk


@settings(deadline=None)
@given(
    content=st.one_of(
        st.tuples(rows_of(TIDY), st.just(False)),
        st.tuples(rows_of(FIELDS), st.just(True)),
    ),
    newline=st.sampled_from(["\n", "\r\n"]),
    cuts=st.lists(st.booleans(), max_size=12),
)
def test_what_was_written_is_read_wherever_the_chunks_end(content, newline, cuts):
    rows, quote_all = content
    data = written(rows, newline, quote_all=quote_all)

    blocks = list(column(cut_at_newlines(data, cuts), "user_id", "file"))

    assert [id_ for block in blocks for id_ in block] == [
        row[1].encode() for row in rows
    ]


@settings(deadline=None)
@given(
    ids=st.lists(TIDY, max_size=8),
    newline=st.sampled_from(["\n", "\r\n"]),
    cuts=st.lists(st.booleans(), max_size=12),
    blank=st.booleans(),
)
def test_a_column_that_is_alone_is_read_as_by_the_csv_module(ids, newline, cuts, blank):
    """Its lines are not cut at commas; a blank line is no row."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=newline * (2 if blank else 1))
    writer.writerows([["user_id"], *([one] for one in ids)])
    data = text.getvalue().encode()

    blocks = list(column(cut_at_newlines(data, cuts), "user_id", "file"))

    assert [id_ for block in blocks for id_ in block] == [one.encode() for one in ids]


@pytest.mark.parametrize("row", [b"a,b", b",", b'"a",b'])
def test_a_list_of_one_column_takes_no_second_one(row):
    with pytest.raises(SourceUntrusted, match=r"2 fields in line 3\b"):
        list(column(iter([b"user_id\n", b"x\n" + row + b"\ny\n"]), "user_id", "file"))


@settings(deadline=None)
@given(
    rows=rows_of(FIELDS, min_size=1),
    cuts=st.lists(st.booleans(), max_size=12),
    end=st.integers(min_value=1),
)
def test_a_file_cut_off_is_never_read_as_something_that_was_not_in_it(rows, cuts, end):
    """Only a cut inside the last field of all may pass for a whole file."""
    data = written(rows, "\n", quote_all=True)
    cut = data[: end % len(data)] or data[:1]

    try:
        blocks = list(column(cut_at_newlines(cut, cuts), "user_id", "file"))
    except SourceUntrusted:
        return

    ids = [id_ for block in blocks for id_ in block]
    assert ids == [row[1].encode() for row in rows[: len(ids)]]


@pytest.mark.parametrize("line", [b"a,b", b"a,b,c,d", b'"a,b",c', b'a,"b'])
@pytest.mark.parametrize("chunks_before", [0, 3])
def test_a_row_of_another_width_ends_the_read_with_its_line(line, chunks_before):
    before = [b'x,"y\ny",z\n', b"x,y,z\n", b'x,y,"z"\n'][:chunks_before]
    used = 1 + sum(chunk.count(b"\n") for chunk in before)
    chunks = iter([b"first,user_id,last\n", *before, b"x,y,z\n" + line + b"\n"])

    with pytest.raises(SourceUntrusted, match=rf"line {used + 2}\b") as caught:
        list(column(chunks, "user_id", "file"))

    assert caught.value.code == "source.file_malformed"
