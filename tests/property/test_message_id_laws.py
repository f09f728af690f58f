"""Laws of Segment's `messageId`: one for one transition, short enough to be kept."""

import json
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.clients.segment_events import (
    MAX_MESSAGE_ID,
    Identifies,
    body_of,
    message_ids,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

# Few letters, so that parts run into each other often: "a" + "bc" and "ab" + "c".
CLOSE = st.text(alphabet='ab:|1\x00"', max_size=4)
ODD = st.text(min_size=1, max_size=300).filter(str.strip)

Transition = tuple[str, str, str, bool, bytes]
TRANSITIONS = st.tuples(
    CLOSE | ODD, CLOSE | ODD, CLOSE | ODD, st.booleans(), (CLOSE | ODD).map(str.encode)
)


def message_id(transition: Transition) -> str:
    plan_id, sync, trait, value, member_id = transition
    return message_ids(said(plan_id, sync, trait, value), [member_id])[0]


def said(
    plan_id: str = "p", sync: str = "s", trait: str = "t", value: bool = True
) -> Identifies:
    return Identifies(
        plan_id=plan_id, sync=sync, trait=trait, value=value, at=NOW, integrations={}
    )


@settings(max_examples=150)
@given(st.lists(TRANSITIONS, unique=True, max_size=30))
def test_two_transitions_never_share_a_message_id(transitions):
    made = [message_id(each) for each in transitions]

    assert len(set(made)) == len(transitions)


@settings(max_examples=100)
@given(TRANSITIONS)
def test_a_message_id_is_the_same_each_time_and_under_100_plain_characters(transition):
    made = message_id(transition)

    assert made == message_id(transition)
    assert len(made) <= MAX_MESSAGE_ID < 100
    assert made.isascii()
    assert made.isprintable()


@settings(max_examples=100)
@given(CLOSE, CLOSE, CLOSE, CLOSE)
def test_parts_that_read_alike_when_joined_are_still_told_apart(one, two, three, four):
    def shifted(first: str, second: str) -> str:
        return message_id((first, second, "t", True, b"u"))

    same = (one, two) == (three, four)

    assert (shifted(one, two) == shifted(three, four)) is same


@settings(max_examples=100)
@given(st.lists(ODD.map(str.encode), min_size=1, max_size=5), ODD)
def test_ids_and_traits_of_any_script_arrive_as_they_are(ids, trait):
    events = json.loads(body_of(said(trait=trait), ids, sent_at=NOW))["batch"]

    assert [each["userId"].encode() for each in events] == ids
    assert all(each["traits"] == {trait: True} for each in events)
