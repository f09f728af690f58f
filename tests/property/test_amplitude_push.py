"""Laws of reading names: whatever people call a cohort, its id is found again."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.sources.amplitude_push.names import CohortNames
from syncd.sources.amplitude_push.template_json import without_last_commas

ODD = st.sampled_from(
    [":", "(", ")", "_", " ", "[Amplitude] ", "amplitude_", "é", "\n"]
)
NAMES = st.lists(ODD | st.text(max_size=3), max_size=12).map("".join)
PLAIN_IDS = st.from_regex(r"[A-Za-z0-9-]{1,12}", fullmatch=True)
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
SPELLINGS = st.sampled_from(
    [
        "[Amplitude] {name}: {id}",
        "[Amplitude] {name} ({id})",
        "{name}: {id}",
        "{name}:{id}",
        "{name} ({id})",
    ]
)
FLAT = "amplitude_{name}_{id}"


def found(text: str, *known: str) -> str | None:
    cohort = CohortNames(known).cohort_in(text)
    return cohort.id if cohort else None


@settings(max_examples=200)
@given(SPELLINGS, NAMES, PLAIN_IDS)
def test_an_unknown_id_is_found_behind_any_name(
    spelling: str, name: str, id_: str
) -> None:
    assert found(spelling.format(name=name, id=id_)) == id_


@settings(max_examples=200)
@given(NAMES.filter(bool), PLAIN_IDS)
def test_an_unknown_id_is_found_behind_any_flat_name(name: str, id_: str) -> None:
    assert found(FLAT.format(name=name, id=id_)) == id_


@settings(max_examples=200)
@given(SPELLINGS | st.just(FLAT), NAMES, IDS, st.lists(PLAIN_IDS, max_size=3))
def test_a_known_id_is_found_behind_any_name(
    spelling: str, name: str, id_: str, others: list[str]
) -> None:
    text = spelling.format(name=name, id=id_)
    longer = [other for other in others if len(other) > len(id_)]

    assert found(text, id_, *longer) == id_


@settings(max_examples=200)
@given(st.text(max_size=60), st.lists(IDS, max_size=3))
def test_no_text_is_an_error_and_what_is_found_is_in_it(
    text: str, known: list[str]
) -> None:
    id_ = found(text, *known)

    assert id_ is None or id_ in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a,]}"\\ [{', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text('a,]"\\', max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@given(JSON, st.sampled_from([None, 1]))
def test_json_is_never_changed(value: object, indent: int | None) -> None:
    body = json.dumps(value, indent=indent).encode()

    assert without_last_commas(body) == body
