"""Where log lines go: one set-up, one choke point for what must never be written.

Our events and the records of libraries take the same way: a `logging` record reaches
one handler, becomes a flat dict with the same first fields, passes the redactor, which
is last before the renderer, and is written as JSON (pipes) or as text (terminals).

What can never be in a line: a registered secret in any usual spelling, a value under
a key that names a credential, raw bytes (member ids are bytes), a control character,
local variables of a traceback. It is bad at ids inside free text: an error message
must not quote them (the errors of this product do not).
"""

import base64
import hmac
import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from pathlib import PurePath
from typing import Any, Protocol, TextIO
from uuid import UUID

import orjson
import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.types import EventDict, ExcInfo, Processor

_HEAD = "ts level event msg service.name service.version instance".split()
_CONTEXT = "sync owner direction run_id trigger attempt".split()
_FOLD_SECONDS = 10.0
_SHORTEST_SECRET = 8
_LONGEST_TEXT = 4_000
_REDACTED = "[redacted]"


class Clock(Protocol):
    """What a line needs of `syncd.clock.Clock`; this layer does not import it."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


def configure(
    format: str,  # noqa: A002 (the word of the config file: `log.format`)
    level: str,
    clock: Clock,
    stream: TextIO,
    instance: str,
    version: str,
    *,
    color: bool = False,
    further: Sequence[Processor] = (),
) -> None:
    """Send every log line of this process to `stream`; a later call replaces it.

    `format` is `json`, `console` or `auto` (console on a terminal). `level` is the
    least level of our own events; libraries are heard from `warning` on, since their
    lower levels hold URLs and headers. `color` is for the console form only. `further`
    steps see the fields of our own events, before anything is redacted.
    """
    console = format == "console" or (format == "auto" and stream.isatty())
    handler = _Handler(stream, clock)
    handler.setFormatter(_formatter(console, color, clock, instance, version))
    root = logging.getLogger()
    for former in [known for known in root.handlers if isinstance(known, _Handler)]:
        root.removeHandler(former)
        former.close()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("syncd").setLevel(level.upper())
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            *further,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def bound(**fields: object) -> AbstractContextManager[None]:
    """Carry these fields on every line of this context, in this thread.

    A pool thread sees them when its work is submitted as
    `contextvars.copy_context().run`.
    """
    return structlog.contextvars.bound_contextvars(**fields)


def person_hash(key: bytes, member_id: bytes) -> str:
    """How a member is named in logs: 12 hex digits under the installation's key."""
    return hmac.new(key, member_id, sha256).hexdigest()[:12]


def register_secret(value: str) -> None:
    """Never write this value again, in any line of this process."""
    _REDACTOR.register(value)


def redacted(text: str) -> str:
    """Words from outside as they may be kept and shown: a line without any secret.

    A client hides what it sent itself; here it is every secret of this process, since
    a vendor may name another one's.
    """
    return _REDACTOR.text(text)


# ---- the redactor ---------------------------------------------------------------

