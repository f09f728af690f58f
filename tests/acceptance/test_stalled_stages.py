"""Whatever stalls is told: the right alert about the right sync, and the right stage.

Everything stalls at once, one sync for each stage (see `tests.stalls`). The real
/metrics are judged by the shipped alert rules in the real promtool. `-s` prints what
fired, and how long after the fault.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from tests.months import HOUR
from tests.scraped import STEP, Alert, alert
from tests.stalls import FRESH, MINUTE, PERIOD, SPEED, Told, is_bad, lived_through

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        shutil.which("promtool") is None, reason="needs the package prometheus"
    ),
]

LATE = timedelta(seconds=4 * SPEED)
"""How late this machine may be: 4 seconds of real time."""
SEEN_LATE = 2 * STEP
"""A scrape and an evaluation."""


@dataclass(frozen=True, kw_only=True)
class Stall:
    """A sync that stalls, and what has to be said of it."""

    sync: str
    what: str
    told: Mapping[Alert, timedelta]
    """Beside being stale: alerts, each with the time that its rule takes for it."""
    state: str
    """As `syncd status` says."""
    stage: str
    """`last_phase` of its runs."""
    reason: str
    later: tuple[str, ...] = ()
    """Where later runs may be stopped by the same fault."""

    @property
    def alerts(self) -> set[Alert]:
        """All of them."""
        return {*self.told, *(alert(name, sync=self.sync) for name in STALE)}


STALE = ("SyncdSyncStale", "SyncdFreshnessBudgetBurn")
THIRD = 3 * PERIOD
"""Three runs that fail."""


def _failing(sync: str, within: timedelta = THIRD) -> dict[Alert, timedelta]:
    return {alert("SyncdSyncFailing", sync=sync): within}


def _old_outbox(sync: str) -> dict[Alert, timedelta]:
    return {alert("SyncdOutboxOld", sync=sync): PERIOD + 65 * MINUTE}


STALLS = [
    Stall(
        sync="gone",
        what="the source's file is gone",
        told=_failing("gone"),
        state="failing",
        stage="collect",
        reason="source.file_missing",
    ),
    Stall(
        sync="short",
        what="the source's file is short",
        told=_failing("short"),
        state="failing",
        stage="collect",
        reason="source.short",
    ),
    Stall(
        sync="slow",
        what="the source hangs",
        # Each of its runs waits for half an hour and finds the next one due.
        told=_failing("slow", 2 * THIRD),
        state="failing",
        stage="ask",
        reason="source.not_ready_in_time",
    ),
    Stall(
        sync="used-up",
        what="no download is left",
        told={
            alert("SyncdQuotaNearlyGone", api="second", quota="downloads"): PERIOD
            + 5 * MINUTE,
            alert("SyncdQuotaBurn", api="second", quota="downloads"): PERIOD + HOUR,
        },
        state="stale",
        stage="ask",
        reason="quota",
    ),
    Stall(
        sync="guarded",
        what="a guard holds",
        told={
            alert("SyncdGuardTripped", sync="guarded", guard="max_exit"): PERIOD
            + MINUTE
        },
        state="held",
        stage="guard",
        reason="guard.max_exit",
    ),
    Stall(
        sync="down",
        what="the destination answers 503",
        told=_old_outbox("down"),
        state="stale",
        stage="deliver",
        reason="http_5xx",
    ),
    Stall(
        sync="hanging",
        what="the destination hangs",
        told=_old_outbox("hanging"),
        state="stale",
        stage="deliver",
        reason="max_runtime",
    ),
    Stall(
        sync="refused",
        what="the destination refuses the key",
        told={
            alert("SyncdCredentialsRejected", connection="partner-lists"): PERIOD
            + MINUTE,
            **_failing("refused"),
            **_old_outbox("refused"),
        },
        state="failing",
        stage="deliver",
        reason="auth",
        # A connection that is stopped is not asked, but for a trial.
        later=("find",),
    ),
]
SILENT = alert("SyncdInboxSilent", sync="unheard")
"""Pushes stay away while the audience moves. Its runs ask for the size, whatever hangs
beside them; an hour after the last time it counts."""
NOT_TOLD = alert("SyncdNotificationsFailing", channel="oncall")
STORE_DOWN = alert("SyncdStoreDown", instance="a")
DOWN = alert("SyncdDown")


# ---- what has to be said -------------------------------------------------------------


@pytest.fixture(scope="module")
def told(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Lived through once."""
    with lived_through(postgres_url, tmp_path_factory.mktemp("stalled")) as made:
        show(made)
        yield made


