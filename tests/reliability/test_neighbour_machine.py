"""A state machine tries to make one broken sync harm another one.

Two syncs on two connections in one store and one process. One of them meets every
fault; the other one is run beside it, and whatever happened there, it ends well and is
right at once, nobody of it is in doubt, and not one request of it is repeated. What is
shared is the store, the delivery threads, the readers and the daemon's life.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from syncd.app.engine import Engine
from syncd.config.settings import ToCohort
from syncd.errors import SourceUnavailable, SyncdError
from syncd.model import Operation, Trigger
from syncd.store.database import Database
from syncd.store.migrate import migrate
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    LOST_ANSWER,
    ListSource,
    ManualClock,
    Mortal,
    Request,
    Trouble,
    World,
    believed,
    new_database,
)
from tests.reliability.machinery.examining import (
    Vendor,
    empty,
    examine,
    in_memory,
    process_name,
)
from tests.reliability.machinery.machines import EVERYBODY, GUARD, KNOWN, MOMENT, OK
from tests.reliability.machinery.ordeals import Script, moments, somebody, troubles

WELL, BROKEN = "well", "broken"
everybody = st.sets(st.sampled_from(EVERYBODY))


class NeighbourMachine(RuleBasedStateMachine):
    """A sync that is well, beside one that is not."""

    def __init__(self, database: Database, spool: Path) -> None:
        super().__init__()
        empty(database)
        self.clock = ManualClock()
        self.world = World(database=database, spool=spool, clock=self.clock)
        self.world.request_deadline = MOMENT * 0
        self.vendor, self.faulty = Vendor(known=set(KNOWN)), Vendor(known=set(KNOWN))
        self.world.vendors |= {WELL: self.vendor, BROKEN: self.faulty}
        self.well, self.broken = self.sync(WELL), self.sync(BROKEN)
        self.well.members = set(EVERYBODY[:4])
        self.wrong: list[str] = []
        self.open()
        self.engine.start()

    def sync(self, name: str) -> ListSource:
        guard = (
            GUARD if name == BROKEN else replace(GUARD, max_exit=1.0, max_exit_24h=None)
        )
        target = ToCohort(connection=name, cohort_id=None, cohort=name, owner="o")
        return self.world.sync(name, target=target, guard=guard)

    def open(self) -> None:
        self.store = Mortal(self.world.database)
        self.engine: Engine = self.world.engine(self.store)
        self.engine.holder = process_name()

    def restart(self) -> None:
        """Another process goes on with both, as the daemon does at its start."""
        self.engine.close()
        self.clock.advance(MOMENT)
        self.open()
        self.engine.start()
        for name in self.engine.close_abandoned():
            with suppress(SyncdError):
                self.engine.resume(name)

    # ---- the one that is well --------------------------------------------------------

    @rule(person=somebody)
    def somebody_enters_or_exits(self, person: bytes) -> None:
        self.well.members ^= {person} - {EVERYBODY[0]}

    @rule()
    def the_other_one_runs(self) -> None:
        """It ends well, and is right at once."""
        self.require_well(self.run(WELL))

    def require_well(self, report: Report | None) -> None:
        known = believed(self.world.database, WELL, self.clock.now())
        wanted = self.well.members
        for holds, law in (
            (report is not None and report.outcome in OK, "it did not end well"),
            (known.uncertain == frozenset(), "somebody is in doubt"),
            (known.acknowledged == wanted & self.vendor.known, "it believes wrong"),
            (self.vendor.cohort.members == known.acknowledged, "it is wrong"),
        ):
            if not holds:
                self.wrong.append(law)

    @rule(script=troubles, moved=st.sets(somebody, min_size=1))
    def the_other_one_sends_while_it_meets_trouble(
        self, script: Script, moved: set[bytes]
    ) -> None:
        """What ends its requests ends none of the other one's."""

        def meet(_: Request) -> None:
            self.vendor.answering = lambda _: None
            self.faulty.script.extend(script)
            self.run(BROKEN)
            self.faulty.script.clear()

        self.well.members ^= moved - {EVERYBODY[0]}
        self.broken.members ^= moved
        self.vendor.answering = meet
        self.the_other_one_runs()
        self.vendor.answering = lambda _: None

    # ---- the one that is not ---------------------------------------------------------

    @rule(listed=everybody)
    def the_audience_is_another_one(self, listed: set[bytes]) -> None:
        self.broken.members = listed

    @rule(script=troubles, beside=st.booleans())
    def it_runs_into_trouble(self, script: Script, beside: bool) -> None:
        """The other one may run while a request of it is under way."""
        self.faulty.script.extend(script)
        if beside:
            self.faulty.answering = self.run_beside
        self.run(BROKEN)
        self.faulty.script.clear()
        self.faulty.answering = lambda _: None

    @rule(what=st.sampled_from([FAILED_BEFORE, LOST_ANSWER]))
    def nothing_is_ever_answered(self, what: Trouble) -> None:
        self.faulty.always = what
        self.faulty.answering = self.run_beside
        self.run(BROKEN)
        self.faulty.always, self.faulty.answering = None, lambda _: None

    def run_beside(self, _: Request) -> None:
        self.faulty.answering = lambda _: None
        self.require_well(self.run(WELL))

    @rule(refused=st.booleans())
    def its_key_is_revoked_or_renewed(self, refused: bool) -> None:
        self.faulty.locked_out = refused

    @rule()
    def its_cohort_is_deleted(self) -> None:
        for cohort in self.faulty.cohorts.values():
            cohort.gone = True

    @rule(beside=st.booleans())
    def its_source_cannot_be_read(self, beside: bool) -> None:
        """The other one may run, and read, while it is being read."""

        def fail() -> None:
            if beside:
                self.require_well(self.run(WELL))
            raise SourceUnavailable("the warehouse is away")

        self.broken.while_reading = fail
        self.run(BROKEN)
        self.broken.while_reading = lambda: None

    @rule(moment=moments, before_commit=st.booleans())
    def it_takes_the_process_along(self, moment: int, before_commit: bool) -> None:
        self.store.die_at(moment, before_commit=before_commit)
        self.run(BROKEN)
        self.restart()

    @rule(hours=st.sampled_from([1, 25]))
    def time_passes(self, hours: int) -> None:
        self.clock.advance(timedelta(hours=hours))

    def run(self, name: str) -> Report | None:
        self.clock.advance(MOMENT)
        with suppress(SyncdError):
            return self.engine.run(name, Trigger.MANUAL)
        return None

    # ---- what always holds -----------------------------------------------------------

    @invariant()
    def the_other_one_was_never_harmed(self) -> None:
        assert self.wrong == []

    @invariant()
    def a_change_is_sent_once(self) -> None:
        """Nobody is added twice in a row: no request of it was ever repeated."""
        last: dict[bytes, Operation] = {}
        for request in self.vendor.requests:
            if request.cohort is None:
                continue  # the creation, whose ids are added once more
            for each in set(request.ids) & set(KNOWN):
                assert last.get(each) is not request.operation
                last[each] = request.operation

    def teardown(self) -> None:
        """Even if the other one never heals."""
        try:
            self.the_other_one_runs()
            self.the_other_one_was_never_harmed()
        finally:
            self.engine.close()


def test_a_broken_sync_harms_no_other_one() -> None:
    with in_memory() as folder:
        examine(NeighbourMachine, new_database(folder), 8)


def test_a_broken_sync_harms_no_other_one_on_postgres(postgres_database: str) -> None:
    database = Database(postgres_database)
    migrate(database)

    examine(NeighbourMachine, database, 2)
