"""What an event is, and the one function that writes one.

Where a field has a name in OpenTelemetry's conventions the line carries that name:
`error_type` is written as `error.type`, `http_status` as `http.response.status_code`.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote

from syncd import metrics
from syncd.absent import absent
from syncd.model import Outcome

with absent("rich"):
    import structlog
    from structlog.types import EventDict, Processor


class Level(StrEnum):
    """How much an event wants of a person."""

    DEBUG = "debug"
    """One batch, one request; without bodies."""
    INFO = "info"
    """A milestone; at most five in a clean run."""
    WARNING = "warning"
    """Degraded: it will heal by itself, or it is a choice to review."""
    ERROR = "error"
    """A person must act."""


_NUMBERS = logging.getLevelNamesMapping()

ERROR_TYPES = frozenset(
    "auth forbidden not_found rate_limited quota timeout connect tls http_4xx http_5xx "
    "bad_response too_large unknown_user invalid_id config guard baseline store "
    "lease_lost cancelled internal".split()
)
"""Every value of `error.type`; closed, so that it can label a metric."""

CONTEXT = frozenset(
    "sync owner run_id trigger direction attempt phase connection target code "
    "error_type error vendor_message http_status api_request_id server_address "
    "next exc_info".split()
)
"""Fields that any event may carry; the rest an event lists itself."""

_WIRE_NAMES = {
    "error_type": "error.type",
    "http_status": "http.response.status_code",
    "server_address": "server.address",
    "api_request_id": "api.request_id",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of the catalogue."""

    name: str
    """`noun.verb_past`; never reused for another meaning."""
    level: Level
    """The usual level; `emit` may be told another where the outcome decides."""
    message: str
    """The sentence for people, with `{field}` where a value goes."""
    fields: frozenset[str] = frozenset()
    """What it may carry besides `CONTEXT`."""
    next: str = ""
    """The next command to type, with `{field}`; warnings and errors name one."""
    about: str = ""
    """The code whose page helps, with `{field}`; the event has a page itself, which is
    named where that field is absent or is no code."""


_EXPLAIN = "syncd explain "
_CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")


class _Values(dict[str, object]):
    """Fields for a template; an absent one shows as `<field>`, as in a usage line."""

    def __getitem__(self, key: str) -> object:
        match self.get(key):
            case None | bytes():
                return f"<{key}>"
            case datetime() as moment:
                return f"{moment:%Y-%m-%dT%H:%M:%S%z}"
            case value:
                return value


def emit(event: Event, *, level: Level | None = None, **fields: object) -> None:
    """Write one line for `event`, with the bound context and these fields.

    `level` overrides the usual one (the canonical line of a failed run is an error).
    `next` in `fields` overrides the event's next command; warnings and errors carry
    `help`, too, the command that prints the page about them. Raises `ValueError` for a
    field that the catalogue does not list.
    """
    unknown = fields.keys() - event.fields - CONTEXT
    if unknown:
        raise ValueError(f"{event.name} has no field {', '.join(sorted(unknown))}")
    severity = level or event.level
    metrics.EVENTS.labels(event.name).inc()
    metrics.LOG_MESSAGES.labels(severity.value).inc()
    bound = structlog.contextvars.get_contextvars()
    values = _Values({**bound, **fields})
    if severity in {Level.WARNING, Level.ERROR}:
        fields.setdefault("next", (event.next or "syncd status").format_map(values))
        fields["help"] = f"{_EXPLAIN}{_page(event, values)}"
    structlog.get_logger("syncd").log(
        _NUMBERS[severity.upper()],
        event.name,
        msg=event.message.format_map(values),
        **_wire(fields),
    )


def help_links(base_url: str | None) -> Sequence[Processor]:
    """The step of the log that names the page about a line: where people reach the
    status page, `help_url` stands beside `help`."""
    if base_url is None:
        return ()

    def linked(_: object, __: str, fields: EventDict) -> EventDict:
        if isinstance(code := fields.get("help"), str):
            page = quote(code.removeprefix(_EXPLAIN), safe="")
            fields["help_url"] = f"{base_url}/help/{page}"
        return fields

    return (linked,)


def _page(event: Event, values: _Values) -> str:
    """The code that `syncd explain` is to be asked for."""
    code = event.about.format_map(values)
    return code if _CODE.fullmatch(code) else event.name


def _wire(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields under their public names, absent ones (None) left out."""
    named = {
        _WIRE_NAMES.get(name, name): value
        for name, value in fields.items()
        if value is not None
    }
    if named.get("error.type", "internal") not in ERROR_TYPES:
        named["error.type"] = "internal"
    return named


def level_of(outcome: Outcome) -> Level:
    """The level of a run's canonical line."""
    match outcome:
        case Outcome.FAILED | Outcome.ABANDONED:
            return Level.ERROR
        case Outcome.PARTIAL | Outcome.HELD | Outcome.INTERRUPTED:
            return Level.WARNING
        case Outcome.SUCCESS | Outcome.NO_CHANGE | Outcome.SKIPPED:
            return Level.INFO
