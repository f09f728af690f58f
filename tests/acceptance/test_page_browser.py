"""The page in a real browser: what is read at a glance, what a click does and may not.

Every page is watched: no complaint in the console, no request to anybody else.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from tests.browsing import (
    CHROMIUM,
    JOE,
    HeldSite,
    chromium,
    held_site,
    people,
    visiting,
)

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs the package chromium"),
]

WHY = "the audience was cleaned up"
PHONE = {"width": 390, "height": 640}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Syncs that are held: two to be approved, one to be rejected, one that stays."""
    folder = tmp_path_factory.mktemp("site")
    with held_site(folder, ["vip", "plain", "churn", "stays"]) as made:
        yield made


def approve(page: Page, sync: str) -> None:
    """What a person does, from the list to the button."""
    page.goto("/")
    page.get_by_role("link", name=sync, exact=True).click()
    page.get_by_text("Approve this plan…").click()
    form = page.locator("details.approve")
    form.get_by_label("Type").fill(sync)
    form.get_by_label("Why").fill(WHY)
    form.get_by_role("button", name="Approve and send").click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]+$"))


# ---- decisions -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sync", "scripts"), [("vip", True), ("plain", False)], ids=["usual", "no scripts"]
)
def test_an_operator_approves_a_held_run_and_exactly_that_is_sent(
    site: HeldSite, browser: Browser, sync: str, *, scripts: bool
) -> None:
    held = site.run_of(sync)
    with visiting(browser, site.url, java_script_enabled=scripts) as visit:
        approve(visit.page, sync)

        assert site.daemon.reached("run.finished", sync=sync, trigger="approve")
        visit.page.goto(f"/runs/{held}")
        expect(visit.page.locator("main")).to_contain_text(WHY)

    assert visit.faults == []
    assert site.members(sync) == set(people(80))
    (said,) = site.daemon.events("operator.approved", run=held)
    assert (said["actor"], said["via"], said["reason"]) == ("ana", "web", WHY)


def test_an_operator_rejects_a_held_run_and_nothing_is_sent(
    site: HeldSite, browser: Browser
) -> None:
    held, writes = site.run_of("churn"), site.writes()
    with visiting(browser, site.url) as visit:
        visit.page.goto(f"/runs/{held}")
        visit.page.get_by_text("Reject…").click()
        form = visit.page.locator("details.reject")
        form.get_by_label("Why").fill(WHY)
        form.get_by_role("button", name="Reject the plan").click()
        expect(visit.page.locator("main")).to_contain_text(WHY)

    assert visit.faults == []
    assert site.writes() == writes
    assert site.members("churn") == set(people(200))


def test_a_wrong_name_approves_nothing_and_the_page_says_what_to_do(
    site: HeldSite, browser: Browser
) -> None:
    writes = site.writes()
    with visiting(browser, site.url) as visit:
        page = visit.page
        page.goto("/syncs/stays")
        page.get_by_text("Approve this plan…").click()
        form = page.locator("details.approve")
        form.get_by_label("Type").fill("stay")
        form.get_by_label("Why").fill(WHY)
        form.get_by_role("button", name="Approve and send").click()

        expect(page.get_by_role("heading", level=1)).to_have_text("Nothing was done")
        expect(page.locator(".command")).to_contain_text("syncd show")
        page.get_by_role("link", name="form.name").click()
        expect(page).to_have_url(f"{site.url}/help/form.name")

    # Chromium itself notes in its console that an answer was a 409.
    assert [fault for fault in visit.faults if "409" not in fault] == []
    assert site.writes() == writes


# ---- who may not ---------------------------------------------------------------------


def test_without_a_sign_in_there_is_no_button_and_no_way_round(
    site: HeldSite, browser: Browser
) -> None:
    run, writes = site.run_of("stays"), site.writes()
    with visiting(browser, site.url, None) as visit:
        # Without a window there is nobody to ask for a name and a password.
        with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):
            visit.page.goto("/syncs/stays")
        buttons = visit.page.get_by_role("button").count()
        seen = visit.page.request.get("/syncs/stays")
        text = seen.text()
        posted = visit.page.request.post(
            f"/runs/{run}/approve",
            form={"typed": "stays", "reason": WHY},
            headers={"sec-fetch-site": "same-origin"},
        )

    assert buttons == 0
    assert (seen.status, posted.status) == (401, 401)
    assert "stays" not in text
    assert site.writes() == writes


