"""A month in which nothing is wrong: no alert fires, little is said, all is fresh.

The real daemon and the real simulator on one fast clock; the real /metrics, scraped at
regular virtual intervals, judged by the shipped alert rules in the real promtool. Short
form: two days; `--full-size`: thirty. Both print what they measured (pytest -s).
"""

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.installed import Running, log_lines
from tests.months import DAY, HOUR, Month, clock_that_shows, eventually
from tests.scraped import STEP, Scraper, Seen, ask, firing

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        shutil.which("promtool") is None, reason="needs the package prometheus"
    ),
]

FIRST = datetime.fromisoformat("2027-06-01T00:00:00+00:00")
FEW_LINES = 5
"""Info lines of a clean run, at most (operations page, section 3)."""
PEOPLE = 300
CHURN = PEOPLE // 100
"""Who leaves, and as many who come, at each move."""
MOVES = 4
"""A day."""
HOURLY, DAILY, PUSHED, CHURNING, LISTED = SYNCS = (
    "power-users weekly-digest trial-ends churn-risk adopters".split()
)
LAST_SUCCESS = "syncd_sync_last_success_timestamp_seconds"
TARGET = "syncd_sync_freshness_target_seconds"


@dataclass(frozen=True, kw_only=True)
class Form:
    """How much of the month is lived through, and how fast."""

    days: int
    speed: int


FULL = Form(days=30, speed=6000)
"""A day in 14.4 s. An alert about batches that wait for an hour is then one about 0.6 s
of this machine: it should have little else to do."""
SHORT = Form(days=2, speed=3000)


@pytest.fixture
def form(pytestconfig: pytest.Config) -> Form:
    return FULL if pytestconfig.getoption("--full-size") else SHORT


@pytest.fixture
def month(
    form: Form,
    new_installation: Callable[..., Any],
    new_simulator: Callable[..., Any],
) -> Month:
    """Five syncs whose daemon has to be started."""
    clock = clock_that_shows(FIRST, within=2.0, speed=form.speed)
    simulator = new_simulator(*clock.options, "--latency", "0")
    # Links live for a minute, here 10 ms: they are another test's story.
    simulator.post("/_sim/config", {"inline_max_rows": 10**6, "job_seconds": 30})
    installation = new_installation(simulator)
    installation.config["log"]["level"] = "info"
    # What takes a machine milliseconds takes minutes of this clock.
    installation.config["connections"]["amplitude"]["download_deadline"] = "6h"
    installation.config["defaults"] |= {"max_runtime": "6h", "jitter": "30m"}
    made = Month(clock=clock, simulator=simulator, installation=installation)
    populate(made)
    clock.reach(FIRST)
    return made


# ---- what happens in it --------------------------------------------------------------


def people(sync: str, first: int, count: int = PEOPLE) -> list[str]:
    return [f"{sync}-{number:05d}" for number in range(first, first + count)]


def populate(month: Month) -> None:
    """Both directions: files, webhooks and downloads; cohorts, a trait and a list."""
    installation, simulator = month.installation, month.simulator
    for name, schedule in ((HOURLY, "hourly"), (DAILY, "daily")):
        installation.sync(name, schedule=schedule)
        installation.audience(people(name, 0), name)
    installation.inbox()
    engage = installation.config["connections"]["engage"]
    live = {"type": "engage", "space": "live", "inbox": engage.pop("inbox")}
    installation.config["connections"] |= {
        "engage": engage | {"space": "exported"},
        "live": live,
    }
    pushed = {"connection": "live", "audience": "trial_ends"}
    installation.sync(PUSHED, schedule="hourly", **{"from": pushed})
    simulator.audience("trial_ends", members=people(PUSHED, 0))
    for name, schedule, to in (
        (CHURNING, "hourly", {"connection": "segment", "trait": "churn_risk"}),
        (LISTED, "daily", {"connection": "partner-lists"}),
    ):
        simulator.cohort(name, members=people(name, 0))
        installation.cohort_sync(name, name, schedule=schedule, to=to, budget="4/day")
    for name in (HOURLY, DAILY, PUSHED):
        simulator.users(people(name, 0, 40 * PEOPLE))


def begin(month: Month) -> Running:
    """The daemon after the first run of each sync; Engage's destination at its door."""
    daemon = month.start()
    month.simulator.engage_sender(
        "w",
        url=daemon.url() + "/in/live",
        audience="trial_ends",
        secret="s3cr3t-key",
        headers={"X-Syncd-Key": "demo-second-factor"},
        flavour="actions_batch",
        live=True,
    )
    assert month.simulator.push("w")["outcome"] == "success"
    for name in SYNCS:
        assert daemon.reached("run.finished", sync=name, outcome="success")
    return daemon


def move(month: Month, number: int) -> None:
    """At each move 1 % leave, and as many come."""
    first, simulator = number * CHURN, month.simulator
    for name in (HOURLY, DAILY):
        month.installation.audience(people(name, first), name)
    simulator.move(
        "trial_ends",
        enter=people(PUSHED, first + PEOPLE - CHURN, CHURN),
        leave=people(PUSHED, first - CHURN, CHURN),
    )
    for name in (CHURNING, LISTED):
        members = {"members": people(name, first)}
        answer = simulator.control.patch(f"/_sim/cohorts/{name}", json=members)
        answer.raise_for_status()


