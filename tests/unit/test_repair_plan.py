"""What a repair sends: what was found, as far as the source says the same today."""

from syncd.sync.diff import BucketChanges
from syncd.sync.repair import mended


def ids(letters: str) -> set[bytes]:
    return {one.encode() for one in letters}


def plan(
    *,
    wanted: str,
    acknowledged: str = "",
    uncertain: str = "",
    missing: str = "",
    ours: str = "",
) -> BucketChanges:
    """Each letter is a person."""
    return mended(
        bucket=3,
        wanted=list(ids(wanted)),
        acknowledged=ids(acknowledged),
        uncertain=ids(uncertain),
        missing=ids(missing),
        ours=ids(ours),
    )


def moved(change: BucketChanges) -> tuple[str, str]:
    adds, removes = (
        b"".join(sorted(each)).decode() for each in (change.adds, change.removes)
    )
    return adds, removes


def test_the_missing_are_added_again_and_those_left_behind_are_removed():
    change = plan(wanted="abc", acknowledged="abc", missing="c", ours="x")

    assert moved(change) == ("c", "x")
    assert (change.bucket, change.members, change.reasserted) == (3, 3, 0)


def test_who_left_the_source_meanwhile_is_not_added_again():
    assert moved(plan(wanted="ab", acknowledged="abc", missing="c")) == ("", "")


def test_who_is_wanted_again_is_not_removed():
    assert moved(plan(wanted="ax", acknowledged="a", ours="x")) == ("", "")


def test_changes_of_the_source_that_nobody_verified_are_left_to_the_next_run():
    change = plan(wanted="abn", acknowledged="abz", missing="b")

    assert moved(change) == ("b", "")


def test_who_became_uncertain_is_asserted_as_the_source_says():
    change = plan(wanted="au", acknowledged="av", uncertain="uv", missing="v")

    assert moved(change) == ("u", "v")
    assert change.reasserted == 2


def test_nobody_is_removed_whom_the_destination_acknowledged_since():
    assert moved(plan(wanted="a", acknowledged="ax", ours="x")) == ("", "")


def test_the_guard_sees_those_left_behind_as_ours():
    change = plan(wanted="", ours="xyz")

    assert change.union == len(change.removes) == 3
