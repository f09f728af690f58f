"""One cut: a story is played until the command kills itself, judged, and brought home.

A `Story` arranges the world, names the command, and says what must hold after the cut
and once a clean run has come to its end. A `Ground` is where stories are played, one
after the other: a simulator, a warm process and a store of one kind.
`killing/stories.py` has the stories, `tests/reliability/test_kill_points.py` plays
them.
"""

import shutil
import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests.installed import Ended
from tests.reliability.killing.beside import certain, require_intact, uncertain
from tests.reliability.killing.forked import Forked, Passage, Stage, Warm
from tests.simulated import Simulator

BATCH = 10
RAN_OUT = "no whole answer from"
"""How the product says that a request ran out of time; simulators answer at once."""
KILLED = -signal.SIGKILL


def people(count: int, first: int = 0) -> list[str]:
    """Ids that can be found in an output if they ever leak."""
    return [f"person-{number:04d}" for number in range(first, first + count)]


# ---- a play -------------------------------------------------------------------------


@dataclass
class Play:
    """A story being played."""

    stage: Stage
    simulator: Simulator
    url: str
    wanted: set[str] = field(default_factory=set)
    """Whom the destination must hold in the end."""
    leaving: set[str] = field(default_factory=set)
    """Who may be asked to leave."""
    since: int = 0
    """The newest request when the story begins."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What a story has to remember."""
    cut_at: str = ""
    """The point at which its command dies."""
    ground: "Ground | None" = None

    def run_once(self, key: tuple[str, ...]) -> None:
        """A run that must end well; the same one is not repeated for every play."""
        assert self.ground is not None
        if not self.ground.recall(self, key):
            self.run()
            self.ground.remember(self, key)

    def run(self, *args: str) -> Ended:
        """A run that must end well."""
        ended = self.stage.syncd("run", "--json", "-vv", *args)
        assert ended.code == 0, _told(ended)
        return ended

    def begin(self) -> None:
        """Everything is arranged: what follows is the story's own."""
        self.since = self.simulator.last()


class Story:
    """What is played. A subclass says what differs from a plain run of one sync."""

    name = ""
    command: tuple[str, ...] = ("run", "--json", "-vv")
    fresh = False
    """Begins without a store; otherwise there is an empty one of the newest schema."""
    stores: tuple[str, ...] = ("sqlite", "postgres")
    codes: tuple[int, ...] = (0,)
    """How the command may end when nobody kills it."""

    def arrange(self, play: Play) -> None:
        """The world as it is before the command."""
        raise NotImplementedError

    def act(self, play: Play, kill: Passage | None) -> Forked:
        """Play the command until it has ended."""
        verb, *args = self.command
        started = play.stage.fork(verb, *args, kill=kill)
        started.child.wait()
        return started

    def counts(self, point: str) -> bool:
        """Whether a point belongs to this story."""
        return bool(point)

    def there(self, play: Play) -> set[str]:
        """Who is at the destination, in truth."""
        cohorts = play.simulator.cohorts()
        assert len(cohorts) <= 1, "the cohort was created twice"
        return play.simulator.members(cohorts[0]["id"]) if cohorts else set()

    def judge(self, play: Play) -> None:
        """Right after the cut."""
        self.require_uncertainty_contains_error(play)
        self.require_no_wrongful_removal(play)

    def require_uncertainty_contains_error(self, play: Play) -> None:
        """I-2: whoever is there only, or in the store only, is in an open batch."""
        wrong = (self.there(play) ^ certain(play.url)) - uncertain(play.url)
        assert wrong == set(), f"{len(wrong)} people are wrong and nobody knows"

    def require_no_wrongful_removal(self, play: Play) -> None:
        """I-7: only who may leave was asked to."""
        asked = set(play.simulator.sent("REMOVE", play.since))
        assert asked - play.leaving == set(), "people were wrongly removed"

    def finish(self, play: Play) -> None:
        """Bring it home, and hold it to I-1."""
        play.run()
        self.require_right(play)

    def require_right(self, play: Play) -> None:
        """I-1: there, known and wanted are the same, and nobody is in doubt."""
        assert self.there(play) == play.wanted
        assert certain(play.url) == play.wanted
        assert uncertain(play.url) == set()
        self.require_no_wrongful_removal(play)


# ---- the ground ---------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """One case: a story and the passage at which its command dies."""

    story: str
    passage: Passage

    def __str__(self) -> str:
        point, number = self.passage
        return f"{self.story}: passage {number} of {point}"


@dataclass(frozen=True)
class Kept:
    """A store after a first run, and the cohort that it made."""

    store: str
    """A file, or the name of a database."""
    cohort: dict[str, Any]


