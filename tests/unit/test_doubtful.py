"""Whom a late landing may move is asserted again, as the source says, and counted."""

from collections.abc import Callable

import pytest

from syncd.sync.diff import BucketChanges, changes, everybody_again

Compare = Callable[..., BucketChanges]


def compared(compare: Compare, listed: str, **known: str) -> BucketChanges:
    """A letter is a person; what is known of whom is named by the argument."""
    sets = ("acknowledged", "uncertain", "waiting", "unaccepted", "doubtful")
    return compare(
        bucket=7,
        snapshot=letters(listed),
        **{name: set(letters(known.get(name, ""))) for name in sets},
    )


def letters(text: str) -> list[bytes]:
    return [each.encode() for each in text]


def test_somebody_who_left_and_may_come_back_is_removed_again():
    found = compared(changes, "a", acknowledged="a", doubtful="b")

    assert (found.adds, found.removes) == ([], [b"b"])
    assert (found.reasserted, found.undone) == (1, 1)
    assert (found.members, found.acknowledged, found.union) == (1, 1, 1)


def test_a_member_who_may_be_taken_out_is_added_again():
    found = compared(changes, "ab", acknowledged="ab", doubtful="b")

    assert (found.adds, found.removes) == ([b"b"], [])
    assert (found.reasserted, found.undone) == (1, 0)


def test_an_exit_that_was_due_anyway_is_no_repetition():
    found = compared(changes, "", acknowledged="b", doubtful="b")

    assert (found.adds, found.removes) == ([], [b"b"])
    assert (found.reasserted, found.undone) == (0, 0)


def test_somebody_uncertain_and_doubtful_counts_among_those_who_may_be_there():
    found = compared(changes, "", uncertain="b", doubtful="b")

    assert (found.removes, found.union) == ([b"b"], 1)
    assert (found.reasserted, found.undone) == (1, 0)


def test_whoever_waits_to_be_offered_again_is_offered_now_if_doubtful():
    found = compared(changes, "ab", unaccepted="ab", waiting="ab", doubtful="b")

    assert (found.adds, found.reasserted) == ([b"b"], 1)


@pytest.mark.parametrize("compare", [changes, everybody_again])
def test_every_comparison_says_which_bucket_it_is_about(compare: Compare):
    assert compared(compare, "a").bucket == 7
    assert compared(compare, "a", uncertain="a", doubtful="b").bucket == 7


def test_all_are_sent_again_and_the_doubtful_are_removed_again():
    found = compared(everybody_again, "a", acknowledged="ac", doubtful="b")

    assert found.adds == [b"a"]
    assert sorted(found.removes) == [b"b", b"c"]
    assert (found.reasserted, found.undone, found.union) == (2, 1, 2)
