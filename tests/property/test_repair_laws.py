"""A repair never touches anybody it cannot prove, whatever the sets hold."""

from hypothesis import given
from hypothesis import strategies as st

from syncd.sync.differences import Differences, causes
from syncd.sync.repair import mended

PEOPLE = st.frozensets(st.integers(0, 15).map(lambda n: b"p%d" % n))


@given(PEOPLE, PEOPLE, PEOPLE, PEOPLE, PEOPLE, PEOPLE, PEOPLE, PEOPLE)
def test_what_was_found_is_moved_as_the_source_says_and_nobody_else(
    acknowledged: frozenset[bytes],
    uncertain: frozenset[bytes],
    unaccepted: frozenset[bytes],
    there: frozenset[bytes],
    added: frozenset[bytes],
    traced: frozenset[bytes],
    removed: frozenset[bytes],
    wanted: frozenset[bytes],
) -> None:
    found = Differences()
    found.add(
        acknowledged=acknowledged,
        uncertain=uncertain,
        unaccepted=unaccepted,
        there=there,
    )
    told = causes(found, added=added, traced=traced, removed=removed, compared=1000)

    change = mended(
        bucket=0,
        wanted=wanted,
        acknowledged=acknowledged,
        uncertain=uncertain,
        missing=told.missing,
        ours=told.ours,
    )

    ghosts = [*told.ours, *told.returned, *told.others]
    assert sorted(ghosts) == sorted(found.ghosts), "each ghost has one cause"
    adds, removes = set(change.adds), set(change.removes)
    assert adds <= wanted
    assert not removes & wanted
    assert adds <= (acknowledged - there) | uncertain
    assert removes <= (there & (added | traced)) | uncertain
    assert not removes & (told.others | told.returned)
    after = (there | adds) - removes
    held = acknowledged - uncertain
    assert after >= held & wanted, "whoever was lost and is wanted is back"
    assert not after & told.ours - wanted, "whoever was left behind is gone"
