"""An installation in which each stage stalls, one sync for each, and is healed again.

On Postgres and a fast clock. All stall at once; then the store is taken away, and at
last the daemon is killed. `Told` is what came of it: alerts by the shipped rules, the
log, and what `syncd status` said.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg

from tests.installed import Installation, Running, log_lines
from tests.months import HOUR, Month, clock_that_shows, eventually
from tests.scraped import STEP, Alert, Scraper, Seen, firing
from tests.simulated import simulating

FIRST = datetime.fromisoformat("2027-06-01T00:00:00+00:00")
SPEED = 1800
"""Half an hour in a second."""
MINUTE = timedelta(minutes=1)
PERIOD = 30 * MINUTE
FRESH = 2 * HOUR
PEOPLE = 100
SYNCS = "gone short slow used-up guarded down hanging refused unheard".split()
DATABASE = "stalled"
OPERATOR = ("ana", "anas-long-password")


# ---- the installation ----------------------------------------------------------------


def people(sync: str, first: int = 0, count: int = PEOPLE) -> list[str]:
    return [f"{sync}-{number:05d}" for number in range(first, first + count)]


def install(month: Month, store: str, slack: str) -> None:
    """Each sync on what is to fail it alone."""
    installation, simulator = month.installation, month.simulator
    config = installation.config
    config["store"]["url"] = store
    config["log"]["level"] = "info"
    installation.secret("ana", OPERATOR[1])
    users = {OPERATOR[0]: {"password_file": "ana", "operator": True}}
    config["web"]["admin"] |= {
        "actions": "enabled",
        "auth": {"type": "basic", "users": users},
    }
    config["defaults"] |= {"fresh_within": "2h", "max_runtime": "3h"}
    config["connections"]["amplitude"] |= {
        "download_deadline": "30m",
        "quota": {"downloads_per_month": 10_000},
    }
    for name in ("gone", "guarded", "down"):
        installation.sync(name, schedule="every 30m")
        installation.audience(people(name), name)
        simulator.users(people(name, count=2 * PEOPLE))
    add_cohorts(month)
    add_inbox(month)
    installation.secret("slack", slack)
    channel = {"type": "slack", "webhook_url_file": "slack"}
    config["notifications"] = {"channels": {"oncall": channel}}


def add_cohorts(month: Month) -> None:
    """Four of one project, and one of another that has a quota of its own."""
    installation, simulator = month.installation, month.simulator
    connections = installation.config["connections"]
    second = {
        "app_id": 2,
        "api_key": "second-api-key",
        "secret_key": "second-secret-key",
        "owners": ["growth-ops@acme.example"],
    }
    simulator.post("/_sim/projects", second)
    for app_id in (187520, 2):
        patch(month, f"/_sim/projects/{app_id}", download_limit=10_000)
    for name in ("short", "slow", "hanging", "refused"):
        simulator.cohort(name, members=people(name))
        more = {"to": {"connection": "partner-lists"}} if name == "refused" else {}
        installation.cohort_sync(name, name, schedule="every 30m", **more)
    connections["segment"]["request_deadline"] = "1s"
    for key in ("api_key", "secret_key"):
        installation.secret(f"second_{key}", str(second[key]))
    connections["second"] = connections["amplitude"] | {
        "app_id": 2,
        "api_key_file": "second_api_key",
        "secret_key_file": "second_secret_key",
    }
    made = {"id": "used-up", "name": "Used up", "type": "redshift"}
    simulator.post("/_sim/cohorts?project=2", made | {"members": people("used-up")})
    from_ = {"connection": "second"}
    installation.cohort_sync("used-up", "used-up", schedule="every 30m", from_=from_)


def add_inbox(month: Month) -> None:
    """An audience that is pushed to us and whose size is asked for."""
    installation, simulator = month.installation, month.simulator
    installation.inbox()
    connections = installation.config["connections"]
    installation.secret("public_token", "demo-public-token")
    connections["live"] = {
        "type": "engage",
        "space": "live",
        "inbox": connections["engage"].pop("inbox"),
        "api_token_file": "public_token",
        "space_id": "spa_demo",
        "api_base_url": simulator.origins["public"],
    }
    connections["engage"]["space"] = "exported"
    pushed = {"connection": "live", "audience": "unheard"}
    installation.sync("unheard", schedule="every 30m", **{"from": pushed})
    simulator.audience("unheard", members=people("unheard"))
    simulator.users(people("unheard", count=2 * PEOPLE))


def connect(month: Month, daemon: Running) -> None:
    """Engage's destination at the daemon's door."""
    month.simulator.engage_sender(
        "w",
        url=daemon.url() + "/in/live",
        audience="unheard",
        secret="s3cr3t-key",
        headers={"X-Syncd-Key": "demo-second-factor"},
        flavour="actions_batch",
    )
    assert month.simulator.push("w")["outcome"] == "success"


def patch(month: Month, path: str, **more: Any) -> None:
    month.simulator.control.patch(path, json=more).raise_for_status()


# ---- what goes wrong, and is healed --------------------------------------------------


def stall(month: Month) -> None:
    """Everything at once; there is something to deliver wherever that fails."""
    installation, simulator = month.installation, month.simulator
    (down,) = [c["id"] for c in simulator.cohorts() if c["name"] == "Cohort down"]
    (installation.folder / "audiences" / "gone.csv").unlink()
    simulator.fault("file", "short", cohort_id="short")
    simulator.fault("status", "hang_before", cohort_id="slow")
    patch(month, "/_sim/projects/2", downloads_used=10_000)
    simulator.fault("membership", "status", status=503, cohort_id=down)
    simulator.fault("segment_batch", "hang_before")
    simulator.post("/_sim/partner/setup", {"api_key": "another-key"})
    installation.audience(people("guarded", count=PEOPLE // 4), "guarded")
    installation.audience(people("down", 5), "down")
    for name in ("short", "slow", "hanging", "refused"):
        patch(month, f"/_sim/cohorts/{name}", members=people(name, 5))
    patch(month, "/_sim/cohorts/used-up?project=2", members=people("used-up", 5))
    simulator.move("unheard", enter=people("unheard", PEOPLE, PEOPLE // 2))


def heal(month: Month, daemon: Running) -> None:
    """All of it; a person rejects what the guard holds, and does not wait until a
    cohort whose downloads came to nothing may be downloaded again."""
    installation, simulator = month.installation, month.simulator
    (held,) = daemon.events("run.finished", sync="guarded", outcome="held")
    installation.audience(people("guarded"), "guarded")
    assert press(daemon, "guarded", f"/runs/{held['run_id']}/reject")
    installation.audience(people("gone", 5), "gone")
    simulator.no_faults()
    patch(month, "/_sim/projects/2", downloads_used=0)
    simulator.post("/_sim/partner/setup", {"api_key": "demo-partner-key"})
    assert simulator.push("w")["outcome"] == "success"
    # While another run of it is in progress it says so.
    assert eventually(lambda: press(daemon, "short", "/syncs/short/run"))


def press(daemon: Running, sync: str, path: str) -> bool:
    """A button of a sync's page, as a person does; commands know no fast clock.

    False: nothing was done.
    """
    with httpx.Client(
        base_url=daemon.url("admin"), auth=OPERATOR, trust_env=False
    ) as client:
        page = client.get(f"/syncs/{sync}").raise_for_status().text
        form = page.partition(f'action="{path}"')[2].partition("</form>")[0]
        hidden = re.findall(r'<input type=hidden name=(\w+) value="([^"]*)">', form)
        typed = {"typed": sync, "reason": "a short export"}
        same_site = {"sec-fetch-site": "same-origin"}
        answer = client.post(path, data=dict(hidden) | typed, headers=same_site)
    return answer.is_redirect


class Deaf(HTTPServer):
    """An address of Slack that refuses every connection until it listens."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Takes, bind_and_activate=False)
        self.server_bind()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take everything from now on."""
        self.server_activate()
        thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        thread.start()
        yield
        self.shutdown()
        thread.join()


class _Takes(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def without_store(server: str) -> Iterator[None]:
    """Nobody can connect to the database; who was connected is cut off."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS false")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [DATABASE],
        )
        yield
        connection.execute(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS true")


# ---- the story, lived through once ---------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Told:
    """What was told, and when what happened."""

    broke: datetime
    healed: datetime
    store_gone: datetime
    store_back: datetime
    killed: datetime
    restarted: datetime
    status: Mapping[str, dict[str, Any]]
    """While everything was broken, by sync."""
    log: list[dict[str, Any]]
    begin: datetime
    firing: Mapping[datetime, set[Alert]]

    def between(self, since: datetime, until: datetime) -> set[Alert]:
        """All that fired then."""
        moments = (a for at, a in self.firing.items() if since <= at < until)
        return set[Alert]().union(*moments)

    def runs_of(self, sync: str) -> list[dict[str, Any]]:
        """The ends of those that became due while everything was broken."""
        since, until = _stamp(self.broke), _stamp(self.healed)
        return [
            line
            for line in self.log
            if line["event"] == "run.finished"
            and line["sync"] == sync
            and since < line.get("due_at", "")
            and line["ts"] < until
        ]

    def first(self, wanted: Alert, since: datetime) -> datetime | None:
        """When it began to fire."""
        moments = (at for at, a in self.firing.items() if at >= since and wanted in a)
        return min(moments, default=None)


@contextmanager
def lived_through(postgres: str, folder: Path) -> Iterator[Told]:
    """The whole story; `postgres` is a server's own database."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
    store = urlunsplit(urlsplit(postgres)._replace(path=f"/{DATABASE}"))
    with ExitStack() as stack:
        clock = clock_that_shows(FIRST, within=2.0, speed=SPEED)
        options = (*clock.options, "--latency", "0")
        simulator = stack.enter_context(simulating(*options))
        # Links live for a minute, here 33 ms: they are another test's story.
        simulator.post("/_sim/config", {"inline_max_rows": 10**6, "job_seconds": 30})
        installation = Installation(folder, simulator, stack)
        month = Month(clock=clock, simulator=simulator, installation=installation)
        deaf = stack.enter_context(Deaf())
        slack = f"http://127.0.0.1:{deaf.server_port}/services/T0"
        install(month, store, slack)
        clock.reach(FIRST)
        yield _live_through(month, deaf, postgres, folder)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def _live_through(month: Month, deaf: Deaf, server: str, folder: Path) -> Told:
    """Well, stalled, healed; without a store; without a daemon."""
    daemon = month.start()
    connect(month, daemon)
    pushed = month.clock.now()
    for name in SYNCS:
        assert daemon.reached("run.finished", sync=name, outcome="success")
    scraper = Scraper(clock=month.clock, every=STEP, url=daemon.url("admin"))
    at: dict[str, datetime] = {}
    with scraper.looking():
        month.clock.reach(month.clock.now() + HOUR)
        _know_the_size(daemon, pushed)
        status = _stall_and_heal(month, deaf, at)
        _take_the_store_away(month, scraper, server, at)
        _kill(month, scraper, at)
    assert month.daemons[-1].stop() == 0
    seen = Seen.of(scraper.scrapes)
    found = firing(seen, folder).items()
    return Told(
        **at,
        status={each["name"]: each for each in status["syncs"]},
        log=log_lines(daemon.lines),
        begin=seen.begin,
        firing={seen.begin + moment: alerts for moment, alerts in found},
    )


def _know_the_size(daemon: Running, pushed: datetime) -> None:
    """A size counts once it has had an hour to follow what was pushed: it must be known
    before it moves and nothing is pushed."""
    after = _stamp(pushed + HOUR)
    runs = partial(daemon.events, "run.finished", sync="unheard")
    assert eventually(lambda: any(each["due_at"] >= after for each in runs()))


def _stall_and_heal(month: Month, deaf: Deaf, at: dict[str, datetime]) -> Any:
    """What `status` said while everything was broken."""
    clock, daemon = month.clock, month.daemons[-1]
    at["broke"] = clock.now()
    stall(month)
    clock.reach(clock.now() + FRESH + HOUR)
    # Runs that hang take longest to come to anything.
    assert daemon.reached("run.finished", sync="hanging", outcome="partial")
    assert daemon.reached("run.finished", 3, sync="slow", outcome="failed")
    assert daemon.reached("inbox.silent", sync="unheard")
    clock.reach(clock.now() + 2 * STEP)
    status = month.installation.syncd("status", "--json").document
    heal(month, daemon)
    at["healed"] = clock.now()
    with deaf.listening():
        assert eventually(lambda: _is_healed(daemon, at["healed"]))
        # Alerts about channels look back over half an hour.
        clock.reach(clock.now() + HOUR)
    return status


def _take_the_store_away(
    month: Month, scraper: Scraper, server: str, at: dict[str, datetime]
) -> None:
    at["store_gone"] = month.clock.now()
    with without_store(server):
        assert eventually(lambda: _in_a_row(scraper, {0.0}))
    at["store_back"] = month.clock.now()
    assert eventually(lambda: _in_a_row(scraper, {1.0}))


def _kill(month: Month, scraper: Scraper, at: dict[str, datetime]) -> None:
    """And a new start."""
    at["killed"] = month.clock.now()
    assert month.daemons[-1].kill()
    assert eventually(lambda: _in_a_row(scraper, {None}))
    again = month.start()
    at["restarted"] = month.clock.now()
    scraper.url = again.url("admin")
    assert eventually(lambda: _in_a_row(scraper, {1.0}))


def is_bad(line: Mapping[str, Any]) -> bool:
    """Whether the end of a run is not a good one."""
    return line["outcome"] not in ("success", "no_change")


def _is_healed(daemon: Running, since: datetime) -> bool:
    """Whether each sync had a good run."""
    lines = [
        line for line in log_lines(list(daemon.lines)) if line["ts"] > _stamp(since)
    ]
    well = {each["sync"] for each in lines if _is_over(each) and not is_bad(each)}
    return well == set(SYNCS)


def _is_over(line: Mapping[str, Any]) -> bool:
    return bool(line["event"] == "run.finished")


def _stamp(moment: datetime) -> str:
    """As the log writes it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _in_a_row(scraper: Scraper, wanted: set[float | None]) -> bool:
    """Whether the last scrapes all said that of the store."""
    last = scraper.scrapes[-6:]
    return {each.value("syncd_store_up") for each in last} == wanted
