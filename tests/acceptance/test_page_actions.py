"""Buttons of the page, pressed over HTTP at a real daemon: who may, what happens."""

import re
import sqlite3
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.installed import Installation
from tests.simulated import PATIENCE, simulating

ANA, JOE = ("ana", "anas-long-password"), ("joe", "joes-long-password")
NOBODY = httpx.Auth()
SAME_SITE = {"sec-fetch-site": "same-origin"}
WHY = "a test of the page"


def people(count: int, start: int = 0) -> list[str]:
    return [f"person-{number:06d}" for number in range(start, start + count)]


@dataclass
class Site:
    """A daemon's page, its sync `vip`, and who uses it."""

    installation: Any
    simulator: Any
    daemon: Any
    client: httpx.Client

    def get(self, path: str, who: tuple[str, str] | None = ANA) -> httpx.Response:
        return self.client.get(path, auth=who or NOBODY)

    def press(
        self,
        path: str,
        fields: dict[str, str] | None = None,
        *,
        page: str = "/syncs/vip",
        who: tuple[str, str] | None = ANA,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Send a form of a page as a browser does; `fields` are what is typed."""
        found = form(self.get(page, who).text, path)
        sent = headers if headers is not None else SAME_SITE
        content = found | (fields or {})
        return self.client.post(path, data=content, headers=sent, auth=who or NOBODY)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.installation.database)) as store:
            return store.execute(query).fetchall()

    def actions(self) -> list[tuple[Any, ...]]:
        """The audit trail: (verb, actor, via, reason)."""
        return self.rows("SELECT verb, actor, via, reason FROM action ORDER BY at")

    def writes(self, since: int) -> list[Any]:
        simulator = self.simulator
        return [*simulator.log("membership", since), *simulator.log("upload", since)]


def form(page: str, action: str) -> dict[str, str]:
    """The hidden fields of a form; empty where a page has no such form."""
    found = re.search(rf'<form method=post action="{action}">(.*?)</form>', page, re.S)
    if found is None:
        return {}
    pairs = re.findall(r'<input type=hidden name=(\w+) value="([^"]*)">', found[1])
    return dict(pairs)


@contextmanager
def site_of(installation, simulator, **admin):
    installation.secret("ana", ANA[1])
    installation.secret("joe", JOE[1])
    usual = {
        "actions": "enabled",
        "auth": {
            "type": "basic",
            "users": {
                "ana": {"password_file": "ana", "operator": True},
                "joe": {"password_file": "joe"},
            },
        },
    }
    installation.config["web"]["admin"] |= usual | admin
    daemon = installation.start("serve")
    with httpx.Client(
        base_url=daemon.url("admin"), timeout=PATIENCE, trust_env=False
    ) as client:
        yield Site(installation, simulator, daemon, client)
    assert daemon.stop() == 0


def fill(installation, simulator, *, hold: bool = False):
    """A sync whose cohort holds 200 people; then its source shrinks by 60 %."""
    installation.sync(timezone="Asia/Tokyo")
    simulator.users(people(400))
    installation.audience(people(200))
    assert installation.run().code == 0
    if hold:
        installation.audience(people(80))
        assert installation.run().code == 3


@pytest.fixture
def held(installation, simulator):
    """A plan that waits for a person: (site, the held run's page)."""
    fill(installation, simulator, hold=True)
    with site_of(installation, simulator) as made:
        yield made, held_run(made)


@contextmanager
def apart(folder, *, hold: bool, **admin):
    """A site with a simulator of its own, for tests that leave it as it is."""
    with simulating("--latency", "0") as simulator, ExitStack() as stack:
        installation = Installation(folder, simulator, stack)
        fill(installation, simulator, hold=hold)
        with site_of(installation, simulator, **admin) as made:
            yield made


@pytest.fixture(scope="module")
def waiting(tmp_path_factory):
    """A plan that goes on waiting: (site, the held run's page)."""
    with apart(tmp_path_factory.mktemp("waiting"), hold=True) as made:
        yield made, held_run(made)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A sync that is on time; its zone is Tokyo's."""
    with apart(tmp_path_factory.mktemp("site"), hold=False) as made:
        yield made


def held_run(site) -> str:
    ((run,),) = site.rows("SELECT id FROM run WHERE hold_expires_at IS NOT NULL")
    return f"/runs/{run}"


def decided(**fields: str) -> dict[str, str]:
    return {"typed": "vip", "reason": WHY} | fields


# ---- approve and reject --------------------------------------------------------------


def test_a_held_plan_is_approved_as_it_was_shown_and_by_whom(held, simulator):
    site, run = held
    since = simulator.last()
    page = site.get("/syncs/vip").text

    answer = site.press(f"{run}/approve", decided())

    assert "Approve this plan" in page
    assert answer.status_code == 303
    assert re.fullmatch(r"/runs/[0-9a-f-]+", answer.headers["location"])
    assert answer.headers["location"] != run
    assert site.daemon.reached("run.finished", trigger="approve", outcome="success")
    assert sorted(simulator.sent("REMOVE", since)) == people(120, start=80)
    assert simulator.members() == set(people(80))
    assert ("approve", "ana", "web", WHY) in site.actions()
    assert site.daemon.events("operator.approved", actor="ana", via="web")
    assert site.get(answer.headers["location"]).status_code == 200


def test_a_rejected_plan_is_dropped_and_an_older_form_approves_nothing(held, simulator):
    site, run = held
    old = form(site.get("/syncs/vip").text, f"{run}/approve")
    since = simulator.last()

    answer = site.press(f"{run}/reject", {"reason": WHY}, page=run)
    late = site.client.post(
        f"{run}/approve", data=old | decided(), headers=SAME_SITE, auth=ANA
    )

    assert answer.status_code == 303
    assert answer.headers["location"] == run
    assert site.actions() == [("reject", "ana", "web", WHY)]
    assert form(site.get("/syncs/vip").text, f"{run}/approve") == {}
    assert late.status_code == 409
    assert 'href="/help/hold.none"' in late.text
    assert site.writes(since) == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"typed": "vips"}, "form.name"),
        ({"typed": ""}, "form.name"),
        ({"reason": " "}, "form.reason"),
        ({"plan": "sha256:0000"}, "form.stale"),
    ],
)
def test_what_was_not_confirmed_in_full_is_not_approved(waiting, fields, code):
    site, run = waiting
    since = site.simulator.last()

    answer = site.press(f"{run}/approve", decided(**fields))

    assert answer.status_code == 409
    assert f'href="/help/{code}"' in answer.text
    assert "syncd " in answer.text
    assert site.get(f"/help/{code}").status_code == 200
    assert site.writes(since) == []
    assert site.actions() == []


