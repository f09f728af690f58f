"""SIGKILL at every point, at every passage: nobody is lost, nobody is wrongly removed.

A recording of each story lists what its command passes: before and after each commit,
before each request, behind it, and behind its answer, each statement of a migration,
each file. Then the story is played again for each of them, and dies there. `README.md`
beside this file says what is checked and gives numbers.

The short form has every point once; `--long` has every passage of every story.
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

import pytest

from tests.reliability.killing.arrivals import DELIVERIES, Arrivals
from tests.reliability.killing.cutting import (
    Cut,
    Ground,
    Story,
    TooSlow,
    everything,
    firsts,
)
from tests.reliability.killing.forked import Passage, warmed
from tests.reliability.killing.interventions import Adopt, Detach, Forget, Push, Repair
from tests.reliability.killing.outgrown import Migrate
from tests.reliability.killing.stories import (
    Approve,
    Compact,
    Delta,
    Download,
    First,
    FirstPartner,
    Held,
    Partner,
    Resume,
    Retry,
    TakeOver,
)
from tests.simulated import simulating

STORIES: dict[str, Story] = {
    story.name: story
    for story in (
        *(First(), Delta(), Retry(), Held(), Approve(), TakeOver(), Resume()),
        *(Compact(), Download(), Partner(), FirstPartner(), Arrivals(), Migrate()),
        *(Repair(), Push(), Adopt(), Detach(), Forget()),
    )
}
SAMPLE = (First.name, Delta.name, Arrivals.name)
"""Stories that the short form plays on Postgres, too."""
SAMPLED = 4
"""On Postgres the short form has each so manieth of its cuts."""
GROUNDS = 4
"""Plays at once: most of a play is waiting for what a dead process may have sent."""
DAEMONS = (Arrivals.name, Resume.name)
MISSED = 0.1
"""Of a daemon's passages, in a share of the cuts the time for it does not come."""

TRIES = 3
"""Of a play in which the machine was too slow for a request: those have a second."""

T = TypeVar("T")


@dataclass
class Theatre:
    """All grounds of one kind of store, and what was recorded on them."""

    grounds: SimpleQueue[Ground] = field(default_factory=SimpleQueue)
    recorded: dict[str, list[Passage]] = field(default_factory=dict)
    cuts: dict[str, list[Cut]] = field(default_factory=dict)
    """What is to be cut, by story."""

    def share(self, cuts: Sequence[Cut]) -> None:
        """These are to be cut."""
        self.cuts = {name: [] for name in self.recorded}
        for cut in cuts:
            self.cuts[cut.story].append(cut)

    def on_all(self, act: Callable[[Ground], T]) -> T:
        """Something on a ground that is free."""
        ground = self.grounds.get()
        try:
            return act(ground)
        finally:
            self.grounds.put(ground)

    def record(self, names: Sequence[str]) -> None:
        """Play these stories to their end."""
        with ThreadPoolExecutor(GROUNDS) as pool:
            passages = pool.map(
                lambda name: self.on_all(lambda at: at.record(STORIES[name])), names
            )
            self.recorded = dict(zip(names, passages, strict=True))

    def play(self, cuts: Sequence[Cut]) -> list[str]:
        """Play these cuts; returns what went wrong, and notes which never came."""
        with ThreadPoolExecutor(GROUNDS) as pool:
            return [wrong for wrong in pool.map(self._played, cuts) if wrong]

    def _played(self, cut: Cut) -> str:
        wrong = ""
        for _ in range(TRIES):
            try:
                play = partial(
                    Ground.cut, story=STORIES[cut.story], passage=cut.passage
                )
                return "" if self.on_all(play) else f"{cut}: {NEVER}"
            except TooSlow as error:
                wrong = f"{cut}: {error}"
            except Exception:  # noqa: BLE001  # all of them are told, with what failed
                return f"{cut}\n{traceback.format_exc()}"
        return wrong


NEVER = "never came"


INTAKE = "commit store.intake._write/before"
"""What arrived is about to be committed."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every story on SQLite; on Postgres too in the long form, else a sample."""
    if "story" in metafunc.fixturenames:
        on_postgres = STORIES if metafunc.config.getoption("--long") else SAMPLE
        cases = [("sqlite", name) for name in STORIES]
        cases += [("postgres", name) for name in on_postgres]
        metafunc.parametrize(("store", "story"), cases)
    else:
        metafunc.parametrize("store", ["sqlite", "postgres"])


@pytest.fixture
def theatre(request: pytest.FixtureRequest, store: str) -> Theatre:
    """The one of this kind of store."""
    found: Theatre = request.getfixturevalue(f"{store}_theatre")
    return found


@pytest.fixture(scope="module")
def sqlite_theatre(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Theatre]:
    """Every story recorded on SQLite, the cuts shared out."""
    with theatre_on("", tmp_path_factory) as found:
        found.record(list(STORIES))
        long = pytestconfig.getoption("--long")
        found.share(everything(found.recorded) if long else firsts(found.recorded))
        yield found


@pytest.fixture(scope="module")
def postgres_theatre(
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_url: str,
) -> Iterator[Theatre]:
    """The same on Postgres; in the short form only a sample."""
    with theatre_on(postgres_url, tmp_path_factory) as found:
        if pytestconfig.getoption("--long"):
            found.record(list(STORIES))
            found.share(everything(found.recorded))
        else:
            found.record(SAMPLE)
            found.share(firsts(found.recorded)[::SAMPLED])
        yield found


@contextmanager
def theatre_on(
    server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Theatre]:
    """Grounds for one kind of store; nothing was recorded on them."""
    with ExitStack() as stack:
        found = Theatre()
        warm = stack.enter_context(warmed())
        for _ in range(GROUNDS):
            simulator = stack.enter_context(simulating("--latency", "0"))
            folder = tmp_path_factory.mktemp("ground")
            ground = Ground(simulator, warm, folder, server)
            ground.prepare()
            found.grounds.put(ground)
        yield found


@pytest.mark.timeout(1800)
def test_a_command_killed_at_any_passage_loses_nobody_and_removes_nobody_wrongly(
    theatre: Theatre, story: str
) -> None:
    cuts = theatre.cuts[story]

    wrong = theatre.play(cuts)

    never = [each for each in wrong if each.endswith(NEVER)]
    rest = [each for each in wrong if each not in never]
    assert rest == [], "\n\n".join(rest[:5])
    may_miss = MISSED * len(cuts) + 1 if story in DAEMONS else 0
    assert len(never) <= may_miss, "\n".join(never)
    passages = len(theatre.recorded[story])
    print(f"{len(cuts) - len(never)} kills at {passages} passages, {len(never)} missed")


@pytest.mark.timeout(600)
def test_nothing_is_acknowledged_before_its_commit(theatre: Theatre) -> None:
    """Killed right before a commit of the intake, with time for an early answer."""
    recorded = theatre.recorded[Arrivals.name]
    passages = [each for each in recorded if each[0] == INTAKE]
    few = (passages[0], passages[len(passages) // 2], passages[-1])

    wrong = theatre.play([Cut(Arrivals.name, each) for each in few])

    assert len(passages) >= len(DELIVERIES) - 1, "each delivery is a commit of its own"
    assert wrong == [], "\n\n".join(wrong)
