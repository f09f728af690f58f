"""Which ids may go to a destination: one case per rule, and the shape of the answer."""

import pytest

from syncd.model import IdType
from syncd.sync.ids import (
    FORBIDDEN_WORDS,
    MAX_BYTES,
    MAX_CHARACTERS,
    USUAL_MINIMUM,
    Doubt,
    Reason,
    accept,
    reason,
)

USER = IdType.USER_ID
AMPLITUDE = IdType.AMPLITUDE_ID
ZERO_UUID = b"00000000-0000-0000-0000-000000000000"

REFUSED = [
    (b"", Reason.EMPTY),
    (b"\xff\xfe", Reason.NOT_UTF8),
    ("\ud800".encode("utf-8", "surrogatepass"), Reason.NOT_UTF8),
    (b"\xc0\xaf", Reason.NOT_UTF8),
    (b"x" * (MAX_CHARACTERS + 1), Reason.TOO_LONG),
    (("é" * (MAX_CHARACTERS + 1)).encode(), Reason.TOO_LONG),
    (("漢" * (MAX_BYTES // 3 + 1)).encode(), Reason.TOO_LONG),
    (b"a\nb", Reason.CONTROL_CHARACTER),
    (b"person-1\r", Reason.CONTROL_CHARACTER),
    (b"a\x00b", Reason.CONTROL_CHARACTER),
    (b"\ttabbed", Reason.CONTROL_CHARACTER),
    (b"del\x7fete", Reason.CONTROL_CHARACTER),
    ("next\u0085line".encode(), Reason.CONTROL_CHARACTER),
    ("line\u2028separator".encode(), Reason.CONTROL_CHARACTER),
    ("paragraph\u2029separator".encode(), Reason.CONTROL_CHARACTER),
    (b" person-1", Reason.WHITESPACE_EDGE),
    (b"person-1 ", Reason.WHITESPACE_EDGE),
    (b"   ", Reason.WHITESPACE_EDGE),
    ("\u00a0person-1".encode(), Reason.WHITESPACE_EDGE),
    ("person-1\u3000".encode(), Reason.WHITESPACE_EDGE),
    (b"NULL", Reason.FORBIDDEN_WORD),
    (b"UnDefined", Reason.FORBIDDEN_WORD),
    (b"N/A", Reason.FORBIDDEN_WORD),
    (b"-1", Reason.FORBIDDEN_WORD),
    (b"{}", Reason.FORBIDDEN_WORD),
    (ZERO_UUID, Reason.FORBIDDEN_WORD),
]

KEPT = [
    b"person-1",
    b"John Smith",
    b"person@example.com",
    b"7",
    b"007",
    b"1e3",
    b"nullable",
    b"-10",
    b"x" * MAX_CHARACTERS,
    ("é" * MAX_CHARACTERS).encode(),
    ("漢" * (MAX_BYTES // 3)).encode(),
    "un\u212anown".encode(),  # Kelvin sign: no ASCII case of a forbidden word
    "zoë\u00a0l".encode(),
    "a\u200bb".encode(),
    b"00000000-0000-0000-0000-000000000001",
]


def test_the_rules_are_the_vendors():
    words = "anonymous nil none null n/a na undefined unknown {} lmy47d 0 -1"

    assert {*words.encode().split(), ZERO_UUID} == FORBIDDEN_WORDS
    assert MAX_CHARACTERS == 1024
    assert USUAL_MINIMUM == 5


def test_the_names_that_counts_are_kept_under_stay():
    assert " ".join([*Reason, *Doubt]) == (
        "empty not_utf8 too_long control_character whitespace_edge forbidden_word "
        "not_amplitude_id forgotten too_short"
    )


@pytest.mark.parametrize(("id_", "why"), REFUSED)
def test_an_id_that_nobody_can_have_is_refused_with_its_reason(id_, why):
    accepted = accept([b"person-1", id_, b"person-2"], USER)

    assert reason(id_, USER) is why
    assert accepted.ids == [b"person-1", b"person-2"]
    assert accepted.refused == {why: 1}


@pytest.mark.parametrize("id_", KEPT)
def test_an_id_that_may_exist_goes_out_byte_for_byte(id_):
    accepted = accept([id_], USER)

    assert reason(id_, USER) is None
    assert accepted.ids == [id_]
    assert accepted.refused == {}


@pytest.mark.parametrize("word", sorted(FORBIDDEN_WORDS))
def test_every_word_amplitude_refuses_is_refused_in_any_case(word):
    spellings = [word, word.upper(), word.title(), word.swapcase()]

    accepted = accept(spellings, USER)

    assert accepted.ids == []
    assert accepted.refused == {Reason.FORBIDDEN_WORD: len(spellings)}


@pytest.mark.parametrize("id_", [b"1", b"356896327775", b"9223372036854775807"])
def test_an_amplitude_id_is_a_positive_64_bit_decimal(id_):
    assert reason(id_, AMPLITUDE) is None
    assert accept([id_], AMPLITUDE).ids == [id_]


@pytest.mark.parametrize(
    "id_",
    [
        b"0356896327775",
        b"9223372036854775808",
        b"99999999999999999999",
        b"-356896327775",
        b"1e21",
        b"1.0",
        b"356896327775x",
        "٣٥٦".encode(),  # decimal digits, but not ASCII
    ],
)
def test_anything_else_is_no_amplitude_id(id_):
    accepted = accept([b"356896327775", id_], AMPLITUDE)

    assert reason(id_, AMPLITUDE) is Reason.NOT_AMPLITUDE_ID
    assert accepted.ids == [b"356896327775"]
    assert accepted.refused == {Reason.NOT_AMPLITUDE_ID: 1}


def test_variants_of_one_text_stay_different_people():
    composed, decomposed = "zo\u00eb-1".encode(), b"zoe\xcc\x88-1"

    accepted = accept([composed, decomposed, b"Anna-1", b"anna-1"], USER)

    assert accepted.ids == [composed, decomposed, b"Anna-1", b"anna-1"]


def test_a_short_user_id_goes_out_with_a_warning():
    accepted = accept([b"u1", b"person-1", "zoë1".encode(), "zoëë1".encode()], USER)

    assert len(accepted.ids) == 4
    assert accepted.warnings == {Doubt.TOO_SHORT: 2}


def test_short_ids_are_counted_over_the_whole_of_a_large_block():
    block = [b"u%d" % number for number in range(1_000)]

    assert accept(block, USER).warnings == {Doubt.TOO_SHORT: 1_000}


def test_a_short_amplitude_id_is_nothing_odd():
    assert accept([b"12"], AMPLITUDE).warnings == {}


def test_duplicates_are_left_for_the_diff_to_see():
    assert accept([b"person-1", b"person-1"], USER).ids == [b"person-1"] * 2


def test_anonymous_rows_all_over_a_block_are_counted_and_the_rest_keeps_its_order():
    people = [b"person-%d" % n for n in range(3000)]
    block = [id_ for person in people for id_ in (person, b"")]

    accepted = accept(block, USER)

    assert accepted.ids == people
    assert accepted.refused == {Reason.EMPTY: 3000}


@pytest.mark.parametrize("block", [[], [b""], [b"", b""]])
@pytest.mark.parametrize("id_type", list(IdType))
def test_a_block_of_nobody_accepts_nobody(block, id_type):
    accepted = accept(block, id_type)

    assert accepted.ids == []
    assert sum(accepted.refused.values()) == len(block)
