"""Pictures of the pages, of an installation with a month of history.

    python -m pytest tests/acceptance/test_page_pictures.py --pictures DIR

writes `list-light-1280.png` and the like into DIR: four pages, light and dark, 1280 and
390 px wide. Without a folder two of them are made, to show that they can be. Needs
Debian's package `chromium`.

The history is real: an engine ran every sync once a day on a clock that was moved,
against a destination that is scripted. The last plan of one sync is held.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FloatRect
from structlog.testing import capture_logs

from syncd import __version__
from syncd.app.board import StoreBoard
from syncd.config.secrets import SecretRef
from syncd.config.settings import (
    DeliverySettings,
    FromCohort,
    Settings,
    SyncSettings,
    ToTrait,
)
from syncd.config.settings_connections import (
    AmplitudeConnection,
    Connection,
    EngageConnection,
    FilesSnapshot,
    QuotaSettings,
    Transport,
)
from syncd.model import Trigger
from syncd.schedule import Cron, Every, Schedule
from syncd.store import fetches, installation, quotas
from syncd.store.database import Database
from syncd.store.installation import Daemon
from syncd.web.access import Access, BehindProxy
from syncd.web.admin import admin_app
from syncd.web.pages.actions import Buttons, Held, Planned, Pressed
from syncd.web.pages.routes import Pages
from syncd.web.refusals import Denied
from syncd.web.server import WebServer
from syncd.web.sockets import Tcp
from tests.browsing import CHROMIUM, chromium, visiting
from tests.builders import (
    FAILED_BEFORE,
    FakeVendor,
    ManualClock,
    World,
    cohort_of,
    held_run,
    new_database,
    settings_of,
)

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs the package chromium"),
]

BEGUN = datetime(2026, 4, 12, 1, tzinfo=UTC)
DAYS = 30
ZONE = "Europe/Berlin"
EMAIL = "x-forwarded-email"
WHOLE = DeliverySettings(
    batch_size=1000, retries=1, first_delay=timedelta(0), max_delay=timedelta(0)
)
LARGEST = 150 * 1024
"""Bytes of a picture: some are shown beside the code."""
HIGHEST = 1000
"""Pixels of a page that are drawn."""


@dataclass
class Story:
    """What a sync is, and how its audience moves."""

    description: str
    team: str
    members: int
    schedule: Schedule
    fresh: timedelta
    cohort: str = ""
    """Of Amplitude, where it is read from there."""
    moves: tuple[int, int] = (0, 0)
    """Up to how many enter and exit in a day."""
    numbers: set[int] = field(default_factory=set)

    def day(self, chance: random.Random) -> set[bytes]:
        """Another day; whom the source then names."""
        if not self.numbers:
            self.numbers = set(range(self.members))
        enter, leave = (chance.randint(most // 3, most) for most in self.moves)
        self.numbers -= set(chance.sample(sorted(self.numbers), leave))
        free = sorted(set(range(2 * self.members)) - self.numbers)
        self.numbers |= set(chance.sample(free, enter))
        return ids(self.numbers)


def stories() -> dict[str, Story]:
    hour = timedelta(hours=1)
    return {
        "power-users": Story(
            description="Daily-active accounts with 3+ integrations",
            team="growth",
            members=12_489,
            schedule=Every(hour, timedelta(minutes=10)),
            fresh=3 * hour,
            moves=(160, 120),
        ),
        "trial-expiring": Story(
            description="Trials that end within 7 days",
            team="lifecycle",
            members=2_851,
            schedule=Every(2 * hour, timedelta(0)),
            fresh=5 * hour,
            moves=(150, 140),
        ),
        "churn-risk": Story(
            description="Accounts that Amplitude predicts to leave",
            team="retention",
            members=9_433,
            schedule=Cron("0 3 * * *", ZONE),
            fresh=28 * hour,
            cohort="1a2bc3d",
            moves=(72, 110),
        ),
        "feature-adopters": Story(
            description="Everybody who uses the new reports",
            team="product",
            members=4_161,
            schedule=Every(6 * hour, timedelta(minutes=25)),
            fresh=13 * hour,
            cohort="77qr0zz",
            moves=(90, 20),
        ),
    }


def ids(numbers: set[int]) -> set[bytes]:
    return {f"person-{number:05}".encode() for number in numbers}


# ---- a month of runs -----------------------------------------------------------------


@dataclass
class Month:
    """A store that a month of runs filled, and the configuration as pages know it."""

    database: Database
    settings: Settings
    clock: ManualClock
    held: str
    """The id of the run that waits."""
    plan_hash: str


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    folder = tmp_path_factory.mktemp("month")
    database, chance, told = new_database(folder), random.Random(7), stories()  # noqa: S311
    vendor = FakeVendor(known=ids(set(range(30_000))))
    clock = ManualClock(BEGUN)
    world = World(
        database=database, spool=folder, clock=clock, vendors={"amplitude": vendor}
    )
    for name, story in told.items():
        world.sync(
            name,
            description=story.description,
            team=story.team,
            schedule=story.schedule,
            timezone=ZONE,
            fresh_within=story.fresh,
            delivery=WHOLE,
        )
    with capture_logs():
        live(world, told, clock, vendor, chance)
    settings = as_configured(world, told)
    keep_house(database, clock)
    run = held_run(database, "churn-risk")
    assert run is not None
    assert run.plan_hash is not None
    yield Month(database, settings, clock, run.id, run.plan_hash)
    database.close()


def live(
    world: World,
    told: Mapping[str, Story],
    clock: ManualClock,
    vendor: FakeVendor,
    chance: random.Random,
) -> None:
    """Every sync once a day; one day the vendor is away, on the last one people leave
    whom nobody expected to. The others run again before somebody looks."""

    def run(name: str) -> None:
        story, source = told[name], world.sources[name]
        source.members = story.day(chance)
        if (day, name) == (DAYS - 1, "churn-risk"):
            source.members = ids(set(sorted(story.numbers)[3_000:]))
        source.while_reading = lambda: clock.advance(takes(chance))
        vendor.always = FAILED_BEFORE if (day, name) == (17, "power-users") else None
        engine.run(name, Trigger.SCHEDULE, clock.now())

    with world.engine() as engine:
        for day in range(DAYS):
            clock.advance(BEGUN + timedelta(days=day) - clock.now())
            for name in told:
                run(name)
                clock.advance(timedelta(minutes=4))
        morning = BEGUN + timedelta(days=DAYS - 1, hours=7)
        again = {"feature-adopters": -95, "trial-expiring": 0, "power-users": 10}
        for name, minutes in again.items():
            clock.advance(morning + timedelta(minutes=minutes) - clock.now())
            run(name)
    clock.advance(morning + timedelta(minutes=38) - clock.now())


def takes(chance: random.Random) -> timedelta:
    return timedelta(milliseconds=chance.randint(9_000, 41_000))


def as_configured(world: World, told: Mapping[str, Story]) -> Settings:
    """The same syncs, two of them in the other direction, as their files say it."""
    syncs = [turned(world.syncs[name], story) for name, story in told.items()]
    settings = settings_of(*syncs)
    connections: dict[str, Connection] = {
        "amplitude": amplitude(),
        "engage": engage(),
    }
    return replace(settings, instance="prod-eu", connections=connections)


def turned(sync: SyncSettings, story: Story) -> SyncSettings:
    if not story.cohort:
        named = replace(cohort_of(sync), cohort=f"[syncd] {sync.name}")
        return replace(sync, target=named)
    source = FromCohort(
        connection="amplitude",
        cohort_id=story.cohort,
        max_staleness=timedelta(days=7),
        events=None,
        linked=False,
    )
    trait = sync.name.replace("-", "_")
    return replace(
        sync, source=source, target=ToTrait(connection="engage", trait=trait)
    )


UNREAD = SecretRef(key="api_key", origin="syncd.yaml:1:1", env="UNREAD")
TRANSPORT = Transport(
    base_url=None,
    ca_file=None,
    proxy_url=None,
    request_deadline=timedelta(seconds=30),
)


def engage() -> EngageConnection:
    return EngageConnection(
        name="engage",
        space=None,
        snapshot=FilesSnapshot(path="/x/{audience}.csv", format="csv", column=None),
        region="eu",
        write_key=UNREAD,
        trait_template="{name}",
        integrations={},
        max_events_per_second=500,
        inbox=None,
        api_token=None,
        space_id=None,
        api_base_url=None,
        transport=TRANSPORT,
    )


def amplitude() -> AmplitudeConnection:
    return AmplitudeConnection(
        name="amplitude",
        region="eu",
        app_id=187520,
        api_key=UNREAD,
        secret_key=UNREAD,
        owner="growth-ops@acme.example",
        name_prefix="",
        quota=QuotaSettings(downloads_per_month=500, reserve=50),
        download_deadline=timedelta(hours=1),
        storage_hosts=(),
        storage_origin=None,
        push=None,
        transport=TRANSPORT,
    )


def keep_house(database: Database, clock: ManualClock) -> None:
    """A daemon that lives, a backup, and the month's downloads, every six hours one."""
    now, resets_at = clock.now(), datetime(2026, 6, 1, tzinfo=UTC)
    hours = int((now - datetime(2026, 5, 1, tzinfo=UTC)).total_seconds() // 3600)
    with database.begin() as connection:
        installation.beat(connection, daemon(now))
        installation.note_backup(connection, now - timedelta(hours=6))
        quotas.remember(
            connection,
            "eu:187520",
            limit=500,
            used=hours // 6 + 19,
            resets_at=resets_at,
            estimated=False,
            now=now - timedelta(minutes=41),
        )
        for ago in range(1, hours, 6):
            fetches.begin(
                connection,
                project="eu:187520",
                cohort_id="77qr0zz",
                name="Feature adopters",
                computed_before=None,
                size_before=None,
                sync="feature-adopters",
                run_id=f"r{ago}",
                by_person=False,
                now=now - timedelta(hours=hours - ago),
            )


def daemon(now: datetime) -> Daemon:
    return Daemon(
        holder="syncd-0/1/1",
        host="syncd-0",
        pid=1,
        version=__version__,
        started_at=now - timedelta(days=9),
        heartbeat_at=now - timedelta(seconds=2),
    )


# ---- its pages -----------------------------------------------------------------------


class NoDesk:
    """Buttons that are looked at, never pressed."""

    def __init__(self, month: Month) -> None:
        self._held = Held(run_id=month.held, plan_hash=month.plan_hash)

    def press(self, pressed: Pressed) -> str:
        raise AssertionError(pressed.action)

    def held(self, sync: str) -> Held | None:
        return self._held if sync == "churn-risk" else None

    def planned(self, sync: str) -> Planned | None:
        raise AssertionError(sync)


@contextmanager
def serving(month: Month) -> Iterator[str]:
    """Its pages for an operator; yields where they are."""
    denied = Denied(month.clock)
    trusted = [ip_network("127.0.0.0/8")]
    rule = BehindProxy(header=EMAIL, trusted=trusted, operators=["ana@acme.example"])
    access = Access(rule, denied, actions=True)
    board = StoreBoard(month.database, lambda: month.settings, month.clock)
    buttons = Buttons(NoDesk(month), access, key=b"k" * 32, top=board.top)
    pages = Pages(board, extras=buttons.extras, guard=access.guard)
    app = admin_app(
        healthy=lambda: True,
        ready=lambda: True,
        denied=denied,
        routes=[*buttons.routes, *pages.routes, pages.elsewhere],
    )
    server = WebServer("admin", Tcp(host="127.0.0.1", port=0), app)
    server.start()
    try:
        yield f"http://{server.address}"
    finally:
        server.stop()
        pages.stop()
        buttons.stop()


def paths(month: Month) -> dict[str, str]:
    return {
        "list": "/",
        "sync": "/syncs/power-users",
        "held": "/syncs/churn-risk",
        "help": "/help/guard.max_exit",
    }


SCHEMES, WIDTHS = ("light", "dark"), (1280, 390)
PROOF = {("list", "light", 1280), ("held", "dark", 390)}
"""Made where nobody asks for all of them."""


def test_every_page_is_drawn_as_people_see_it(
    month: Month, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    wanted = pytestconfig.getoption("pictures")
    folder = Path(wanted) if wanted else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    views = [*product(paths(month), SCHEMES, WIDTHS)]
    chosen = [each for each in views if wanted or each in PROOF]
    with chromium() as browser, serving(month) as url:
        for name, scheme, width in chosen:
            made = folder / f"{name}-{scheme}-{width}.png"
            draw(browser, url, paths(month)[name], scheme, width, made)

            head = made.read_bytes()[:24]
            assert head.startswith(b"\x89PNG")
            assert int.from_bytes(head[16:20]) == width
            assert 5_000 < made.stat().st_size < LARGEST
    assert len(chosen) == (len(views) if wanted else len(PROOF))


def draw(
    browser: Browser, url: str, path: str, scheme: str, width: int, to: Path
) -> None:
    """A page from its top, in one scheme and width."""
    how: dict[str, Any] = {
        "viewport": {"width": width, "height": 800},
        "color_scheme": scheme,
        "extra_http_headers": {EMAIL: "ana@acme.example"},
    }
    with visiting(browser, url, None, **how) as visit:
        answer = visit.page.goto(path)
        assert answer is not None
        assert answer.status == 200
        height = visit.page.evaluate("document.documentElement.scrollHeight")
        clip = FloatRect(x=0, y=0, width=width, height=min(height, HIGHEST))
        visit.page.screenshot(path=str(to), full_page=True, clip=clip)
    assert visit.faults == []
