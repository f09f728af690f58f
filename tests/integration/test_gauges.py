"""A scrape says what the store knows: every metric by its name, and nobody's id."""

import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, text

from syncd import metrics
from syncd.app import gauges
from syncd.app.gauges import FRESH, GAUGES, StoreGauges
from syncd.config.secrets import SecretRef
from syncd.config.settings import Events, FromCohort, Settings
from syncd.config.settings_connections import (
    AmplitudeConnection,
    Connection,
    EngageConnection,
    InboxSettings,
    QuotaSettings,
    Transport,
)
from syncd.model import Feed, IdType, Message, Outcome, Told, Trigger
from syncd.schedule import Every
from syncd.sources.feed_mark import Mark
from syncd.store import bindings, connections, inbox, installation, leases, quotas
from syncd.store.bindings import Role
from syncd.store.database import Database
from syncd.store.installation import Daemon
from tests.builders import (
    FAILED_BEFORE,
    NOW,
    THROTTLED,
    ManualClock,
    World,
    people,
)

HOUR = timedelta(hours=1)
Samples = Mapping[tuple[str, tuple[str, ...]], float]
"""(name, label values in the order of their names) -> value."""

TRANSPORT = Transport(
    base_url=None, ca_file=None, proxy_url=None, request_deadline=timedelta(seconds=30)
)
SECRET = SecretRef(key="api_key", origin="syncd.yaml:1:1", env="UNUSED")
EVENTS = Events(
    snapshot_lag=2 * HOUR, relist_every=timedelta(days=1), without_value="ignore"
)


def engage(**changes: Any) -> EngageConnection:
    values: dict[str, Any] = {
        "name": "engage",
        "space": None,
        "snapshot": None,
        "region": "us",
        "write_key": None,
        "trait_template": "{name}",
        "integrations": {},
        "max_events_per_second": 500,
        "inbox": InboxSettings(
            path="/in/engage",
            signature=None,
            second_factor=None,
            amplitude_id=(),
            max_body=1,
        ),
        "api_token": None,
        "space_id": None,
        "api_base_url": None,
        "transport": TRANSPORT,
    }
    return EngageConnection(**(values | changes))


def amplitude() -> AmplitudeConnection:
    return AmplitudeConnection(
        name="amplitude",
        region="us",
        app_id=7,
        api_key=SECRET,
        secret_key=SECRET,
        owner="o@x",
        name_prefix="",
        quota=QuotaSettings(downloads_per_month=500, reserve=50),
        download_deadline=HOUR,
        storage_hosts=(),
        storage_origin=None,
        push=None,
        transport=TRANSPORT,
    )


def settings_of(world: World) -> Settings:
    both: dict[str, Connection] = {"engage": engage(), "amplitude": amplitude()}
    return replace(world.blueprint().settings, connections=both)


def fed_by_events(world: World) -> None:
    """The sync `vip` reads what Engage pushes about the audience `vip`."""
    sync = world.syncs["vip"]
    world.syncs["vip"] = replace(sync, source=replace(sync.source, events=EVENTS))


class Ticking(ManualClock):
    """Its seconds pass only when a test says so."""

    def __init__(self, *, speed: float = 1.0) -> None:
        super().__init__()
        object.__setattr__(self, "speed", speed)
        object.__setattr__(self, "_seconds", [0.0])

    def monotonic(self) -> float:
        seconds: list[float] = self.__dict__["_seconds"]
        return seconds[0]

    def pass_seconds(self, seconds: float) -> None:
        self.__dict__["_seconds"][0] += seconds


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """On each kind of store in turn."""
    return World(database=database, spool=tmp_path)


def collector(world: World, clock: ManualClock | None = None) -> StoreGauges:
    return StoreGauges(world.database, lambda: settings_of(world), clock or Ticking())


