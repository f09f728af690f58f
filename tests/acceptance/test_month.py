"""A month of ten cohorts that are asked for every hour, on a budget that others share.

The real daemon and the real simulator on one fast clock: changes on 6 of 30 days, a
second spender, two kills and a restart, and the turn of the month. What was spent is
counted by the simulator. Short form: the last nine days of that month; `--full-size`:
all thirty. Both print a table (pytest -s).
"""

import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median_low

import pytest

from tests.months import (
    DAY,
    HOUR,
    Change,
    Month,
    Spender,
    changes_of,
    clock_that_shows,
    eventually,
)

SPEED = 24_000
"""A day in 3.6 s, so the month in two minutes; an hourly run of ten cohorts takes a
machine about as long as the hour lasts, and what is still running is left out."""
NEXT_MONTH = datetime(2027, 7, 1, tzinfo=UTC)
DAYS = 30
NAMES = [f"cohort-{number}" for number in range(10)]
RESTLESS = NAMES[8:]
"""Somebody looks at them every hour: `lastComputed` moves though nobody does."""
SIZE = 200
LIMIT, RESERVE = 500, 50
JOB = 2400
"""Seconds of a job: 0.1 s of this machine, so that jobs do run beside each other."""
THEIRS = timedelta(minutes=80)
"""The second spender downloads this often: 540 in the month, if there were so many."""
USUAL = DAY + HOUR
"""What a change waits at most: for the budget of one download a day, and its run."""
SLOW = 8.0
"""Real seconds by which this machine may be late, restarts included."""
ASKING = 2.0
"""Real seconds from reading the usage to the request, on a slow machine."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """How much of the month is lived through."""

    days: int
    changes: int
    used: int
    """Downloads of the month before the first of these days."""

    @property
    def first(self) -> datetime:
        return NEXT_MONTH - self.days * DAY


FULL = Form(days=30, changes=6, used=0)
SHORT = Form(days=9, changes=2, used=320)


@pytest.fixture
def new_month(new_installation, new_simulator) -> Callable[..., Month]:
    """An empty month whose clock soon shows `first`."""

    def begin(first: datetime, *, speed: int = SPEED, within: float = 3.0) -> Month:
        clock = clock_that_shows(first, within=within, speed=speed)
        simulator = new_simulator(*clock.options, "--latency", "0")
        # Links live for a minute, here 2.5 ms: they are another test's story.
        simulator.post("/_sim/config", {"inline_max_rows": 10**6})
        installation = new_installation(simulator)
        installation.config["log"]["level"] = "info"
        installation.config["connections"]["amplitude"]["quota"] = {
            "downloads_per_month": LIMIT,
            "reserve": RESERVE,
        }
        return Month(clock=clock, simulator=simulator, installation=installation)

    return begin


def within_limits(month: Month) -> dict[str, int]:
    """The most of everything that is limited, as the simulator counted it."""
    seen = month.simulator.downloads()
    assert seen["most_in_10_minutes"] <= 60
    assert seen["most_in_60_seconds"] <= 4
    assert seen["most_running_jobs"] <= 4
    assert seen["most_concurrent_requests"] <= 5
    assert set(seen["refused"].values()) == {0}
    assert month.simulator.get("/_sim/leaks")["leaks"] == []
    return {name: most for name, most in seen.items() if name.startswith("most_")}


# ---- the month -----------------------------------------------------------------------


def populate(month: Month, form: Form) -> None:
    """Ten cohorts and what will happen to them; an audience for the other direction."""
    for name in NAMES:
        changes = changes_of(name, form.first, form.days, form.changes, SIZE)
        every = HOUR.total_seconds() if name in RESTLESS else None
        steps = [change.step for change in changes]
        month.cohort(name, SIZE, steps=steps, recompute_every=every)
        month.changes += changes
    month.simulator.users(visitors(2 * SIZE))
    month.installation.sync("visitors", schedule="every 2h", max_runtime="30d")
    month.installation.audience(visitors(SIZE), "visitors")
    month.project(downloads_used=form.used)


def visitors(count: int, first: int = 0) -> list[str]:
    return [f"visitor-{number:04d}" for number in range(first, first + count)]


def kill_while_downloading(month: Month) -> dict[str, datetime]:
    """SIGKILL between a 202 and its file, and a new start; the ids of the requests
    that were accepted and not read, with the time of the kill.

    Not while a request waits for its 202: see `in_doubt`.
    """
    process = month.daemons[-1].process

    def under_way() -> bool:
        rows = month.fetches("state IN ('asking', 'running')")
        mine = {each.state for each in rows if each.asked_at > month.started_at}
        return mine == {"running"}

    def stopped_under_way() -> bool:
        if not under_way():
            return False
        process.send_signal(signal.SIGSTOP)
        try:
            if under_way():
                return True
        except sqlite3.OperationalError:
            pass  # it was stopped in the middle of a commit
        process.send_signal(signal.SIGCONT)
        return False

    assert eventually(stopped_under_way), month.fetches("ended_at IS NULL")
    left = month.fetches("state IN ('running', 'ready')")
    assert month.daemons[-1].kill()
    killed_at = month.clock.now()
    month.start()
    return {str(each.request_id): killed_at for each in left}


def in_doubt(month: Month) -> set[str]:
    """Cohorts whose request was sent, perhaps, by a daemon that died.

    Their syncs' budgets take it for spent until two real minutes are over: a month of
    this clock. A kill leaves one at most, where it hits the commit before the request.
    """
    found = {each.cohort_id for each in month.fetches("state = 'asking'")}
    assert len(found) <= len(month.daemons) - 1
    return found


def live_until_nothing_is_left(month: Month, form: Form) -> dict[str, datetime]:
    """Two kills and a restart, and then on until a day before the month's end."""
    month.start()
    month.clock.reach(form.first + 0.15 * form.days * DAY)
    left = kill_while_downloading(month)
    month.clock.reach(form.first + 0.3 * form.days * DAY)
    assert month.daemons[-1].stop() == 0
    month.start()
    month.clock.reach(form.first + 0.4 * form.days * DAY)
    left |= kill_while_downloading(month)
    month.clock.reach(NEXT_MONTH - DAY)
    return left


