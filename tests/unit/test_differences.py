"""Who differs between the destination and what it acknowledged, and who is judged."""

from syncd.sync.differences import Differences


def compared(
    acknowledged: str = "", uncertain: str = "", unaccepted: str = "", there: str = ""
) -> Differences:
    """Each letter is a person."""
    found = Differences()
    found.add(
        acknowledged={one.encode() for one in acknowledged},
        uncertain={one.encode() for one in uncertain},
        unaccepted={one.encode() for one in unaccepted},
        there=[one.encode() for one in there],
    )
    return found


def test_equal_sides_have_no_drift():
    found = compared(acknowledged="abc", there="cab")

    assert (found.missing, found.ghosts, found.drift) == ([], [], 0.0)


def test_who_was_acknowledged_and_is_not_there_is_missing():
    found = compared(acknowledged="abc", there="ab")

    assert (found.missing, found.ghosts) == ([b"c"], [])
    assert found.drift == 1 / 3


def test_who_is_there_and_was_not_acknowledged_is_a_ghost():
    found = compared(acknowledged="abc", there="abcd")

    assert (found.missing, found.ghosts) == ([], [b"d"])
    assert found.drift == 1 / 4


def test_nobody_uncertain_is_judged_whichever_side_names_them():
    found = compared(acknowledged="abc", uncertain="cd", there="abd")

    assert (found.missing, found.ghosts, found.in_flight) == ([], [], 2)
    assert found.acknowledged == 2


def test_an_unmatched_person_is_no_difference_unless_somebody_put_them_there():
    found = compared(acknowledged="a", unaccepted="xy", there="ay")

    assert (found.unmatched, found.ghosts) == (1, [b"y"])


def test_a_list_that_names_somebody_twice_holds_them_once():
    found = compared(acknowledged="ab", there="aabb")

    assert (found.there, found.drift) == (2, 0.0)


def test_a_cohort_that_lost_everybody_or_holds_only_strangers_is_all_drift():
    assert compared(acknowledged="abc").drift == 1.0
    assert compared(there="xyz").drift == 1.0
    assert compared().drift == 0.0


def test_buckets_add_up():
    found = compared(acknowledged="ab", there="a")

    found.add(acknowledged={b"c"}, uncertain=set(), unaccepted=set(), there=[b"d"])

    assert (found.acknowledged, found.there) == (3, 2)
    assert (sorted(found.missing), found.ghosts) == ([b"b", b"c"], [b"d"])