def scrape(collector: StoreGauges) -> Samples:
    registry = CollectorRegistry()
    registry.register(collector)
    page = generate_latest(registry).decode()
    return {
        (sample.name, tuple(v for _, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def plan_of_all(world: World, feed: Feed) -> None:
    """The sync `vip` has made a plan of everything that was pushed."""
    with world.database.begin() as connection:
        made = bindings.create(
            connection,
            sync="vip",
            role=Role.CURRENT,
            connection_name="amplitude",
            target="name:VIP",
            owner="o@x",
            id_type=IdType.USER_ID,
            source_fingerprint="f",
            now=NOW,
        )
        mark = Mark(position=inbox.position(connection)).text(feed)
        bindings.plan_went_out(connection, made.id, None, "f", mark)


def known(world: World, *numbers: int) -> None:
    world.vendor.known.update(people(*numbers))


def test_a_new_installation_shows_every_metric_by_its_name(world: World) -> None:
    world.sync()
    registry = CollectorRegistry()
    registry.register(collector(world))

    page = generate_latest(registry).decode()

    named = {family.name for family in text_string_to_metric_families(page)}
    assert named == set(GAUGES)


def test_a_sync_that_ran_shows_its_end_its_size_and_its_thresholds(
    world: World,
) -> None:
    world.sync(
        members=people(1, 2, 3),
        schedule=Every(HOUR),
        fresh_within=3 * HOUR,
        max_runtime=2 * HOUR,
    )
    known(world, 1, 2)
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)

    seen = scrape(collector(world))

    vip, now = ("vip",), NOW.timestamp()
    assert seen["syncd_store_up", ()] == 1
    assert seen["syncd_sync_enabled", vip] == 1
    assert seen["syncd_sync_interval_seconds", vip] == 3600
    assert seen["syncd_sync_freshness_target_seconds", vip] == 3 * 3600
    assert seen["syncd_sync_max_runtime_seconds", vip] == 2 * 3600
    assert seen["syncd_sync_last_success_timestamp_seconds", vip] == now
    assert seen["syncd_sync_last_run_timestamp_seconds", vip] == now
    assert seen["syncd_sync_next_run_timestamp_seconds", vip] == now + 3600
    assert seen["syncd_sync_consecutive_failures", vip] == 0
    assert seen["syncd_run_in_progress", vip] == 0
    assert seen["syncd_members", ("acknowledged", "vip")] == 2
    assert seen["syncd_members", ("source", "vip")] == 3
    assert seen["syncd_outbox_batches", ("ready", "vip")] == 0
    assert seen["syncd_outbox_oldest_timestamp_seconds", vip] == 0
    assert seen["syncd_store_size_bytes", ()] > 4096
    info = ("to-amplitude", "growth", "every 1h", "vip")
    assert seen["syncd_sync_info", info] == 1


def test_a_sync_that_never_ran_is_measured_from_when_it_was_configured(
    world: World,
) -> None:
    world.sync()
    with world.engine():
        pass

    seen = scrape(collector(world))

    at = seen["syncd_sync_last_success_timestamp_seconds", ("vip",)]
    assert at == NOW.timestamp()
    assert ("syncd_sync_last_run_timestamp_seconds", ("vip",)) not in seen
    assert ("syncd_members", ("acknowledged", "vip")) not in seen


def test_failures_in_a_row_are_counted_beyond_the_runs_that_are_looked_at(
    world: World,
) -> None:
    source = world.sync(members=people(1))
    known(world, 1)
    clock = world.clock
    assert isinstance(clock, ManualClock)

    def broken() -> None:
        raise OSError("no room")

    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)
        source.while_reading = broken
        for _ in range(13):
            clock.advance(HOUR)
            engine.run("vip", Trigger.MANUAL)

    seen = scrape(collector(world))

    assert seen["syncd_sync_consecutive_failures", ("vip",)] == 13
    good = seen["syncd_sync_last_success_timestamp_seconds", ("vip",)]
    assert good == NOW.timestamp()


def test_batches_that_wait_show_as_retrying_with_the_age_of_their_plan(
    world: World,
) -> None:
    world.sync(members=people(1, 2, 3, 4))
    known(world, 1, 2, 3, 4)
    world.vendor.always = FAILED_BEFORE
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)

    seen = scrape(collector(world))

    waiting = seen["syncd_outbox_members", ("retrying", "vip")]
    assert waiting + seen["syncd_outbox_members", ("ready", "vip")] == 4
    assert waiting > 0
    oldest = seen["syncd_outbox_oldest_timestamp_seconds", ("vip",)]
    assert oldest == NOW.timestamp()


def test_a_held_plan_shows_its_guard_and_its_batches(world: World) -> None:
    source = world.sync(members=people(*range(200)))
    known(world, *range(200))
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)
        source.members = people(*range(100))
        report = engine.run("vip", Trigger.MANUAL)
    assert report is not None
    assert report.outcome is Outcome.HELD

    seen = scrape(collector(world))

    assert seen["syncd_sync_held", ("vip",)] == 1
    assert seen["syncd_guard_tripped", ("max_exit", "vip")] == 1
    assert seen["syncd_guard_tripped", ("max_enter", "vip")] == 0
    assert seen["syncd_outbox_members", ("held", "vip")] == 100
    assert seen["syncd_members", ("acknowledged", "vip")] == 200


