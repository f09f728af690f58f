"""What an operator writes: YAML, schedules, durations, windows, references.

`check` says what is wrong with a file and never fails itself; a configuration that it
takes can be hashed, and its schedules and windows give times.
"""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from syncd.config import InvalidConfig, load
from syncd.config.interpolate import BadReference, fill
from syncd.config.reader import plain, read
from syncd.config.schedule_text import BadSchedule, cron, parse
from syncd.config.values import LONGEST, parse_duration
from syncd.errors import Problem
from syncd.schedule import (
    Schedule,
    describe,
    explain,
    latest_at_or_before,
    next_after,
    shortest_period,
)
from syncd.windows import closed_until, next_end, window_at
from tests.fuzzing.doors import NOON
from tests.fuzzing.target import Target, require

DAYS = (
    NOON,
    datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    datetime(2028, 2, 29, 23, 59, tzinfo=UTC),
)
ENVIRONMENT = {"STAGE": "prod", "EMPTY": "", "ODD": "\udcff${STAGE}"}


def text_of(data: bytes) -> str | None:
    """As a file is decoded; None where it is no UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def of_text(run: Callable[[str], None]) -> Callable[[bytes], None]:
    """A target: UTF-8 text."""

    def decoded(data: bytes) -> None:
        text = text_of(data)
        if text is not None:
            run(text)

    return decoded


def yaml(text: str) -> None:
    """A file's nodes, or what is wrong with it and where."""
    problems: list[Problem] = []
    root = read(text, "f.yaml", problems)
    assert root is not None or problems
    if root is not None:
        plain(root)
    require_places(problems)


def require_places(problems: list[Problem]) -> None:
    """Each is somewhere, and can be shown."""
    for problem in problems:
        assert problem.line >= 0
        f"{problem.message} {problem.hint}".encode("utf-8", "surrogateescape")


def check(text: str) -> None:
    """Everything that `syncd check` looks at."""
    try:
        loaded = load(["-"], ENVIRONMENT, stdin=io.StringIO(text))
    except InvalidConfig as error:
        require(error.problems)
        require_places(list(error.problems))
        return
    for sync in loaded.settings.syncs:
        require_times(sync.schedule)
        for at in DAYS:
            closed_until(sync.blackout, at)
            next_end(sync.blackout, at)
            window_at(sync.blackout, at)


def schedules(text: str) -> None:
    """A schedule's text."""
    try:
        found = parse(text, timezone="Europe/Berlin")
    except BadSchedule:
        return
    require_times(found)


def crons(text: str) -> None:
    """A cron expression, and in the second line its zone."""
    expression, _, zone = text.partition("\n")
    try:
        found = cron(expression, timezone=zone or "UTC")
    except BadSchedule:
        return
    require_times(found)


def require_times(schedule: Schedule) -> None:
    """It is due after any instant, and was before; it can be told."""
    describe(schedule)
    explain(schedule)
    period = shortest_period(schedule)
    assert period is None or period >= timedelta(minutes=5)
    for at in DAYS:
        due, last = next_after(schedule, at), latest_at_or_before(schedule, at)
        assert due is None or due > at
        assert last is None or last <= at


def durations(text: str) -> None:
    """A length of time."""
    try:
        found = parse_duration(text)
    except ValueError:
        return
    assert timedelta(0) <= found <= LONGEST


def references(text: str) -> None:
    """`${NAME}` in a value."""
    try:
        fill(text, ENVIRONMENT.get)
    except BadReference as error:
        require(error.code.startswith("env."))


_MAIN = b"""\
version: 1
connections:
  engage-main:
    type: engage
    snapshot: {type: files, path: "/in/{audience}.csv"}
    inbox: {secret_file: s, second_factor: {file: k}}
  amplitude-main:
    type: amplitude
    region: eu
    app_id: 187520
    api_key_file: api_key
    secret_key_file: secret_key
    owner: ana@acme.example
windows:
  freeze: [{dates: 2026-06-29..2026-07-01, days: mon..fri, from: "01:30", to: "24:00"}]
defaults: {timezone: Europe/Berlin, jitter: 5m, guard: {max_exit: 20%}}
syncs:
  - name: vip
    owner: growth
    from: {connection: engage-main, audience: vip, snapshot_lag: 2h}
    to: {connection: amplitude-main}
    schedule: {cron: "25 */6 * * *", timezone: UTC}
    blackout: [freeze]
    fresh_within: 1d
"""
_ODD_YAML = (
    b"&a [*a, *b, {<<: *a}]\n",
    b"a: !!python/object:os.system x\n? [b]\n: |\n  text\n",
    b"- 0x10\n- .inf\n- 1e400\n- 0o17\n- ~\n- '${STAGE:-x}'\n",
    b"%YAML 1.1\n---\na: 1\n...\n---\nb: 2\n",
)
_KEYS = (
    b"schedule: ",
    b"dates: ",
    b"days: ",
    b"- ",
    b": ",
    b"<<: ",
    b"*a",
    b"&a ",
    b"!!str ",
)
_TIMES = (
    b" at ",
    b"every ",
    b"mon..",
    b"Europe/Berlin",
    b"24:00",
    b"0001-01-01..9999-12-31",
)

TARGETS = (
    Target(
        name="yaml",
        run=of_text(yaml),
        seeds=(_MAIN, *_ODD_YAML),
        words=_KEYS,
        # A quarter of a second for brackets in brackets, however many: the reader looks
        # 1,024 characters ahead. It is the operator's own file.
        seconds=1.0,
    ),
    Target(
        name="check",
        run=of_text(check),
        seeds=(_MAIN,),
        words=_KEYS + _TIMES,
        # 20 lines take 20 ms; for the rest see above.
        seconds=1.0,
        found=(
            _MAIN.replace(b"2026-06-29..2026-07-01", b"0001-01-01..9999-12-31"),
            _MAIN.replace(b"2026-06-29..2026-07-01", b"9999-12-31"),
        ),
    ),
    Target(
        name="schedules",
        run=of_text(schedules),
        seeds=(
            b"every 1h at :10",
            b"mon..fri at 07:15 Europe/Berlin",
            b"daily",
            b"once",
        ),
        words=_TIMES,
    ),
    Target(
        name="crons",
        run=of_text(crons),
        seeds=(
            b"25 */6 * * *\nUTC",
            b"0 3 1,15 * 1#2\nEurope/Berlin",
            b"0 0 29 2 *\nPacific/Apia",
            b"30 2 L * fri\nAmerica/New_York",
        ),
        words=(
            b"*/",
            b"L",
            b"#",
            b"-",
            b"mon",
            b"59",
            b"jan",
            "²".encode(),
            "٣".encode(),
        ),
    ),
    Target(
        name="durations",
        run=of_text(durations),
        seeds=(b"1h30m", b"500ms", b"400d"),
        words=(b"w", b"d", b"ms", b"999999999"),
        found=(b"999999999w", b"999999999d999999999w"),
    ),
    Target(
        name="references",
        run=of_text(references),
        seeds=(b"a ${STAGE} $${x} ${EMPTY:-b} ${NONE:?why}",),
        words=(b"${", b"$$", b":-", b":?", b"}"),
    ),
)
