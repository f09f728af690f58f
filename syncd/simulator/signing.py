"""The bytes Segment sends and signs, as JavaScript writes them (H6 to H9). Pure.

`JSON.stringify` differs from other writers in its numbers (`1.0` is `1`, `1e21` is
`1e+21`) and in what it escapes: nothing beyond quotes, backslash, control characters
and lone surrogates. The signature is over these bytes, so they are made as there.
"""

import hmac
import math
import re
from decimal import Decimal
from typing import Any

import orjson

EXACT = 2**53
"""Whole numbers beyond it are doubles in JavaScript."""
LONE = re.compile("[\ud800-\udfff]")


def stringify(value: Any) -> bytes:
    """`JSON.stringify(value)` in UTF-8. Raises ValueError for NaN and infinities."""
    return orjson.dumps(_spelled(value))


def signature(secret: str, signed: bytes) -> str:
    """`X-Signature`: HMAC-SHA1 in lower-case hexadecimal."""
    return hmac.new(secret.encode(), signed, "sha1").hexdigest()


def _spelled(value: Any) -> Any:
    """The same value, with whatever orjson would write in another way fixed."""
    match value:
        case bool() | None:
            return value
        case str():
            return _text(value) if LONE.search(value) else value
        case int():
            return value if abs(value) <= EXACT else _number(float(value))
        case float():
            return _number(value)
        case dict():
            return {name: _spelled(one) for name, one in value.items()}
        case list() | tuple():
            return [_spelled(one) for one in value]
        case _:
            raise ValueError(f"{type(value).__name__} is no JSON")


def _text(value: str) -> orjson.Fragment:
    """A text with lone surrogates, which are escaped; the rest is as ever."""
    parts = (
        f"\\u{ord(char):04x}" if LONE.match(char) else orjson.dumps(char)[1:-1].decode()
        for char in value
    )
    return orjson.Fragment(f'"{"".join(parts)}"')


def _number(value: float) -> orjson.Fragment:
    """ECMAScript's Number::toString: shortest digits, exponents only far from 1."""
    if not math.isfinite(value):
        raise ValueError("JSON has no such number")
    if value == 0:
        return orjson.Fragment("0")
    sign, numerals, power = Decimal(repr(value)).normalize().as_tuple()
    digits, power = "".join(map(str, numerals)), int(power)
    point = len(digits) + power
    if len(digits) <= point <= 21:
        text = digits + "0" * power
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        rest = f".{digits[1:]}" if len(digits) > 1 else ""
        text = f"{digits[0]}{rest}e{point - 1:+d}"
    return orjson.Fragment(f"{'-' if sign else ''}{text}")
