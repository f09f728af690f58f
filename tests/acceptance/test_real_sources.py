"""Audiences where customers have them, on their schedules: Postgres and a big CSV.

`--full-size` uses 500,000 profiles and a CSV of 200,000 rows, and prints the numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest

SPEED = 7200
SOON = timedelta(hours=20)
"""Virtual time until the daily sync is due first; making the world takes half of it."""
SHOWN = "snapshot entered exited batches requests unmatched phase_ms due_at".split()

TABLES = """
CREATE SCHEMA space;
CREATE TABLE space.user_traits (canonical_segment_id text, name text, value text,
  seq bigint, received_at timestamptz, uuid_ts timestamptz, timestamp timestamptz);
CREATE TABLE space.user_identifiers (canonical_segment_id text, type text, value text,
  seq bigint, received_at timestamptz, uuid_ts timestamptz, timestamp timestamptz);
"""
PROFILES = """
INSERT INTO space.user_identifiers
  SELECT 'use_' || md5(n::text), kind, kind || '-' || n, n, now(), now(), now()
  FROM generate_series(1, %(profiles)s) n, unnest(ARRAY['user_id', 'email']) kind;
INSERT INTO space.user_traits
  SELECT 'use_' || md5(n::text), 'vip',
    CASE WHEN n %% 5 < 4 THEN 'true' ELSE 'false' END, n, now(), now(), now()
  FROM generate_series(1, %(profiles)s) n;
INSERT INTO space.user_traits
  SELECT 'use_' || md5(n::text), 'other', 'true', n, now(), now(), now()
  FROM generate_series(1, %(profiles)s, 10) n;
CREATE INDEX ON space.user_traits (name, canonical_segment_id);
CREATE INDEX ON space.user_identifiers (canonical_segment_id);
ANALYZE;
"""
MOVE = """
UPDATE space.user_traits
SET value = CASE WHEN value = 'true' THEN 'false' ELSE 'true' END
WHERE name = 'vip' AND seq %% 100 = ANY(%(changed)s)
"""


class Warehouse:
    """Profiles Sync in Postgres: 4 of 5 profiles are in the audience `vip`."""

    def __init__(self, url: str, profiles: int) -> None:
        self.url = url
        self.profiles = profiles
        self._execute(TABLES)
        # psycopg takes several statements only without server-side parameters.
        self._execute(PROFILES % {"profiles": profiles})

    def _execute(self, text: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(text.encode())

    def move(self) -> tuple[list[str], list[str]]:
        """2 % change sides; returns who entered and who left."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(MOVE.encode(), {"changed": [3, 4]})
        numbers = range(1, self.profiles + 1)
        entered = [f"user_id-{n}" for n in numbers if n % 100 == 4]
        left = [f"user_id-{n}" for n in numbers if n % 100 == 3]
        return entered, left

    @property
    def everybody(self) -> list[str]:
        return [f"user_id-{n}" for n in range(1, self.profiles + 1)]


def csv_rows(numbers: Iterable[int]) -> list[str]:
    return [f"csv-{n:07d}" for n in numbers]


@dataclass
class World:
    """A daemon on a fast clock that keeps a warehouse audience and a file in step."""

    warehouse: Warehouse
    rows: int
    simulator: Any
    installation: Any
    fast: tuple[str, ...]

    def start(self) -> Any:
        """The daemon."""
        return self.installation.start("serve", *self.fast)

    def list_rows(self, first: int) -> None:
        """Export a CSV whose rows begin with this number."""
        rows = csv_rows(range(first, first + self.rows))
        self.installation.audience(rows, "file")


@pytest.fixture
def world(new_installation, new_simulator, postgres_database, pytestconfig) -> World:
    full = pytestconfig.getoption("--full-size")
    profiles, rows = (500_000, 200_000) if full else (20_000, 10_000)
    now = datetime.now(UTC)
    fast = ("--speed", str(SPEED), "--origin", now.isoformat())
    simulator = new_simulator(*fast, "--latency", "0")
    warehouse = Warehouse(postgres_database, profiles)
    simulator.users(warehouse.everybody)
    simulator.users(csv_rows(range(rows + rows // 100)))
    installation = new_installation(simulator)
    installation.secret("warehouse_url", postgres_database)
    installation.config["connections"]["warehouse"] = {
        "type": "engage",
        "space": "space",
        "snapshot": {"type": "warehouse", "url_file": "warehouse_url"},
    }
    vip = installation.sync("vip", schedule="every 1h", max_runtime="30d")
    vip["from"]["connection"] = "warehouse"
    # Due within some hours of the fast clock, and a day later again.
    daily = f"daily at {now + SOON:%H}:00 UTC"
    installation.sync("file", schedule=daily, max_runtime="30d")
    made = World(warehouse, rows, simulator, installation, fast)
    made.list_rows(0)
    return made


def told(daemon, sync: str, nth: int) -> dict[str, Any]:
    """The nth run of a sync that changed something."""
    assert daemon.reached("run.finished", nth, 240, sync=sync, outcome="success")
    line = daemon.events("run.finished", sync=sync, outcome="success")[nth - 1]
    print(sync, {key: line[key] for key in SHOWN})
    return dict(line)


def periods(daemon, sync: str) -> set[timedelta]:
    """The times between one due time and the next; each ran or was seen to be late."""
    lines = daemon.events("run.started", sync=sync, trigger="schedule")
    lines += daemon.events("run.skipped", sync=sync, reason="overlap")
    dues = sorted(datetime.fromisoformat(line["due_at"]) for line in lines)
    return {later - earlier for earlier, later in pairwise(dues)}


def test_a_warehouse_hourly_and_a_file_daily_send_only_what_changed(world):
    profiles, rows = world.warehouse.profiles, world.rows
    daemon = world.start()

    first = told(daemon, "vip", 1), told(daemon, "file", 1)
    since = world.simulator.last()
    entered, left = world.warehouse.move()
    world.list_rows(rows // 100)
    second = told(daemon, "vip", 2), told(daemon, "file", 2)
    assert daemon.reached("run.finished", 2, sync="vip", outcome="no_change")
    assert daemon.stop() == 0

    assert [each["entered"] for each in first] == [profiles * 4 // 5, rows]
    assert [each["exited"] for each in first] == [0, 0]
    assert [each["entered"] for each in second] == [profiles // 100, rows // 100]
    assert [each["exited"] for each in second] == [profiles // 100, rows // 100]
    entered += csv_rows(range(rows, rows + rows // 100))
    left += csv_rows(range(rows // 100))
    assert sorted(world.simulator.sent("ADD", since)) == sorted(entered)
    assert sorted(world.simulator.sent("REMOVE", since)) == sorted(left)
    stats = world.simulator.get("/_sim/stats")
    assert (stats["overlaps"], stats["status_429"]) == (0, 0)
    assert periods(daemon, "vip") == {timedelta(hours=1)}
    assert periods(daemon, "file") == {timedelta(days=1)}
    assert "user_id-" not in daemon.text
    assert "csv-" not in daemon.text
