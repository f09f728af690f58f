"""Whatever happens on the way, an event-fed sync ends as a few lines of Python say.

Words arrive late and in any order, lists are read or fail, people are deleted, batches
fail before or after their effect, the process dies, plans are held, approved, rejected,
old words are pruned. After a clean run the destination holds exactly whom the newest
words and the last list that was applied want there; nobody who left is offered again.
Whoever was deleted, or is forgotten by a command, is never added from then on, and in
the end nothing of them is left in the store.

Ten times as long, with other examples each time:
`pytest --hypothesis-profile=long -o timeout=0 tests/property/test_pushed_model.py`.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select
from structlog.testing import capture_logs

from syncd.app import forgetting
from syncd.app.engine import Engine
from syncd.config.settings import GuardSettings, ToCohort
from syncd.errors import SourceUnavailable, SyncdError
from syncd.model import Operation, Outcome, Trigger
from syncd.report.backlog import folded
from syncd.sources.feed_mark import Mark
from syncd.store import bindings, inbox
from syncd.store.database import Database
from syncd.store.migrate import migrate
from syncd.store.tables import metadata
from syncd.sync.decide import Decision
from syncd.sync.run import WaitsForPerson
from tests.builders import (
    FAILED_BEFORE,
    LOST_ANSWER,
    REFUSED,
    THROTTLED,
    FakeVendor,
    ListSource,
    ManualClock,
    Mortal,
    Trouble,
    World,
    belief,
    held_run,
    new_database,
    people,
    settings_of,
)

EVERYBODY = sorted(people(*range(12)))
KNOWN = EVERYBODY[:9]
LAG = timedelta(hours=2)
LONG = timedelta(days=8)
OK = (Outcome.SUCCESS, Outcome.NO_CHANGE)

some = st.sets(st.sampled_from(EVERYBODY), max_size=5)
lateness = st.sampled_from([0, 0, 1, 3, 5])
"""Hours between an event and its arrival; some are older than a list is sure of."""
troubles = st.lists(
    st.sampled_from([None, FAILED_BEFORE, LOST_ANSWER, THROTTLED, REFUSED]),
    min_size=1,
    max_size=6,
)
moments = st.integers(min_value=1, max_value=12)
numbers = count()


class Model:
    """Whom the words and the last list that was applied want."""

    def __init__(self) -> None:
        self.newest: dict[bytes, tuple[datetime, bool, bool]] = {}
        """Person -> (event time, deleted, inside)."""
        self.lists: dict[datetime, frozenset[bytes]] = {}
        """Every list that was read, by when."""
        self.forgotten: set[bytes] = set()

    def hear(
        self, ids: set[bytes], at: datetime, *, inside: bool, deleted: bool = False
    ) -> None:
        for member in ids:
            before = self.newest.get(member)
            if before is None or (at, deleted) >= before[:2]:
                self.newest[member] = (at, deleted, inside)

    def wanted(self, listed_at: datetime | None) -> set[bytes]:
        """With the list that was read then; without one, the words alone."""
        wanted = set(self.lists[listed_at]) if listed_at is not None else set()
        for member, (at, deleted, inside) in self.newest.items():
            if listed_at is None or deleted or at > listed_at - LAG:
                wanted = wanted | {member} if inside else wanted - {member}
        return wanted - self.forgotten


class Listed(ListSource):
    """Tells the model when it is read."""

    def __init__(self, model: Model, clock: ManualClock) -> None:
        super().__init__()
        self.model, self.clock = model, clock

    def blocks(self) -> Iterator[list[bytes]]:
        self.model.lists[self.clock.now()] = frozenset(self.members)
        yield from super().blocks()


class PushedMachine(RuleBasedStateMachine):
    """One sync fed by events, for some weeks."""

    def __init__(self, database: Database, spool: Path, *, has_list: bool) -> None:
        super().__init__()
        _empty(database)
        number = next(numbers)
        self.name, self.clock = f"vip-{number}", ManualClock()
        self.model = Model()
        self.world = World(database=database, spool=spool, clock=self.clock)
        self.whole = Listed(self.model, self.clock) if has_list else None
        self.vendor = FakeVendor(known=set(KNOWN))
        self.world.vendors[f"amplitude-{number}"] = self.vendor
        self.feed = self.world.fed(
            self.name,
            whole=self.whole,
            relist_every=timedelta(days=1),
            snapshot_lag=LAG,
            target=ToCohort(
                connection=f"amplitude-{number}", cohort_id=None, cohort="C", owner="o"
            ),
            guard=GuardSettings(
                max_exit=0.5, max_enter=3.0, ignore_below=2, on_trip="hold"
            ),
        )
        self.jumps = 0
        self.forgotten_by: dict[bytes, int] = {}
        """Person -> how many requests there had been when it was recorded."""
        self.stack = ExitStack()
        self.stack.enter_context(capture_logs())
        self.store, self.engine = self.open()
        self.engine.start()

    # ---- processes ------------------------------------------------------------------

    def open(self) -> tuple[Mortal, Engine]:
        store = Mortal(self.world.database)
        return store, self.world.engine(store)

    def restart(self) -> None:
        self.engine.close()
        self.clock.advance(timedelta(minutes=1))
        self.store, self.engine = self.open()
        self.engine.start()
        for name in self.engine.close_abandoned():
            self.engine.resume(name)

    def run(self) -> Outcome | None:
        self.clock.advance(timedelta(seconds=5))
        with suppress(WaitsForPerson):
            report = self.engine.run(self.name, Trigger.MANUAL)
            return report.outcome if report is not None else None
        return None

    def decision(self) -> Decision:
        held = held_run(self.world.database, self.name)
        assert held is not None
        return Decision(run_id=held.id, actor="ann", via="cli", reason="looked at it")

    def is_held(self) -> bool:
        return held_run(self.world.database, self.name) is not None

    # ---- what is said ---------------------------------------------------------------

    @rule(enter=some, leave=some, hours=lateness)
    def words_arrive(self, enter: set[bytes], leave: set[bytes], hours: int) -> None:
        at = self.clock.now() - timedelta(hours=hours)
        leave = leave - enter
        self.feed.say(enter=enter, leave=leave, at=at)
        self.model.hear(enter, at, inside=True)
        self.model.hear(leave, at, inside=False)

    @rule(person=st.sampled_from(EVERYBODY), hours=lateness)
    def somebody_is_deleted(self, person: bytes, hours: int) -> None:
        at = self.clock.now() - timedelta(hours=hours)
        self.feed.say(forget={person}, at=at)
        self.model.hear({person}, at, inside=False, deleted=True)
        self.model.forgotten.add(person)
        self.forgotten_by[person] = len(self.vendor.requests)

    @rule(person=st.sampled_from(EVERYBODY), troubled=st.booleans())
    def somebody_is_forgotten(self, person: bytes, troubled: bool) -> None:
        self.vendor.always = FAILED_BEFORE if troubled else None
        self.model.forgotten.add(person)
        self.forgotten_by[person] = len(self.vendor.requests)
        self.clock.advance(timedelta(seconds=5))
        body = {
            "ids": person.decode(),
            "match": "user_id",
            "actor": "ann",
            "via": "cli",
        }
        forgetting.forget(self.engine, body)
        self.vendor.always = None

    @rule(moment=moments)
    def it_dies_letting_go(self, moment: int) -> None:
        self.clock.advance(timedelta(seconds=5))
        self.store.die_at(moment)
        with suppress(SyncdError):
            self.engine.let_go(self.name)
        self.restart()

    @rule(listed=st.sets(st.sampled_from(EVERYBODY)))
    def the_audience_is_another_one(self, listed: set[bytes]) -> None:
        if self.whole is not None:
            self.whole.members = listed

    # ---- what happens ---------------------------------------------------------------

    @rule()
    def it_runs(self) -> None:
        self.run()

    @rule(script=troubles)
    def it_runs_into_trouble(self, script: list[Trouble | None]) -> None:
        self.vendor.script.extend(script)
        self.run()
        self.vendor.script.clear()

    @rule(applied=st.booleans())
    def nothing_is_ever_answered(self, applied: bool) -> None:
        self.vendor.always = LOST_ANSWER if applied else FAILED_BEFORE
        self.run()
        self.vendor.always = None

    @rule()
    def the_list_cannot_be_read(self) -> None:
        if self.whole is None:
            return
        self.whole.while_reading = _fail
        self.run()
        self.whole.while_reading = lambda: None

    @rule(moment=moments, before_commit=st.booleans())
    def it_dies_at_a_transaction(self, moment: int, before_commit: bool) -> None:
        self.store.die_at(moment, before_commit=before_commit)
        with suppress(SyncdError):
            self.run()
        self.restart()

    @rule(nth=st.integers(min_value=1, max_value=4), applied=st.booleans())
    def it_dies_at_a_request(self, nth: int, applied: bool) -> None:
        left = [2 * nth if applied else 2 * nth - 1]

        def strike(_: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                self.store.die()

        self.vendor.watch = strike
        self.run()
        self.vendor.watch = lambda _: None
        self.restart()

    @rule(hours=st.sampled_from([1, 3, 25]))
    def time_passes(self, hours: int) -> None:
        self.clock.advance(timedelta(hours=hours))

    @precondition(lambda self: self.jumps < 3)
    @rule()
    def old_words_are_dropped(self) -> None:
        # At most 24 days in all: a deleted person is kept for 30.
        self.jumps += 1
        self.clock.advance(LONG)
        configured = settings_of(*self.world.syncs.values())
        with self.world.database.begin() as connection:
            reached = folded(connection, configured)
            inbox.prune(connection, self.clock.now(), reached)

    @rule(person=st.sampled_from(EVERYBODY))
    def an_unknown_person_appears(self, person: bytes) -> None:
        self.vendor.known.add(person)

    @precondition(is_held)
    @rule(script=st.one_of(st.just([]), troubles))
    def the_plan_is_approved(self, script: list[Trouble | None]) -> None:
        self.vendor.script.extend(script)
        self.clock.advance(timedelta(seconds=5))
        with suppress(SyncdError):  # it may have expired
            self.engine.approve(self.decision())
        self.vendor.script.clear()

    @precondition(is_held)
    @rule()
    def the_plan_is_rejected(self) -> None:
        with suppress(SyncdError):
            self.engine.reject(self.decision())

    # ---- in the end -----------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if self.come_to_rest():
                self.judge()
        finally:
            self.engine.close()
            self.stack.close()

    def come_to_rest(self) -> bool:
        """False where nothing was ever said."""
        self.restart()
        outcome = None
        for _ in range(6):
            self.let_go()
            outcome = self.run()
            if self.is_held():
                self.clock.advance(timedelta(seconds=5))
                self.engine.approve(self.decision())
            if outcome in OK and self.run() is Outcome.NO_CHANGE:
                return True
        assert outcome is Outcome.SKIPPED
        return False

    def let_go(self) -> None:
        self.clock.advance(timedelta(seconds=5))
        with suppress(WaitsForPerson):
            self.engine.let_go(self.name)
        if self.is_held():
            self.clock.advance(timedelta(seconds=5))
            self.engine.approve(self.decision())
            self.engine.let_go(self.name)

    def judge_forgotten(self) -> None:
        forgetting.prune(self.engine)
        for person, since in self.forgotten_by.items():
            later = self.vendor.requests[since:]
            added = [each for each in later if each.operation is Operation.ADD]
            assert not any(person in each.ids for each in added)
            with self.world.database.read() as connection:
                for table in metadata.sorted_tables:
                    rows = map(str, connection.execute(select(table)))
                    assert not any(person.decode() in row for row in rows), table.name

    def judge(self) -> None:
        self.judge_forgotten()
        with self.world.database.read() as connection:
            binding = bindings.current(connection, self.name)
            known = belief(connection, binding, self.clock.now())
        assert binding is not None
        mark = Mark.parse(binding.source_mark, self.feed.feed)
        assert mark is not None
        wanted = self.model.wanted(mark.listed_at if self.whole else None)
        members = {each for c in self.vendor.cohorts.values() for each in c.members}
        assert known.uncertain == frozenset()
        assert known.unaccepted <= wanted, "nobody who left is offered again"
        assert known.unaccepted == wanted - members
        assert members == known.acknowledged == wanted - known.unaccepted


def _empty(database: Database) -> None:
    """Of the example before; who is forgotten is so in the whole installation."""
    with database.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            if table.name not in ("meta", "inbox_position"):
                connection.execute(delete(table))


def _fail() -> None:
    raise SourceUnavailable("the warehouse is away")


def machine_settings(examples: int) -> settings:
    """Short and repeatable, unless the profile `long` is asked for."""
    if settings.get_current_profile_name() == "long":
        long = settings.get_profile("long")
        return settings(long, max_examples=10 * examples, stateful_step_count=40)
    return settings(
        max_examples=examples,
        stateful_step_count=20,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: the machine makes thousands of durable commits."""
    shared = Path("/dev/shm")  # noqa: S108
    folder = tempfile.mkdtemp(dir=shared if shared.is_dir() else None)
    yield Path(folder)
    shutil.rmtree(folder)


def check(database: Database, memory: Path, examples: int, *, has_list: bool) -> None:
    run_state_machine_as_test(
        partial(PushedMachine, database, memory, has_list=has_list),  # type: ignore[arg-type]
        settings=machine_settings(examples),
    )
    database.close()


@pytest.mark.parametrize("has_list", [False, True])
def test_an_event_fed_sync_ends_as_the_model_says(memory: Path, has_list: bool) -> None:
    check(new_database(memory), memory, 25, has_list=has_list)


def test_an_event_fed_sync_ends_as_the_model_says_on_postgres(
    postgres_database: str, memory: Path
) -> None:
    database = Database(postgres_database)
    migrate(database)

    check(database, memory, 4, has_list=True)
