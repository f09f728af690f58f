"""One sync in one process whose store fails at a chosen write, and what must hold then.

A scenario is played with a fault at its first write transaction, then at its second,
and so on until it comes to its end before the fault. The destination judges with each
request, before and after its effect; `heal` is what a daemon does once the fault is
over. The invariants are those of reliability.md, section 3.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection
from structlog.types import EventDict

from syncd.app import forgetting
from syncd.app.engine import Engine
from syncd.config.settings import GuardSettings
from syncd.errors import StoreError, SyncdError
from syncd.model import Operation, Outcome, Trigger
from syncd.store import bindings, runs
from syncd.store.database import Database
from syncd.sync.beginning import WaitsForPerson
from syncd.sync.decide import Decision
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    Belief,
    ManualClock,
    Request,
    World,
    belief,
    canonical,
    held_run,
    people,
)

OK = (Outcome.SUCCESS, Outcome.NO_CHANGE)
STRANGERS = people(7, 23)
"""Nobody knows them at the destination."""
GUARD = GuardSettings(max_exit=0.5, max_enter=10.0, ignore_below=3, on_trip="hold")
ENOUGH = 200
"""No scenario here has so many write transactions."""


class Striking(Database):
    """The store as a process sees it; something happens at its n-th write.

    It shares the connections of the whole store, which fails or not as it can.
    """

    def __init__(self, whole: Database, strike: Callable[[], None]) -> None:
        self.url = whole.url
        self.struck = False
        self._whole = whole
        self._strike = strike
        self._left: int | None = None

    def at(self, transaction: int | None) -> None:
        """Strike at the n-th write transaction from now; None: never."""
        self._left, self.struck = transaction, False

    @property
    def dialect(self) -> str:
        return self._whole.dialect

    @contextmanager
    def begin(self, *, brief: bool = False) -> Iterator[Connection]:
        self._count()
        with self._whole.begin(brief=brief) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._whole.read() as connection:
            yield connection

    def rewrite(self) -> None:
        self._count()
        self._whole.rewrite()

    def close(self) -> None:
        """The whole store goes on."""

    def _count(self) -> None:
        if self._left is None:
            return
        self._left -= 1
        if self._left == 0:
            self._left, self.struck = None, True
            self._strike()


@dataclass(kw_only=True)
class Play:
    """The sync `vip`, its process, and a judge at its destination."""

    world: World
    store: Database
    """The store as its process sees it."""
    sees: Database
    """How the judge looks at the store: beside the fault, where that can be."""
    engine: Engine = field(init=False)
    ended: list[Report | SyncdError] = field(default_factory=list)
    """How each run ended that was begun."""
    wrong: list[str] = field(default_factory=list)
    forgotten: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.world.sync(members=people(*range(12)), guard=GUARD)
        self.world.vendor.known = people(*range(40)) - STRANGERS
        self.world.vendor.watch = self._judge
        self.engine = self.world.engine(self.store)

    # ---- what a process does -----------------------------------------------------

    def run(self) -> None:
        """Run it once, as the scheduler would; nothing runs while a plan waits."""
        self._pass_time()
        try:
            report = self.engine.run("vip", Trigger.MANUAL)
        except WaitsForPerson:
            return
        except SyncdError as error:
            self.ended.append(error)
        else:
            assert report is not None
            self.ended.append(report)

    def approve(self) -> None:
        """Let a held plan go, where there is one."""
        held = held_run(self.sees)
        if held is None:
            return
        self._pass_time()
        decision = Decision(run_id=held.id, actor="ann", via="cli", reason="seen")
        try:
            report = self.engine.approve(decision)
        except SyncdError as error:
            self.ended.append(error)
        else:
            assert report is not None
            self.ended.append(report)

    def forget(self, gone: set[bytes]) -> None:
        """Let a person be forgotten; the store may refuse it."""
        self._pass_time()
        self.forgotten |= gone
        ids = "\n".join(each.decode() for each in sorted(gone))
        body = {"ids": ids, "match": "user_id", "actor": "ann", "via": "cli"}
        try:
            forgetting.forget(self.engine, body)
        except SyncdError as error:
            self.ended.append(error)

    def heal(self) -> None:
        """What a daemon does once a minute, and its next due runs; a person decides
        what is held."""
        self._pass_time()
        for name in self.engine.close_abandoned():
            with suppress(WaitsForPerson):
                self.engine.resume(name)
        for _ in range(2):
            self.run()
            self.approve()

    def _pass_time(self) -> None:
        clock = self.world.clock
        assert isinstance(clock, ManualClock)
        clock.advance(timedelta(seconds=5))

    # ---- what must hold ----------------------------------------------------------

    def known(self) -> Belief:
        """What the store believes."""
        with self.sees.read() as connection:
            binding = bindings.current(connection, "vip")
            return belief(connection, binding, self.world.clock.now())

    def truth(self) -> set[bytes]:
        """Who is in the cohort, in truth."""
        found = [each.members for each in self.world.vendor.cohorts.values()]
        assert len(found) <= 1, "a second cohort was made"
        return set(found[0]) if found else set()

    def require_contained(self) -> None:
        """I-2: whoever is there or here only is uncertain. And nothing went wrong."""
        known = self.known()
        error = (self.truth() ^ known.acknowledged) & self.world.vendor.ever_sent
        assert error <= known.uncertain
        assert self.wrong == []

    def require_right(self) -> None:
        """I-1, I-19: it came to its end, and the cohort is the audience."""
        last = self.ended[-1]
        assert isinstance(last, Report), last
        assert last.outcome in OK, (last.reason, last.message)
        wanted = self.world.sources["vip"].members - STRANGERS - self.forgotten
        assert self.truth() == wanted
        assert not self.known().uncertain
        assert max(self.world.vendor.most_in_flight.values()) <= 1

    def require_told(self, lines: list[EventDict]) -> None:
        """I-20: every run has one line, and who failed says that the store did."""
        with self.sees.read() as connection:
            rows = runs.latest(connection, sync_name="vip", limit=ENOUGH)
        assert None not in {each.outcome for each in rows}
        assert canonical(lines) == Counter(each.id for each in rows)
        for each in self.ended:
            if isinstance(each, Report) and each.outcome is Outcome.FAILED:
                assert each.reason.startswith(("store", "spool")), each.reason
            elif isinstance(each, SyncdError):
                nobody_told = each.code == "hold.none"
                assert nobody_told or isinstance(each, StoreError), each

    def _judge(self, request: Request) -> None:
        """Before a request takes effect, and after it."""
        known, ids = self.known(), set(request.ids)
        held = held_run(self.sees)
        self._require(held is None, "I-8: a request while a plan is held")
        self._require(ids <= known.uncertain, "I-3: sent before it was durable")
        error = (self.truth() ^ known.acknowledged) & self.world.vendor.ever_sent
        self._require(error <= known.uncertain, "I-2: an error that nobody knows of")
        listed = self.world.sources["vip"].members - self.forgotten
        if request.operation is Operation.REMOVE:
            self._require(not ids & listed, "I-7: removed though it is listed")
        else:
            self._require(ids <= listed, "added though it is not listed")

    def _require(self, holds: bool, law: str) -> None:
        if not holds:
            self.wrong.append(law)


# ---- scenarios ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is done before the fault may strike, and what it may strike."""

    name: str
    before: Callable[[Play], None]
    act: Callable[[Play], None]