def test_a_viewer_sees_the_plan_and_no_button(site: HeldSite, browser: Browser) -> None:
    run, writes = site.run_of("stays"), site.writes()
    with visiting(browser, site.url, JOE) as visit:
        visit.page.goto("/syncs/stays")
        expect(visit.page.locator("main")).to_contain_text("Waiting for a decision")
        buttons = visit.page.get_by_role("button").count()
        summaries = visit.page.locator("summary").count()
        posted = visit.page.request.post(
            f"/runs/{run}/approve",
            form={"typed": "stays", "reason": WHY},
            headers={"sec-fetch-site": "same-origin"},
        )

    assert visit.faults == []
    assert (buttons, summaries) == (0, 0)
    assert posted.status == 403
    assert site.writes() == writes


def test_a_form_on_another_site_is_refused_whatever_it_knows(
    site: HeldSite, browser: Browser
) -> None:
    run, writes = site.run_of("stays"), site.writes()
    with visiting(browser, site.url) as visit:
        page = visit.page
        page.goto("/syncs/stays")
        form = page.locator("details.approve form")
        known = {
            name: form.locator(f"input[name={name}]").get_attribute("value") or ""
            for name in ("token", "plan")
        }
        fields = known | {"typed": "stays", "reason": WHY}
        # Another port of this machine is another site's page, and reaches the same.
        elsewhere = "http://localhost:1/"
        page.route(
            elsewhere, lambda route: route.fulfill(body=_trap(site, run, fields))
        )
        page.goto(elsewhere)
        with page.expect_navigation():
            page.get_by_role("button").click()

        expect(page.locator("main")).to_contain_text("access.origin")

    assert site.writes() == writes


def _trap(site: HeldSite, run: str, fields: dict[str, str]) -> str:
    inputs = "".join(
        f'<input type=hidden name="{name}" value="{value}">'
        for name, value in fields.items()
    )
    action = f"{site.url}/runs/{run}/approve"
    return (
        f'<!doctype html><title>x</title><form method=post action="{action}">{inputs}'
        "<button>Win a prize</button></form>"
    )


# ---- at a glance ---------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_what_is_held_why_and_what_to_type_without_scrolling(
    site: HeldSite, browser: Browser, scheme: str
) -> None:
    how: dict[str, Any] = {"viewport": PHONE, "color_scheme": scheme}
    with visiting(browser, site.url, **how) as visit:
        page = visit.page
        page.goto("/")
        needed = page.locator("section.needed")
        shown = {
            "name": needed.get_by_text(
                re.compile(r"\b(stays|vip|churn|plain) is held")
            ),
            "reason": needed.locator(".reason"),
            "command": needed.locator(".command"),
        }
        boxes = {name: each.bounding_box() for name, each in shown.items()}
        wide = page.evaluate("document.documentElement.scrollWidth")

        expect(shown["reason"]).to_contain_text("120 of 200 people would leave")
        expect(shown["command"]).to_contain_text("syncd show")

    assert visit.faults == []
    for name, box in boxes.items():
        assert box is not None, name
        assert box["x"] >= 0, name
        assert box["y"] >= 0, name
        assert box["x"] + box["width"] <= PHONE["width"], name
        assert box["y"] + box["height"] <= PHONE["height"], name
    assert wide <= PHONE["width"]


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_complains_asks_elsewhere_or_scrolls_sideways(
    site: HeldSite, browser: Browser, width: int
) -> None:
    paths = [
        "/",
        "/?state=held",
        "/syncs/stays",
        f"/runs/{site.run_of('stays')}",
        "/help",
        "/help/guard.max_exit",
    ]
    viewport = {"width": width, "height": 800}
    with visiting(browser, site.url, viewport=viewport) as visit:
        page = visit.page
        for path in paths:
            answer = page.goto(path)
            assert answer is not None
            assert answer.status == 200, path
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, path
        page.goto("/syncs/stays")
        page.get_by_role("button", name="Plan", exact=True).click()
        page.wait_for_url("**/syncs/stays/plan")
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    assert visit.faults == []


def test_a_half_filled_form_is_not_reloaded_away_without_scripts(
    site: HeldSite, browser: Browser
) -> None:
    with visiting(browser, site.url, java_script_enabled=False) as visit:
        visit.page.goto("/syncs/stays")
        operator = visit.page.locator("meta[http-equiv=refresh]").count()
    with visiting(browser, site.url, JOE, java_script_enabled=False) as looking:
        looking.page.goto("/syncs/stays")
        viewer = looking.page.locator("meta[http-equiv=refresh]").count()

    assert (operator, viewer) == (0, 1)


def test_no_page_shows_a_member(site: HeldSite, browser: Browser) -> None:
    with visiting(browser, site.url) as visit:
        for path in ("/", "/syncs/stays", f"/runs/{site.run_of('stays')}"):
            visit.page.goto(path)
            assert "person-0" not in visit.page.content()