def is_in_step(month: Month, number: int) -> bool:
    """Whether everybody is where the last move wants them."""
    simulator = month.simulator
    there = {
        each["name"].removeprefix("Cohort "): simulator.members(each["id"])
        for each in simulator.cohorts()
    }
    there[CHURNING] = simulator.with_trait("churn_risk")
    (only,) = simulator.get("/_sim/partner/lists")["lists"]
    where = f"/_sim/partner/lists/{only['id']}/members"
    there[LISTED] = set(simulator.get(where)["ids"])
    return all(there[name] == set(people(name, number * CHURN)) for name in SYNCS)


# ---- the month -----------------------------------------------------------------------


@pytest.mark.timeout(900)
def test_in_a_month_without_faults_nothing_is_told_and_everything_is_fresh(
    month: Month, form: Form, tmp_path: Path
) -> None:
    daemon, moves = begin(month), form.days * MOVES - 1
    since = month.clock.now()
    scraper = Scraper(clock=month.clock, every=3 * STEP, url=daemon.url("admin"))

    with scraper.looking():
        for number in range(1, moves + 1):
            month.clock.reach(since + number * DAY / MOVES)
            move(month, number)
        month.clock.reach(since + form.days * DAY)
        status = month.installation.syncd("status", "--json").document
        month.clock.reach(month.clock.now() + HOUR)
    in_step = eventually(lambda: is_in_step(month, moves))
    until = month.clock.now()
    assert daemon.stop() == 0

    seen = Seen.of(scraper.scrapes)
    fired = firing(seen, tmp_path)
    lines = [line for line in daemon.lines if _is_between(line, since, until)]
    show(seen, lines, fired)
    assert in_step
    assert fired == {}
    tells_of_every_sync(seen, tmp_path)
    stays_fresh(seen, status)
    says_little(log_lines(lines))


def _is_between(line: str, since: datetime, until: datetime) -> bool:
    """The start and the stop are not the month: they cut runs off."""
    (read,) = log_lines([line]) or [{"ts": ""}]
    return bool(since.isoformat() < read["ts"] < until.isoformat())


def tells_of_every_sync(seen: Seen, folder: Path) -> None:
    """The silence is no blind eye: the rules saw each sync, fresh at all times."""
    whole = f"{round(seen.until.total_seconds())}s"
    query = f"min_over_time(syncd:sync_fresh:bool[{whole}]) == 1"
    (found,) = ask(seen, folder, [(query, seen.until)]).values()
    assert {each["sync"] for each in found} == set(SYNCS)


def ages(seen: Seen, sync: str) -> list[timedelta]:
    """How old its last success was, at each scrape."""
    return [
        timedelta(seconds=each.at.timestamp() - success)
        for each in seen.grid
        if (success := each.value(LAST_SUCCESS, sync=sync)) is not None
    ]


def stays_fresh(seen: Seen, status: dict[str, Any]) -> None:
    """Never older than it may be; and `status` says what the metric says."""
    assert status["needs_you"] == 0
    for each in status["syncs"]:
        name, allowed = each["name"], each["fresh_within_seconds"]
        ended = datetime.fromisoformat(each["last_success_at"]).timestamp()
        shown = {one.value(LAST_SUCCESS, sync=name) for one in seen.grid}
        assert {one.value(TARGET, sync=name) for one in seen.grid} == {allowed}
        assert max(ages(seen, name)) <= timedelta(seconds=allowed)
        assert ended in {round(one, 6) for one in shown if one is not None}


def says_little(lines: Sequence[dict[str, Any]]) -> None:
    """No warning, no error, and few lines of each run."""
    loud = [line for line in lines if line["level"] in ("warning", "error")]
    assert loud == []
    assert max(_by_run(lines).values()) <= FEW_LINES


def _by_run(lines: Sequence[dict[str, Any]]) -> Counter[str]:
    return Counter(line["run_id"] for line in lines if "run_id" in line)


# ---- what it prints ------------------------------------------------------------------


def show(seen: Seen, lines: Sequence[str], fired: dict[timedelta, Any]) -> None:
    """Lines and bytes by day and by run, ages by sync, alerts."""
    said = log_lines(lines)
    days = seen.until / DAY
    by_run, size = _by_run(said), sum(map(len, lines))
    runs: dict[str, list[str]] = defaultdict(list)
    for line in said:
        if "run_id" in line:
            runs[line["run_id"]].append(line["event"])
    print()
    print(f"{days:.1f} days, {len(seen.grid)} evaluations of the rules,", end=" ")
    print(f"alerts at {len(fired)} of them: {sorted(set().union(*fired.values()))}")
    print(f"{len(by_run)} runs, {len(said)} lines, {size:,} bytes:", end=" ")
    print(f"{len(said) / days:.0f} lines and {size / days:,.0f} bytes a day,", end=" ")
    print(
        f"{len(said) / len(by_run):.1f} lines and {size / len(by_run):.0f} bytes a run"
    )
    print(f"levels: {dict(Counter(line['level'] for line in said))}")
    for events, count in Counter(map(tuple, runs.values())).most_common():
        print(f"{count:>6} x {len(events)} lines: {', '.join(events)}")
    print("{:<16}{:>16}{:>16}".format("sync", "oldest", "allowed"))
    for name in SYNCS:
        allowed = timedelta(seconds=seen.grid[-1].value(TARGET, sync=name) or 0)
        oldest = f"{max(ages(seen, name)) / HOUR:.1f} h"
        print(f"{name:<16}{oldest:>16}{allowed / HOUR:>14.1f} h")