_CREDENTIAL_KEY = re.compile(
    r"(authorization|cookie|api_?key|secret_?key|write_?key|private_?key|"
    r"signature|password|passwd|secret|token)$",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class Redactor:
    """Makes a value safe to write: plain JSON types, no secret, no control character.

    Thread-safe: registering replaces the compiled pattern in one assignment.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: dict[str, int] = {}
        self._pattern: re.Pattern[str] | None = None

    def register(self, secret: str) -> None:
        """Add a secret in all its forms; under 8 characters it is ignored.

        A short value would blank ordinary words, and is no secret worth the name.
        """
        if len(secret) < _SHORTEST_SECRET:
            return
        with self._lock:
            self._forms |= {_spelled_anyhow(form): len(form) for form in _forms(secret)}
            longest_first = sorted(
                self._forms.items(), key=lambda form: (-form[1], form)
            )
            self._pattern = re.compile(
                "|".join(pattern for pattern, _ in longest_first)
            )

    def __call__(self, _: Any, __: str, event: EventDict) -> EventDict:
        """As a structlog processor: the whole line, keys and values."""
        return self._mapping(event)

    def clean(self, value: object) -> object:
        """`value` as JSON types, redacted, however deep."""
        match value:
            case None | bool() | float():
                return value
            case int():
                return value if -(2**63) <= value < 2**63 else str(value)
            case Mapping():
                return self._mapping(value)
            case list() | tuple() | set() | frozenset():
                return [self.clean(item) for item in value]
            case _:
                return self.text(_spelled(value))

    def text(self, value: str) -> str:
        """One line of text without secrets and control characters."""
        if self._pattern is not None:
            value = self._pattern.sub(_REDACTED, value)
        value = _URL_PASSWORD.sub(rf"\1:{_REDACTED}@", value)
        if len(value) > _LONGEST_TEXT:
            value = f"{value[:_LONGEST_TEXT]}... {len(value) - _LONGEST_TEXT} more"
        return _UNPRINTABLE.sub(_escape, value)

    def _mapping(self, values: Mapping[Any, object]) -> dict[str, object]:
        return {
            self.text(str(key)): self.clean(value)
            for key, value in values.items()
            if not _CREDENTIAL_KEY.search(str(key).replace("-", "_"))
        }


def _forms(secret: str) -> set[str]:
    """What a secret turns into before it is quoted: itself, base64, hex."""
    raw = secret.encode("utf-8", "surrogateescape")
    return {secret, raw.hex(), raw.hex().upper(), *_base64_forms(raw)}


def _spelled_anyhow(text: str) -> str:
    """A pattern of `text` as URLs, JSON, Python and HTML write it.

    Character by character, since each writer escapes others: what one leaves as it is
    the next one does not, and a list of whole spellings always lacks one.
    """
    return "".join(map(_spellings, text))


_ENTITIES = {'"': "quot", "&": "amp", "'": "apos", "<": "lt", ">": "gt"}
_LETTERS = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
_BACKSLASHES = r"\\{1,4}"
"""Of an escape: more than one where JSON is in JSON. Bounded, as all else in here: no
line may take long, whatever it holds."""


@lru_cache(maxsize=1024)
def _spellings(character: str) -> str:
    """A pattern of one character; letters and digits of ASCII are escaped by nobody."""
    if character.isascii() and character.isalnum():
        return character
    code = ord(character)
    octets = character.encode("utf-8", "surrogatepass")
    units = character.encode("utf-16-be", "surrogatepass").hex(" ", 2).split()
    hexes = [
        "".join(f"%{octet:02x}" for octet in octets),
        "".join(f"{_BACKSLASHES}u{unit}" for unit in units),
        f"{_BACKSLASHES}U{code:08x}",
        f"&#(?:{code}|x0{{0,4}}{code:x});",
    ]
    if code < 0x100:
        hexes.append(f"{_BACKSLASHES}x{code:02x}")
    exact = [f"{_BACKSLASHES}{re.escape(_LETTERS.get(character, character))}"]
    if character in _ENTITIES:
        exact.append(f"&{_ENTITIES[character]};")
    if character == " ":
        exact.append(r"\+")
    return f"(?:(?i:{'|'.join(hexes)})|{'|'.join(exact)}|{re.escape(character)})"


def _base64_forms(raw: bytes) -> Iterable[str]:
    """Base64 of `raw`, alone and inside longer text (as in a Basic login).

    Inside, it starts at one of three offsets; what stays the same whatever stands
    around it is the text without its first and last partial characters.
    """
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).decode().rstrip("=")
        for offset in range(3):
            whole = encode(bytes(offset) + raw).decode().rstrip("=")
            first = (0, 2, 3)[offset]
            last = len(whole) - ((len(raw) + offset) % 3 > 0)
            yield whole[first:last]


def _spelled(value: object) -> str:
    """Anything as text. An object of ours may hold ids, so only its type is named."""
    match value:
        case Enum():
            return str(value.value)
        case str() | PurePath() | UUID() | BaseException():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case datetime():
            return _instant(value)
        case timedelta():
            return f"{value.total_seconds():g}s"
        case _:
            return f"<{type(value).__name__}>"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _instant(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, the one form of time in a log line."""
    utc = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_REDACTOR = Redactor()
"""The process's secrets; a module global, so that no line can pass beside it."""


# ---- from a record to a line ------------------------------------------------------


def _formatter(
    console: bool, color: bool, clock: Clock, instance: str, version: str
) -> logging.Formatter:
    """Every record, ours or a library's, through the same steps."""
    traceback: Processor = structlog.processors.ExceptionRenderer(_traceback)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars],
        processors=[
            _first_fields(clock, instance, version),
            traceback,
            _REDACTOR,
            _console(color) if console else _json,
        ],
    )


_transform = ExceptionDictTransformer(show_locals=False, max_frames=20)


def _traceback(exc_info: ExcInfo) -> list[dict[str, Any]]:
    """Types and places; no words, since those of a bug may quote a member id."""
    return [
        {name: value for name, value in error.items() if name not in _WORDS}
        for error in _transform(exc_info)
    ]


