"""What fuzzing found once: each input, and the rule it broke.

How they were found, and by which target, is in README.md; the fuzzer replays them too.
"""

import gzip
import io
import time
from datetime import UTC, datetime

import orjson
import pytest

from syncd.app.pausing import NotPausable, pause_end
from syncd.clients.amplitude_errors import read_envelope
from syncd.clients.refusals import said
from syncd.clients.unpack import Bounds, BrokenFile, Unpacked

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
QUICK = 0.5
"""Seconds of this thread. Each of these took 3 s and more, and takes 10 ms now."""


@pytest.mark.parametrize("depth", [255, 900])
def test_a_refusal_that_nests_deeply_is_read_as_it_stands(depth: int) -> None:
    body = b"[" * depth + b"]" * depth

    assert read_envelope(body).message == body.decode()[:200]
    assert said(body) == body.decode()[:200]


@pytest.mark.parametrize("word", ["no ", "ids "])
def test_a_refusal_of_one_word_again_and_again_takes_no_time(word: str) -> None:
    body = orjson.dumps({"error": {"message": word * 15_000}})
    began = time.thread_time()

    envelope = read_envelope(body)

    assert not envelope.about_ids
    assert time.thread_time() - began < QUICK


def test_a_complaint_and_what_it_is_about_stand_in_one_line() -> None:
    one = orjson.dumps({"error": "none of these 3 ids"})
    two = orjson.dumps({"error": "none\nids"})

    assert read_envelope(one).about_ids
    assert not read_envelope(two).about_ids


def test_a_file_of_many_empty_parts_is_refused_before_it_costs_time() -> None:
    packed = gzip.compress(gzip.compress(b"") * 1_000_000)
    began = time.thread_time()

    with pytest.raises(BrokenFile, match="too many parts"):
        unpacked(packed)

    assert time.thread_time() - began < QUICK


def test_a_file_of_many_parts_with_something_in_each_is_whole() -> None:
    rows = b"".join(b'"person-%06d"\n' % number for number in range(20_000))
    parts = [gzip.compress(rows[at : at + 400]) for at in range(0, len(rows), 400)]

    assert unpacked(b"".join(parts)) == rows


def unpacked(packed: bytes) -> bytes:
    out = io.BytesIO()
    layers = Unpacked(out, Bounds())
    for start in range(0, len(packed), 65_536):
        layers.take(packed[start : start + 65_536])
    return out.getvalue()


def test_a_pause_cannot_end_after_the_last_instant_there_is() -> None:
    until = "9999-12-31T23:59:59-14:00"

    with pytest.raises(NotPausable):
        pause_end({"span": None, "until": until}, NOW)
