import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.sources.strict_json import InvalidJson, element_span, member_span, parse


def nested(depth: int, inner: str = "") -> bytes:
    return ("[" * depth + inner + "]" * depth).encode()


REFUSED = [
    (b"", "syntax"),
    (b" ", "syntax"),
    (b"{", "syntax"),
    (b"[1,]", "syntax"),
    (b"{'a':1}", "syntax"),
    (b'{"a":1}x', "syntax"),
    (b'{"a":1}{"a":1}', "syntax"),
    (b'{"a":1} \x00', "syntax"),
    (b'"\n"', "syntax"),
    (b"[01]", "syntax"),
    (b"// no\n1", "syntax"),
    (b"\x0b1", "syntax"),
    (b"\xef\xbb\xbf{}", "bom"),
    (b'"\xff"', "not_utf8"),
    (b'"\xed\xa0\x80"', "not_utf8"),
    ("{}".encode("utf-16"), "not_utf8"),
    (b'{"a":1,"a":1}', "duplicate_key"),
    (b'[{"b":{"a":1,"\\u0061":2}}]', "duplicate_key"),
    (b"NaN", "number"),
    (b'{"a":Infinity}', "number"),
    (b"[-Infinity]", "number"),
    (b"123456789012345678901", "number"),
    (b"[-123456789012345678901]", "number"),
    (b"9" * 5000, "number"),
    (b"1e999", "number"),
    (b"0." + b"1" * 200, "number"),
    (b'"\\ud800"', "surrogate"),
    (b'"\\uDC00\\uD83D"', "surrogate"),
    (b'"\\\\\\ud83dx\\ude00"', "surrogate"),
    (nested(33), "too_deep"),
    (nested(33, '"]"'), "too_deep"),
    (b'{"a":' * 33 + b"1" + b"}" * 33, "too_deep"),
    (b"[" * 100_000, "too_deep"),
    (nested(100_000), "too_deep"),
    (b'{"a":' * 100_000, "too_deep"),
    (b'["\\\\",' * 40 + b"1" + b"]" * 40, "too_deep"),
    (b"[" + b"{}," * 500_000 + b"1]", "too_many"),
]


@pytest.mark.parametrize(("body", "reason"), REFUSED)
def test_what_is_no_strict_json_is_refused_with_its_reason(body, reason):
    with pytest.raises(InvalidJson) as caught:
        parse(body)

    assert caught.value.code == f"json.{reason}"


@pytest.mark.parametrize(
    "body",
    [
        b" 1 ",
        b"-12345678901234567890",
        b"18446744073709551615",
        b"1.5e3",
        b'"\\ud83d\\ude00"',
        b'"\\\\ud800"',
        b'"\\u0000"',
        '{"ü":"\u2028"}'.encode(),
        nested(32),
        b'{"a":' * 32 + b"1" + b"}" * 32,
        b"[" + b",".join([b'[{"a":[]}]'] * 100) + b"]",
        json.dumps(["[" * 100, '\\"' + "{" * 100, "\\", '"[']).encode(),
    ],
)
def test_what_is_json_reads_as_the_standard_reader_has_it(body):
    assert parse(body) == json.loads(body)


def test_an_error_holds_nothing_of_the_body():
    with pytest.raises(InvalidJson) as caught:
        parse(b'{"userId":"person-1",}')

    assert "person" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_the_limits_are_the_callers_to_lower():
    assert parse(nested(2), max_depth=2) == [[]]
    with pytest.raises(InvalidJson, match="deeper than 1 "):
        parse(nested(2), max_depth=1)
    with pytest.raises(InvalidJson, match="more than 2 values"):
        parse(b"[1,2,3]", max_values=2)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=40,
)


@settings(max_examples=60, deadline=None)
@given(value=VALUES, ascii_only=st.booleans())
def test_every_json_of_bounded_depth_is_read(value, ascii_only):
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    assert parse(body) == value


def depth_of(value) -> int:
    if not isinstance(value, list | dict):
        return 0
    children = list(value.values()) if isinstance(value, dict) else value
    return 1 + max(map(depth_of, children), default=0)


@settings(max_examples=60, deadline=None)
@given(value=VALUES, limit=st.integers(0, 4))
def test_the_depth_limit_is_exact(value, limit):
    body = json.dumps(value).encode()

    if depth_of(value) <= limit:
        assert parse(body, max_depth=limit) == value
    else:
        with pytest.raises(InvalidJson, match="deeper"):
            parse(body, max_depth=limit)


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(body):
    with suppress(InvalidJson):
        assert parse(body) == json.loads(body)


@pytest.mark.parametrize(
    ("body", "element"),
    [
        (b'[{"a":1},{"b":2}]', b'{"a":1}'),
        (b'\n [ \t{"a":"]}"} ]', b'{"a":"]}"}'),
        ('[{"ü":"é","n":1E5},2]'.encode(), '{"ü":"é","n":1E5}'.encode()),
        (b'[{"a":1},garbage', b'{"a":1}'),
        (b'[{"a":"' + b"x" * 20_000 + b'"}]', b'{"a":"' + b"x" * 20_000 + b'"}'),
    ],
)
def test_the_span_of_the_first_element_is_its_raw_bytes(body, element):
    start, end = element_span(body) or (0, 0)

    assert body[start:end] == element


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"a":1}',
        b"[1,2]",
        b'[{"a":1',
        b"[[{}]]",
        b"[" * 100_000,
        b'[{"a":' * 100_000,
        b'[{"a":"' + b"x" * 300_000 + b'"}]',
        b"\xef\xbb\xbf[{}]",
    ],
)
def test_a_body_without_a_first_object_has_no_span(body):
    assert element_span(body) is None


def test_a_long_batch_is_not_taken_for_a_deep_one():
    element = json.dumps({"a": [{"b": '"['}] * 3}).encode()
    body = b"[" + b",".join([element] * 2_000) + b"]"

    assert element_span(body) == (1, 1 + len(element))


def test_a_text_that_is_cut_off_is_not_taken_for_brackets():
    assert element_span(b'[{"a":1},{"b":"' + b"[" * 20_000 + b'"}]') == (1, 8)


def test_a_lone_member_is_found_inside_of_an_element():
    body = b'[{ "json" : {"a":1} },{"json":{}}]'

    inner = member_span(body, element_span(body) or (0, 0), "json")

    assert inner is not None
    assert body[slice(*inner)] == b'{"a":1}'


@pytest.mark.parametrize(
    "element", [b'{"json":{},"b":1}', b'{"a":{}}', b"{}", b'{"json":}', b'{"json":1}}']
)
def test_a_member_that_is_not_alone_is_not_found(element):
    assert member_span(element, (0, len(element)), "json") is None