_WORDS = frozenset({"exc_value", "exc_notes", "syntax_error"})


def _first_fields(clock: Clock, instance: str, version: str) -> Processor:
    """The processor that names the line and puts its first fields first."""

    def first_fields(_: Any, __: str, event: EventDict) -> EventDict:
        record: logging.LogRecord = event.pop("_record")
        name = event.pop("event")
        if not event.pop("_from_structlog"):
            event["logger"] = record.name
            event["msg"], name = name, "library.logged"
        head: dict[str, object] = {
            "ts": clock.now(),
            "level": record.levelname.lower(),
            "event": name,
            "msg": event.pop("msg", ""),
            "service.name": "syncd",
            "service.version": version,
            "instance": instance,
        }
        head |= {name: event.pop(name) for name in _CONTEXT if name in event}
        folded = {"folded": record.folded} if hasattr(record, "folded") else {}
        return {**head, **event, **folded}

    return first_fields


def _json(_: Any, __: str, event: EventDict) -> str:
    return orjson.dumps(event).decode()


_COLORS = {"warning": "33", "error": "31", "critical": "31", "debug": "2"}


def _console(color: bool) -> Callable[[Any, str, EventDict], str]:
    """The processor that writes a line for a person at a terminal."""

    def console(_: Any, __: str, event: EventDict) -> str:
        level, trace = str(event["level"]), event.pop("exception", None)
        rest = {key: value for key, value in event.items() if key not in _HEAD}
        run = str(rest.pop("run_id", ""))[-8:]
        pairs = " ".join(f"{key}={_shown(value)}" for key, value in rest.items())
        paint = f"\x1b[{_COLORS[level]}m" if color and level in _COLORS else ""
        line = (
            f"{event['ts'][11:23]} {paint}{level:<7}{paint and chr(27) + '[0m'} "
            f"{event['event']:<20} {event['msg']}  {pairs}{run and f' run={run}'}"
        )
        return line.rstrip() + "".join(_frames(trace))

    return console


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return json.dumps(text, ensure_ascii=False) if " " in text else text


def _frames(trace: Any) -> Iterable[str]:
    """A structured traceback as indented lines, the cause last."""
    for error in trace or ():
        for frame in error["frames"]:
            yield f"\n    {frame['filename']}:{frame['lineno']} in {frame['name']}"
        yield f"\n    {error['exc_type']}"


# ---- folding ----------------------------------------------------------------------


@dataclass(slots=True)
class _Repeats:
    """Equal warnings that were not written since the first one of them was."""

    since: float
    count: int = 0
    last: logging.LogRecord | None = None


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines; a warning that repeats within 10 s is counted, not written.

    The count comes with the next line of any kind, or when the handler closes: one
    line like the last that was kept back, with `folded` = how many it stands for.
    """

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        super().__init__(stream)
        self._clock = clock
        self._repeats: dict[tuple[object, ...], _Repeats] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now = self._clock.monotonic()
        self._write_folded(before=now - _FOLD_SECONDS)
        if record.levelno == logging.WARNING:
            known = self._repeats.get(key := _fold_key(record))
            if known is not None:
                known.count, known.last = known.count + 1, record
                return
            self._repeats[key] = _Repeats(since=now)
        super().emit(record)

    def close(self) -> None:
        """Write what was folded; the stream belongs to the caller and stays open."""
        self._write_folded(before=float("inf"))
        super().close()

    def handleError(  # noqa: N802 (overrides logging's name)
        self, record: logging.LogRecord
    ) -> None:
        """Say that a line was lost; logging's own way would print its values raw."""
        lost = {"ts": _instant(self._clock.now()), "level": "error"}
        lost |= {"event": "log.failed", "logger": record.name}
        lost["msg"] = f"a line could not be written: {type(sys.exception()).__name__}"
        with suppress(OSError, ValueError):
            self.stream.write(json.dumps(lost) + self.terminator)

    def _write_folded(self, *, before: float) -> None:
        over = [key for key, kept in self._repeats.items() if kept.since <= before]
        for kept in map(self._repeats.pop, over):
            if kept.last is not None:
                kept.last.folded = kept.count
                super().emit(kept.last)


def _fold_key(record: logging.LogRecord) -> tuple[object, ...]:
    """What makes two warnings the same one; a run's canonical line never repeats."""
    if not isinstance(record.msg, dict):
        return (record.name, record.msg)
    names = ("event", "sync", "run_id", "connection", "reason", "error.type")
    return tuple(str(record.msg.get(name)) for name in names)