@dataclass
class Ground:
    """Where stories of one kind of store are played, one at a time."""

    simulator: Simulator
    warm: Warm
    folder: Path
    server: str = ""
    """URL of a Postgres; empty for SQLite."""
    template: str = ""
    """An empty store of the newest schema: a file, or the name of a database."""
    kept: dict[tuple[str, ...], Kept] = field(default_factory=dict)
    """What a first run left, by what it was about."""

    def prepare(self) -> None:
        """Make the empty store that plays begin with."""
        folder = self.folder / "template"
        folder.mkdir()
        with ExitStack() as stack:
            stage = Stage(folder, self.simulator, stack, self.warm)
            stage.sync()
            name = f"k_{uuid.uuid4().hex}"
            if self.server:
                self._create(name, "template0")
                stage.config["store"]["url"] = self._url(name)
            assert stage.syncd("db", "migrate").code == 0
            self.template = name if self.server else str(stage.database)

    def record(self, story: Story) -> list[Passage]:
        """All passages of a story that nobody cuts."""
        with self._play(story) as play:
            ended = story.act(play, None)
            assert ended.child.code in story.codes, _told(ended.ended())
            story.judge(play)
            return [each for each in ended.passages if story.counts(each[0])]

    def cut(self, story: Story, passage: Passage) -> bool:
        """Play a story to a passage, judge, bring it home; False if it never came."""
        with self._play(story) as play, _in_time(play.stage.folder):
            play.cut_at = passage[0]
            ended = story.act(play, passage)
            if ended.child.code != KILLED:
                assert ended.child.code in story.codes, _told(ended.ended())
            assert "person-" not in ended.text("out") + ended.text("err")
            require_intact(play.url)
            story.judge(play)
            play.simulator.no_faults()
            story.finish(play)
            require_intact(play.url)
            return ended.child.code == KILLED

    def remember(self, play: Play, key: tuple[str, ...]) -> None:
        """Keep what a first run left: the store and one cohort."""
        (cohort,) = play.simulator.cohorts()
        made = {name: cohort[name] for name in ("id", "name", "type", "owners")}
        made["members"] = sorted(play.simulator.members())
        name = f"k_{uuid.uuid4().hex}"
        if self.server:
            self._create(name, urlsplit(play.url).path.removeprefix("/"))
        else:
            name = str(shutil.copy(play.stage.database, self.folder / name))
        self.kept[key] = Kept(name, made)

    def recall(self, play: Play, key: tuple[str, ...]) -> bool:
        """Let it be as a first run left it; False where none did so far."""
        if key not in self.kept:
            return False
        kept = self.kept[key]
        if self.server:
            name = urlsplit(play.url).path.removeprefix("/")
            self._on_server("DROP DATABASE {} WITH (FORCE)", name)
            self._create(name, kept.store)
        else:
            shutil.copy(kept.store, play.stage.database)
        play.simulator.post("/_sim/cohorts", kept.cohort)
        return True

    @contextmanager
    def _play(self, story: Story) -> Iterator[Play]:
        # Always the same one: the name of a list's file is part of what a store knows.
        folder = self.folder / "play"
        folder.mkdir()
        self.simulator.post("/_sim/reset", {})
        self.simulator.post("/_sim/config", {"job_seconds": 0})
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder)
            stage = Stage(folder, self.simulator, stack, self.warm)
            url = stack.enter_context(self._store(stage, fresh=story.fresh))
            play = Play(stage, self.simulator, url, ground=self)
            story.arrange(play)
            play.begin()
            yield play

    @contextmanager
    def _store(self, stage: Stage, *, fresh: bool) -> Iterator[str]:
        if not self.server:
            if not fresh:
                shutil.copy(self.template, stage.database)
            yield f"sqlite:///{stage.database}"
            return
        name = f"k_{uuid.uuid4().hex}"
        self._create(name, "template0" if fresh else self.template)
        stage.config["store"]["url"] = self._url(name)
        try:
            yield self._url(name)
        finally:
            self._on_server("DROP DATABASE {} WITH (FORCE)", name)

    def _create(self, name: str, template: str) -> None:
        self._on_server("CREATE DATABASE {} TEMPLATE {}", name, template)

    def _on_server(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            quoted = [sql.Identifier(name) for name in names]
            connection.execute(sql.SQL(statement).format(*quoted))

    def _url(self, name: str) -> str:
        return urlunsplit(urlsplit(self.server)._replace(path=f"/{name}"))


class TooSlow(Exception):
    """The machine took longer for an answer than a request may take: nothing is shown
    by how that play went on."""


@contextmanager
def _in_time(folder: Path) -> Iterator[None]:
    """Raises `TooSlow` where a play failed in which a request ran out of time."""
    try:
        yield
    except AssertionError as error:
        said = [
            path.read_text()
            for ending in ("out", "err")
            for path in folder.glob(f"*.{ending}")
        ]
        if any(RAN_OUT in each for each in said):
            raise TooSlow(f"no whole answer in time, then: {error}") from error
        raise


def _told(ended: Ended) -> str:
    return f"ended with {ended.code}\n{ended.out[-1500:]}\n{ended.err[-3000:]}"


def firsts(recorded: dict[str, list[Passage]]) -> list[Cut]:
    """Every point once, at its first passage, in one of the stories that have it.

    Each goes to the story that has the fewest so far, so that all take part.
    """
    where: dict[str, list[str]] = {}
    for story, passages in recorded.items():
        for point in dict.fromkeys(point for point, _ in passages):
            where.setdefault(point, []).append(story)
    given = dict.fromkeys(recorded, 0)
    cuts = []
    for point in sorted(where, key=lambda each: (len(where[each]), each)):
        story = min(where[point], key=lambda each: given[each])
        given[story] += 1
        cuts.append(Cut(story, (point, 1)))
    return cuts


def everything(recorded: dict[str, list[Passage]]) -> list[Cut]:
    """Every passage of every point of every story."""
    return [
        Cut(story, passage)
        for story, passages in recorded.items()
        for passage in passages
    ]
