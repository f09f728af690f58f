"""All that replicas write down is by one clock, the database's, whatever theirs show.

Judged from this machine, whose clock the database has, and whose clock is right.
"""

from datetime import datetime, timedelta
from typing import Any

import psycopg

from tests.reliability.replicas.crowd import LEASE, SPEED, Crowd
from tests.reliability.replicas.judging import read
from tests.reliability.replicas.places import Replica
from tests.reliability.replicas.watching import Watch
from tests.simulated import PATIENCE

GRAIN = timedelta(seconds=5)
"""Real time by which nothing is told exactly; wrong clocks differ by far more."""
SILENT = timedelta(seconds=30)
"""Three beats of a daemon."""
_DAEMONS = "SELECT pid, started_at, heartbeat_at, clock_timestamp() FROM daemon"


def require_one_clock(
    there: list[Replica], crowd: Crowd, watch: Watch, url: str
) -> None:
    """Of all of them, while they work. Raises `AssertionError`."""
    _require_signs_of_life(there, url)
    _require_right_runs(crowd, url)
    for one in there:
        _require_right_logs(one, crowd)
    left = watch.longest(set(crowd.audiences))
    assert left <= LEASE + GRAIN.total_seconds(), f"a lease for {left:.1f} s"


def _require_signs_of_life(there: list[Replica], url: str) -> None:
    with psycopg.connect(url) as connection:
        rows = {row[0]: row[1:] for row in connection.execute(_DAEMONS)}
    for one in there:
        started_at, heartbeat_at, now = rows[one.process.process.pid]
        _require_between(f"{one.name} beat", now - SILENT, heartbeat_at, now + GRAIN)
        _require_soon_after_birth(f"{one.name} started", one.born[-1], started_at)


def _require_right_runs(crowd: Crowd, url: str) -> None:
    store, grain = read(url), GRAIN * SPEED
    now = crowd.virtual(store.now)
    for name, runs in store.runs.items():
        for each in runs:
            due, end = each.slot or crowd.origin, each.finished_at or now
            _require_between(f"{name} began", due - grain, each.started_at, end + grain)
            _require_between(f"{name} ended", crowd.origin, end, now + grain)


def _require_right_logs(one: Replica, crowd: Crowd) -> None:
    """Each life says by the right clock when it was there."""
    for born, life in zip(one.born, one.lives, strict=True):
        for line in life.events("daemon.started"):
            at = crowd.real(datetime.fromisoformat(line["ts"]))
            _require_soon_after_birth(f"{one.name} said", born, at)


def _require_soon_after_birth(what: str, born: datetime, at: datetime) -> None:
    _require_between(what, born - GRAIN, at, born + timedelta(seconds=PATIENCE))


def _require_between(what: str, least: Any, value: Any, most: Any) -> None:
    assert least <= value <= most, f"{what}: not {least} <= {value} <= {most}"
