"""Laws of id hygiene: the quick look at a whole piece never disagrees with the rule."""

from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncd.model import IdType
from syncd.sync.ids import FORBIDDEN_WORDS, USUAL_MINIMUM, Doubt, accept, reason

ODD_TEXT = st.text(
    st.sampled_from("ab 0\t\n\r\x00\x1c\x7f\u0085\u00a0\u2028\u3000\ufeffé"), max_size=6
).map(str.encode)
WORDS = st.sampled_from(sorted(FORBIDDEN_WORDS)).flatmap(
    lambda word: st.sampled_from([word, word.upper(), b" " + word, word + b"x"])
)
NUMBERS = st.integers(min_value=-1, max_value=2**63 + 1).map(b"%d".__mod__)
PADDED = st.integers(min_value=0, max_value=10**6).map(b"%09d".__mod__)
LONG = st.integers(min_value=1020, max_value=1030).flatmap(
    lambda size: st.sampled_from([b"x" * size, ("é" * size).encode()])
)
IDS = st.one_of(
    st.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=8),
    ODD_TEXT,
    WORDS,
    NUMBERS,
    PADDED,
    LONG,
)


@settings(deadline=None, max_examples=400)
@given(
    odd=st.lists(IDS, max_size=12),
    plain=st.integers(min_value=0, max_value=1100),
    place=st.integers(min_value=0, max_value=1100),
    id_type=st.sampled_from(IdType),
)
@example(odd=[b"a b", b"a", b""], plain=0, place=0, id_type=IdType.USER_ID)
@example(odd=[b" a", b"b c"], plain=0, place=0, id_type=IdType.USER_ID)
@example(odd=[b"b c", b"a "], plain=0, place=0, id_type=IdType.USER_ID)
@example(odd=[b"1", b"02", b"3"], plain=0, place=0, id_type=IdType.AMPLITUDE_ID)
def test_a_block_is_sorted_as_if_each_id_were_asked_alone(odd, plain, place, id_type):
    block = [b"%d" % (10**11 + number) for number in range(plain)]
    block[place:place] = odd

    accepted = accept(block, id_type)

    reasons = [reason(id_, id_type) for id_ in block]
    assert accepted.ids == [
        id_ for id_, why in zip(block, reasons, strict=True) if why is None
    ]
    assert accepted.refused == Counter(why for why in reasons if why is not None)
    assert len(accepted.ids) + sum(accepted.refused.values()) == len(block)


@settings(deadline=None)
@given(block=st.lists(IDS, max_size=40), id_type=st.sampled_from(IdType))
def test_an_accepted_id_fits_on_one_line_of_text_and_is_told_apart_by_it(
    block, id_type
):
    ids = accept(block, id_type).ids

    assert b"\n".join(ids).split(b"\n") == ids or ids == []
    assert all(id_.decode().strip() == id_.decode() != "" for id_ in ids)


@settings(deadline=None)
@given(block=st.lists(IDS, max_size=40))
def test_short_ids_are_counted_in_characters(block):
    accepted = accept(block, IdType.USER_ID)

    short = sum(len(id_.decode()) < USUAL_MINIMUM for id_ in accepted.ids)
    assert accepted.warnings == ({Doubt.TOO_SHORT: short} if short else {})
