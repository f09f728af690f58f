"""A vendor's words are found, and shown without ids or secrets; waits are read."""

import time
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from syncd.clients.refusals import MESSAGE_CHARACTERS, is_page, named_wait, said

NOW = datetime(2026, 5, 12, 9, 0, tzinfo=UTC)
PERSON = "zoë+1/2@acme.example"

WORDS = {
    "a message": (b'{"code": 1, "message": "bad event"}', "bad event"),
    "an error's message": (b'{"error": {"message": "bad"}, "message": "x"}', "bad"),
    "an error as text": (b'{"error": "bad", "message": "x"}', "bad"),
    "a list of errors": (b'{"errors": [{"message": "one"}, {"message": 2}]}', "one"),
    "a list of texts": (b'{"errors": ["one", "two"]}', "one"),
    "errors as text": (b'{"errors": "one"}', "one"),
    "a blank error": (b'{"error": " ", "message": "bad"}', "bad"),
    "something else": (b'{"why": 7}', '{"why":7}'),
    "a list": (b"[1]", "[1]"),
    "text": (b"Bad  Request\r\n", "Bad Request"),
    "not text": (b"\xff\xfe", "\ufffd\ufffd"),
    "nothing": (b"", ""),
}


@pytest.mark.parametrize(("body", "words"), WORDS.values(), ids=WORDS)
def test_the_words_of_a_refusal_are_found_where_vendors_put_them(body, words):
    assert said(body) == words


def test_the_words_are_cut():
    assert said(b"x" * 5000) == "x" * MESSAGE_CHARACTERS


SPELLINGS = {
    "as it is": "zoë+1/2@acme.example",
    "in a URL's query": "zo%C3%AB%2B1%2F2%40acme.example",
    "in a URL's path": "zo%C3%AB%2B1/2%40acme.example",
    "in ASCII JSON": "zo\\u00eb+1/2@acme.example",
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_an_id_is_masked_however_a_page_spells_it(spelled):
    words = said(f"unknown <b>{spelled}</b>".encode(), [PERSON])

    assert words == f"unknown <b>{'*' * len(spelled)}</b>"


WRITTEN = {
    "small": "alice.zoë@acme.example",
    "in capitals": "ALICE.ZOË@ACME.EXAMPLE",
    "decomposed": "Alice.Zoe\u0308@Acme.Example",
    "escaped in capitals": "ALICE.ZO%C3%8B%40ACME.EXAMPLE",
    "as a JSON text in a JSON text": "alice.zo\\\\u00eb@acme.example",
    "as a numbered entity": "alice.zo&#235;&#64;acme.example",
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_an_id_is_masked_in_whatever_case_and_form_a_vendor_has_it(written):
    words = said(f"user {written} is unknown".encode(), [" Alice.Zoë@Acme.Example\n"])

    assert words == f"user {'*' * len(written)} is unknown"


@pytest.mark.parametrize("written", ["ZOË", "zoe\u0308", "zo%C3%AB", "Zo\\u00eb"])
def test_a_short_id_is_masked_in_any_case_as_a_whole_word_only(written):
    words = said(f"{written}, {written}x: {written}".encode(), ["  zoë  "])

    stars = "*" * len(written)
    assert words == f"{stars}, {written}x: {stars}"


@pytest.mark.parametrize(
    "written",
    [r"A%41\"<BCD", 'a%41"<bcd', "a%41&quot;&lt;bcd", r"a%2541\u0022&lt;bcd"],
)
def test_an_id_with_what_looks_like_an_escape_is_masked(written):
    words = said(f"unknown: {written}".encode(), ['a%41"<bcd'])

    assert words == f"unknown: {'*' * len(written)}"


def test_an_id_that_the_cut_halves_is_masked_however_long_it_is():
    member = "é" * 1024

    words = said(b"x" * 190 + quote(member).encode() + b"y", [member])

    assert words == "x" * 190 + "*" * 10


def test_blank_ids_blot_nothing_out():
    assert said(b"user 7 is unknown", ["", " ", "\t"]) == "user 7 is unknown"


@pytest.mark.parametrize(
    "ids",
    [
        [f"{n:036x}" for n in range(1000)],
        ["é" * 31 + f"{n:05}" for n in range(1000)],
        ["a" * (5 + n) for n in range(1000)],
    ],
    ids=["usual", "not ASCII", "each in the next"],
)
def test_many_ids_in_a_long_answer_are_masked_at_once(ids):
    listed = ", ".join(each.upper() for each in ids)
    body = f"<p>{listed * 20}"[: 64 * 1024].encode()
    started = time.process_time()

    words = said(body, ids)

    # Some 2, 8 and 10 ms; one by one in each position it would be seconds.
    assert time.process_time() - started < 0.5
    assert set(words) <= set("<p>*, ")


def test_an_id_with_markup_in_it_is_masked_where_html_escapes_it():
    assert said(b"unknown a&amp;b&lt;c", ["a&b<c"]) == "unknown " + "*" * 12


def test_a_word_before_the_first_angle_is_no_page():
    assert is_page(b" \r\n<!doctype html>")
    assert is_page(b"\xef\xbb\xbf<html>")
    assert not is_page(b"1 < 2")
    assert not is_page(b"")


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "5"}, 5.0),
        ({"retry-after": "Tue, 12 May 2026 09:00:30 GMT"}, 30.0),
        ({"retry-after": "soon", "x-ratelimit-reset": "4"}, 4.0),
        ({"x-ratelimit-reset": "1778576460"}, 60.0),
        ({"x-ratelimit-reset": "1778576300"}, 0.0),
        ({"x-ratelimit-reset": "9999999999999999"}, 900.0),
        ({"x-ratelimit-reset": "0"}, 0.0),
    ],
)
def test_a_wait_is_read_from_either_header_and_clamped(headers, wait):
    assert named_wait(headers, NOW) == wait
