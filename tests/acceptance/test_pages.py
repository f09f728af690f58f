"""The page that the real daemon serves: a held sync, seen, explained, decided."""

from collections.abc import Iterator

import httpx
import pytest

from tests import paged
from tests.installed import Installation
from tests.simulated import PATIENCE, Simulator

PEOPLE = [f"person-{number:06d}" for number in range(200)]


@pytest.fixture
def page(installation: Installation, simulator: Simulator) -> Iterator[httpx.Client]:
    """The admin port of a daemon; the plan of `vip` would remove 100 of 200 people."""
    installation.sync("vip", schedule="manual", owner="retention")
    simulator.users(PEOPLE)
    installation.audience(PEOPLE)
    assert installation.run().code == 0
    installation.audience(PEOPLE[:100])
    assert installation.run().code == 3
    daemon = installation.start("serve")
    with httpx.Client(
        base_url=daemon.url("admin"), timeout=PATIENCE, trust_env=False
    ) as client:
        yield client
    assert daemon.stop() == 0


def test_on_call_finds_the_held_sync_the_reason_and_the_way_from_page_to_page(
    page: httpx.Client, installation: Installation
) -> None:
    listed = page.get("/")
    home = paged.read(listed.content)
    needed = home.one("section", class_="needed")
    look = home.one("a", class_="look").attributes["href"]
    sync = paged.read(page.get(look).content)
    plan = sync.one("section", class_="needed")
    run_href = next(
        each.attributes["href"]
        for each in sync.all("a")
        if each.attributes["href"].startswith("/runs/")
    )
    run = page.get(run_href)
    help_ = page.get(
        next(
            each.attributes["href"]
            for each in sync.all("a")
            if each.attributes["href"].startswith("/help/guard")
        )
    )
    status = installation.syncd("status", "--json").document["syncs"][0]["held"]

    short = status["short_id"]
    assert listed.headers["cache-control"] == "no-store"
    assert "1 of 1 sync needs you." in needed.text
    assert "vip is held: 100 people would leave." in needed.text
    assert f"syncd show {short}" in needed.text
    assert f"syncd approve {short}" in plan.text
    assert "Ask retention" in plan.text
    assert run_href == f"/runs/{status['id']}"
    assert run.status_code == help_.status_code == 200
    assert "More people would leave than the limit allows." in help_.text
    for each in (listed, run):
        assert not [person for person in PEOPLE if person in each.text]


def test_what_is_decided_elsewhere_is_seen_on_the_page(
    page: httpx.Client, installation: Installation
) -> None:
    held = installation.syncd("status", "--json").document["syncs"][0]["held"]["id"]

    rejected = installation.syncd("reject", held, "--reason", "a broken <query>")
    decided = paged.read(page.get(f"/runs/{held}").content)

    assert rejected.code == 0
    assert "This plan was rejected." in decided.one("main").text
    assert "a broken <query>" in decided.one("main").text
    assert not decided.all("dl", class_="choices")
