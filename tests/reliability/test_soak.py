"""Thirty days, every hour, twenty syncs: nothing grows.

The real daemon and the real simulator on one fast clock. Members move every hour (1 %
go, 1 % come), 5 % of all requests fail; meanwhile memory, descriptors, threads and the
store's files are measured, and at the end everybody is where they belong. Short form:
two days and seven syncs, with bounds that a leak of 100 kB a run breaks; `--long`:
thirty days, twenty syncs of 2,000 people (`--full-size`: of 100,000). Both print what
they measured (pytest -s).
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.installed import Running, log_lines
from tests.months import DAY, HOUR, Month, clock_that_shows, eventually

FIRST = datetime.fromisoformat("2027-06-01T00:00:00+00:00")
MIB = 2**20
LINES_OF_A_RUN = 8
"""Info lines of a run, retries and their warnings included, on average."""
SLOW = 30.0
"""Real seconds by which a busy machine may be late."""
EACH_FAULT = 0.0125
"""Four kinds of them: 5 % of all requests."""
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 503, "apply": True},
    {"kind": "reset", "when": "before"},
    {"kind": "reset", "when": "mid", "apply": True},
)


@dataclass(frozen=True, kw_only=True)
class Form:
    """How long, how many, and how much may grow."""

    days: int
    speed: int
    files: int
    pushed: int
    traits: int
    lists: int
    people: int
    per_100_rounds: float
    """MiB of memory that a hundred hours may add."""
    ratio: float
    """Of the memory at the end to that at the start."""
    flat: bool = True
    """Whether it is long enough for what is pruned."""

    @property
    def churn(self) -> int:
        """Who leaves each hour, and as many who come."""
        return max(self.people // 100, 1)

    @property
    def syncs(self) -> int:
        return self.files + self.pushed + self.traits + self.lists


LONG = Form(
    days=30,
    speed=3600,
    files=9,
    pushed=4,
    # Seven that may download twice a day are what a month's 500 have room for.
    traits=4,
    lists=3,
    people=2_000,
    per_100_rounds=1.0,
    ratio=1.10,
)
SHORT = Form(
    days=2,
    speed=8000,
    files=3,
    pushed=2,
    traits=1,
    lists=1,
    people=300,
    per_100_rounds=30.0,
    ratio=1.25,
    flat=False,
)


@pytest.fixture
def form(pytestconfig: pytest.Config) -> Form:
    if pytestconfig.getoption("--full-size"):
        return replace(LONG, people=100_000, speed=900)
    return LONG if pytestconfig.getoption("--long") else SHORT


# ---- what is measured ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The daemon and its store at one moment."""

    at: datetime
    rss: int
    threads: int
    descriptors: int
    database: int
    wal: int


@dataclass(kw_only=True)
class Meter:
    """Looks at a process and its files, four times in an hour of its clock."""

    month: Month
    daemon: Running
    samples: list[Sample] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        thread = threading.Thread(target=self._measure)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _measure(self) -> None:
        every = self.month.clock.real(HOUR) / 4
        while not self._stop.wait(every):
            self.samples.append(self._sample())

    def _sample(self) -> Sample:
        process = Path("/proc") / str(self.daemon.process.pid)
        status = dict(
            line.split(":", 1) for line in (process / "status").read_text().splitlines()
        )
        store = self.month.installation.database
        wal = store.with_name(store.name + "-wal")
        return Sample(
            at=self.month.clock.now(),
            rss=int(status["VmRSS"].split()[0]) * 1024,
            threads=int(status["Threads"]),
            descriptors=len(list((process / "fd").iterdir())),
            database=store.stat().st_size,
            wal=wal.stat().st_size if wal.exists() else 0,
        )


