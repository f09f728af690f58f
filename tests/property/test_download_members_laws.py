"""Laws of reading a download: it says what csv.reader says, wherever chunks end."""

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.errors import SourceUntrusted
from syncd.model import IdType
from syncd.sources.amplitude_download.members import Members
from syncd.sources.csv_column import CsvColumns

FIELDS = st.text(st.sampled_from('a7"\n\r,\té\u2028'), max_size=4)
ROWS = st.lists(st.tuples(FIELDS, FIELDS), max_size=8)
PIECES = st.lists(
    st.sampled_from(
        ['"', '""', '"""', ",", "\n", "\r\n", "\r", "a", "é", '","', '"\n"']
    ),
    max_size=14,
).map("".join)
QUOTED = st.sampled_from(['"a"', '"b,"', '"c\n"', '"\r\n"', '""', '"""d"', '"e"""'])
BETWEEN = st.sampled_from([",", ",", "\n", "\n", "\r\n", "", ";", "a", ",,", "\n\n"])
NEARLY = st.lists(st.tuples(QUOTED, BETWEEN).map("".join), max_size=8).map("".join)
"""Rows like the real ones, but for what stands between their fields."""
CUTS = st.lists(st.booleans(), max_size=8)


def by_csv(text: str) -> list[list[str]] | None:
    """The rows as the csv module reads them; None if it refuses, or widths differ.

    A line ends with a newline: a bare return outside of quotes is refused.
    """
    try:
        rows = list(csv.reader(io.StringIO(text, newline="\n"), strict=True))
    except csv.Error:
        return None
    rows = [row for row in rows if row]
    return rows if all(len(row) == 2 for row in rows) else None


def in_chunks(data: bytes, cuts: list[bool]) -> list[bytes]:
    """Cut at line breaks, after those lines that `cuts` says."""
    chunks = [b""]
    for number, line in enumerate(io.BytesIO(data)):
        chunks[-1] += line
        if cuts and cuts[number % len(cuts)]:
            chunks.append(b"")
    return [chunk for chunk in chunks if chunk]


def by_us(text: str, cuts: list[bool]) -> list[bytes] | None:
    chunks = in_chunks(b"amplitude_id,user_id\n" + text.encode(), cuts)
    table = CsvColumns(iter(chunks), "file")
    try:
        return [value for block in table.values(1) for value in block]
    except SourceUntrusted:
        return None


@settings(deadline=None, max_examples=400)
@given(text=PIECES | NEARLY, cuts=CUTS)
def test_any_text_is_read_or_refused_as_by_the_csv_module(text, cuts):
    rows = by_csv(text)

    found = by_us(text, cuts)

    assert found == (None if rows is None else [row[1].encode() for row in rows])


@settings(deadline=None, max_examples=200)
@given(rows=ROWS, newline=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())
def test_every_person_of_a_file_is_either_named_or_counted(rows, newline, bom):
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator=newline)
    writer.writerows([("amplitude_id", "user_id"), *rows])
    data = b"\xef\xbb\xbf" * bom + text.getvalue().encode()
    members = Members(io.BytesIO(data), IdType.USER_ID)

    found = [one for block in members.blocks() for one in block]

    expected = [user.removeprefix("\t").encode() for _, user in rows]
    assert found == [one for one in expected if one]
    assert members.rows == len(rows)
    assert members.anonymous == len(rows) - len(found)
    assert members.quoted == sum(
        len(one) > 1 and one[:1] == one[-1:] == b'"' for one in found
    )


@settings(deadline=None, max_examples=200)
@given(rows=ROWS, share=st.floats(0, 1))
def test_a_file_cut_anywhere_names_nobody_else(rows, share):
    """A cut may go unseen after a whole row: the download, which knows the end of the
    stream, is what sees those. So may one inside an escaped quote, which looks like the
    end of a value: here no id holds one."""
    rows = [(number, user.replace('"', "")) for number, user in rows]
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("amplitude_id", "user_id"), *rows])
    data = text.getvalue().encode()
    members = Members(io.BytesIO(data[: int(len(data) * share)]), IdType.USER_ID)

    try:
        found = [one for block in members.blocks() for one in block]
    except SourceUntrusted:
        return

    named = [user.removeprefix("\t").encode() for _, user in rows]
    named = [one for one in named if one]
    assert found == named[: len(found)]
