"""Leaf types of what senders and servers are told: paths, sizes, addresses, instants.

Beside `values` and `wire_values`, and like there each refuses with a problem's code and
never shows what it refused.
"""

import re
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from syncd.config.settings import Listen
from syncd.config.values import Text, duration_of, refuse

LARGEST_BODY = 64 * 1024 * 1024
SMALLEST_BODY = 1024
"""Bytes; one event of Engage is close to it."""

_DEEPEST = 10
"""Keys of a path; an event is not deeper."""
_UNITS = {"": 1, "KiB": 1024, "MiB": 1024 * 1024}
_SIZE = re.compile(r"(?P<count>\d{1,9})(?P<unit>|KiB|MiB)")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_TAKEN_HEADERS = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "transfer-encoding",
        "x-signature",
    }
)
"""What HTTP and Segment's signature have their own use for."""
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)"
)
_ADDRESS = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]+)):(?P<port>\d{1,5})")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def _door(value: str) -> str:
    if why := door_refusal(value):
        refuse("path.invalid", f"this cannot be a path: {why}", hint="like /in/engage")
    return value


def door_refusal(path: str) -> str:
    """Why a sender cannot be told this path; empty where it can."""
    if not path.startswith("/"):
        return "it must start with '/'"
    if path.endswith("/"):
        return "it must not end with '/'"
    steps = path[1:].split("/")
    if not all(map(_SEGMENT.fullmatch, steps)):
        return "only A-Z, a-z, 0-9, '.', '_', '~' and '-' stand between its '/'"
    if {".", ".."} & set(steps):
        return "'.' and '..' lead elsewhere"
    if steps[0] == "-":
        return "what is below '/-' is syncd's own"
    return ""


DoorPath = Annotated[str, AfterValidator(_door), Field(max_length=200)]
"""Where something is received: `/in/engage`."""


def _size(value: Any) -> Any:
    text = str(value) if isinstance(value, int | str) else ""
    found = _SIZE.fullmatch(text)
    if found is None:
        hint = "write it like 512KiB, 1MiB or 65536"
        refuse("size.invalid", "this is not a size", hint=hint)
    size = int(found["count"]) * _UNITS[found["unit"]]
    if not SMALLEST_BODY <= size <= LARGEST_BODY:
        refuse("value.range", "this must be between 1KiB and 64MiB")
    return size


BodySize = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"type": ["integer", "string"], "pattern": f"^{_SIZE.pattern}$"}),
]
"""`512KiB`, `1MiB` or bytes."""


def _instant(value: Any) -> Any:
    try:
        if not isinstance(value, str) or not _INSTANT.fullmatch(value):
            raise ValueError
        return datetime.fromisoformat(value.upper())
    except ValueError:
        hint = "with its zone: 2027-01-31T18:00:00Z or …+01:00"
        refuse("time.invalid", "this is not an instant", hint=hint)


Instant = Annotated[datetime, BeforeValidator(_instant)]
"""RFC 3339."""


def _keys(value: Any) -> Any:
    keys = tuple(value.split(".")) if isinstance(value, str) else ()
    named = all(key.strip() and key.isprintable() for key in keys)
    if not named or not 1 <= len(keys) <= _DEEPEST:
        hint = "keys with a dot between: context.traits.amplitude_id"
        refuse("keys.invalid", "this is not a path of keys", hint=hint)
    return keys


KeyPath = Annotated[tuple[str, ...], BeforeValidator(_keys)]
"""`context.traits.amplitude_id`."""


def _header(value: str) -> str:
    if not _HEADER.fullmatch(value):
        refuse("header.invalid", "this is not the name of a header")
    if value.lower() in _TAKEN_HEADERS:
        refuse("header.invalid", "this header has a meaning of its own")
    return value.lower()


SecretHeader = Annotated[str, AfterValidator(_header)]
"""Of a request to us; in lower case."""


def _user(value: str) -> str:
    if ":" in value:
        refuse("user.invalid", "Basic cannot carry a user with ':' in it")
    return value


BasicUser = Annotated[Text, AfterValidator(_user)]


def address_of(text: str) -> Listen:
    """`0.0.0.0:8080`, `[::]:8080`, `localhost:0`. Raises `ValueError`."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"]) > 65_535:
        raise ValueError("not an address")
    host = found["six"] if found["six"] is not None else found["host"]
    if found["six"] is not None or re.fullmatch(r"[\d.]+", host):
        wanted = 4 if found["six"] is None else 6
        if ip_address(host).version != wanted:
            raise ValueError("an IPv4 address in brackets")
    elif not _HOST.fullmatch(host) or len(host) > 253:
        raise ValueError("not a host")
    return Listen(host=host, port=int(found["port"]))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _address(value: Any) -> Any:
    try:
        return address_of(value if isinstance(value, str) else "")
    except ValueError:
        hint = "host:port, like 127.0.0.1:8081 or [::1]:8081"
        refuse("address.invalid", "this is not an address", hint=hint)


Address = Annotated[Listen, BeforeValidator(_address)]
"""Where a server listens; port 0 is any free one."""


def _address_or_none(value: Any) -> Any:
    return value if value == "none" else _address(value)


AddressOrNone = Annotated[Listen | Literal["none"], BeforeValidator(_address_or_none)]


def _duration_or_never(value: Any) -> Any:
    if value == "never":
        return value
    return duration_of(value, "h", timedelta(minutes=1))


def _seconds_or_never(value: Any) -> Any:
    if value == "never":
        return value
    return duration_of(value, "s", timedelta(seconds=1))


SecondOrNever = Annotated[
    timedelta | Literal["never"], BeforeValidator(_seconds_or_never)
]
"""`10s`, `1m` or `never`."""
SpanOrNever = Annotated[
    timedelta | Literal["never"], BeforeValidator(_duration_or_never)
]
"""`24h`, `7d` or `never`."""
