"""What is kept of who is forgotten is exactly an HMAC, and finds exactly them."""

import hmac

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.model import IdType
from syncd.store.forgotten import Forgotten, Hashing

keys = st.binary(min_size=1, max_size=200)
ids = st.binary(min_size=1, max_size=80)
types = st.sampled_from(IdType)


@settings(max_examples=150, deadline=None)
@given(key=keys, id_type=types, member_id=ids)
def test_a_hash_is_hmac_sha256_of_the_type_and_the_id(
    key: bytes, id_type: IdType, member_id: bytes
) -> None:
    wanted = hmac.digest(key, id_type.value.encode() + b"\0" + member_id, "sha256")

    assert Hashing(key, id_type)(member_id) == wanted


@settings(max_examples=80, deadline=None)
@given(gone=st.sets(ids), block=st.lists(ids), id_type=types)
def test_exactly_the_forgotten_are_found_in_any_block(
    gone: set[bytes], block: list[bytes], id_type: IdType
) -> None:
    hashing = Hashing(b"k" * 32, id_type)
    people = Forgotten(hashes=frozenset(map(hashing, gone)), hashing=hashing)

    assert people.among(block) == [each for each in block if each in gone]


@given(member_id=ids)
@settings(max_examples=40, deadline=None)
def test_the_same_text_of_another_type_is_another_person(member_id: bytes) -> None:
    user, amplitude = (Hashing(b"k" * 32, each) for each in IdType)

    assert user(member_id) != amplitude(member_id)
