"""Traces: a fingerprint of each id, sorted, to be found again."""

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.store.traces import encode, fingerprint, holds

IDS = st.lists(st.binary(min_size=1, max_size=12), max_size=40)


@settings(max_examples=60, deadline=None)
@given(ids=IDS, others=IDS)
def test_a_trace_holds_exactly_those_whose_fingerprint_is_in_it(
    ids: list[bytes], others: list[bytes]
) -> None:
    hashes = encode(ids)

    seen = {fingerprint(each) for each in ids}

    assert all(holds(hashes, fingerprint(each)) for each in ids)
    assert [holds(hashes, fingerprint(each)) for each in others] == [
        fingerprint(each) in seen for each in others
    ]


def test_a_trace_costs_four_bytes_an_id_whatever_the_ids_are() -> None:
    assert len(encode([b"x" * 1000, b"y", "жук".encode()])) == 12


def test_a_trace_is_sorted_and_little_endian() -> None:
    hashes = encode([f"user-{n}".encode() for n in range(50)])

    read = [int.from_bytes(hashes[at : at + 4], "little") for at in range(0, 200, 4)]

    assert read == sorted(fingerprint(f"user-{n}".encode()) for n in range(50))


def test_an_empty_trace_holds_nobody() -> None:
    assert not holds(encode([]), fingerprint(b"anybody"))