def test_members_are_exact_after_the_log_moved_into_chunks(world: World) -> None:
    world.sync(members=people(1, 2, 3))
    known(world, 1, 2, 3)
    clock = world.clock
    assert isinstance(clock, ManualClock)
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)
        clock.advance(25 * HOUR)
        world.sources["vip"].members = people(1, 2)
        engine.run("vip", Trigger.MANUAL)

    assert scrape(collector(world))["syncd_members", ("acknowledged", "vip")] == 2


def test_what_was_pushed_shows_until_every_sync_planned_with_it(world: World) -> None:
    world.sync()
    fed_by_events(world)
    feed = Feed(connection="engage", key="vip", id_type=IdType.USER_ID)
    told = Told(feed=feed, ids=tuple(people(1, 2, 3)), inside=True)
    with world.database.begin() as connection:
        inbox.take(
            connection, [Message(connection="engage", id="m", told=(told,))], NOW
        )
        inbox.note_size(connection, 1, 48, NOW)

    seen = scrape(collector(world))

    at = NOW.timestamp()
    assert seen["syncd_inbox_backlog", ("engage",)] == 3
    assert seen["syncd_inbox_last_event_timestamp_seconds", ("engage",)] == at
    assert seen["syncd_source_reported_members", ("vip",)] == 48

    plan_of_all(world, feed)

    assert scrape(collector(world))["syncd_inbox_backlog", ("engage",)] == 0


def test_an_inbox_is_silent_from_when_that_was_said_until_the_next_push(
    world: World,
) -> None:
    world.sync()
    fed_by_events(world)
    feed = Feed(connection="engage", key="vip", id_type=IdType.USER_ID)

    def push(number: int, at: datetime) -> None:
        told = Told(feed=feed, ids=tuple(people(number)), inside=True)
        message = Message(connection="engage", id=f"m{number}", told=(told,))
        with world.database.begin() as connection:
            inbox.take(connection, [message], at)

    def shown() -> float:
        return scrape(collector(world))["syncd_inbox_silent", ("vip",)]

    push(1, NOW)
    before = shown()
    with world.database.begin() as connection:
        inbox.note_silence(connection, 1, NOW + HOUR)
    silent = shown()
    push(2, NOW + 2 * HOUR)

    assert (before, silent, shown()) == (0, 1, 0)


def test_a_sync_that_is_switched_off_keeps_nobody_waiting(world: World) -> None:
    world.sync()
    fed_by_events(world)
    world.syncs["off"] = replace(world.syncs["vip"], name="off", enabled=False)
    feed = Feed(connection="engage", key="vip", id_type=IdType.USER_ID)
    told = Told(feed=feed, ids=tuple(people(1, 2, 3)), inside=True)
    with world.database.begin() as connection:
        inbox.take(
            connection, [Message(connection="engage", id="m", told=(told,))], NOW
        )

    plan_of_all(world, feed)

    assert scrape(collector(world))["syncd_inbox_backlog", ("engage",)] == 0


def test_a_quota_shows_by_the_connection_and_is_unused_once_its_month_is_over(
    world: World,
) -> None:
    cohort = FromCohort(
        connection="amplitude",
        cohort_id="c1",
        max_staleness=HOUR,
        events=None,
        linked=False,
    )
    world.sync(source=cohort, schedule=Every(24 * HOUR))
    clock = Ticking()
    with world.database.begin() as connection:
        quotas.remember(
            connection,
            "us:7",
            limit=500,
            used=63,
            resets_at=NOW + timedelta(days=2),
            estimated=False,
            now=NOW,
        )

    seen = scrape(collector(world, clock))
    clock.advance(timedelta(days=3))
    later = scrape(collector(world, clock))

    labels = ("amplitude", "downloads")
    assert seen["syncd_api_quota_used", labels] == 63
    assert seen["syncd_api_quota_limit", labels] == 500
    assert seen["syncd_api_quota_reserve", labels] == 50
    assert 63 < seen["syncd_api_quota_forecast", labels] < 70
    assert later["syncd_api_quota_used", labels] == 0
    reset = later["syncd_api_quota_reset_timestamp_seconds", labels]
    assert reset > clock.now().timestamp()


def test_a_stopped_connection_and_this_process_heartbeat_show(world: World) -> None:
    world.sync()
    with world.database.begin() as connection:
        connections.stop(connection, "amplitude", "refused", NOW)
        for holder, at in ((leases.holder_name(), NOW), ("else/1/1", NOW + HOUR)):
            installation.beat(
                connection,
                Daemon(
                    holder=holder,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    version="1",
                    started_at=NOW,
                    heartbeat_at=at,
                ),
            )

    seen = scrape(collector(world))

    assert seen["syncd_connection_stopped", ("amplitude",)] == 1
    assert seen["syncd_connection_stopped", ("engage",)] == 0
    beat = seen["syncd_scheduler_heartbeat_timestamp_seconds", ()]
    assert beat == NOW.timestamp()


