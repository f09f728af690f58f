"""What counts as another sync, and what is only another way to say the same."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.model import IdType
from syncd.sync.identity import Aspect, Change, Identity, compare


def identity(**changed) -> Identity:
    fields = {
        "connection": "amplitude-eu",
        "target": "name:VIP",
        "id_type": IdType.USER_ID,
        "source": "warehouse vip",
    }
    return Identity(**(fields | changed))


def compared(now: Identity, *, external_id: str | None = "abc123") -> Change | None:
    return compare(identity(), now, external_id=external_id)


def aspect(change: Change | None) -> Aspect | None:
    return change.aspect if change else None


def test_the_names_of_what_changed_stay():
    assert list(Aspect) == ["target", "id_type", "source"]


def test_the_same_identity_is_no_change():
    assert compared(identity()) is None
    assert compared(identity(), external_id=None) is None


def test_naming_the_bound_cohort_by_its_id_is_no_change():
    assert compared(identity(target="id:abc123")) is None


def test_another_cohort_id_is_another_target():
    assert aspect(compared(identity(target="id:abc124"))) is Aspect.TARGET


def test_a_cohort_whose_id_happens_to_be_a_word_for_nothing_is_another_target():
    change = compared(identity(target="id:None"), external_id=None)

    assert aspect(change) is Aspect.TARGET


def test_the_same_cohort_id_at_another_connection_is_another_target():
    change = compared(identity(connection="amplitude-us", target="id:abc123"))

    assert aspect(change) is Aspect.TARGET


def test_naming_a_cohort_that_was_bound_by_id_may_be_another_cohort():
    before = identity(target="id:abc123")

    change = compare(before, identity(target="name:VIP"), external_id="abc123")

    assert aspect(change) is Aspect.TARGET


def test_another_target_says_that_the_old_one_stays():
    change = compared(identity(connection="amplitude-us", target="name:Gold"))

    assert change == Change(
        aspect=Aspect.TARGET,
        sentence="the target changed from amplitude-eu name:VIP to amplitude-us "
        "name:Gold; the old one would be left as it is",
    )


def test_another_match_says_that_everybody_is_removed_and_added():
    change = compared(identity(id_type=IdType.AMPLITUDE_ID))

    assert change == Change(
        aspect=Aspect.ID_TYPE,
        sentence="match changed from user_id to amplitude_id; every member would be "
        "removed under the old id and added under the new one",
    )


def test_another_source_is_said_without_what_it_is():
    change = compared(identity(source="SELECT id FROM people WHERE secret = 1"))

    assert change == Change(
        aspect=Aspect.SOURCE,
        sentence="the source changed (connection, audience, query or tables)",
    )


OTHERS = {
    "connection": "amplitude-us",
    "target": "name:Gold",
    "id_type": IdType.AMPLITUDE_ID,
    "source": "warehouse gold",
}


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        (["connection", "id_type", "source"], Aspect.TARGET),
        (["target", "id_type", "source"], Aspect.TARGET),
        (["id_type", "source"], Aspect.ID_TYPE),
    ],
)
def test_of_several_changes_the_one_that_reaches_furthest_is_named(changed, first):
    now = identity(**{name: OTHERS[name] for name in changed})

    assert aspect(compared(now)) is first


TEXT = st.text("ab:\n", max_size=4)
IDENTITIES = st.builds(
    Identity,
    connection=TEXT,
    target=TEXT,
    id_type=st.sampled_from(IdType),
    source=st.text("ab:\nuser_id", max_size=12),
)


@given(one=IDENTITIES, other=IDENTITIES)
def test_two_identities_have_one_hash_only_if_they_are_the_same(one, other):
    assert (one.hash == other.hash) == (one == other)
    assert one.hash == replace(one).hash


def test_no_part_of_an_identity_can_pose_as_the_next_one():
    one = identity(target="name:VIP\nuser_id\nx", source="y")
    other = identity(target="name:VIP", source="x\nuser_id\ny")

    assert one.hash != other.hash


def test_the_hash_stays_the_same_from_one_version_to_the_next():
    """Held plans of an older version are compared with it."""
    assert identity().hash == "6db0d66a06832795"
