"""Hand-made JSON: last commas are forgiven, nothing else is mended."""

from typing import Any

import pytest

from syncd.sources.amplitude_push.template_json import (
    parse_template,
    without_last_commas,
)
from syncd.sources.strict_json import InvalidJson


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"[1,]", [1]),
        (b'{"a": [1 , \r\n\t] , }', {"a": [1]}),
        (b'{"a": "x,]", }', {"a": "x,]"}),
        (rb'{"a": "\",]", "b": "\\",}', {"a": '",]', "b": "\\"}),
        (b'[",}",]', [",}"]),
    ],
)
def test_last_commas_are_forgiven_outside_of_texts(body: bytes, value: Any) -> None:
    assert parse_template(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"[,]",
        b"[ ,,]",
        b"[[1],,]",
        b"[1,,]",
        b"[1,,2]",
        b"{,}",
        b'{"a":,}',
        b"[1],",
        b"[1,",
        b'["a,]',
        b"['a',]",
        b'{"a": 1, "a": 2,}',
        b"[NaN,]",
        b"[1,] // why",
        b"",
    ],
)
def test_what_else_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse_template(body)


@pytest.mark.parametrize("body", [b"", b"{}", b'["a,]"]', b'"a,]', b'{"a": "\\",}"}'])
def test_what_has_no_last_comma_is_left_as_it_is(body: bytes) -> None:
    assert without_last_commas(body) == body


@pytest.mark.parametrize(
    "piece", [b'"', b'\\"', b'"\\', b",", b", ", b",]", b"\\", b'",', b"[,"]
)
def test_hostile_bodies_are_read_in_one_pass(piece: bytes) -> None:
    body = b'"' + piece * 400_000

    assert len(without_last_commas(body)) <= len(body)
