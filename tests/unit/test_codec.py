"""How a chunk writes its ids down: as text or packed, told apart, damage never read."""

import random
import sys
from dataclasses import replace
from typing import get_args
from uuid import UUID

import pytest

from syncd.errors import StoreRefused
from syncd.store import codec
from syncd.store.buckets import bucket_of
from syncd.store.codec import Broken, Codec, Written
from syncd.store.tables import CODEC_TEXT, CODEC_ZSTD

CODECS: tuple[Codec, ...] = get_args(Codec)
ODD = ["жук".encode(), b"\\n", b'"', b" a", b"a ", b"007", "\u2028\x85".encode()]
IDS = [f"user-{number}".encode() for number in range(300)]


def uuids(count: int) -> list[bytes]:
    dice = random.Random(1)  # noqa: S311 - the same ones each time
    return [
        str(UUID(int=dice.getrandbits(128), version=4)).encode() for _ in range(count)
    ]


def size(written: Written) -> int:
    return len(written.ids.encode()) + len(written.packed or b"")


@pytest.mark.parametrize("how", CODECS)
@pytest.mark.parametrize("ids", [[], [b"a"], ODD, IDS], ids=len)
def test_ids_come_back_byte_for_byte_and_in_their_order(
    how: Codec, ids: list[bytes]
) -> None:
    assert codec.read(codec.write(ids, how)) == ids


def test_packed_ids_are_in_no_column_as_text() -> None:
    written = codec.write(IDS, "zstd")

    assert (written.codec, written.ids) == (CODEC_ZSTD, "")
    assert written.packed is not None
    assert b"user-1" not in written.packed[:4]
    assert size(written) < size(codec.write(IDS, "text")) / 2


@pytest.mark.parametrize(("how", "bar"), [("text", 40), ("zstd", 23)])
def test_20_000_uuids_take_so_few_bytes_an_id(how: Codec, bar: int) -> None:
    people = uuids(20_000)
    chunks: list[list[bytes]] = [[] for _ in range(8)]
    for each in people:
        chunks[bucket_of(each, 8)].append(each)

    taken = sum(size(codec.write(ids, how)) for ids in chunks)

    assert taken <= bar * len(people)


def test_no_damage_of_a_frame_makes_somebody_somebody_else() -> None:
    """Each bit of it turned round, and each length that it may be cut to."""
    ids = [b"ann", b"bob", b"carol-and-others", b"carol-and-others-2"]
    whole = codec.write(ids, "zstd")
    packed = whole.packed
    assert packed is not None
    damaged = [packed[:length] for length in range(len(packed))] + [packed + b"\0"]
    for bit in range(8 * len(packed)):
        turned = bytearray(packed)
        turned[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(turned))

    read, said = [], set()
    for each in damaged:
        try:
            read.append(codec.read(replace(whole, packed=each)))
        except Broken as error:
            said.add(str(error))

    assert len(damaged) > 8 * 20
    assert [found for found in read if found != ids] == []
    assert len(read) < len(damaged) / 10
    assert said == {"its zstd frame cannot be unpacked"}


@pytest.mark.parametrize(
    "written",
    [
        Written(CODEC_TEXT, "a", b"frame"),
        Written(CODEC_ZSTD, "", None),
        Written(CODEC_ZSTD, "a", codec.write([b"b"], "zstd").packed),
        Written(2, "a", None),
        Written(2, "", b"frame"),
    ],
    ids=["text and a frame", "no frame", "a frame and text", "unknown", "unknown too"],
)
def test_columns_that_contradict_each_other_are_broken(written: Written) -> None:
    """An older program that writes text over a frame leaves the frame beside it."""
    with pytest.raises(Broken):
        codec.read(written)


def test_without_its_library_a_packed_chunk_is_refused_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = codec.write(IDS, "zstd")
    monkeypatch.setitem(sys.modules, "zstandard", None)  # as where it is not installed

    with pytest.raises(StoreRefused) as reading:
        codec.read(packed)
    with pytest.raises(StoreRefused) as writing:
        codec.write(IDS, "zstd")

    assert "syncd[zstd]" in reading.value.hint
    assert "syncd[zstd]" in writing.value.hint
    assert codec.read(codec.write(IDS, "text")) == IDS
