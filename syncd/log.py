"""Where log lines go: one set-up, one choke point for what must never be written.

Our events and the records of libraries take the same way: a `logging` record reaches
one handler, becomes a flat dict with the same first fields, passes the redactor, which
is last before the renderer, and is written as JSON (pipes) or as text (terminals).

What can never be in a line is the business of `redaction`; a traceback's local
variables are left out here. It is bad at ids inside free text: an error message must
not quote them (the errors of this product do not).
"""

import hmac
import json
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol, TextIO

import orjson

from syncd.absent import absent
from syncd.redaction import REDACTOR, instant

with absent("rich"):
    import structlog
    from structlog.tracebacks import ExceptionDictTransformer
    from structlog.types import EventDict, ExcInfo, Processor

_HEAD = "ts level event msg service.name service.version instance".split()
_CONTEXT = "sync owner direction run_id trigger attempt".split()
_FOLD_SECONDS = 10.0
_TOLD_APART_BY = "event sync run_id connection reason error.type".split()
_OUTAGES_BY = "event operation code error".split()
_OUTAGE, _OUTAGE_SECONDS = "store.unavailable", 60.0
"""Whatever a daemon does needs the store: an outage is told once, then each minute."""


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
            REDACTOR,
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
    seconds: float
    """Until their count is written."""
    count: int = 0
    last: logging.LogRecord | None = None


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines; a warning that repeats within 10 s is counted, not written, and so
    is, for a minute, that the store is away.

    The count comes with the next line of any kind, or when the handler closes: one
    line like the last that was kept back, with `folded` = how many it stands for.
    """

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        super().__init__(stream)
        self._clock = clock
        self._repeats: dict[tuple[object, ...], _Repeats] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now = self._clock.monotonic()
        self._write_folded(now)
        seconds = _fold_seconds(record)
        if seconds:
            known = self._repeats.get(key := _fold_key(record))
            if known is not None:
                known.count, known.last = known.count + 1, record
                return
            self._repeats[key] = _Repeats(since=now, seconds=seconds)
        super().emit(record)

    def close(self) -> None:
        """Write what was folded; the stream belongs to the caller and stays open."""
        self._write_folded(float("inf"))
        super().close()

    def handleError(  # noqa: N802 (overrides logging's name)
        self, record: logging.LogRecord
    ) -> None:
        """Say that a line was lost; logging's own way would print its values raw."""
        lost = {"ts": instant(self._clock.now()), "level": "error"}
        lost |= {"event": "log.failed", "logger": record.name}
        lost["msg"] = f"a line could not be written: {type(sys.exception()).__name__}"
        with suppress(OSError, ValueError):
            self.stream.write(json.dumps(lost) + self.terminator)

    def _write_folded(self, now: float) -> None:
        repeats = self._repeats
        over = [
            key for key, kept in repeats.items() if kept.since + kept.seconds <= now
        ]
        for key in over:
            kept = repeats.pop(key)
            if kept.last is None:
                continue
            kept.last.folded = kept.count
            super().emit(kept.last)
            if kept.seconds == _OUTAGE_SECONDS:
                # It goes on: this line stands for the next minute as well.
                repeats[key] = _Repeats(since=now, seconds=kept.seconds)


def _is_outage(record: logging.LogRecord) -> bool:
    return isinstance(record.msg, dict) and record.msg.get("event") == _OUTAGE


def _fold_seconds(record: logging.LogRecord) -> float:
    """For how long an equal line is counted and not written; 0: it is written."""
    if _is_outage(record):
        return _OUTAGE_SECONDS
    return _FOLD_SECONDS if record.levelno == logging.WARNING else 0.0


def _fold_key(record: logging.LogRecord) -> tuple[object, ...]:
    """What makes two warnings the same one; a run's canonical line never repeats."""
    if not isinstance(record.msg, dict):
        return (record.name, record.msg)
    names = _TOLD_APART_BY
    if _is_outage(record):
        # Of every sync the same; what was tried, and another cause, are news.
        names = _OUTAGES_BY
    return tuple(str(record.msg.get(name)) for name in names)
