"""What fuzzing found once: each input, and the rule it broke.

How they were found, and by which target, is in README.md; the fuzzer replays them too.
"""

import gzip
import html
import io
import json
import time
from datetime import UTC, datetime
from urllib.parse import quote

import orjson
import pytest

from syncd.app.pausing import NotPausable, pause_end
from syncd.clients.amplitude_answers import read_cohorts
from syncd.clients.amplitude_errors import read_envelope
from syncd.clients.http import Answer
from syncd.clients.masking import masked
from syncd.clients.refusals import said
from syncd.clients.unpack import Bounds, BrokenFile, Unpacked
from syncd.config import InvalidConfig, load
from syncd.config.values import parse_duration
from syncd.errors import DeliveryError
from syncd.model import Feed, IdType
from syncd.redaction import Redactor
from syncd.sources.feed_mark import Mark

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


@pytest.mark.parametrize("text", ["553203553w", "999999999d999999999w"])
def test_a_duration_beyond_all_time_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration(text)


def test_a_pause_cannot_end_after_the_last_instant_there_is() -> None:
    until = "9999-12-31T23:59:59-14:00"

    with pytest.raises(NotPausable):
        pause_end({"span": None, "until": until}, NOW)


def test_a_size_beyond_what_the_store_holds_proves_nothing() -> None:
    body = b'{"cohorts": [{"id": "c1", "type": "x", "size": %d}]}' % (2**63)
    headers = {"content-type": "application/json"}
    answer = Answer(status=200, headers=headers, body=body, duration=0.0)

    with pytest.raises(DeliveryError):
        read_cohorts(answer)


FEED = Feed(connection="engage", key="vip", id_type=IdType.USER_ID)


@pytest.mark.parametrize(
    "damage",
    [{"position": None}, {"listed_at": "x"}, {"more": 1}, {"agreed": -1}],
)
def test_a_damaged_mark_of_a_feed_says_nothing(damage: dict[str, object]) -> None:
    whole = orjson.loads(Mark(listed_at=NOW).text(FEED))

    assert Mark.parse(orjson.dumps(whole | damage).decode(), FEED) is None


def test_a_secret_is_redacted_however_its_odd_characters_are_escaped() -> None:
    secret = "pä'ss\"w rd<&>/+"
    redactor = Redactor()
    redactor.register(secret)

    for written in (
        orjson.dumps(secret).decode(),
        html.escape(secret),
        quote(secret, safe="'/+ "),
        json.dumps(json.dumps(secret)),
        repr(secret),
    ):
        shown = redactor.text(f"a {written} b")
        assert shown.strip("\"a b'\\") == "[redacted]", written


def test_a_blackout_of_years_that_nobody_means_is_refused() -> None:
    text = "version: 1\nwindows:\n  x: [{dates: 0001-01-01..9999-12-31}]\n"

    with pytest.raises(InvalidConfig) as refused:
        load(["-"], {}, stdin=io.StringIO(text))

    assert "window.dates" in {each.code for each in refused.value.problems}


@pytest.mark.parametrize("between", [" ", "  ", "\n ", "\u200b", "\x00"])
def test_an_id_with_a_blank_is_masked_whatever_blanks_the_vendor_writes(
    between: str,
) -> None:
    shown = masked(f"no such user: ana{between}lee", ["ana lee"])

    assert shown == "no such user: *******"