def show(told: Told) -> None:
    """What fired, and how long after its fault on the daemon's clock."""
    rows = [
        (each.what, *one, told.first(one, told.broke), told.broke)
        for each in STALLS
        for one in sorted(each.alerts, key=lambda a: a[0])
    ]
    rows += [
        (
            "nobody takes notifications",
            *NOT_TOLD,
            told.first(NOT_TOLD, told.broke),
            told.broke,
        ),
        (
            "the store is away",
            *STORE_DOWN,
            told.first(STORE_DOWN, told.store_gone),
            told.store_gone,
        ),
        ("the daemon is killed", *DOWN, told.first(DOWN, told.killed), told.killed),
    ]
    rows.append(
        (
            "nothing is pushed any more",
            *SILENT,
            told.first(SILENT, told.broke),
            told.broke,
        )
    )
    print()
    for what, name, labels, first, since in rows:
        delay = "never" if first is None else str(first - since).partition(".")[0]
        of = ", ".join(f"{key}={value}" for key, value in sorted(labels))
        print(f"{what:<42} {name:<26} {of:<34} {delay:>8}")


stalls = pytest.mark.parametrize("stall", STALLS, ids=lambda each: each.sync)


def test_nothing_is_told_before_anything_is_wrong(told: Told) -> None:
    assert told.between(told.begin, told.broke) == set()


@stalls
def test_a_stall_is_told_by_its_alerts_in_time(told: Told, stall: Stall) -> None:
    for each, within in stall.told.items():
        first = told.first(each, told.broke)
        assert first is not None, each
        assert first - told.broke <= within + SEEN_LATE + LATE, each


@stalls
def test_a_list_that_grows_old_pages_when_it_is_older_than_it_may_be(
    told: Told, stall: Stall
) -> None:
    first = told.first(alert("SyncdSyncStale", sync=stall.sync), told.broke)

    assert first is not None
    ended = datetime.fromisoformat(told.status[stall.sync]["last_success_at"])
    late = first - (ended + FRESH)
    assert 5 * MINUTE <= late <= 5 * MINUTE + SEEN_LATE + PERIOD


def test_nothing_else_is_told(told: Told) -> None:
    expected = set[Alert]().union(*(each.alerts for each in STALLS))

    found = told.between(told.broke, told.healed)
    assert found == expected | {NOT_TOLD, SILENT}


@stalls
def test_status_and_the_log_name_the_stage(told: Told, stall: Stall) -> None:
    shown = told.status[stall.sync]
    assert shown["state"] == stall.state

    stalled = [line for line in told.runs_of(stall.sync) if is_bad(line)]
    first = stalled[0]
    assert (first["last_phase"], first["reason"]) == (stall.stage, stall.reason)
    if stall.state in ("failing", "held"):
        phase = shown["last_run"]["numbers"]["last_phase"]
        assert phase in {stall.stage, *stall.later}


def test_what_is_pushed_no_more_is_told_though_everything_beside_it_hangs(
    told: Told,
) -> None:
    said = [line["sync"] for line in told.log if line["event"] == "inbox.silent"]
    first = told.first(SILENT, told.broke)

    assert said == ["unheard"]
    assert first is not None
    assert first - told.broke <= HOUR + PERIOD + MINUTE + SEEN_LATE + LATE


def test_what_is_healed_is_no_longer_told(told: Told) -> None:
    left = told.between(told.store_gone - 2 * STEP, told.store_gone)

    # It looks back over six hours.
    assert {name for name, _ in left} <= {"SyncdFreshnessBudgetBurn"}


def test_a_store_that_is_away_is_told_and_no_sync_is_blamed(told: Told) -> None:
    during = told.between(told.store_gone + 2 * STEP, told.store_back)
    first = told.first(STORE_DOWN, told.store_gone)

    assert {name for name, _ in during} - {"SyncdFreshnessBudgetBurn"} == {
        "SyncdStoreDown"
    }
    assert first is not None
    assert first - told.store_gone <= 5 * MINUTE + SEEN_LATE + STEP + LATE
    assert STORE_DOWN not in told.between(told.killed - STEP, told.killed)
    errors = {line["event"] for line in told.log if line["level"] == "error"}
    assert "store.unavailable" in errors


def test_a_daemon_that_is_dead_is_told_until_it_is_started(told: Told) -> None:
    first = told.first(DOWN, told.killed)

    assert first is not None
    assert first - told.killed <= 5 * MINUTE + SEEN_LATE + STEP + LATE
    last = max(told.firing, default=told.killed)
    assert DOWN not in told.between(last, last + STEP)
    assert max(at for at, a in told.firing.items() if DOWN in a) <= (
        told.restarted + SEEN_LATE + LATE
    )
