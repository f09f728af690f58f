"""The leaf types of the schema: durations with a unit, shares with `%`, safe names.

Each refuses with a `PydanticCustomError` whose type is the problem's code and whose
text never holds the value; `{text}` in it stands for what the file says, which
`findings` fills in from the file (so a value from the environment is never shown).
"""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, NoReturn
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from syncd.config.interpolate import EnvText

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_PART = re.compile(r"(\d{1,9})(ms|[smhdw])")
LONGEST = timedelta(days=36_500)
LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")
_SECRET_QUERY = re.compile(r"passw|pwd|secret|token", re.IGNORECASE)


def refuse(code: str, message: str, *, hint: str = "") -> NoReturn:
    """Stop the validation of one value with a problem of this code."""
    # The text goes in as a value, so that its own braces mean nothing to pydantic.
    context = {"message": message, "hint": hint}
    raise PydanticCustomError(code, "{message}", context)


def parse_duration(text: str) -> timedelta:
    """`45m`, `1h30m`, `400d`, `500ms`. Raises `ValueError` for anything else."""
    parts = _PART.findall(text)
    if not parts or "".join(count + unit for count, unit in parts) != text:
        raise ValueError("not a duration")
    units = [unit for _, unit in parts]
    if len(set(units)) != len(units):
        raise ValueError("a unit is given twice")
    try:
        total = sum((int(count) * _UNITS[unit] for count, unit in parts), timedelta(0))
    except OverflowError:
        raise ValueError("too long") from None
    if total > LONGEST:
        raise ValueError("too long")
    return total


def _is_bare_number(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"\d+(\.\d+)?", value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def duration_of(value: Any, unit: str, least: timedelta) -> Any:
    """The duration a value means; refuses what is none, or is below `least`."""
    if isinstance(value, timedelta):
        return value
    if _is_bare_number(value):
        hint = f"did you mean '{{text}}{unit}'?"
        refuse("duration.no_unit", "{text} has no unit", hint=hint)
    try:
        found = parse_duration(value if isinstance(value, str) else "")
    except ValueError:
        hint = "write it like 45m, 1h30m or 400d"
        refuse("duration.invalid", "this is not a duration", hint=hint)
    if found < least:
        refuse("value.range", f"this is shorter than {int(least.total_seconds())}s")
    return found


def duration(unit: str, *, least: timedelta = timedelta(0)) -> BeforeValidator:
    """A validator for durations; `unit` is proposed where a bare number stands."""
    return BeforeValidator(lambda value: duration_of(value, unit, least))


Seconds = Annotated[timedelta, duration("s")]
OneSecond = Annotated[timedelta, duration("s", least=timedelta(seconds=1))]
Minutes = Annotated[timedelta, duration("m")]
AMinute = Annotated[timedelta, duration("m", least=timedelta(minutes=1))]
Days = Annotated[timedelta, duration("d", least=timedelta(days=1))]


def _share(value: Any) -> Any:
    if _is_bare_number(value):
        refuse("share.no_percent", "{text} has no '%'", hint="write it like 20%")
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,6}(\.\d{1,3})?%", value):
        refuse("share.invalid", "this is not a share", hint="write it like 20%")
    return float(value[:-1]) / 100


Share = Annotated[float, BeforeValidator(_share)]


def _share_or_never(value: Any) -> Any:
    return value if value == "never" else _share(value)


ShareOrNever = Annotated[float | Literal["never"], BeforeValidator(_share_or_never)]


def _number_from_environment(value: Any) -> Any:
    if isinstance(value, EnvText) and re.fullmatch(r"-?\d{1,18}", value):
        return int(value)
    return value


Count = Annotated[int, BeforeValidator(_number_from_environment), Field(ge=0)]
Positive = Annotated[int, BeforeValidator(_number_from_environment), Field(ge=1)]
Version = Annotated[int, BeforeValidator(_number_from_environment), Field(ge=1, le=1)]


def _switch_from_environment(value: Any) -> Any:
    if isinstance(value, EnvText) and value in ("true", "false"):
        return value == "true"
    return value


Switch = Annotated[bool, BeforeValidator(_switch_from_environment)]


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,48}", value):
        hint = "1 to 48 of a-z, 0-9 and '-'"
        refuse("name.invalid", "this cannot be a name", hint=hint)
    return value


Name = Annotated[str, AfterValidator(_name)]


def _text(value: str) -> str:
    if not value.strip():
        refuse("value.empty", "this is empty")
    if not value.isprintable():
        refuse("value.control", "this has control characters in it")
    return value


Text = Annotated[str, AfterValidator(_text), Field(max_length=1000)]


def _sql(value: str) -> str:
    if not value.strip():
        refuse("value.empty", "this is empty")
    return value


Sql = Annotated[str, AfterValidator(_sql)]


def _identifier(value: str) -> str:
    if not re.fullmatch(
        r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*){0,2}", value
    ):
        hint = "letters, digits and '_'; parts separated by '.'"
        refuse("name.invalid", "this cannot be the name of a table", hint=hint)
    return value


Identifier = Annotated[str, AfterValidator(_identifier), Field(max_length=200)]


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        hint = "write it like Europe/Berlin or UTC"
        refuse("timezone.unknown", "this is no IANA time zone", hint=hint)
    return value


Zone = Annotated[str, AfterValidator(_zone)]


def _base_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        refuse("url.invalid", "this is not a URL")
    if parts.scheme not in ("http", "https") or not host:
        refuse("url.invalid", "this is not an http(s) URL", hint="https://host")
    if parts.username is not None or parts.query or parts.fragment:
        refuse("url.invalid", "this URL may hold only scheme, host, port and path")
    if parts.scheme == "http" and not LOOPBACK.fullmatch(host):
        hint = "use https; plain http only reaches this machine (127.0.0.1)"
        refuse("url.insecure", "plain http would show keys to the network", hint=hint)
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]


def _database_url(value: str) -> str:
    try:
        scheme = urlsplit(value).scheme
    except ValueError:
        scheme = ""
    if not scheme or "://" not in value:
        hint = "write it like sqlite:///data/syncd.db or postgresql://user@host/name"
        refuse("url.invalid", "this is not a database URL", hint=hint)
    return value


DatabaseUrl = Annotated[str, AfterValidator(_database_url)]


def holds_password(url: str) -> bool:
    """Whether a database URL carries a secret in its login or its query."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    return bool(parts.password) or any(_SECRET_QUERY.search(key) for key, _ in query)
