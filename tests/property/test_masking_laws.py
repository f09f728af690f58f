"""No id that was sent is shown, however the vendor writes it."""

import json
import unicodedata
from collections.abc import Callable, Sequence
from html import escape
from urllib.parse import quote

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from syncd.clients.masking import MESSAGE_CHARACTERS, folded, masked

Way = Callable[[str], str]

CASES: list[Way] = [str.lower, str.upper, str.casefold, str.title, str.swapcase, str]
FORMS: list[Way] = [
    str,
    lambda text: unicodedata.normalize("NFC", text),
    lambda text: unicodedata.normalize("NFD", text),
]
ESCAPES: list[Way] = [
    str,
    lambda text: quote(text, safe=""),
    quote,
    escape,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
]

# What people and other systems make ids of, then anything.
LETTERS = st.one_of(
    st.sampled_from("aAbB19@._-+%&;\\ "),
    st.sampled_from("äßéŉıİſςΣΐᾳ\u0301\u0323\u0345ﬃµKÅ각中😀"),
    st.characters(exclude_categories=["Cs"]),
)
IDS = st.text(LETTERS, min_size=5, max_size=40).map(str.strip)
IDS = IDS.filter(lambda text: len(text) > 4)
WAYS = st.tuples(*map(st.sampled_from, (FORMS, CASES, FORMS, ESCAPES)))
SPACE = st.sampled_from(["", " ", "\t"])
BEFORE = st.sampled_from(["", "user ", "unknown: '", 'user "', "x" * 190, "/users/"])
AFTER = st.sampled_from(["", " is unknown", "'", '"}', ", no more", "/traits"])


def written(text: str, ways: Sequence[Way]) -> str:
    for way in ways:
        text = way(text)
    return text


@settings(max_examples=400)
@given(IDS, SPACE, WAYS, BEFORE, AFTER)
@example("Alice@Example.com", "", (str.lower,), "user ", " is unknown")
@example("zoë@acme.example", " ", (FORMS[2], str.upper), "user ", " is unknown")
@example("\u0131l\u0131k1", "", (str.title,), "", "")
@example("a\u0301\u0323bcd", "", (FORMS[0],), "", "")
@example("\u03b1\u0345\u0301bcde", "", (str.upper,), "user ", " is unknown")
def test_no_id_of_five_or_more_characters_is_shown(
    member: str, space: str, ways: Sequence[Way], before: str, after: str
) -> None:
    assume(folded(member) not in folded(f"{before}\n{after}"))
    assume(len(set(folded(member))) > 1)
    quoted = written(member, ways)

    shown = masked(before + quoted + after, [space + member + space, "o@acme.example"])

    hidden = f"{before}{'*' * len(quoted)}{after}"
    assert shown == hidden[:MESSAGE_CHARACTERS].strip()


@given(st.lists(IDS, max_size=5), st.text(max_size=400))
def test_masking_keeps_lines_short_and_says_the_rest_as_it_was(
    members: list[str], text: str
) -> None:
    shown = masked(text, members)

    unmasked = masked(text, [])
    assert len(shown) <= MESSAGE_CHARACTERS
    assert "\n" not in shown
    if len(shown) == len(unmasked):
        pairs = zip(shown, unmasked, strict=True)
        assert all(one in ("*", other) for one, other in pairs)


@given(IDS)
def test_folding_is_the_same_for_each_case_and_form(text: str) -> None:
    normal = unicodedata.normalize("NFC", text)

    assert {folded(form(normal)) for form in FORMS} == {folded(normal)}
    assert folded(folded(text)) == folded(text)
