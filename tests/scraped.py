"""What Prometheus would have seen of a daemon on a fast clock, and how it judges that.

`Scraper` reads the real /metrics at regular virtual intervals and keeps what the
shipped alert rules ask for. `firing` lets the real promtool evaluate these over it.
"""

import re
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import httpx
from ruamel.yaml import YAML

from tests.months import FastClock
from tests.simulated import PROJECT

RULES = PROJECT / "deploy/prometheus/alerts.yaml"
STEP = timedelta(minutes=5)
"""Between two evaluations of the rules."""
PROMETHEUS_GIVES_UP = 10.0
"""Real seconds for a scrape."""
_REAL = "syncd_scheduler_heartbeat_timestamp_seconds"
"""In real time on a fast clock, too: kept as seconds from the scrape, and an age of as
many seconds on the clock of the rules."""
_NEVER = 0.0
"""Of a timestamp: there is none (`syncd_outbox_oldest_timestamp_seconds`)."""
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_GOT = re.compile(r"time: (\w+),\s+exp: nil\s+got: (.*)")
_LABELS = re.compile(r"\{([^}]*)\}")
_PART = re.compile(r"(\d+)(ms|[smhdw])")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _asked_for() -> frozenset[str]:
    """The series that the rules name."""
    groups = YAML(typ="safe").load(RULES)["groups"]
    text = " ".join(rule["expr"] for group in groups for rule in group["rules"])
    return frozenset(re.findall(r"\bsyncd_\w+", text))


# ---- looking -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Scrape:
    """One answer of /metrics."""

    at: datetime
    """Virtual."""
    samples: Mapping[str, float] | None
    """Series as it is written -> value; None: nobody answered."""

    def value(self, name: str, **labels: str) -> float | None:
        """Of the series with exactly these labels, in the order of its definition."""
        written = ",".join(f'{key}="{value}"' for key, value in labels.items())
        series = f"{name}{{{written}}}" if written else name
        return (self.samples or {}).get(series)


@dataclass(kw_only=True)
class Scraper:
    """Looks at regular intervals of the virtual clock until it is told to stop."""

    clock: FastClock
    every: timedelta
    scrapes: list[Scrape] = field(default_factory=list)
    url: str = ""
    """Of the admin server, which is another one after a restart; "": none."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _wanted: frozenset[str] = field(default_factory=_asked_for)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Scrape in the background."""
        thread = threading.Thread(target=self._look_again_and_again)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _look_again_and_again(self) -> None:
        due = self.clock.now()
        with httpx.Client(timeout=PROMETHEUS_GIVES_UP, trust_env=False) as client:
            while not self._stop.wait(
                max(0.0, self.clock.real(due - self.clock.now()))
            ):
                self.scrapes.append(self._look(client))
                # Like Prometheus: one that is late is not made up for.
                due = max(due + self.every, self.clock.now())

    def _look(self, client: httpx.Client) -> Scrape:
        try:
            answer = client.get(f"{self.url}/metrics") if self.url else None
        except httpx.TransportError:
            answer = None
        if answer is None or answer.status_code != httpx.codes.OK:
            return Scrape(at=self.clock.now(), samples=None)
        samples = dict(self._kept(answer.text))
        if _REAL in samples:
            samples[_REAL] -= datetime.now(UTC).timestamp()
        return Scrape(at=self.clock.now(), samples=samples)

    def _kept(self, text: str) -> Iterator[tuple[str, float]]:
        for line in text.splitlines():
            name = line.partition("{")[0].partition(" ")[0]
            if name in self._wanted:
                series, _, value = line.rpartition(" ")
                yield series, float(value)