def test_a_plan_that_expired_while_the_page_was_open_is_not_sent(held, simulator):
    site, run = held
    old = form(site.get("/syncs/vip").text, f"{run}/approve")
    with closing(sqlite3.connect(site.installation.database)) as store, store:
        store.execute(
            "UPDATE run SET hold_expires_at = '2026-01-01 00:00:00.000000' "
            "WHERE hold_expires_at IS NOT NULL"
        )
    since = simulator.last()

    answer = site.client.post(
        f"{run}/approve", data=old | decided(), headers=SAME_SITE, auth=ANA
    )

    assert answer.status_code == 409
    assert 'href="/help/hold.expired"' in answer.text
    assert site.writes(since) == []


# ---- who may -------------------------------------------------------------------------


def test_a_viewer_sees_no_button_and_is_refused(waiting):
    site, run = waiting
    since = site.simulator.last()
    page = site.get("/syncs/vip", JOE).text
    token = form(site.get("/syncs/vip").text, f"{run}/approve")

    answer = site.client.post(
        f"{run}/approve", data=token | decided(), headers=SAME_SITE, auth=JOE
    )

    assert "<form" not in page
    assert answer.status_code == 403
    assert 'href="/help/access.operator"' in answer.text
    assert site.writes(since) == []
    assert site.actions() == []


