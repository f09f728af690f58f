"""What is wrong, as real runs leave it in the store; and who of several tells it."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import time, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from syncd.app import pausing
from syncd.app.engine import Engine
from syncd.app.notifying import LEASE, STRANGE, Notifying
from syncd.app.observing import Lately, Sights, look, not_fresh
from syncd.app.store import OpenStore
from syncd.config.secrets import SecretRef
from syncd.config.settings import GuardSettings, Settings
from syncd.config.settings_notifications import (
    NotificationSettings,
    Outward,
    SlackSettings,
)
from syncd.errors import Fault, SourceUnavailable, SyncdError
from syncd.model import Trigger
from syncd.notify import EVENTS, Kind, Seen
from syncd.schedule import Every
from syncd.store import conditions, inbox, installation, leases, runs, verifications
from syncd.store.database import Database
from syncd.store.installation import Daemon
from syncd.store.leases import Lease
from syncd.store.verifications import Verification
from syncd.windows import Window
from tests.builders import (
    HASH_KEY,
    NOW,
    REFUSED,
    UNAUTHORIZED,
    FakeVendor,
    Trouble,
    World,
    blueprint_of,
    settings_of,
)

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")


def advance(world: World, by: timedelta) -> None:
    world.clock.advance(by)  # type: ignore[attr-defined]


def observed(world: World, engine: Engine, lately: Lately | None = None) -> Sights:
    settings = engine.blueprint.settings
    with world.database.read() as connection:
        return look(connection, settings, world.clock, lately or Lately())


def only(sights: Sights) -> Seen:
    (seen,) = sights.seen
    return seen


def people(count: int) -> list[bytes]:
    return [f"person-{number}".encode() for number in range(count)]


def kinds(sights: Sights) -> set[Kind]:
    return {each.kind for each in sights.seen}


def known(world: World, members: list[bytes]) -> list[bytes]:
    world.vendor.known.update(members)
    return members


def run(engine: Engine, name: str = "vip") -> None:
    """A run, a second after what was before it."""
    engine.clock.advance(timedelta(seconds=1))  # type: ignore[attr-defined]
    engine.run(name, Trigger.MANUAL)


# ---- what is seen --------------------------------------------------------------------


def test_of_a_sync_that_works_nothing_is_seen(world: World) -> None:
    world.sync(members=[], fresh_within=HOUR)
    world.sources["vip"].members = set(known(world, people(5)))
    with world.engine() as engine:
        run(engine)

        assert observed(world, engine).seen == ()


def test_a_held_plan_is_seen_with_its_numbers_and_the_command(world: World) -> None:
    world.sync(guard=STRICT)
    world.sources["vip"].members = set(known(world, people(10)))
    with world.engine() as engine:
        run(engine)
        world.sources["vip"].members = set(people(3))
        run(engine)

        seen = only(observed(world, engine))
        advance(world, 25 * HOUR)
        expired = only(observed(world, engine))
        run(engine)
        again = only(observed(world, engine))

    assert expired.headline == again.headline == seen.headline
    assert "nobody decided in time: the next run plans anew" in expired.context
    assert seen.context == again.context == ("engage → amplitude", "nothing was sent")
    assert again.run_id != seen.run_id
    assert seen.kind is Kind.HELD
    assert seen.headline == (
        "vip is held: 7 of 10 people would leave (70.0%, limit 20%)"
    )
    assert (seen.cause, seen.code) == ("guard.max_exit", "guard.max_exit")
    assert seen.run_id is not None
    assert seen.command == f"syncd show {seen.run_id[-8:]}"


def test_failing_is_the_third_failure_and_one_success_ends_it(world: World) -> None:
    source = world.sync(members=known_to(world, 3))

    def broken() -> None:
        raise SourceUnavailable("person-1 is not there")

    source.while_reading = broken
    with world.engine() as engine:
        run(engine)
        run(engine)
        twice = observed(world, engine)
        run(engine)
        seen = only(observed(world, engine))
        for _ in range(9):
            run(engine)
        often = only(observed(world, engine))
        source.while_reading = lambda: None
        run(engine)
        over = observed(world, engine)

    assert twice.seen == ()
    assert seen.kind is Kind.FAILING
    assert seen.headline == (
        "vip is failing: 3 failures in a row, engage source.unavailable"
    )
    assert seen.cause == "engage source.unavailable"
    assert "12 failures in a row" in often.headline
    assert over.seen == ()


def known_to(world: World, count: int) -> list[bytes]:
    """People who exist at the only vendor there will be."""
    vendor = world.vendors.setdefault("amplitude", FakeVendor())
    vendor.known.update(people(count))
    return people(count)


def test_a_sync_is_stale_after_fresh_within_and_not_while_a_run_may_help(
    world: World,
) -> None:
    world.sync(
        members=known_to(world, 3),
        fresh_within=2 * HOUR,
        schedule=Every(HOUR),
        max_runtime=HOUR,
    )
    with world.engine() as engine:
        run(engine)
        advance(world, 3 * HOUR)
        seen = only(observed(world, engine))
        begun(world, "vip")
        meanwhile = observed(world, engine)
        advance(world, 2 * HOUR)
        stuck = observed(world, engine)

    assert seen.kind is Kind.STALE
    assert seen.headline == (
        "vip is stale: the last success was Mon  2 Mar 12:00:01 UTC, "
        "fresh_within is 2 h"
    )
    assert meanwhile.seen == ()
    assert "stale/vip" in meanwhile.unsure
    assert kinds(stuck) == {Kind.STALE}


def begun(world: World, name: str) -> None:
    """A run that goes on."""
    with world.database.begin() as connection:
        runs.begin(
            connection,
            run_id="019e19b3-a8b5-76f6-8dec-9f32a3373d68",
            sync_name=name,
            slot=None,
            trigger=Trigger.MANUAL,
            config_hash="x",
            now=world.clock.now(),
        )


def test_what_is_paused_or_in_a_blackout_is_not_judged_nor_for_a_while_after(
    world: World,
) -> None:
    window = Window(name="etl", zone="UTC", start=time(14), end=time(16))
    common: dict[str, Any] = {"fresh_within": HOUR, "schedule": Every(HOUR)}
    world.sync("vip", known_to(world, 3), **common)
    world.sync("night", known_to(world, 3), blackout=(window,), **common)
    lately = Lately()
    with world.engine() as engine:
        run(engine, "vip")
        run(engine, "night")
        pause = {"sync": "vip", "actor": "joe", "via": "cli", "reason": "INC-2231"}
        pausing.pause(engine, pause | {"span": None, "until": None})
        advance(world, 3 * HOUR)  # 15:00
        quiet = observed(world, engine, lately)
        fresh = stale_of(world, engine, lately)
        pausing.resume(engine, pause)
        advance(world, HOUR + 10 * MINUTE)  # 16:10
        soon = observed(world, engine, lately)
        advance(world, HOUR)
        later = observed(world, engine, lately)

    assert quiet.seen == ()
    assert {f"{kind}/{sync}" for kind in Kind for sync in ("vip", "night")} <= (
        quiet.unsure
    )
    assert fresh == []
    assert {each.name for each in soon.seen} == {"stale/vip"}
    assert "stale/night" in soon.unsure
    assert {each.name for each in later.seen} == {"stale/vip", "stale/night"}


def stale_of(world: World, engine: Engine, lately: Lately) -> list[str]:
    settings = engine.blueprint.settings
    with world.database.read() as connection:
        return not_fresh(connection, settings, world.clock, lately)


def test_refused_credentials_are_one_thing_for_all_the_syncs_they_stop(
    world: World,
) -> None:
    world.sync("vip", known_to(world, 3))
    world.sync("new", known_to(world, 3))
    with world.engine() as engine:
        for _ in range(3):
            world.vendor.script.append(UNAUTHORIZED)
            run(engine, "vip")

        sights = observed(world, engine)

    (stopped,) = [each for each in sights.seen if each.kind is Kind.CONNECTION_STOPPED]
    assert stopped.subject == "amplitude"
    assert stopped.concerns == ("vip", "new")
    assert "its credentials are refused; 2 syncs cannot run" in stopped.headline
    for each in sights.seen:
        if each.kind is Kind.FAILING:
            assert Kind.CONNECTION_STOPPED in sights.masked[each.name]


def test_dead_batches_are_counted(world: World) -> None:
    source = world.sync(members=known_to(world, 3))
    with world.engine() as engine:
        run(engine)
        source.members = set(known_to(world, 8))
        world.vendor.always = REFUSED
        run(engine)

        dead = observed(world, engine).seen

    (seen,) = [each for each in dead if each.kind is Kind.DEAD_LETTERS]
    assert seen.headline == "vip has 2 dead batches (5 ids), refused for good"
    assert seen.command == "syncd outbox list vip"


def test_ids_that_are_refused_count_by_their_share(world: World) -> None:
    source = world.sync(members=known_to(world, 3))
    with world.engine() as engine:
        run(engine)
        source.members = set(known_to(world, 50))
        world.vendor.invalid = set(people(20)) - set(people(3))
        run(engine)

        (seen,) = [
            each for each in observed(world, engine).seen if each.kind is Kind.REJECTED
        ]

    assert seen.headline == "vip: 17 of 47 ids were refused (36.2%, limit 5%)"
    assert seen.code == "member.rejected"


def test_drift_is_what_was_last_read_back(world: World) -> None:
    world.sync(members=known_to(world, 3))
    with world.engine() as engine:
        run(engine)
        with world.database.begin() as connection:
            verifications.note(connection, "vip", Verification(at=NOW, drift=0.032))
        seen = only(observed(world, engine))

    assert seen.kind is Kind.DRIFT
    assert "3.2% of the people (limit 1%)" in seen.headline


def test_an_inbox_is_silent_until_the_next_word(world: World) -> None:
    feed = world.fed()
    with world.engine() as engine:
        with world.database.begin() as connection:
            row = inbox.find(connection, feed.feed)
            assert row is not None
            inbox.note_silence(connection, row.id, NOW)

        seen = only(observed(world, engine))

    assert seen.kind is Kind.INBOX_SILENT
    assert seen.headline == "vip: its audience moves, and nothing was pushed at all"


def test_a_sync_that_is_switched_off_is_nobodys_business(world: World) -> None:
    world.sync(members=known_to(world, 3), fresh_within=HOUR, schedule=Every(HOUR))
    with world.engine() as engine:
        run(engine)
        settings = engine.blueprint.settings
        off = replace(settings, syncs=(replace(settings.syncs[0], enabled=False),))
        advance(world, 9 * HOUR)
        with world.database.read() as connection:
            sights = look(connection, off, world.clock, Lately())

    assert sights.seen == ()


# ---- who tells it --------------------------------------------------------------------


@dataclass
class Slack:
    """A server that takes messages, or says no."""

    url: str = ""
    texts: list[str] = field(default_factory=list)
    status: int = 200
    refuses: str = ""
    """Messages with these words in them get a 400."""
    while_asked: Callable[[], None] = lambda: None


@pytest.fixture
def slack() -> Iterator[Slack]:
    made = Slack()

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.while_asked()
            refused = made.refuses and made.refuses in body.decode()
            if made.status == 200 and not refused:
                made.texts.append(orjson.loads(body)["text"])
            self.send_response(400 if refused else made.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_port}/x"
        yield made
        server.shutdown()
        thread.join()


def told(url: str, folder: Path, **changes: Any) -> NotificationSettings:
    path = folder / "slack"
    path.touch(mode=0o600)
    path.write_text(url)
    ref = SecretRef(key="notifications.ops", origin="x:1:1", file=path)
    ops = SlackSettings(
        name="ops",
        outward=Outward(url=ref, ca_file=None, proxy_url=None),
        events=EVENTS,
        repeat_every=12 * HOUR,
    )
    return NotificationSettings(channels={"ops": replace(ops, **changes)})


@dataclass
class Office:
    """Replicas of one daemon on one store, in which a sync is held."""

    world: World
    database: Database
    notifications: NotificationSettings

    def engine(self, holder: str, **changes: Any) -> Engine:
        """One replica; its threads need not run."""
        settings = settings_of(*self.world.syncs.values())
        settings = replace(settings, notifications=self.notifications, **changes)
        built = blueprint_of(
            settings, dict(self.world.sources), dict(self.world.vendors)
        )
        store = OpenStore(database=self.database, hash_key=HASH_KEY)
        engine = Engine(built, store, self.world.clock)
        engine.holder = holder
        return engine

    def replica(
        self, holder: str, refusal: SyncdError | None = None, **changes: Any
    ) -> Notifying:
        engine = self.engine(holder, **changes)
        return Notifying(engine, self.world.clock, lambda: refusal)


@pytest.fixture
def office(
    world: World, database: Database, slack: Slack, tmp_path: Path
) -> Iterator[Office]:
    """On SQLite and on Postgres."""
    world.sync(guard=STRICT)
    world.sources["vip"].members = set(known(world, people(10)))
    made = Office(world, database, told(slack.url, tmp_path))
    with made.engine("first") as engine:
        run(engine)
        world.sources["vip"].members = set(people(3))
        run(engine)
        yield made


def headlines(slack: Slack) -> list[str]:
    return [text.splitlines()[0] for text in slack.texts]


HELD = "◆ vip is held: 7 of 10 people would leave (70.0%, limit 20%)"


def test_of_two_replicas_one_tells_it_once(office: Office, slack: Slack) -> None:
    one, other = office.replica("one"), office.replica("other")

    for _ in range(4):
        for each in (one, other):
            each.look()
        advance(office.world, MINUTE)

    assert headlines(slack) == [HELD]


def test_while_one_replica_is_telling_it_the_other_does_not(
    office: Office, slack: Slack
) -> None:
    one, other = office.replica("one"), office.replica("other")
    one.look()
    advance(office.world, 2 * MINUTE)
    slack.while_asked = other.look

    one.look()

    assert headlines(slack) == [HELD]


def test_one_that_dies_before_it_noted_is_followed_by_the_same_message(
    office: Office, slack: Slack
) -> None:
    one, other = office.replica("one"), office.replica("other")
    one.look()
    advance(office.world, 2 * MINUTE)
    slack.while_asked = one.stop  # nothing is written by it any more

    one.look()
    other.look()
    advance(office.world, leases.TTL + MINUTE)
    slack.while_asked = lambda: None
    other.look()

    assert headlines(slack) == [HELD, HELD]
    with office.database.read() as connection:
        (row,) = conditions.unclosed(connection)
    assert row.told_at == office.world.clock.now()


def test_a_channel_that_refuses_is_left_alone_for_longer_each_time(
    office: Office, slack: Slack
) -> None:
    tries: list[int] = []
    slack.status, slack.while_asked = 503, lambda: tries.append(1)
    one = office.replica("one")
    one.look()

    for _ in range(60):
        advance(office.world, MINUTE)
        one.look()
    failed = len(tries)
    slack.status = 200
    for _ in range(60):
        advance(office.world, MINUTE)
        one.look()

    assert failed == 6, "after 1, 2, 4, 8, 16 and 32 minutes"
    assert headlines(slack) == [HELD]


def test_a_message_that_is_refused_keeps_no_other_waiting(
    office: Office, slack: Slack
) -> None:
    tries: list[int] = []
    slack.refuses, slack.while_asked = "is held", lambda: tries.append(1)
    with office.database.begin() as connection:
        verifications.note(connection, "vip", Verification(at=NOW, drift=0.5))
    one = office.replica("one")

    for _ in range(9):
        one.look()
        advance(office.world, MINUTE)

    (told,) = headlines(slack)
    assert told.startswith("▲ vip differs from its destination")
    assert len(tries) == 1 + 4, "the refused one after 1, 2, 4 and 8 minutes"


def test_what_a_channel_does_not_want_any_more_is_dropped_in_silence(
    office: Office, slack: Slack, tmp_path: Path
) -> None:
    one = office.replica("one")
    one.look()
    advance(office.world, 2 * MINUTE)
    one.look()

    office.notifications = told(slack.url, tmp_path, events=("failing", "resolved"))
    for _ in range(3):
        advance(office.world, MINUTE)
        office.replica("one").look()
    office.notifications = NotificationSettings()
    office.replica("one").look()

    assert headlines(slack) == [HELD]
    with office.database.read() as connection:
        assert conditions.unclosed(connection) == []


def test_of_a_sync_that_is_gone_it_is_said_that_it_is(
    office: Office, slack: Slack
) -> None:
    office.replica("one").look()
    advance(office.world, 2 * MINUTE)
    office.replica("one").look()

    del office.world.syncs["vip"]
    office.world.sync("other")
    for _ in range(3):
        office.replica("one").look()
        advance(office.world, MINUTE)

    assert headlines(slack) == [HELD, "● vip is not run any more; it was held"]


def beat(office: Office, *holders: str) -> None:
    """These replicas live."""
    wall = office.world.clock.wall()
    with office.database.begin() as connection:
        for each in holders:
            me = Daemon(
                holder=each,
                host=each,
                pid=1,
                version="1",
                started_at=wall,
                heartbeat_at=wall,
            )
            installation.beat(connection, me)


def of_older(office: Office, lacks: str) -> Notifying:
    """A replica that does not know the newest channel, or the newest sync."""
    if lacks == "sync":
        return office.replica("old", syncs=())
    known = office.notifications
    ops = replace(known.channels["ops"], name="before", events=("failing",))
    office.notifications = NotificationSettings(channels={"before": ops})
    old, office.notifications = office.replica("old"), known
    return old


@pytest.mark.parametrize("lacks", ["channel", "sync"])
def test_a_replica_with_older_files_takes_nothing_from_what_others_tell(
    office: Office, slack: Slack, lacks: str
) -> None:
    new, old = office.replica("new"), of_older(office, lacks)

    for _ in range(10):
        beat(office, "new", "old")
        for each in (new, old):
            each.look()
            advance(office.world, MINUTE / 4)

    assert headlines(slack) == [HELD], "it lasted, and it lasts"


def test_of_a_sync_that_all_replicas_dropped_it_is_said_in_the_end(
    office: Office, slack: Slack
) -> None:
    for _ in range(3):
        office.replica("one").look()
        advance(office.world, MINUTE)

    one, other = (office.replica(each, syncs=()) for each in ("one", "other"))
    said = []
    for _ in range(6):
        beat(office, "one", "other")
        one.look()
        other.look()
        said.append(len(slack.texts))
        advance(office.world, STRANGE / 4)

    assert headlines(slack) == [HELD, "● vip is not run any more; it was held"]
    assert said == [1, 1, 1, 1, 1, 2], "it could have been somebody else's"


def test_a_sync_is_told_only_where_it_says(office: Office, slack: Slack) -> None:
    office.world.syncs["vip"] = replace(office.world.syncs["vip"], notify=())

    for _ in range(3):
        office.replica("one").look()
        advance(office.world, MINUTE)

    assert slack.texts == []


def test_a_refused_configuration_is_told_by_whoever_refused_it(
    office: Office, slack: Slack
) -> None:
    office.world.syncs["vip"] = replace(office.world.syncs["vip"], notify=())
    refusal = SyncdError("no", code="config.restart")

    for _ in range(3):
        office.replica("one", refusal).look()
        advance(office.world, MINUTE)
    for _ in range(3):
        office.replica("one").look()
        advance(office.world, MINUTE)

    said = headlines(slack)
    assert "the changed configuration is refused (config.restart)" in said[0]
    assert said[1].endswith("uses its configuration again")
    assert len(said) == 2


def test_where_nobody_is_to_be_told_nothing_is_read(
    office: Office, lines: list[Any]
) -> None:
    office.notifications = NotificationSettings()
    office.replica("one").look()

    with office.database.begin() as connection:
        assert conditions.unclosed(connection) == []
        taken = leases.acquire(connection, LEASE, "anybody", office.world.clock.wall())
    assert isinstance(taken, Lease)
    assert taken.fence == 1, "nobody had it before"


def test_the_page_is_linked_where_it_is_known(office: Office, slack: Slack) -> None:
    settings: Settings = settings_of()
    page = replace(settings.web.page, base_url="https://syncd.acme.example")
    web = replace(settings.web, page=page)

    for _ in range(2):
        office.replica("one", web=web).look()
        advance(office.world, 2 * MINUTE)

    assert (
        slack.texts[0]
        .splitlines()[-1]
        .startswith("https://syncd.acme.example/runs/019")
    )


def test_no_message_holds_an_id(office: Office, slack: Slack) -> None:
    office.world.vendor.always = Trouble(
        fault=Fault.REFUSED, error_type="http_4xx", status=400
    )
    for _ in range(3):
        office.replica("one").look()
        advance(office.world, 13 * HOUR)

    assert slack.texts
    for each in people(10):
        assert all(each.decode() not in text for text in slack.texts)
