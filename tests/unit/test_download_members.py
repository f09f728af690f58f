"""What a downloaded cohort's CSV says, and what is not believed."""

import io

import pytest

from syncd.errors import SourceUntrusted
from syncd.model import IdType
from syncd.sources.amplitude_download.members import Members

HEADER = b'"amplitude_id","user_id"\n'
TWO = HEADER + b'"1","ann"\n"2","bob"\n'


def reading(
    data: bytes, id_type: IdType = IdType.USER_ID
) -> tuple[list[bytes], Members]:
    """All ids, and the reading with its counts."""
    members = Members(io.BytesIO(data), id_type)
    return [one for block in members.blocks() for one in block], members


def ids(data: bytes, id_type: IdType = IdType.USER_ID) -> list[bytes]:
    return reading(data, id_type)[0]


def refusal(data: bytes, id_type: IdType = IdType.USER_ID) -> SourceUntrusted:
    with pytest.raises(SourceUntrusted) as caught:
        ids(data, id_type)
    return caught.value


READ = {
    "as recorded": (TWO, [b"ann", b"bob"]),
    "unquoted": (TWO.replace(b'"', b""), [b"ann", b"bob"]),
    "crlf": (TWO.replace(b"\n", b"\r\n"), [b"ann", b"bob"]),
    "byte order mark": (b"\xef\xbb\xbf" + TWO, [b"ann", b"bob"]),
    "blank lines": (TWO + b"\n\n", [b"ann", b"bob"]),
    "other order": (b'"user_id","amplitude_id"\n"ann","1"\n', [b"ann"]),
    "more columns": (
        b'"amplitude_id","plan","user_id","city"\n"1","a,b","ann","x\n""y"""\n2,,bob,\n',
        [b"ann", b"bob"],
    ),
    "escaped quotes": (HEADER + b'"1","a""n""n"\n"2","bob"\n', [b'a"n"n', b"bob"]),
    "comma": (HEADER + b'"1","a,b"\n', [b"a,b"]),
    "line ends in a value": (HEADER + b'"1","a\r\nb\nc"\n', [b"a\r\nb\nc"]),
    "not only ascii": (HEADER + '"1","é\u2028ü"\n'.encode(), ["é\u2028ü".encode()]),
    "tabs": (b'"\tamplitude_id","\tuser_id"\n"\t1","\tann"\n', [b"ann"]),
    "one tab only": (HEADER + b'"1","\t\tann"\n', [b"\tann"]),
    "duplicates": (HEADER + b'"1","ann"\n"2","ann"\n', [b"ann", b"ann"]),
    "header only": (HEADER, []),
}


@pytest.mark.parametrize(("data", "expected"), READ.values(), ids=READ)
def test_a_list_of_people_is_read_as_it_was_meant(data, expected):
    assert ids(data) == expected


def test_people_without_a_user_id_are_counted_and_left_out():
    found, members = reading(HEADER + b'"1",""\n"2","bob"\n"3","\t"\n')

    assert found == [b"bob"]
    assert (members.rows, members.anonymous, members.quoted) == (3, 2, 0)


def test_the_other_id_is_read_from_its_own_column():
    assert ids(HEADER + b'"1",""\n"2","bob"\n', IdType.AMPLITUDE_ID) == [b"1", b"2"]


def test_ids_that_keep_their_quotes_are_counted_and_kept():
    found, members = reading(HEADER + b'"1","""ann"""\n"2","b""b"\n"3",""""\n')

    assert found == [b'"ann"', b'b"b', b'"']
    assert members.quoted == 1


def test_blocks_stay_small_in_a_file_of_short_lines():
    data = HEADER + b'"","a"\n' * 300_000
    members = Members(io.BytesIO(data), IdType.USER_ID)

    sizes = [len(block) for block in members.blocks()]

    assert (sum(sizes), max(sizes)) == (300_000, 20_000)


def test_a_tab_is_stripped_although_its_row_was_read_together_with_a_later_chunk():
    tall = b"".join(b'"%d","%s"\n' % (n, b"\n" * 1000) for n in range(3000))

    assert ids(HEADER + b'"0","\tann"\n' + tall)[0] == b"ann"


