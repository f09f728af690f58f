"""`syncd logs -`: log lines in JSON, as the daemon writes them, made readable.

A filter for `kubectl logs … | syncd logs -`: it writes each line as it comes and keeps
none. A line that is no JSON object of ours passes unchanged, since somebody may need
it, unless a filter was asked for that it cannot fit.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.frame import Frame, verb

if TYPE_CHECKING:
    from rich.text import Text

Drawn = Callable[[Mapping[str, Any]], "str | Text"]

LEVELS = ("debug", "info", "warning", "error")
_STYLES = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "red"}
_RUN_STYLES = ("cyan", "green", "magenta", "blue", "bright_cyan", "bright_magenta")
_FIRST = frozenset("ts level event msg service.name service.version instance".split())
_LONGEST_LINE = 1_000_000
"""Characters; a longer line passes unread."""
_SINCE = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which lines to show."""

    run: str = ""
    """The beginning or the end of a run's id, as `runs` shows it."""
    sync: str = ""
    level: str = "debug"
    """The least."""
    since: datetime | None = None

    def everything(self) -> bool:
        """Whether nothing was asked for in particular."""
        return self == Wanted()

    def takes(self, line: Mapping[str, Any]) -> bool:
        """Whether a line fits all that was asked for."""
        run = str(line.get("run_id", ""))
        of_run = not self.run or (
            bool(run) and (run.startswith(self.run) or run.endswith(self.run))
        )
        of_sync = not self.sync or line.get("sync") == self.sync
        return of_run and of_sync and self._loud(line) and self._late(line)

    def _loud(self, line: Mapping[str, Any]) -> bool:
        level = str(line["level"])
        return level not in LEVELS or LEVELS.index(level) >= LEVELS.index(self.level)

    def _late(self, line: Mapping[str, Any]) -> bool:
        if self.since is None:
            return True
        at = _moment(line["ts"])
        return at is not None and at >= self.since


def _since(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    found = _SINCE.fullmatch(value)
    if found is None:
        raise click.BadParameter("write it like 30m, 2h or 1d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@verb("logs")
@click.argument("source", metavar="-", type=click.Choice(("-",)))
@click.option("--run", default="", metavar="RUN", help="Only lines of this run.")
@click.option("--sync", default="", metavar="SYNC", help="Only lines of this sync.")
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="debug",
    help="Only this level and above.",
)
@click.option(
    "--since",
    callback=_since,
    metavar="SPAN",
    help="Only lines of the last 30m, 2h or 1d.",
)
def logs(
    frame: Frame,
    source: str,
    run: str,
    sync: str,
    level: str,
    since: timedelta | None,
) -> None:
    """Make the daemon's log lines in JSON readable: kubectl logs … | syncd logs -"""
    oldest = frame.clock.now() - since if since is not None else None
    wanted = Wanted(run=run, sync=sync, level=level, since=oldest)
    out = frame.out
    draw: Drawn = _coloured if out.in_color(out.stdout) else _plain
    fd = sys.stdin.fileno()
    with open(fd, encoding="utf-8", errors="replace", closefd=False) as stdin:
        # Each line at once: somebody is watching them arrive.
        for shown in rendered(iter(stdin.readline, ""), wanted, draw):
            out.line(shown)
            out.stdout.flush()


def rendered(lines: Iterable[str], wanted: Wanted, draw: Drawn) -> Iterator[str | Text]:
    """What is shown of some lines, one by one."""
    for text in lines:
        line = parsed(text)
        if line is None:
            if wanted.everything():
                yield text.rstrip("\r\n")
        elif wanted.takes(line):
            yield draw(line)


def parsed(text: str) -> Mapping[str, Any] | None:
    """A log line of ours; None where it is anything else.

    What a container's runtime puts before the JSON is dropped.
    """
    import orjson

    start = text.find("{")
    if start < 0 or len(text) > _LONGEST_LINE:
        return None
    try:
        line = orjson.loads(text[start:])
    except orjson.JSONDecodeError:
        return None
    ours = isinstance(line, dict) and {"ts", "level", "event"} <= line.keys()
    return line if ours else None


def parts(line: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """(time, level, the rest of the line, the run's short id)."""
    at = _moment(line["ts"])
    time = f"{at:%m-%d %H:%M:%S}.{at.microsecond // 1000:03}" if at else "?"
    run = str(line.get("run_id", ""))[-8:]
    rest = {
        key: value
        for key, value in line.items()
        if key not in _FIRST and key not in {"run_id", "sync", "exception"}
    }
    sync = str(line.get("sync", ""))
    words = [f"{line['event']:<20}", sync, str(line.get("msg", ""))]
    words += [f"{key}={_value(value)}" for key, value in rest.items()]
    return time, str(line["level"]), " ".join(filter(None, words)), run


def _plain(line: Mapping[str, Any]) -> str:
    time, level, words, run = parts(line)
    return f"{time} {level:<7} {words}{run and f' run={run}'}{_trace(line)}"


def _coloured(line: Mapping[str, Any]) -> Text:
    from rich.text import Text

    from syncd.cli.output import harmless

    time, level, words, run = parts(line)
    text = Text.assemble(
        (time, "dim"),
        " ",
        (f"{harmless(level):<7}", _STYLES.get(level, "")),
        f" {harmless(words)}",
    )
    if run:
        # By its digits, so that one run has one colour in every terminal.
        style = _RUN_STYLES[sum(run.encode()) % len(_RUN_STYLES)]
        text.append(f" run={harmless(run)}", style)
    return text.append(harmless(_trace(line)), "dim")


def _trace(line: Mapping[str, Any]) -> str:
    """A traceback's places, the cause last."""
    found = ""
    for error in line.get("exception") or ():
        if not isinstance(error, Mapping):
            continue
        for place in error.get("frames") or ():
            if isinstance(place, Mapping):
                where = f"{place.get('filename')}:{place.get('lineno')}"
                found += f"\n    {where} in {place.get('name')}"
        found += f"\n    {error.get('exc_type')}"
    return found


def _value(value: object) -> str:
    import orjson

    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return f'"{text}"' if " " in text and isinstance(value, str) else text


def _moment(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo else None