@pytest.fixture
def form(pytestconfig) -> Form:
    return FULL if pytestconfig.getoption("--full-size") else SHORT


def test_a_month_keeps_every_limit_and_the_reserve_and_loses_nobody(new_month, form):
    month = new_month(form.first)
    month.simulator.post("/_sim/config", {"job_seconds": JOB})
    populate(month, form)
    month.clock.reach(form.first)
    spender = month.spend(1, THEIRS)

    left = live_until_nothing_is_left(month, form)
    move_visitors(month)
    month.clock.reach(NEXT_MONTH + DAY)
    sure = [name for name in NAMES if name not in in_doubt(month)]
    in_step = eventually(lambda: all(map(month.equal, sure)))
    assert month.daemons[-1].stop() == 0

    made = journeys(month)
    show(month, form, spender, made)
    assert in_step
    within_limits(month)
    keeps_the_reserve(month, form, spender)
    pays_once(month, left)
    is_fresh(month, [each for each in made if each.change.cohort in sure])


def move_visitors(month: Month) -> None:
    """The other direction goes on while no download is left."""
    (exhausted,) = month.events("quota.exhausted")
    since = month.simulator.last()

    month.installation.audience(visitors(SIZE, first=20), "visitors")

    (cohort,) = [c["id"] for c in month.simulator.cohorts() if c["id"] not in NAMES]
    wanted = set(visitors(SIZE, first=20))
    assert eventually(lambda: month.simulator.members(cohort) == wanted)
    entries = month.simulator.log("membership", since)
    times = [datetime.fromisoformat(each["at"]) for each in entries]
    assert datetime.fromisoformat(exhausted["ts"]) < min(times)
    assert max(times) < NEXT_MONTH


def keeps_the_reserve(month: Month, form: Form, spender: Spender) -> None:
    """Whenever we asked for a download there was one above the reserve.

    What they spent while we were asking we cannot have known.
    """
    asking = month.clock.virtual(ASKING)
    june = [at for at in month.requests() if at < NEXT_MONTH]
    known = [
        form.used + ours + spender.spent(at - asking) for ours, at in enumerate(june)
    ]
    assert max(known) < LIMIT - RESERVE
    assert form.used + len(june) + spender.spent(NEXT_MONTH) > LIMIT - RESERVE
    waited = month.events("run.skipped", reason="quota")
    assert {each["sync"] for each in waited} <= set(NAMES)
    assert waited


def pays_once(month: Month, left: dict[str, datetime]) -> None:
    """A request that was accepted is read to its end before the next one is made."""
    resumed = {each["request_id"] for each in month.events("fetch.resumed")}
    assert left.keys() & resumed, "no kill found a download under way"
    for each in month.fetches("request_id IS NOT NULL"):
        killed_at = left.get(str(each.request_id))
        # The kill may have come between the last word on a file and its being seen.
        if killed_at and (each.ended_at is None or each.ended_at > killed_at):
            assert each.request_id in resumed
    for name in NAMES:
        rows = month.fetches(f"cohort_id = '{name}' AND request_id IS NOT NULL")
        assert {each.state for each in rows[:-1]} <= {"completed"}
        for earlier, later in pairwise(rows):
            assert earlier.ended_at is not None
            assert earlier.ended_at <= later.asked_at
    counted = month.request_ids()
    stored = {each.request_id for each in month.fetches("request_id IS NOT NULL")}
    unknown = month.fetches("state IN ('asking', 'lost')")
    assert stored <= counted
    assert len(counted - stored) <= len(unknown)


@dataclass(frozen=True, kw_only=True)
class Journey:
    """A change on its way to Segment."""

    change: Change
    arrival: datetime | None
    in_plenty: bool
    """It had a usual wait's time before downloads were first rationed."""

    @property
    def wait(self) -> timedelta:
        return self.arrival - self.change.at if self.arrival else timedelta.max


