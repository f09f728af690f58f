"""The dead man's switch is told while all is well, and only then."""

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from syncd import metrics
from syncd.app.engine import Engine
from syncd.app.health import Health
from syncd.app.heartbeats import Heartbeats
from syncd.app.observing import Lately, look
from syncd.app.store import OpenStore
from syncd.clock import Clock
from syncd.config import load
from syncd.config.secrets import SecretRef
from syncd.config.settings_notifications import (
    HeartbeatSettings,
    NotificationSettings,
    Outward,
)
from syncd.model import Trigger
from syncd.notify import Kind
from syncd.schedule import Every
from syncd.store import installation, leases, quotas
from syncd.store.installation import Daemon
from tests.builders import HASH_KEY, FakeVendor, ManualClock, World

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


class Service:
    """What watches us."""

    def __init__(self) -> None:
        self.status, self.pings, self.url = 200, 0, ""


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            made.pings += 1
            self.send_response(made.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_port}/kanarie7q"
        yield made
        server.shutdown()
        thread.join()


def advance(clock: Clock, by: timedelta) -> None:
    assert isinstance(clock, ManualClock)
    clock.advance(by)


def alive(world: World) -> None:
    """The scheduler of this process ticks."""
    now = world.clock.wall()
    me = Daemon(
        holder=leases.holder_name(),
        host=socket.gethostname(),
        pid=os.getpid(),
        version="1",
        started_at=now,
        heartbeat_at=now,
    )
    with world.database.begin() as connection:
        installation.beat(connection, me)


@pytest.fixture
def beating(
    world: World, service: Service, tmp_path: Path
) -> Iterator[tuple[Heartbeats, Engine]]:
    """One sync that was fresh a moment ago; it may be an hour old."""
    world.vendors["amplitude"] = FakeVendor(known={b"a"})
    world.sync(members=[b"a"], fresh_within=HOUR, schedule=Every(HOUR))
    path = tmp_path / "beat"
    path.touch(mode=0o600)
    path.write_text(service.url)
    ref = SecretRef(key="notifications.heartbeat", origin="x:1:1", file=path)
    beat = HeartbeatSettings(
        outward=Outward(url=ref, ca_file=None, proxy_url=None),
        every=5 * MINUTE,
        only_when="all_fresh",
        method="GET",
    )
    built = world.blueprint()
    told = NotificationSettings(heartbeat=beat)
    built = replace(built, settings=replace(built.settings, notifications=told))
    store = OpenStore(database=world.database, hash_key=HASH_KEY)
    with Engine(built, store, world.clock) as engine:
        engine.run("vip", Trigger.MANUAL)
        health = Health(world.database, world.clock, accepting=lambda: True)
        alive(world)
        yield Heartbeats(engine, world.clock, health), engine


def counted(result: str) -> float:
    name = "syncd_heartbeat_pings_total"
    return metrics.REGISTRY.get_sample_value(name, {"result": result}) or 0.0


def live(world: World, heartbeats: Heartbeats, minutes: int) -> None:
    for _ in range(minutes):
        alive(world)
        heartbeats.look()
        advance(world.clock, MINUTE)


def test_it_is_pinged_every_5_minutes_while_all_is_fresh(
    world: World, beating: tuple[Heartbeats, Engine], service: Service
) -> None:
    before = counted("sent")

    live(world, beating[0], 30)

    assert service.pings == 6
    assert counted("sent") - before == 6


def test_a_stale_sync_leaves_pings_out_and_says_which_it_is(
    world: World,
    beating: tuple[Heartbeats, Engine],
    service: Service,
    lines: list[Any],
) -> None:
    before = counted("skipped")
    advance(world.clock, 2 * HOUR)

    live(world, beating[0], 10)

    assert service.pings == 0
    assert counted("skipped") - before == 2
    skipped = [line for line in lines if line["event"] == "heartbeat.skipped"]
    assert [line["reason"] for line in skipped] == ["not fresh: vip"] * 2
    assert {line["log_level"] for line in skipped} == {"debug"}


def test_alive_asks_for_no_more_than_that(
    world: World, beating: tuple[Heartbeats, Engine], service: Service
) -> None:
    heartbeats, engine = beating
    settings = engine.blueprint.settings
    beat = settings.notifications.heartbeat
    assert beat is not None
    told = NotificationSettings(heartbeat=replace(beat, only_when="alive"))
    engine.replace(
        replace(engine.blueprint, settings=replace(settings, notifications=told))
    )
    advance(world.clock, 2 * HOUR)

    live(world, heartbeats, 5)
    pinged = service.pings
    advance(world.clock, HOUR)
    heartbeats.look()  # the scheduler has not ticked for an hour

    assert pinged == 1
    assert service.pings == 1


def test_a_ping_that_fails_is_said_without_its_address_and_tried_again(
    world: World,
    beating: tuple[Heartbeats, Engine],
    service: Service,
    lines: list[Any],
) -> None:
    service.status = 500

    live(world, beating[0], 3)
    service.status = 200
    live(world, beating[0], 3)

    assert service.pings == 4
    failed = [line for line in lines if line["event"] == "heartbeat.failed"]
    assert [line["tries"] for line in failed] == [1, 2, 3]
    host = service.url.removeprefix("http://").partition("/")[0]
    assert failed[0]["reason"] == f"{host} answered 500"
    assert "kanarie7q" not in str(lines)


# ---- the month's downloads -----------------------------------------------------------

READS = """
version: 1
connections:
  amplitude:
    type: amplitude
    region: eu
    app_id: 187520
    api_key_file: a
    secret_key_file: b
    quota: {downloads_per_month: 500, reserve: 50}
  engage: {type: engage, write_key_file: c}
syncs:
  - name: churn
    from: {connection: amplitude, cohort_id: c1}
    to: {connection: engage, trait: churn}
    schedule: daily at 03:00
"""


@pytest.mark.parametrize(
    ("used", "said"),
    [
        (100, []),
        (449, [("449 of 500 downloads are used, 479 are expected by", "quota.low")]),
        (
            451,
            [
                (
                    "451 of 500 downloads are used, schedules download nothing until",
                    "quota.exhausted",
                )
            ],
        ),
    ],
)
def test_the_downloads_of_a_month_are_seen_to_run_out(
    world: World, tmp_path: Path, used: int, said: list[tuple[str, str]]
) -> None:
    (tmp_path / "syncd.yaml").write_text(READS)
    settings = load([tmp_path / "syncd.yaml"], {}).settings
    now = world.clock.now()
    with world.database.begin() as connection:
        quotas.remember(
            connection,
            "eu:187520",
            limit=500,
            used=used,
            resets_at=now + timedelta(days=30),
            estimated=False,
            now=now,
        )

    with world.database.read() as connection:
        seen = look(connection, settings, world.clock, Lately()).seen

    assert {each.kind for each in seen} <= {Kind.QUOTA}
    assert len(seen) == len(said)
    for each, (words, code) in zip(seen, said, strict=True):
        assert each.headline.startswith(f"amplitude: {words} ")
        assert (each.code, each.concerns) == (code, ("churn",))
