"""One way out for every line: its form, its folding, what is never written."""

import base64
import contextvars
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import structlog

from syncd import events, log, redaction
from syncd.clock import Clock
from syncd.events import emit

NOON = datetime(2026, 5, 12, 12, 0, tzinfo=UTC)
SECRET = 's3cret/with+odd "chars" ~~?? & 100%'
SPELLINGS = {
    "raw": SECRET,
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64url": base64.urlsafe_b64encode(SECRET.encode()).decode(),
    "hex": SECRET.encode().hex(),
    "HEX": SECRET.encode().hex().upper(),
    "url": quote(SECRET, safe=""),
    "path": quote(SECRET),
    "lower url": re.sub("%..", lambda code: code[0].lower(), quote(SECRET, safe="")),
    "form": quote_plus(SECRET),
    "json": json.dumps(SECRET),
    "repr": repr(SECRET),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedClock(Clock):
    """A clock that shows noon, and whose real seconds the test moves."""

    seconds: list[float] = field(default_factory=lambda: [0.0])

    def now(self) -> datetime:
        return NOON

    def monotonic(self) -> float:
        return self.seconds[0]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise LookupError


@pytest.fixture
def configured() -> Iterator[Callable[..., io.StringIO]]:
    """Set logging up on a stream of the test; everything is put back afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("syncd")
    handlers, levels = list(root.handlers), (root.level, ours.level)

    def configure(
        form: str = "json", level: str = "debug", **changes: Any
    ) -> io.StringIO:
        stream: io.StringIO = changes.pop("stream", io.StringIO())
        clock = changes.pop("clock", StoppedClock())
        log.configure(form, level, clock, stream, "test", "1.2.3", **changes)
        return stream

    yield configure
    for handler in [known for known in root.handlers if known not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def redacted(secret: str, text: str) -> str:
    redactor = redaction.Redactor()
    redactor.register(secret)
    return redactor.text(text)


# ---- form -------------------------------------------------------------------------


def test_a_line_starts_with_the_same_fields_in_the_same_order(configured) -> None:
    stream = configured()

    with log.bound(sync="growth", run_id="r1"):
        emit(events.RUN_STARTED, trigger="schedule", lag_ms=3, due_at=NOON)

    (line,) = lines(stream)
    assert list(line.items()) == [
        ("ts", "2026-05-12T12:00:00.000Z"),
        ("level", "info"),
        ("event", "run.started"),
        ("msg", "growth: run started (schedule)"),
        ("service.name", "syncd"),
        ("service.version", "1.2.3"),
        ("instance", "test"),
        ("sync", "growth"),
        ("run_id", "r1"),
        ("trigger", "schedule"),
        ("lag_ms", 3),
        ("due_at", "2026-05-12T12:00:00.000Z"),
    ]


def test_a_librarys_records_become_the_same_lines(configured) -> None:
    stream = configured()

    logging.getLogger("alembic.runtime").warning("job %s is late", "x")

    (line,) = lines(stream)
    assert line["event"] == "library.logged"
    assert line["logger"] == "alembic.runtime"
    assert line["msg"] == "job x is late"
    assert line["service.version"] == "1.2.3"


def test_libraries_are_heard_from_warning_on_even_at_debug(configured) -> None:
    stream = configured(level="debug")

    logging.getLogger("httpx").info("HTTP Request: GET a URL")
    logging.getLogger("httpcore.http11").debug("send_request_headers")

    assert lines(stream) == []


def test_our_own_level_is_the_configured_one(configured) -> None:
    stream = configured(level="warning")

    emit(events.RUN_STARTED, sync="growth")
    emit(events.GUARD_TRIPPED, sync="growth", run_id="r1")

    assert [line["event"] for line in lines(stream)] == ["guard.tripped"]


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("console", io.StringIO, False),
    ],
)
def test_terminals_get_text_and_pipes_get_json(
    configured, form: str, stream: type[io.StringIO], is_json: bool
) -> None:
    out = configured(form, stream=stream())

    emit(events.DAEMON_STOPPED, duration_ms=12)

    assert out.getvalue().startswith("{") is is_json
    assert "stopped in 12 ms" in out.getvalue()


def test_the_console_form_shortens_the_run_and_quotes_blanks(configured) -> None:
    out = configured("console")

    emit(
        events.RUN_SKIPPED,
        sync="growth",
        run_id="019e1b75-47da-732d-8f77-c01b463ddf1e",
        reason="still running",
    )

    assert out.getvalue() == (
        "12:00:00.000 info    run.skipped          growth: skipped, still running  "
        'sync=growth reason="still running" run=463ddf1e\n'
    )


def test_color_is_only_written_where_it_is_asked_for(configured) -> None:
    plain, painted = configured("console"), Terminal()
    emit(events.STORE_UNAVAILABLE, error="disk full")
    configured("console", stream=painted, color=True)
    emit(events.STORE_UNAVAILABLE, error="disk full")

    assert "\x1b" not in plain.getvalue()
    assert "\x1b[31merror" in painted.getvalue()


def test_a_second_set_up_replaces_the_first(configured) -> None:
    first, second = configured(), configured()

    emit(events.DAEMON_STOPPED, duration_ms=1)

    assert lines(first) == []
    assert len(lines(second)) == 1


def test_context_reaches_a_pool_thread_with_a_copied_context(configured) -> None:
    stream = configured()

    with ThreadPoolExecutor(1) as pool, log.bound(sync="growth"):
        work = contextvars.copy_context().run
        pool.submit(work, emit, events.SCHEDULE_DUE).result()

    assert lines(stream)[0]["sync"] == "growth"
    assert lines(stream)[0]["msg"] == "growth is due"


# ---- what is never written --------------------------------------------------------


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_secret_is_replaced_in_every_spelling(spelling: str) -> None:
    told = redacted(SECRET, f"before {spelling} after")

    assert "[redacted]" in told
    assert SECRET[2:-2] not in told
    assert told.startswith("before ")
    assert told.endswith(" after")


@pytest.mark.parametrize("login", ["k", "ke", "key", "a-longer-api-key"])
def test_a_secret_inside_a_basic_login_is_replaced(login: str) -> None:
    header = base64.b64encode(f"{login}:{SECRET}".encode()).decode()

    told = redacted(SECRET, f"Authorization: Basic {header}")

    left = told.partition("[redacted]")[0].removeprefix("Authorization: Basic ")
    assert "[redacted]" in told
    assert len(base64.b64decode(left + "==" * (len(left) % 4 > 1))) <= len(login) + 2


def test_a_word_too_short_to_be_a_secret_blanks_nothing() -> None:
    assert redacted("segment", "a segment of people") == "a segment of people"


def test_the_longer_of_two_nested_secrets_is_replaced_whole() -> None:
    redactor = redaction.Redactor()
    redactor.register("abcdefgh")
    redactor.register("abcdefghijkl")

    assert redactor.text("abcdefghijkl") == "[redacted]"


@pytest.mark.parametrize(
    "key",
    ["authorization", "Cookie", "api_key", "Api-Key", "secret_key", "X-Signature"],
)
def test_a_value_under_a_credentials_name_is_removed(key: str) -> None:
    line = redaction.Redactor().clean({"headers": {key: "value", "accept": "json"}})

    assert line == {"headers": {"accept": "json"}}


def test_a_password_in_a_url_is_replaced_without_being_registered() -> None:
    told = redaction.Redactor().text("cannot reach postgresql://me:pw@db.example/x")

    assert told == "cannot reach postgresql://me:[redacted]@db.example/x"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"user@example.com", "<16 bytes>"),
        ([b"a", (b"bc",)], ["<1 bytes>", ["<2 bytes>"]]),
        (2**70, str(2**70)),
        (NOON, "2026-05-12T12:00:00.000Z"),
        (object(), "<object>"),
        ("x" * 5000, "x" * 4000 + "... 1000 more"),
        (
            "a\r\nb\x1b[31m\u2028\u202e\x85\ud800",
            r"a\x0d\x0ab\x1b[31m\u2028\u202e\x85\ud800",
        ),
    ],
)
def test_values_become_plain_and_printable(value: object, told: object) -> None:
    assert redaction.Redactor().clean(value) == told


@pytest.mark.parametrize("form", ["json", "console"])
def test_names_with_control_characters_stay_on_one_line(configured, form) -> None:
    stream = configured(form)

    emit(events.RUN_SKIPPED, sync='x\n{"level":"error"}\x1b[2J\u2028', reason="r\rr")

    written = stream.getvalue()
    assert len(written.splitlines()) == 1
    assert written.rstrip("\n").isprintable()


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_hold_no_local_variables_and_no_secret(configured, form) -> None:
    stream = configured(form)
    redaction.register_secret("canary-registered-value")

    def fail() -> None:
        member = "canary-" + "local"  # the word must not be in the source line
        raise RuntimeError(f"refused {len(member)} canary-registered-value")

    try:
        fail()
    except RuntimeError as error:
        emit(events.DAEMON_CRASHED, error=str(error), exc_info=True)

    written = stream.getvalue()
    assert "in fail" in written or '"name":"fail"' in written
    assert "RuntimeError" in written
    assert "canary-local" not in written
    assert "canary-registered-value" not in written


def test_a_line_that_cannot_be_written_is_announced_without_its_values(
    configured, capsys
) -> None:
    stream = configured()

    emit(events.DAEMON_STOPPED, duration_ms=1, error=Unspeakable("canary"))

    (line,) = lines(stream)
    assert line["event"] == "log.failed"
    assert line["logger"] == "syncd"
    assert "canary" not in stream.getvalue() + capsys.readouterr().err


def test_people_are_named_by_a_keyed_hash() -> None:
    name = log.person_hash(b"key", b"user-1")

    assert name == "8a32e6807494"
    assert name != log.person_hash(b"other key", b"user-1")


# ---- folding ----------------------------------------------------------------------


def test_a_repeated_warning_is_written_once_and_counted(configured) -> None:
    clock = StoppedClock()
    stream = configured(clock=clock)

    for wait in range(5):
        emit(events.API_THROTTLED, connection="amp", wait_ms=wait)
    clock.seconds[0] = 10.5
    emit(events.DAEMON_STOPPING, signal="SIGTERM", runs_in_flight=0)

    told = [
        (line["event"], line.get("wait_ms"), line.get("folded"))
        for line in lines(stream)
    ]
    assert told == [
        ("api.throttled", 0, None),
        ("api.throttled", 4, 4),
        ("daemon.stopping", None, None),
    ]


def test_after_the_window_a_warning_is_written_at_once_again(configured) -> None:
    clock = StoppedClock()
    stream = configured(clock=clock)

    for moment in (0, 11, 22):
        clock.seconds[0] = moment
        emit(events.API_THROTTLED, connection="amp")

    assert [line.get("folded") for line in lines(stream)] == [None] * 3


def test_what_was_folded_is_told_when_logging_ends(configured) -> None:
    first = configured()
    for _ in range(3):
        logging.getLogger("sqlalchemy.pool").warning("connection lost: %s", "x")

    configured()

    assert [line.get("folded") for line in lines(first)] == [None, 2]


def test_canonical_lines_and_errors_are_never_folded(configured) -> None:
    stream = configured()
    held = events.Level.WARNING

    for run in ("r1", "r2"):
        emit(events.RUN_FINISHED, level=held, sync="growth", run_id=run)
        emit(events.DAEMON_CRASHED, error="disk full")

    assert len(lines(stream)) == 4
    assert not any("folded" in line for line in lines(stream))


def test_that_the_store_is_away_is_told_at_once_and_then_each_minute(
    configured,
) -> None:
    clock = StoppedClock()
    stream = configured(clock=clock)

    for second in range(0, 150, 5):
        clock.seconds[0] = second
        for sync in ("growth", "vip"):
            emit(events.STORE_UNAVAILABLE, sync=sync, error="away", operation="run")
    clock.seconds[0] = 400
    emit(events.DAEMON_STOPPING, signal="SIGTERM", runs_in_flight=0)

    told = [(line["event"], line.get("folded")) for line in lines(stream)]
    assert told == [
        ("store.unavailable", None),
        ("store.unavailable", 23),
        ("store.unavailable", 24),
        ("store.unavailable", 12),
        ("daemon.stopping", None),
    ]
    assert {line["level"] for line in lines(stream)[:4]} == {"error"}


@pytest.mark.parametrize(
    "other", [{"error": "disk full"}, {"operation": "finish"}, {"code": "lease.lost"}]
)
def test_another_trouble_of_the_store_is_told_at_once(
    configured, other: dict[str, str]
) -> None:
    stream = configured()
    first: dict[str, Any] = {"error": "away", "operation": "run", "code": "store"}

    emit(events.STORE_UNAVAILABLE, **first)
    emit(events.STORE_UNAVAILABLE, **first | other)

    assert len(lines(stream)) == 2


def test_warnings_of_different_syncs_are_different(configured) -> None:
    stream = configured()

    for sync in ("growth", "sales"):
        emit(events.RUN_MISSED, sync=sync, missed=1)

    assert [line["sync"] for line in lines(stream)] == ["growth", "sales"]


def test_where_people_reach_the_page_a_warning_links_to_its_help(
    configured: Callable[..., io.StringIO],
) -> None:
    out = configured(further=events.help_links("https://syncd.acme.example"))

    emit(events.RUN_MISSED, sync="vip", missed=2)
    emit(events.INBOX_REJECTED, connection="c", reason="signature.wrong", count=1)
    emit(events.DAEMON_STOPPED, duration_ms=3)

    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line.get("help_url") for line in lines] == [
        "https://syncd.acme.example/help/run.missed",
        "https://syncd.acme.example/help/signature.wrong",
        None,
    ]


def test_where_nobody_said_a_warning_names_the_command_alone(
    configured: Callable[..., io.StringIO],
) -> None:
    out = configured(further=events.help_links(None))

    emit(events.RUN_MISSED, sync="vip", missed=2)

    line = json.loads(out.getvalue())
    assert line["help"] == "syncd explain run.missed"
    assert "help_url" not in line