# ---- judging -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Scrapes on the grid of the rules' evaluation; time 0 is that of the first."""

    begin: datetime
    grid: Sequence[Scrape]
    """One per `STEP`: the last that was made until then, as Prometheus looks back."""

    @classmethod
    def of(cls, scrapes: Sequence[Scrape]) -> "Seen":
        """Put them on the grid."""
        begin, grid, newest = scrapes[0].at, [], 0
        for number in range((scrapes[-1].at - begin) // STEP + 1):
            due = begin + number * STEP
            while newest + 1 < len(scrapes) and scrapes[newest + 1].at <= due:
                newest += 1
            grid.append(scrapes[newest])
        return cls(begin=begin, grid=grid)

    @property
    def until(self) -> timedelta:
        """The last moment of the grid."""
        return (len(self.grid) - 1) * STEP

    def document(self, questions: Iterable[tuple[str, timedelta]]) -> str:
        """A file for `promtool test rules` that expects nothing of each query."""
        lines = [
            f"rule_files: ['{RULES}']",
            f"evaluation_interval: {_span(STEP)}",
            "tests:",
            f"  - interval: {_span(STEP)}",
            "    input_series:",
        ]
        for series, values in self._series().items():
            lines += [f"      - series: '{series}'", f"        values: '{values}'"]
        lines.append("    promql_expr_test:")
        for query, at in questions:
            lines += [f"      - expr: '{query}'", f"        eval_time: {_span(at)}"]
        return "\n".join(lines) + "\n"

    def _series(self) -> dict[str, str]:
        """Series with the labels of the job -> its values, as promtool writes them."""
        names = dict.fromkeys(name for one in self.grid for name in one.samples or ())
        found = {
            _of_the_job(name): _written(
                None
                if one.samples is None
                else self._value(name, one.samples.get(name), number)
                for number, one in enumerate(self.grid)
            )
            for name in names
        }
        up = (0.0 if one.samples is None else 1.0 for one in self.grid)
        return found | {_of_the_job("up"): _written(up)}

    def _value(self, name: str, value: float | None, number: int) -> float | None:
        if value is None or value == _NEVER or "_timestamp_seconds" not in name:
            return value
        if name == _REAL:
            return value + number * STEP.total_seconds()
        return value - self.begin.timestamp()


def _of_the_job(series: str) -> str:
    name, _, labels = series.partition("{")
    more = f",{labels[:-1]}" if labels else ""
    return f'{name}{{job="syncd",instance="a"{more}}}'


def _written(values: Iterable[float | None]) -> str:
    """`1x3` is four times 1, `_x3` is nothing three times."""
    parts = []
    for value, same in groupby(values):
        count = len(list(same))
        parts.append(f"_x{count}" if value is None else f"{value:.3f}x{count - 1}")
    return " ".join(parts)


def _span(span: timedelta) -> str:
    return f"{round(span.total_seconds())}s"


Alert = tuple[str, frozenset[tuple[str, str]]]
"""(its name, labels but for those that all of them have)."""
_ALL_HAVE = {"__name__", "alertname", "alertstate", "job", "severity"}


def firing(seen: Seen, folder: Path) -> dict[timedelta, set[Alert]]:
    """Every moment of the grid at which something fires, with what does."""
    moments = [number * STEP for number in range(len(seen.grid))]
    query = 'ALERTS{alertstate="firing"}'
    answers = ask(seen, folder, [(query, at) for at in moments])
    return {at: set(map(_alert, found)) for at, found in answers.items()}


def alert(name: str, **labels: str) -> Alert:
    """As `firing` finds it."""
    return name, frozenset(labels.items())


def _alert(labels: Mapping[str, str]) -> Alert:
    own = {key: value for key, value in labels.items() if key not in _ALL_HAVE}
    return labels["alertname"], frozenset(own.items())


def ask(
    seen: Seen, folder: Path, questions: Sequence[tuple[str, timedelta]]
) -> dict[timedelta, list[dict[str, str]]]:
    """What promtool answers to queries, by moment: the labels of what it finds.

    It only compares, so it is told to expect nothing and complains of all there is.
    """
    path = folder / "scraped.yaml"
    path.write_text(seen.document(questions), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True
    )
    said = done.stdout + done.stderr
    found = {
        _moment(at): [
            dict(re.findall(r'(\w+)="([^"]*)"', labels))
            for labels in _LABELS.findall(got)
        ]
        for at, got in _GOT.findall(said)
    }
    # Success is silence; anything else that is not an answer is an error of the file.
    assert (done.returncode == 0) == (not found), said[-4000:]
    return found


def _moment(text: str) -> timedelta:
    return timedelta(
        seconds=sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text))
    )
