"""A site as people use it: a real daemon with syncs that wait for a person, a browser.

Needs Debian's package `chromium`: tests that use it are marked so.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    HttpCredentials,
    Page,
    sync_playwright,
)

from tests.installed import Installation, Running
from tests.simulated import Simulator, simulating

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()
ANA, JOE = ("ana", "anas-long-password"), ("joe", "joes-long-password")
"""An operator, and a viewer."""


@dataclass
class HeldSite:
    """A daemon whose syncs are all held, and where its page is."""

    installation: Installation
    simulator: Simulator
    daemon: Running
    url: str

    def run_of(self, sync: str) -> str:
        """The id of the run whose plan waits."""
        query = "SELECT id FROM run WHERE sync = ? AND hold_expires_at IS NOT NULL"
        with closing(sqlite3.connect(self.installation.database)) as store:
            ((found,),) = store.execute(query, (sync,)).fetchall()
        return str(found)

    def members(self, sync: str) -> set[str]:
        """Who is in the cohort of a sync, in truth."""
        (cohort,) = [
            each
            for each in self.simulator.cohorts()
            if each["name"].endswith(f"Cohort {sync}")
        ]
        return self.simulator.members(cohort["id"])

    def writes(self) -> int:
        """Requests that changed a cohort, so far."""
        log = self.simulator.log
        return len(log("membership")) + len(log("upload"))


def people(count: int) -> list[str]:
    """Ids that can be found in an output if they ever leak."""
    return [f"person-{number:06d}" for number in range(count)]


@contextmanager
def held_site(folder: Path, syncs: Sequence[str]) -> Iterator[HeldSite]:
    """200 people in each cohort, of whom the source then names 80: each is held."""
    with simulating("--latency", "0") as simulator, ExitStack() as stack:
        installation = Installation(folder, simulator, stack)
        simulator.users(people(400))
        for count, shrunken in ((200, False), (80, True)):
            for sync in syncs:
                if not shrunken:
                    installation.sync(sync)
                installation.audience(people(count), sync)
            assert installation.run().code == (3 if shrunken else 0)
        signing_in(installation)
        daemon = installation.start("serve")
        yield HeldSite(installation, simulator, daemon, daemon.url("admin"))
        assert daemon.stop() == 0


def signing_in(installation: Installation) -> None:
    """Let Ana press buttons and Joe look."""
    installation.secret("ana", ANA[1])
    installation.secret("joe", JOE[1])
    admin: dict[str, Any] = installation.config["web"]["admin"]
    admin["actions"] = "enabled"
    users = {
        "ana": {"password_file": "ana", "operator": True},
        "joe": {"password_file": "joe"},
    }
    admin["auth"] = {"type": "basic", "users": users}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's browser, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=list(FLAGS)
        )
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page in a browser, and what it did that no page of ours may do."""

    page: Page
    faults: list[str] = field(default_factory=list)


@contextmanager
def visiting(
    browser: Browser, url: str, who: tuple[str, str] | None = ANA, **how: Any
) -> Iterator[Visit]:
    """A page of its own, signed in; any complaint of the console is a fault, and so is
    a request to anybody else."""
    sign_in = HttpCredentials(username=who[0], password=who[1]) if who else None
    context: BrowserContext = browser.new_context(
        base_url=url, http_credentials=sign_in, **how
    )
    visit = Visit(context.new_page())
    page = visit.page
    page.on("console", lambda said: visit.faults.append(f"console: {said.text}"))
    page.on("pageerror", lambda error: visit.faults.append(f"script: {error}"))
    page.on("request", lambda asked: _note(visit, asked.url, url))
    try:
        yield visit
    finally:
        context.close()


def _note(visit: Visit, asked: str, own: str) -> None:
    if not asked.startswith((f"{own}/", "data:")):
        visit.faults.append(f"asked elsewhere: {asked}")