def test_nobody_presses_without_a_sign_in(waiting):
    site, run = waiting
    since = site.simulator.last()
    token = form(site.get("/syncs/vip").text, f"{run}/approve")

    answers = [
        site.client.post(
            f"{run}/approve", data=token | decided(), headers=SAME_SITE, auth=who
        )
        for who in (None, ("ana", "wrong"), ("eve", "anas-long-password"))
    ]

    assert [each.status_code for each in answers] == [401, 401, 401]
    assert site.writes(since) == []
    assert site.daemon.reached("web.denied")


def test_pages_and_api_need_a_sign_in_and_health_none(site):
    closed = ["/", "/syncs/vip", "/help", "/api/v1/status", "/api/v1/help", "/nothing"]

    for path in closed:
        assert site.get(path, None).status_code == 401, path
        assert site.get(path, JOE).status_code == (404 if path == "/nothing" else 200)
    assert site.get("/-/healthy", None).status_code == 200
    assert site.client.post("/api/v1/status", auth=ANA).status_code == 405


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "cross-site", "origin": "{own}"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {},
    ],
    ids=["cross", "same site", "typed", "cross, own origin", "origin", "null", "no"],
)
def test_a_form_of_another_site_is_refused(waiting, headers):
    site, run = waiting
    since = site.simulator.last()
    own = str(site.client.base_url).rstrip("/")
    sent = {name: value.format(own=own) for name, value in headers.items()}

    answer = site.press(f"{run}/approve", decided(), headers=sent)

    assert answer.status_code == 403
    assert 'href="/help/access.origin"' in answer.text
    assert site.writes(since) == []


def test_a_browser_without_fetch_metadata_names_the_origin(site):
    own = str(site.client.base_url).rstrip("/")

    answer = site.press("/syncs/vip/plan", headers={"origin": own})

    assert answer.status_code == 303


@pytest.mark.parametrize("token", ["", "0" * 64, "of another form"])
def test_a_form_without_its_own_token_is_refused(waiting, token):
    site, run = waiting
    since = site.simulator.last()
    if token == "of another form":
        token = form(site.get("/syncs/vip").text, f"{run}/reject")["token"]

    answer = site.press(f"{run}/approve", decided(token=token))

    assert answer.status_code == 403
    assert 'href="/help/form.token"' in answer.text
    assert site.writes(since) == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"token": "x"}', "application/json"),
        (b"token=a&token=b", "application/x-www-form-urlencoded"),
        (b"token", "application/x-www-form-urlencoded"),
        (b"token=%ff", "application/x-www-form-urlencoded"),
        (b"a=" + b"b" * 9000, "application/x-www-form-urlencoded"),
    ],
    ids=["json", "twice", "no value", "no text", "long"],
)
def test_what_no_form_of_ours_sends_is_refused(site, content, kind):
    answer = site.client.post(
        "/syncs/vip/run",
        content=content,
        headers=SAME_SITE | {"content-type": kind},
        auth=ANA,
    )

    assert answer.status_code == 400
    assert 'href="/help/form.malformed"' in answer.text


def test_looking_changes_nothing(waiting):
    site, run = waiting
    since = site.simulator.last()
    before = site.rows("SELECT count(*) FROM run"), site.actions()

    for path in ("/syncs/vip/run", "/syncs/vip/pause", f"{run}/approve"):
        assert site.get(path).status_code in {404, 405}

    assert (site.rows("SELECT count(*) FROM run"), site.actions()) == before
    assert site.writes(since) == []


# ---- run, plan, pause, resume --------------------------------------------------------


def test_run_now_answers_with_the_page_of_the_run(site):
    site.installation.audience(people(210))

    answer = site.press("/syncs/vip/run")

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/runs/")
    assert site.daemon.reached("run.finished", outcome="success")
    assert site.simulator.members() == set(people(210))
    assert site.daemon.events("operator.ran", actor="ana", via="web", sync="vip")


def test_nobody_waits_for_a_long_run_and_a_second_one_is_refused(site):
    site.installation.audience(people(220))
    site.simulator.post("/_sim/latency", {"membership": 0.8})

    first = site.press("/syncs/vip/run")
    second = site.press("/syncs/vip/run")

    site.simulator.post("/_sim/latency", {"membership": 0})
    assert first.status_code == 303
    run = first.headers["location"].removeprefix("/runs/")
    assert second.status_code == 409
    assert 'href="/help/sync.busy"' in second.text
    assert site.daemon.reached("run.finished", outcome="success", run_id=run)