def journeys(month: Month) -> list[Journey]:
    waited = month.events("run.skipped", reason="quota")
    rationed = datetime.fromisoformat(waited[0]["ts"])
    return [
        Journey(
            change=change,
            arrival=month.arrival(change),
            in_plenty=change.at + USUAL < rationed,
        )
        for change in month.changes
    ]


def is_fresh(month: Month, made: Sequence[Journey]) -> None:
    """Within a day and an hour; a change that found the month nearly used up, by as
    much after its turn at the latest."""
    late = USUAL + month.clock.virtual(SLOW)
    for each in made:
        since = each.change.at if each.in_plenty else NEXT_MONTH
        assert each.arrival is not None, each
        assert each.arrival < max(each.change.at, since) + late, each


# ---- what it prints ------------------------------------------------------------------


def show(month: Month, form: Form, spender: Spender, made: Sequence[Journey]) -> None:
    """Freshness and downloads by cohort, and what others would have spent."""
    june = Counter(
        each.cohort_id
        for each in month.fetches("request_id IS NOT NULL")
        if each.asked_at < NEXT_MONTH
    )
    head = ("cohort", "changes", "downloads", "usual", "in plenty", "longest")
    mine = {
        name: [each for each in made if each.change.cohort == name] for name in NAMES
    }
    rows = [(name, *_figures(mine[name], june[name])) for name in NAMES]
    print()
    for row in (head, *rows):
        print("{:<12}{:>8}{:>11}{:>12}{:>12}{:>12}".format(*row))
    naive, ours = form.days * 24 * len(NAMES), sum(june.values())
    theirs = min(spender.spent(NEXT_MONTH), LIMIT - form.used - ours)
    print(f"{form.days} days, {len(month.changes)} changes: {ours} downloads;", end=" ")
    print(f"a naive hourly daemon: {naive:,}; the second spender: {theirs}")
    first, exhausted = (
        month.events(name, **values)[0]["ts"][:16]
        for name, values in (
            ("run.skipped", {"reason": "quota"}),
            ("quota.exhausted", {}),
        )
    )
    print(f"limit {LIMIT}, reserve {RESERVE}, used before: {form.used};", end=" ")
    print(f"rationed from {first}, none left from {exhausted}")
    ended = Counter(each["outcome"] for each in month.events("run.finished"))
    skipped = Counter(each["reason"] for each in month.events("run.skipped"))
    print(f"runs: {dict(ended)}, skipped for {dict(skipped)}")
    failed = month.events("run.finished", outcome="failed")
    print(f"failed: {dict(Counter(each['reason'] for each in failed))}")
    print(f"{within_limits(month)}")


def _figures(made: Sequence[Journey], downloads: int) -> Sequence[object]:
    """Changes, downloads, the usual wait, the longest in plenty and the longest."""
    waits = [each.wait for each in made]
    in_plenty = max((each.wait for each in made if each.in_plenty), default=None)
    shown = (median_low(waits), in_plenty, max(waits))
    return (
        len(made),
        downloads,
        *(f"{each / HOUR:.1f} h" if each else "-" for each in shown),
    )


# ---- the turn of the month -----------------------------------------------------------


def test_what_waited_for_the_month_goes_on_at_its_turn_in_utc(new_month):
    month = new_month(NEXT_MONTH - DAY)
    for name in NAMES:
        month.cohort(name, SIZE)
    month.project(downloads_used=LIMIT - RESERVE)
    month.clock.reach(NEXT_MONTH - DAY)

    daemon = month.start()
    for name in NAMES:
        assert daemon.reached("run.skipped", sync=name, reason="quota")
    assert month.clock.now() < NEXT_MONTH, "this machine is too slow for this test"
    assert month.requests() == []
    assert eventually(lambda: all(map(month.equal, NAMES)))
    assert daemon.stop() == 0

    waited = month.events("run.skipped", reason="quota")
    assert {datetime.fromisoformat(each["until"]) for each in waited} == {NEXT_MONTH}
    assert len(month.events("quota.exhausted")) == 1
    asked = month.requests()
    assert NEXT_MONTH <= min(asked) < NEXT_MONTH + HOUR + month.clock.virtual(SLOW)
    assert len(asked) == len(NAMES)
    within_limits(month)


# ---- ten at once ---------------------------------------------------------------------


def test_ten_cohorts_due_at_once_keep_to_four_a_minute_and_five_calls(new_month):
    month = new_month(NEXT_MONTH, speed=60)
    for name in NAMES:
        month.cohort(name, SIZE)
    month.simulator.post("/_sim/latency", {"all": 0.05})

    daemon = month.start()
    for name in NAMES:
        assert daemon.reached("run.finished", sync=name, outcome="success")
    assert daemon.stop() == 0

    assert len(month.requests()) == len(NAMES)
    most = within_limits(month)
    assert most["most_in_60_seconds"] == 4