def slope(samples: Sequence[Sample]) -> float:
    """MiB of memory per hour: Theil and Sen's, the median of all pairs' slopes."""
    step = max(len(samples) // 200, 1)
    pairs = combinations(samples[::step], 2)
    return median(
        (two.rss - one.rss) / MIB / ((two.at - one.at) / HOUR) for one, two in pairs
    )


# ---- what happens --------------------------------------------------------------------


def came_home(daemon: Running) -> set[str]:
    """Syncs of which a run ended well; a slow machine's first one may have been cut."""
    return {
        line["sync"]
        for line in daemon.events("run.finished")
        if line["outcome"] in ("success", "no_change")
    }


def key_of(name: str) -> str:
    """Of Engage's audience that a sync is named after."""
    return name.replace("-", "_")


@dataclass(kw_only=True)
class Soak:
    """Syncs of every kind, and who belongs to them."""

    month: Month
    form: Form

    def __post_init__(self) -> None:
        form = self.form
        self.files = [f"file-{n}" for n in range(form.files)]
        self.pushed = [f"pushed-{n}" for n in range(form.pushed)]
        self.traits = [f"trait-{n}" for n in range(form.traits)]
        self.lists = [f"list-{n}" for n in range(form.lists)]
        self.names = [*self.files, *self.pushed, *self.traits, *self.lists]
        self.moves = 0

    def people(self, name: str, first: int, count: int) -> list[str]:
        """A ring of people: who left comes back after a while."""
        size = 4 * self.form.people
        return [f"{name}-{(first + n) % size:06d}" for n in range(count)]

    def members(self, name: str) -> list[str]:
        return self.people(name, self.moves * self.form.churn, self.form.people)

    def prepare(self) -> None:
        """Before the daemon starts."""
        installation, simulator = self.month.installation, self.month.simulator
        installation.inbox()
        engage = installation.config["connections"]["engage"]
        live = {"type": "engage", "space": "live", "inbox": engage.pop("inbox")}
        engage["space"] = "exported"
        installation.config["connections"]["live"] = live
        for name in self.files:
            installation.sync(name, schedule="hourly")
            installation.audience(self.members(name), name)
        for name in self.pushed:
            pushed = {"connection": "live", "audience": key_of(name)}
            installation.sync(name, schedule="hourly", **{"from": pushed})
            simulator.audience(key_of(name), members=self.members(name))
        for name in self.traits + self.lists:
            to = {"connection": "segment", "trait": name}
            if name in self.lists:
                to = {"connection": "partner-lists"}
            simulator.cohort(name, members=self.members(name))
            installation.cohort_sync(
                name, name, schedule="hourly", to=to, budget="2/day"
            )
        for name in self.files + self.pushed:
            simulator.users(self.people(name, 0, 4 * self.form.people))

    def begin(self) -> Running:
        """The daemon, and a first good run of every sync; then things go wrong."""
        daemon, simulator = self.month.start(), self.month.simulator
        for name in self.pushed:
            simulator.engage_sender(
                name,
                url=daemon.url() + "/in/live",
                audience=key_of(name),
                secret="s3cr3t-key",
                headers={"X-Syncd-Key": "demo-second-factor"},
                flavour="actions_batch",
                live=True,
            )
            assert simulator.push(name)["outcome"] == "success"
        assert eventually(lambda: came_home(daemon) >= set(self.names)), daemon.text
        for fault in FAULTS:
            simulator.fault("any", probability=EACH_FAULT, **fault)
        return daemon

    def move(self) -> None:
        """An hour: everywhere 1 % leave, and as many come."""
        simulator, churn = self.month.simulator, self.form.churn
        before = self.moves * churn
        self.moves += 1
        for name in self.files:
            self.month.installation.audience(self.members(name), name)
        for name in self.pushed:
            simulator.move(
                key_of(name),
                enter=self.people(name, before + self.form.people, churn),
                leave=self.people(name, before, churn),
            )
        for name in self.traits + self.lists:
            changed = {
                "add": self.people(name, before + self.form.people, churn),
                "remove": self.people(name, before, churn),
            }
            answer = simulator.control.patch(f"/_sim/cohorts/{name}", json=changed)
            answer.raise_for_status()

    def comes_right(self) -> bool:
        """I-1, of every sync: who is there is who belongs there, two days later.

        A request without an answer may land late, and downloads wait for their budget.
        """
        clock = self.month.clock
        until = clock.now() + 2 * DAY + clock.virtual(SLOW)
        while self.wrong():
            if clock.now() > until:
                return False
            clock.reach(clock.now() + clock.virtual(0.5))
        return True

    def wrong(self) -> list[str]:
        """Syncs whose destination is not their audience."""
        simulator = self.month.simulator
        there = {
            each["name"].removeprefix("Cohort "): each["id"]
            for each in simulator.cohorts()
        }
        lists = {
            each["name"].split(": ")[-1]: each["id"]
            for each in simulator.get("/_sim/partner/lists")["lists"]
        }
        found: dict[str, set[str]] = {}
        for name in self.files + self.pushed:
            found[name] = simulator.members(there[name])
        for name in self.traits:
            found[name] = simulator.with_trait(name)
        for name in self.lists:
            path = f"/_sim/partner/lists/{lists[name]}/members"
            found[name] = set(simulator.get(path)["ids"])
        return [name for name in self.names if found[name] != set(self.members(name))]


@pytest.fixture
def soak(
    form: Form,
    new_installation: Callable[..., Any],
    new_simulator: Callable[..., Any],
) -> Soak:
    clock = clock_that_shows(FIRST, within=4.0, speed=form.speed)
    simulator = new_simulator(*clock.options, "--latency", "0")
    # Links live for a minute, here some milliseconds: they are another test's story.
    simulator.post("/_sim/config", {"inline_max_rows": 10**6, "job_seconds": 30})
    installation = new_installation(simulator)
    installation.config["log"]["level"] = "info"
    installation.config["store"]["keep_runs"] = "7d"
    # What takes a machine milliseconds takes minutes of this clock.
    installation.config["connections"]["amplitude"]["download_deadline"] = "6h"
    installation.config["defaults"] |= {
        "max_runtime": "6h",
        "jitter": "50m",
        # A quarter of all people move in a day here, and that is no accident.
        "guard": {"max_exit": "100%", "max_exit_24h": "100%"},
    }
    month = Month(clock=clock, simulator=simulator, installation=installation)
    made = Soak(month=month, form=form)
    made.prepare()
    clock.reach(FIRST)
    return made


# ---- the month -----------------------------------------------------------------------


@pytest.mark.timeout(3600)
def test_nothing_grows_while_everything_moves_and_some_of_it_fails(
    soak: Soak, form: Form
) -> None:
    daemon, month = soak.begin(), soak.month
    meter = Meter(month=month, daemon=daemon)
    since = month.clock.now()

    with meter.measuring():
        for hour in range(1, form.days * 24 + 1):
            month.clock.reach(since + hour * HOUR)
            soak.move()
        month.simulator.no_faults()
        right = soak.comes_right()
    assert daemon.stop() == 0

    show(form, meter.samples, daemon)
    assert right, soak.wrong()
    has_not_grown(form, meter.samples)
    has_run_every_hour(form, daemon)


def has_not_grown(form: Form, samples: Sequence[Sample]) -> None:
    """Memory, threads, descriptors and the files of the store."""
    settled = warm(form, samples)
    third = len(settled) // 3
    assert slope(settled) * 100 <= form.per_100_rounds
    assert end_of(settled) <= form.ratio * start_of(settled)
    middle, last = settled[third : 2 * third], settled[2 * third :]
    for what, aside in (("threads", 6), ("descriptors", 8), ("wal", 0)):
        assert largest(last, what) <= 1.10 * largest(middle, what) + aside, what
    if form.flat:
        assert largest(last, "database") <= 1.10 * largest(middle, "database")


def warm(form: Form, samples: Sequence[Sample]) -> Sequence[Sample]:
    """Those after the beginning: a tenth, or half of a month.

    As long as the store's file grows SQLite's pages in memory do, too: up to 16 MiB for
    the writer, and one for each reader.
    """
    return samples[len(samples) // (2 if form.flat else 10) :]


def start_of(samples: Sequence[Sample]) -> float:
    return median(each.rss for each in samples[: max(len(samples) // 10, 1)])


def end_of(samples: Sequence[Sample]) -> float:
    return median(each.rss for each in samples[-max(len(samples) // 10, 1) :])


def largest(samples: Sequence[Sample], what: str) -> int:
    return max(int(getattr(each, what)) for each in samples)


def has_run_every_hour(form: Form, daemon: Running) -> None:
    """Nearly: a run that takes longer than an hour of this clock skips one."""
    # On two cores that do other things an hour may be too short for many.
    lines = log_lines(daemon.lines)
    by_run = Counter(line["run_id"] for line in lines if "run_id" in line)
    ended = Counter(e["outcome"] for e in lines if e["event"] == "run.finished")
    assert sum(ended.values()) >= 0.4 * form.days * 24 * form.syncs
    assert len(lines) <= LINES_OF_A_RUN * len(by_run)
    assert "daemon.crashed" not in {line["event"] for line in lines}


# ---- what it prints ------------------------------------------------------------------


def show(form: Form, samples: Sequence[Sample], daemon: Running) -> None:
    """Runs, faults and everything that was measured, by tenths."""
    lines = log_lines(daemon.lines)
    ended = Counter(e["outcome"] for e in lines if e["event"] == "run.finished")
    skipped = Counter(e["reason"] for e in lines if e["event"] == "run.skipped")
    settled = warm(form, samples)
    print(f"\n{form.days} days, {form.syncs} syncs of {form.people:,}: {dict(ended)},")
    print(f"skipped {dict(skipped)}; {len(lines):,} lines, {len(samples)} samples")
    print(f"{slope(settled) * 100:.2f} MiB per 100 rounds;", end=" ")
    print(f"end / start {end_of(settled) / start_of(settled):.3f}")
    print(("{:>14}" * 6).format("day", "MiB", "threads", "fds", "db kB", "wal kB"))
    for tenth in range(10):
        part = samples[tenth * len(samples) // 10 : (tenth + 1) * len(samples) // 10]
        if part:
            row = (
                (part[0].at - samples[0].at) / DAY,
                median(each.rss for each in part) / MIB,
                largest(part, "threads"),
                largest(part, "descriptors"),
                largest(part, "database") // 1024,
                largest(part, "wal") // 1024,
            )
            print(("{:>14.1f}" * 2 + "{:>14}" * 4).format(*row))