def test_a_carriage_return_alone_ends_no_line():
    assert refusal(TWO[:-1] + b"\r").code == "source.file_malformed"


UNTRUSTED = {
    "empty": (b"", "source.file_empty"),
    "byte order mark only": (b"\xef\xbb\xbf", "source.file_empty"),
    "blank": (b"\n\n", "source.file_malformed"),
    "html": (b"\n<!DOCTYPE html>\n<p>log in\n", "source.file_malformed"),
    "xml": (b'<?xml version="1.0"?>\n<Error/>', "source.file_malformed"),
    "no header": (b'"1","ann"\n"2","bob"\n', "source.no_column"),
    "another header": (b'"amplitude_id","email"\n"1","ann"\n', "source.no_column"),
    "cut header": (b'"amplitude_id","user', "source.file_malformed"),
    "two such columns": (b'"user_id","user_id"\n"1","2"\n', "source.no_column"),
    "two by tab": (b'"user_id","\tuser_id"\n"1","2"\n', "source.no_column"),
    "a group": (b'"\tgroup_value"\n"\tacme"\n', "source.group"),
    "a group with ids": (b'"amplitude_id","group_value"\n"1","a"\n', "source.group"),
    "too few fields": (TWO + b'"3"\n', "source.file_malformed"),
    "two rows of one": (TWO + b'"3"\n"4"\n', "source.file_malformed"),
    "another separator": (TWO + b'"3";"c"\n', "source.file_malformed"),
    "no separator": (TWO + b'"3"x"c"\n', "source.file_malformed"),
    "too many fields": (TWO + b'"3","c","d"\n', "source.file_malformed"),
    "unquoted too few": (b"amplitude_id,user_id\n1\n", "source.file_malformed"),
    "text after a quote": (TWO + b'"3","c"d\n', "source.file_malformed"),
    "cut in the first field": (TWO + b'"356', "source.file_malformed"),
    "cut after a field": (TWO + b'"356"', "source.file_malformed"),
    "cut in the last field": (TWO + b'"3","us', "source.file_malformed"),
    "an unquoted id, cut": (b"amplitude_id,user_id\n1,an", "source.file_malformed"),
    "header without line end": (HEADER[:-1], "source.file_malformed"),
    "a quote that never ends": (TWO + b'"3","us\n' + TWO, "source.file_malformed"),
    "nul": (TWO + b'"3","c\0d"\n', "source.file_malformed"),
    "nul in the header": (b'"amplitude_id"\0,"user_id"\n', "source.file_malformed"),
    "utf-16": (TWO.decode().encode("utf-16"), "source.file_malformed"),
    "latin-1": (HEADER + '"1","é"\n'.encode("latin-1"), "source.file_malformed"),
    "latin-1 with escapes": (HEADER + b'"1","\xe9"""\n', "source.file_malformed"),
}


@pytest.mark.parametrize(("data", "code"), UNTRUSTED.values(), ids=UNTRUSTED)
def test_what_is_no_whole_list_of_people_ends_the_reading(data, code):
    assert refusal(data).code == code


def test_a_group_is_refused_for_either_id():
    data = b'"amplitude_id","group_value"\n"1","a"\n'

    assert refusal(data, IdType.AMPLITUDE_ID).code == "source.group"


@pytest.mark.parametrize("spoilt", [b'"3"\n', b'"3","c"d\n', b'"3","c\0"\n', b'"3","c'])
def test_a_fault_far_inside_is_found(spoilt):
    rows = b"".join(b'"%d","user-%d@example.com"\n' % (n, n) for n in range(60_000))

    assert refusal(HEADER + rows + spoilt).code == "source.file_malformed"


def test_a_closed_value_ends_the_last_line_as_well_as_a_line_end():
    whole = Members(io.BytesIO(TWO), IdType.USER_ID)
    unended = Members(io.BytesIO(TWO[:-1]), IdType.USER_ID)

    assert list(unended.blocks()) == list(whole.blocks())
    assert unended.rows == whole.rows


def test_no_error_repeats_an_id():
    for data, _ in UNTRUSTED.values():
        error = refusal(data)
        assert not {"ann", "bob", "acme"} & set(str(error).replace("'", " ").split())