def test_a_scrape_of_a_store_that_fails_says_only_that(world: World) -> None:
    world.sync()
    clock = Ticking()
    asked = collector(world, clock)
    assert scrape(asked)["syncd_store_up", ()] == 1
    with world.database.begin() as connection:
        connection.execute(text("ALTER TABLE run RENAME TO elsewhere"))

    clock.pass_seconds(FRESH)

    assert scrape(asked) == {("syncd_store_up", ()): 0}


def test_a_bug_in_a_gauge_does_not_break_the_scrape(
    world: World, lines: list[dict[str, Any]]
) -> None:
    def broken() -> Settings:
        raise KeyError("person-0001")

    asked = StoreGauges(world.database, broken, Ticking())

    assert scrape(asked) == {("syncd_store_up", ()): 0}
    assert [line["event"] for line in lines] == ["daemon.crashed"]
    assert lines[0]["error"] == "KeyError"


def test_many_scrapes_ask_the_store_once_in_a_few_seconds(world: World) -> None:
    world.sync()
    clock = Ticking()
    asked = collector(world, clock)
    scrape(asked)
    before = scrape(asked)
    world.sync("second")

    at_once = scrape(asked)
    clock.pass_seconds(FRESH)
    later = scrape(asked)

    assert at_once == before
    assert ("syncd_sync_enabled", ("second",)) in later


def test_on_a_fast_clock_a_few_seconds_are_of_that_clock(world: World) -> None:
    world.sync()
    clock = Ticking(speed=100)
    asked = collector(world, clock)
    scrape(asked)
    world.sync("second")

    clock.pass_seconds(FRESH / 100)

    assert ("syncd_sync_enabled", ("second",)) in scrape(asked)


def test_a_scrape_reads_no_ids(world: World) -> None:
    world.sync(members=people(1, 2, 3))
    fed_by_events(world)
    known(world, 1, 2)
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)
    asked: list[str] = []

    def note(*call: Any) -> None:
        asked.append(call[2])

    event.listen(world.database._reader, "before_cursor_execute", note)  # noqa: SLF001
    scrape(collector(world))

    assert asked
    for statement in asked:
        for payload in ("batch_ids", "chunk", "unaccepted", "member_id"):
            assert payload not in statement


def test_no_label_holds_a_person(world: World) -> None:
    world.sync(members=people(*range(20)))
    known(world, *range(10))
    world.vendor.invalid = people(3)
    world.vendor.script.extend([FAILED_BEFORE])
    gauges.expect(settings_of(world))
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)

    registry = CollectorRegistry()
    registry.register(collector(world))
    page = generate_latest(registry) + generate_latest(metrics.REGISTRY)

    assert b'syncd_runs_total{outcome="partial",sync="vip"}' in page
    assert b"person-" not in page


# ---- what a process counts while it runs -----------------------------------------


def counted(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_run_counts_its_end_its_people_and_its_retries(world: World) -> None:
    name = f"counted-{world.database.dialect}"
    world.sync(name, members=people(1, 2, 3, 4, 5))
    known(world, 1, 2, 3)
    world.vendor.script.extend([None, THROTTLED])
    with world.engine() as engine:
        engine.run(name, Trigger.MANUAL)

    good = {"sync": name, "outcome": "success"}
    assert counted("syncd_runs_total", **good) == 1
    assert counted("syncd_run_duration_seconds_count", sync=name) == 1
    entered = {"sync": name, "change": "entered"}
    assert counted("syncd_members_changed_total", **entered) == 3
    sent = "syncd_members_sent_total"
    assert counted(sent, **entered, result="accepted") == 3
    assert counted(sent, **entered, result="unmatched") == 2
    rejected = {"sync": name, "reason": "unknown_user"}
    assert counted("syncd_members_rejected_total", **rejected) == 2
    retries = {"api": "amplitude", "reason": "rate_limited"}
    assert counted("syncd_api_retries_total", **retries) >= 1


def test_a_guard_that_trips_is_counted_and_nobody_is_moved(world: World) -> None:
    name = f"tripping-{world.database.dialect}"
    source = world.sync(name, members=people(*range(200)))
    known(world, *range(200))
    with world.engine() as engine:
        engine.run(name, Trigger.MANUAL)
        source.members = people(*range(100))
        engine.run(name, Trigger.MANUAL)

    tripped = {"sync": name, "guard": "max_exit"}
    assert counted("syncd_guard_trips_total", **tripped) == 1
    held = {"sync": name, "outcome": "held"}
    assert counted("syncd_runs_total", **held) == 1
    left = {"sync": name, "change": "exited"}
    assert counted("syncd_members_changed_total", **left) == 0