def test_a_pause_has_a_reason_and_an_end_and_is_ended_on_the_page(site):
    refused = site.press("/syncs/vip/pause", {"reason": "", "span": "4h"})
    paused = site.press("/syncs/vip/pause", {"reason": WHY, "span": "4h", "until": ""})
    page = site.get("/syncs/vip").text
    ((actor, until),) = site.rows("SELECT actor, until FROM pause")
    resumed = site.press("/syncs/vip/resume")

    assert refused.status_code == 409
    assert 'href="/help/form.reason"' in refused.text
    assert paused.status_code == resumed.status_code == 303
    assert actor == "ana"
    assert until is not None
    assert WHY in page
    assert form(page, "/syncs/vip/pause") == {}
    assert [each[:3] for each in site.actions()[-2:]] == [
        ("pause", "ana", "web"),
        ("resume", "ana", "web"),
    ]
    assert form(site.get("/syncs/vip").text, "/syncs/vip/pause") != {}


def test_an_end_is_meant_in_the_zone_of_the_sync(site):
    end = {"reason": WHY, "span": "24h"}
    wrong = site.press("/syncs/vip/pause", end | {"until": "tomorrow"})
    answer = site.press("/syncs/vip/pause", end | {"until": "2099-06-29T18:00"})
    ((until,),) = site.rows("SELECT until FROM pause")
    site.press("/syncs/vip/resume")

    assert wrong.status_code == 409
    assert 'href="/help/pause.invalid"' in wrong.text
    assert answer.status_code == 303
    assert until.startswith("2099-06-29 09:00:00")


def test_a_plan_is_computed_and_sends_nothing(site):
    since, before = site.simulator.last(), site.simulator.members()
    site.installation.audience(people(80))

    answer = site.press("/syncs/vip/plan")
    page = site.get(answer.headers["location"])

    assert answer.status_code == 303
    assert answer.headers["location"] == "/syncs/vip/plan"
    assert page.status_code == 200
    assert "guard.max_exit" in page.text
    assert re.search(rf"would exit</dt><dd[^>]*>{len(before) - 80}<", page.text)
    assert "asked for by ana" in page.text
    assert site.writes(since) == []
    assert site.simulator.members() == before


def test_a_plan_that_nobody_asked_for_leads_to_the_sync(waiting):
    site, _ = waiting

    answer = site.get("/syncs/vip/plan")

    assert answer.status_code == 303
    assert answer.headers["location"] == "/syncs/vip"


def test_a_sync_that_nobody_knows_is_refused(site):
    token = form(site.get("/syncs/vip").text, "/syncs/vip/run")["token"]
    answer = site.client.post(
        "/syncs/nobody/run", data={"token": token}, headers=SAME_SITE, auth=ANA
    )

    assert answer.status_code == 403  # a token is for one path


# ---- actions disabled ----------------------------------------------------------------


def test_without_actions_an_operator_has_no_buttons(installation, simulator):
    installation.sync()
    with site_of(installation, simulator, actions="disabled") as site:
        page = site.get("/syncs/vip").text
        answer = site.client.post(
            "/syncs/vip/run", data={"token": ""}, headers=SAME_SITE, auth=ANA
        )

    assert "<form" not in page
    assert answer.status_code == 403


def test_a_plan_that_would_cost_a_download_says_so_and_spends_none(
    installation, simulator
):
    crowd = {"prefix": "person-", "count": 60}
    simulator.cohort("churn", name="Churn risk", generate=crowd)
    installation.cohort_sync("churn-risk", "churn")
    with site_of(installation, simulator) as site:
        path = "/syncs/churn-risk/plan"
        answer = site.press(path, page="/syncs/churn-risk")
        page = site.get(path).text

    assert answer.status_code == 303
    assert 'href="/help/plan.costs"' in page
    assert "syncd plan churn-risk --max-downloads 1" in page
    assert simulator.downloads()["counted"] == 0
