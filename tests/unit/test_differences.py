"""Who differs between the destination and what it acknowledged, and who is judged."""

from datetime import UTC, datetime, timedelta

from syncd.sync.differences import Cause, Causes, Differences, causes, evidence

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


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


# ---- by cause -----------------------------------------------------------------------


def told(found: Differences, *, compared: int = 0, **known: str) -> Causes:
    """`added`, `traced`, `removed`: each letter is a person."""
    sets = {
        name: {one.encode() for one in known.get(name, "")}
        for name in ("added", "traced", "removed")
    }
    return causes(found, compared=compared, **sets)


def test_a_ghost_is_ours_only_where_that_is_proven_and_never_by_a_guess():
    found = compared(acknowledged="abm", there="abxyzw")

    by_cause = told(found, added="x", removed="z", traced="w")

    assert list(by_cause.named()) == [
        (Cause.MISSING, b"m"),
        (Cause.OURS, b"w"),
        (Cause.OURS, b"x"),
        (Cause.RETURNED, b"z"),
        (Cause.OTHERS, b"y"),
    ]
    assert by_cause.repairable == 3
    assert found.drift_without(by_cause.repairable) == 2 / 7


def test_traces_prove_nothing_where_one_of_many_ghosts_may_fit_by_chance():
    found = compared(acknowledged="a", there="axy")

    few = told(found, traced="x", compared=2_000_000)
    many = told(found, traced="x", compared=3_000_000)

    assert [set(few.ours), set(few.others)] == [{b"x"}, {b"y"}]
    assert [set(many.ours), set(many.others)] == [set(), {b"x", b"y"}]


def test_nobody_becomes_ours_who_is_no_ghost():
    by_cause = told(compared(acknowledged="ab", there="ab"), added="ab", removed="b")

    assert list(by_cause.named()) == []


def test_evidence_is_of_this_file_this_store_and_these_people():
    one = told(compared(acknowledged="ab", there="ac"), added="c")
    same = told(compared(acknowledged="ab", there="ca"), added="c")
    other = told(compared(acknowledged="ab", there="ac"))

    seen = evidence(NOW, (4, 7), one)

    assert seen == evidence(NOW, (4, 7), same)
    assert seen != evidence(NOW, (4, 7), other), "c is somebody else's"
    assert seen != evidence(NOW, (5, 7), one), "a plan was made since"
    assert seen != evidence(NOW, (4, 8), one), "something was answered since"
    assert seen != evidence(NOW + timedelta(seconds=1), (4, 7), one)
