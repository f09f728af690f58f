"""What a look costs: the list laid out, and every page of a daemon with 300 syncs.

The list of 50 syncs is laid out beside a bare template that writes as much. A real
daemon with 300 syncs and three days of runs is asked over HTTP, beside that template
and beside reading the store alone. `--full-size` prints the tables and holds them
against the goals; without it 10 syncs, and whether everybody is on the pages.
"""

import json
import threading
from contextlib import closing
from statistics import median
from time import thread_time
from typing import Any

import pytest
from jinja2 import Environment

from syncd.clock import Clock
from syncd.config.loader import load
from syncd.report.standing import standings
from syncd.store.database import Database
from syncd.web.pages import render
from tests import paged
from tests.benchmarks.many import Many
from tests.benchmarks.table import load as busy
from tests.benchmarks.table import table
from tests.benchmarks.visited import Visit, Visitor, ends_of_runs, give_a_past
from tests.installed import Installation
from tests.simulated import Simulator

SYNCS, ROUNDS = 50, 15
WORDS = 24
"""Places in a row that the template fills in."""
GOAL = 20.0
"""ms for the page."""
RATIO = 25.0
"""Times the bare template, at most: it draws no pictures."""
BARE = (
    "{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}"
    "</tr>{% endfor %}"
)


def best(work: Any) -> float:
    """ms of CPU in the quickest round: what else the machine does only adds to it."""
    times = []
    for _ in range(ROUNDS):
        begun = thread_time()
        work()
        times.append(thread_time() - begun)
    return min(times) * 1000


def test_a_page_costs_little_more_than_its_bytes(pytestconfig: Any) -> None:
    values = {**paged.NOBODY, "page": paged.list_page(*paged.rows(SYNCS))}
    length = len(render.page("list", values))
    cells = [["x" * (length // SYNCS // WORDS)] * WORDS] * SYNCS
    bare = Environment(autoescape=True).from_string(BARE)

    page = best(lambda: render.page("list", values))
    floor = best(lambda: bare.render(rows=cells).encode())

    if pytestconfig.getoption("full_size"):
        print(f"\npage {page:.1f} ms, bare {floor:.2f} ms, {length:,} bytes")
        assert page <= GOAL
    assert page / floor <= RATIO


# ---- a daemon with many syncs --------------------------------------------------------

KEPT = 5.2
"""Real seconds for which a page or a scrape may be shown again, and a little more."""
AGAIN = 100
"""Requests for what is shown again."""
IDLE, QUIET = 30.0, 0.01
"""Real seconds, and the share of a core that a daemon may use while nothing is due."""
MULTIPLE = {"list": 4.0, "/metrics": 6.0, "status": 3.0}
"""CPU of a request, as a multiple of reading how every sync is; at most."""
HEAD = "what, ms: median, slowest, CPU ms, CPU / store, bytes"


class Store:
    """Reads how every sync is from the store, and nothing else."""

    def __init__(self, installation: Installation) -> None:
        loaded = load([installation.folder / "syncd.json"], {})
        self._settings = loaded.settings
        self._database = Database(loaded.settings.store.read_url())

    def read(self) -> float:
        """Seconds of CPU."""
        before = thread_time()
        with self._database.read() as connection:
            standings(connection, self._settings, self._settings.syncs, Clock())
        return thread_time() - before

    def close(self) -> None:
        self._database.close()


def with_a_past(many: Many, hours: int) -> None:
    """Two real runs of every sync, and their like before them."""
    many.known(1)
    for hour in (0, 1):
        many.lists(hour)
        assert many.installation.syncd("run").code == 0
    give_a_past(many.installation.database, hours)


def line(name: str, visits: list[Visit], store: float) -> list[str]:
    """One line of the table; the first visits are not in it."""
    cpu = median(each.cpu for each in visits)
    return [
        name,
        f"{1000 * median(each.seconds for each in visits):.0f}",
        f"{1000 * max(each.seconds for each in visits):.0f}",
        f"{1000 * cpu:.1f}",
        f"{cpu / store:.2f}",
        f"{len(visits[-1].body):,}",
    ]


def expect_everybody(many: Many, seen: dict[str, Visit]) -> None:
    """Each sync is on the list, in the document and among the gauges."""
    listed = paged.read(seen["list"].body)
    links = {each.attributes["href"] for each in listed.all("a")}
    status = json.loads(seen["status"].body)
    gauges = seen["/metrics"].body.decode().splitlines()

    assert {f"/syncs/{name}" for name in many.names} <= links
    assert {each["name"] for each in status["syncs"]} == set(many.names)
    assert {each["members"] for each in status["syncs"]} == {many.people}
    assert {each["last_change"]["entered"] for each in status["syncs"]} == {many.moved}
    sizes = [each for each in gauges if each.startswith("syncd_members{side=")]
    assert len(sizes) == 2 * len(many.names)
    assert {each.rpartition(" ")[2] for each in sizes} == {f"{many.people}.0"}


@pytest.mark.timeout(900)
def test_a_look_at_many_syncs_costs_little_more_than_reading_how_they_are(
    simulator: Simulator, installation: Installation, pytestconfig: pytest.Config
) -> None:
    full = pytestconfig.getoption("--full-size")
    many = Many(300 if full else 10, 100, simulator, installation, "every 24h")
    with_a_past(many, 72 if full else 3)
    daemon = installation.start("serve")
    paths = {
        "list": "/",
        "one sync": f"/syncs/{many.names[7]}",
        "one run": f"/runs/{next(ends_of_runs(installation.database))}",
        "status": "/api/v1/status",
        "/metrics": "/metrics",
    }
    never = threading.Event()
    seen: dict[str, list[Visit]] = {name: [] for name in paths}

    with closing(Visitor(daemon)) as visitor, closing(Store(installation)) as store:
        first = {name: visitor.visit(path) for name, path in paths.items()}
        floors = [store.read()]
        for _ in range(7 if full else 0):
            never.wait(KEPT)
            for name, path in paths.items():
                seen[name].append(visitor.visit(path))
            floors.append(store.read())
        shown_again = {
            name: [visitor.visit(paths[name]) for _ in range(AGAIN if full else 0)]
            for name in ("list", "/metrics")
        }
        before = visitor.cpu()
        never.wait(IDLE if full else 0)
        idle = (visitor.cpu() - before) / IDLE

    expect_everybody(many, first)
    assert daemon.stop() == 0
    if full:
        floor = median(floors)
        rows = [line(f"{name}, first", [each], floor) for name, each in first.items()]
        rows += [line(name, each, floor) for name, each in seen.items()]
        rows += [
            line(f"{name}, again", each, floor) for name, each in shown_again.items()
        ]
        print(f"\n{busy()}; store {1000 * floor:.1f} ms; idle {100 * idle:.2f} %")
        print(table(HEAD, rows))
        assert idle <= QUIET
        for name, most in MULTIPLE.items():
            assert median(each.cpu for each in seen[name]) <= most * floor, name
