"""Words above whom the plans so far wanted; how far a plan had read, as text."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.model import Feed, IdType
from syncd.sources.feed_mark import Mark, list_mark_of, position_of
from syncd.sync.fold import overlay, wanted_so_far

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FEED = Feed(connection="engage", key="vip", id_type=IdType.USER_ID)
MARK = Mark(position=7, listed_at=NOW, list_mark='{"a": 1}', sure_until=NOW, beyond=3)

ids = st.sets(st.sampled_from([b"a", b"b", b"c", b"d"]))


# ---- whom the plans so far wanted ---------------------------------------------------


def test_an_uncertain_person_is_wanted_as_the_newest_batch_asks() -> None:
    wanted = wanted_so_far(
        acknowledged={b"stays", b"is leaving"},
        uncertain={b"is leaving", b"is entering"},
        meant_in={b"is entering"},
        unaccepted=set(),
    )

    assert wanted == {b"stays", b"is entering"}


def test_a_person_the_destination_does_not_take_is_wanted_all_the_same() -> None:
    wanted = wanted_so_far(
        acknowledged=set(),
        uncertain={b"offered again", b"taken back"},
        meant_in={b"offered again"},
        unaccepted={b"unknown", b"offered again", b"taken back"},
    )

    assert wanted == {b"unknown", b"offered again"}


@given(below=ids, entered=ids, exited=ids)
def test_the_newest_word_about_a_person_decides(
    below: set[bytes], entered: set[bytes], exited: set[bytes]
) -> None:
    exited = exited - entered

    wanted = overlay(below, entered, exited)

    assert len(wanted) == len(set(wanted))
    assert entered <= set(wanted)
    assert not exited & set(wanted)
    assert set(wanted) - entered - exited == below - entered - exited


# ---- marks --------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [MARK, Mark(), Mark(position=1, listed_at=NOW)])
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert Mark.parse(mark.text(FEED), FEED) == mark


def test_the_mark_of_another_feed_says_nothing_of_this_one() -> None:
    text = MARK.text(FEED)
    others = (
        replace(FEED, connection="other"),
        replace(FEED, key="other"),
        replace(FEED, id_type=IdType.AMPLITUDE_ID),
    )

    assert [Mark.parse(text, other) for other in others] == [None] * 3
    assert [position_of(text, other) for other in others] == [0] * 3
    assert position_of(text, FEED) == 7


@pytest.mark.parametrize("text", ["2026-03-02", "17", '"x"', "[]", '{"a": 1}', ""])
def test_the_mark_of_a_list_alone_has_read_nothing_of_a_feed(text: str) -> None:
    assert Mark.parse(text, FEED) == Mark(list_mark=text)
    assert position_of(text, FEED) == 0
    assert list_mark_of(text) == text


def test_a_mark_holds_that_of_its_list() -> None:
    assert list_mark_of(MARK.text(FEED)) == '{"a": 1}'
    assert list_mark_of(Mark().text(FEED)) is None
    assert list_mark_of(None) is None


def test_without_a_plan_there_is_no_mark() -> None:
    assert Mark.parse(None, FEED) is None
    assert position_of(None, FEED) == 0