def _change(play: Play) -> None:
    """Some leave, some enter, a stranger among them."""
    source = play.world.sources["vip"]
    source.members = source.members - people(0, 1, 2, 3) | people(20, 21, 22, 23, 24)


def _nothing(_: Play) -> None:
    """It begins anew."""


def _ran(play: Play) -> None:
    play.run()


def _first(play: Play) -> None:
    play.run()


def _delta(play: Play) -> None:
    _change(play)
    play.run()


def _held(play: Play) -> None:
    play.world.sources["vip"].members = people(0, 1, 2, 30)
    play.run()
    play.approve()


def _a_day_later(play: Play) -> None:
    play.run()
    clock = play.world.clock
    assert isinstance(clock, ManualClock)
    clock.advance(timedelta(hours=25))


def _given_up(play: Play) -> None:
    """Nobody answers: what was to be sent stays open."""
    play.run()
    _change(play)
    play.world.vendor.always = FAILED_BEFORE
    play.run()
    play.world.vendor.always = None
    play.ended.clear()


def _forget(play: Play) -> None:
    play.forget(people(4, 5))


SCENARIOS = (
    Scenario(name="first", before=_nothing, act=_first),
    Scenario(name="delta", before=_ran, act=_delta),
    Scenario(name="held", before=_ran, act=_held),
    Scenario(name="compact", before=_a_day_later, act=_delta),
    Scenario(name="again", before=_given_up, act=_first),
    Scenario(name="forget", before=_ran, act=_forget),
)
