from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest

from syncd.sources.presented import Keys, basic, raw

NOW = datetime(2026, 9, 1, tzinfo=UTC)


def keys(**fields):
    return Keys(**({"current": b"new", "previous": b"old"} | fields))


def test_the_current_and_the_previous_secret_are_told_apart():
    assert keys().matches(b"new", NOW) == "current"
    assert keys().matches(b"old", NOW) == "previous"
    assert keys().matches(b"other", NOW) is None


def test_the_previous_secret_is_refused_from_its_end_on():
    ending = keys(previous_until=NOW)

    assert ending.matches(b"old", NOW - timedelta(microseconds=1)) == "previous"
    assert ending.matches(b"old", NOW) is None
    assert ending.matches(b"new", NOW) == "current"


def test_a_secret_used_twice_counts_as_the_current_one():
    assert keys(previous=b"new").matches(b"new", NOW) == "current"


@pytest.mark.parametrize("presented", [b"", b"ne", b"new ", b"NEW", "né".encode()])
def test_nothing_but_the_whole_secret_matches(presented):
    assert keys(previous=None).matches(presented, NOW) is None


def test_an_empty_secret_is_refused_before_it_lets_everybody_in():
    with pytest.raises(ValueError, match="empty"):
        Keys(current=b"")
    with pytest.raises(ValueError, match="empty"):
        Keys(current=b"new", previous=b"")


def test_every_secret_is_tried_even_after_one_matched():
    tried = []

    def proof(secret):
        tried.append(secret)
        return True

    assert keys().proven_by(proof, NOW) == "current"
    assert tried == [b"new", b"old"]


def test_no_secret_gets_into_a_repr():
    shown = repr(keys(current=b"s3cret", previous=b"0ldone"))

    assert "s3cret" not in shown
    assert "0ldone" not in shown


def test_a_headers_text_becomes_the_bytes_that_were_sent():
    assert raw("é".encode().decode("latin-1")) == "é".encode()
    assert keys(current="né".encode()).matches(raw("nÃ©"), NOW) == "current"


def test_text_that_no_header_can_hold_never_raises():
    assert keys().matches(raw("\u20ac\ud800"), NOW) is None


def header(user_and_password: bytes) -> str:
    return "Basic " + b64encode(user_and_password).decode()


def test_basic_credentials_are_split_at_the_first_colon():
    assert basic(header(b"syncd:a:b")) == (b"syncd", b"a:b")
    assert basic(header(b"key:")) == (b"key", b"")
    assert basic(header(b"key:\xff")) == (b"key", b"\xff")


def test_the_scheme_is_read_in_any_case():
    assert basic(header(b"a:b").replace("Basic", "bAsIc")) == (b"a", b"b")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic",
        "Basic ",
        "Bearer abc",
        "Basic !!!!",
        "Basic YTpi=Yg",
        "Basic YTp",
        "Basic é",
        "Basic \u20ac",
        header(b"nocolon"),
    ],
)
def test_what_is_no_basic_header_is_none(value):
    assert basic(value) is None
