"""A state machine tries to break a sync: what it believes must contain the truth.

The real store, runs, pool and workers, in one process; the source and the destination
are in memory, time stands still between rules. The destination judges with every
request, before and after its effect, and the rules kill the process at any write
transaction and any request. The invariants are those of reliability.md, section 3.

Ten times as long, with other examples each time (five minutes):
`pytest --hypothesis-profile=long -o timeout=0 tests/property/test_sync_machine.py`.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from syncd.app.engine import Engine
from syncd.config.settings import GuardSettings, ToCohort
from syncd.errors import SyncdError
from syncd.model import Operation, Outcome, Trigger
from syncd.store import bindings, runs
from syncd.store.buckets import bucket_hash
from syncd.store.database import Database
from syncd.store.migrate import migrate
from syncd.sync.decide import Decision
from syncd.sync.run import WaitsForPerson
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    GONE,
    LOST_ANSWER,
    REFUSED,
    THROTTLED,
    UNAUTHORIZED,
    Belief,
    FakeVendor,
    ListSource,
    ManualClock,
    Mortal,
    Request,
    World,
    belief,
    canonical,
    new_database,
    people,
)

EVERYBODY = sorted(people(*range(14)))
INVALID = people(90, 91)
"""Ids that make the destination refuse a whole request; nobody has them."""
OK = (Outcome.SUCCESS, Outcome.NO_CHANGE)
BATCH = 3

members = st.sets(st.sampled_from([*EVERYBODY, *sorted(INVALID)]))
troubles = st.lists(
    st.sampled_from(
        [None, FAILED_BEFORE, LOST_ANSWER, THROTTLED, REFUSED, GONE, UNAUTHORIZED]
    ),
    min_size=1,
    max_size=8,
)
moments = st.integers(min_value=1, max_value=14)
"""Of a death: the n-th write transaction; a run of three batches makes about ten."""
numbers = count()


class Remembering(ListSource):
    """Remembers every list it ever told, by its digest."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[tuple[int, int], frozenset[bytes]] = {}

    def blocks(self) -> Iterator[list[bytes]]:
        said: list[bytes] = []
        for block in super().blocks():
            said += block
            yield block
        total = sum(map(bucket_hash, said)) & ((1 << 64) - 1)
        self.told[len(said), total] = frozenset(said)


class SyncMachine(RuleBasedStateMachine):
    """One sync, for many days."""

    def __init__(self, database: Database, spool: Path) -> None:
        super().__init__()
        number = next(numbers)
        self.name = f"vip-{number}"
        self.clock = ManualClock()
        self.world = World(database=database, spool=spool, clock=self.clock)
        self.source = Remembering()
        self.world.sources[self.name] = self.source
        self.vendor = FakeVendor(
            known=set(EVERYBODY[:9]), invalid=set(INVALID), watch=self.judge
        )
        self.world.vendors[f"amplitude-{number}"] = self.vendor
        self.world.sync(
            self.name,
            target=ToCohort(
                connection=f"amplitude-{number}", cohort_id=None, cohort="C", owner="o"
            ),
            guard=GuardSettings(
                max_exit=0.5, max_enter=10.0, ignore_below=3, on_trip="hold"
            ),
        )
        self.wrong: list[str] = []
        self.at_request: dict[int, str] = {}
        """What happens at the n-th request from now: die, die_applied or stop."""
        self.asked: dict[str, dict[Operation, set[bytes]]] = {}
        self.stack = ExitStack()
        self.lines = self.stack.enter_context(capture_logs([merge_contextvars]))
        self.store, self.engine = self.open()
        self.engine.start()

    # ---- the destination judges ----------------------------------------------------

    def judge(self, request: Request) -> None:
        with self.world.database.read() as connection:
            binding = bindings.current(connection, self.name)
            held = runs.waiting_for_a_person(connection, self.name)
            known = belief(connection, binding, self.clock.now())
        assert binding is not None
        ids = set(request.ids)
        self.require(held is None, "I-8: a request while a plan is held")
        if not self.store.dead:
            self.require(ids <= known.uncertain, "I-3: sent before it was durable")
        self.require(self.contained(known), "I-2: an error that nobody knows of")
        self.require(0 < len(ids) == len(request.ids) <= BATCH, "I-10: malformed")
        assert binding.digest is not None
        listed = self.source.told[binding.digest.count, binding.digest.total]
        if request.operation is Operation.REMOVE:
            self.require(not ids & listed, "I-7: removed though the source lists it")
        else:
            self.require(ids <= listed, "added though the source does not list it")
        asked = self.asked.setdefault(
            request.run_id, {operation: set() for operation in Operation}
        )
        asked[request.operation] |= ids
        both = asked[Operation.ADD] & asked[Operation.REMOVE]
        self.require(not both, "I-10: added and removed in one run")
        self.strike()

    def require(self, holds: bool, law: str) -> None:
        if not holds:
            self.wrong.append(law)

    def truth(self) -> set[bytes]:
        """R: who is in the cohort, in truth."""
        found = [each.members for each in self.vendor.cohorts.values()]
        assert len(found) <= 1, "a second cohort was made"
        return set(found[0]) if found else set()

    def contained(self, known: Belief) -> bool:
        """I-2: (R xor IN) and D lies in U."""
        error = (self.truth() ^ known.acknowledged) & self.vendor.ever_sent
        return error <= known.uncertain

    def strike(self) -> None:
        """Let happen what a rule ordered for this request; each is judged twice."""
        if not self.at_request:
            return
        self.at_request = {n - 1: what for n, what in self.at_request.items()}
        match self.at_request.pop(0, None):
            case "stop":
                self.engine.stop()
            case "die":
                self.store.die()
                raise FAILED_BEFORE.error()
            case "die_applied":
                self.store.die()
            case _:
                pass

    # ---- processes -------------------------------------------------------------------

    def open(self) -> tuple[Mortal, Engine]:
        store = Mortal(self.world.database)
        return store, self.world.engine(store)

    def restart(self, *deaths: int) -> None:
        """End the process; start another, which may die early, and the next one."""
        for moment in (*deaths, None):
            self.engine.close()
            self.clock.advance(timedelta(seconds=5))
            self.store, self.engine = self.open()
            if moment is not None:
                self.store.die_at(moment)
            with suppress(SyncdError):
                self.engine.start()
                for name in self.engine.close_abandoned():
                    self.engine.resume(name)
        self.at_request.clear()

    def run(self) -> Report | None:
        """One run, as the scheduler or a person starts it; None while a plan waits."""
        self.clock.advance(timedelta(seconds=5))
        before = len(self.vendor.requests)
        try:
            report = self.engine.run(self.name, Trigger.MANUAL)
        except WaitsForPerson:
            assert len(self.vendor.requests) == before
            return None
        assert report is not None
        if not self.store.dead:
            self.believe(report)
        return report

    def run_and_approve(self) -> Report | None:
        report = self.run()
        if self.held() is not None:
            self.engine.approve(self.decision())
        return report

    def believe(self, report: Report) -> None:
        """I-20: OK if and only if all is settled, and then it is right (I-1)."""
        known = self.known()
        if report.outcome in OK:
            assert not known.uncertain
            assert known.acknowledged == self.source.members - known.unaccepted
            assert self.truth() & self.vendor.ever_sent == known.acknowledged
        else:
            assert report.reason

    def known(self) -> Belief:
        with self.world.database.read() as connection:
            binding = bindings.current(connection, self.name)
            return belief(connection, binding, self.clock.now())

    def held(self) -> runs.Run | None:
        with self.world.database.read() as connection:
            return runs.waiting_for_a_person(connection, self.name)

    def approve(self, decision: Decision) -> None:
        """Only a plan that is too old, or that another query made, is refused."""
        refusal = ""
        report = None
        try:
            report = self.engine.approve(decision)
        except SyncdError as error:
            refusal = error.code
        if self.store.dead:
            return
        assert (report is None) == (refusal in {"hold.expired", "hold.changed"})
        if report is not None and report.outcome in OK:
            assert not self.known().uncertain

    def decision(self) -> Decision:
        held = self.held()
        assert held is not None
        return Decision(run_id=held.id, actor="ann", via="cli", reason="looked at it")

    @initialize(listed=st.sets(st.sampled_from(EVERYBODY), min_size=4), script=troubles)
    def a_first_run(self, listed: set[bytes], script: list) -> None:
        self.source.members = listed
        self.it_runs_into_trouble(script)

    # ---- the world changes -----------------------------------------------------------

    @rule(listed=members)
    def the_audience_is_another_one(self, listed: set[bytes]) -> None:
        self.source.members = listed

    @rule(person=st.sampled_from(EVERYBODY))
    def somebody_enters_or_exits(self, person: bytes) -> None:
        self.source.members ^= {person}

    @rule(person=st.sampled_from(EVERYBODY))
    def an_unknown_person_appears(self, person: bytes) -> None:
        self.vendor.known.add(person)

    @rule(hours=st.sampled_from([1, 3, 25]))
    def time_passes(self, hours: int) -> None:
        self.clock.advance(timedelta(hours=hours))

    @rule()
    def the_query_is_rewritten(self) -> None:
        self.source.named += "+"
        self.restart()

    @rule(archived=st.booleans())
    def the_cohort_is_archived_or_restored(self, archived: bool) -> None:
        for cohort in self.vendor.cohorts.values():
            cohort.archived = archived

    @rule(refused=st.booleans())
    def the_key_is_revoked_or_renewed(self, refused: bool) -> None:
        self.vendor.locked_out = refused

    @rule(largest=st.sampled_from([1, 2, 1000]))
    def requests_may_be_so_large(self, largest: int) -> None:
        self.vendor.largest = largest

    # ---- runs ------------------------------------------------------------------------

    @rule()
    def it_runs(self) -> None:
        self.run()

    @rule(script=troubles)
    def it_runs_into_trouble(self, script: list) -> None:
        self.vendor.script.extend(script)
        self.run()
        self.vendor.script.clear()

    @rule(applied=st.booleans())
    def nothing_is_ever_answered(self, applied: bool) -> None:
        self.vendor.always = LOST_ANSWER if applied else FAILED_BEFORE
        self.run()
        self.vendor.always = None

    @precondition(lambda self: self.truth() & self.source.members)
    @rule(nth=st.integers(min_value=0, max_value=13))
    def a_member_comes_back_after_an_exit_nobody_answered(self, nth: int) -> None:
        present = sorted(self.truth() & self.source.members)
        person = present[nth % len(present)]
        self.source.members.discard(person)
        self.vendor.always = LOST_ANSWER
        self.run()
        self.vendor.always = None
        self.source.members.add(person)
        self.run()

    @rule()
    def a_second_run_is_quiet(self) -> None:
        first = self.run()
        if first is None or first.outcome not in OK:
            return
        before = len(self.vendor.requests)
        second = self.run()
        assert second is not None
        assert second.outcome is Outcome.NO_CHANGE
        assert len(self.vendor.requests) == before

    @rule(request=moments)
    def it_is_asked_to_stop(self, request: int) -> None:
        self.at_request[request] = "stop"
        self.run()
        self.restart()

    # ---- deaths ----------------------------------------------------------------------

    @rule(
        moment=moments, before_commit=st.booleans(), then=st.lists(moments, max_size=2)
    )
    def it_dies_at_a_transaction(
        self,
        moment: int,
        before_commit: bool,
        then: list[int],
    ) -> None:
        self.store.die_at(moment, before_commit=before_commit)
        with suppress(SyncdError):
            self.run()
        self.restart(*then)

    @rule(request=moments, how=st.sampled_from(["die", "die_applied"]))
    def it_dies_at_a_request(self, request: int, how: str) -> None:
        self.at_request[request] = how
        self.run()
        self.restart()

    # ---- people ----------------------------------------------------------------------

    @precondition(lambda self: self.held() is not None)
    @rule(script=st.one_of(st.just([]), troubles), death=st.none() | moments)
    def the_plan_is_approved(self, script: list, death: int | None) -> None:
        decision = self.decision()
        self.vendor.script.extend(script)
        if death is not None:
            self.store.die_at(death)
        self.approve(decision)
        self.vendor.script.clear()
        self.restart() if death is not None else self.clock.advance(
            timedelta(seconds=5)
        )

    @precondition(lambda self: self.held() is not None)
    @rule()
    def the_plan_is_rejected(self) -> None:
        known = self.known()

        with suppress(SyncdError):
            self.engine.reject(self.decision())

        assert self.known() == known

    # ---- what always holds -----------------------------------------------------------

    @invariant()
    def no_law_was_broken(self) -> None:
        assert self.wrong == []
        assert self.contained(self.known())
        assert max(self.vendor.most_in_flight.values(), default=0) <= 1

    @invariant()
    def every_run_is_closed_and_told_once(self) -> None:
        with self.world.database.read() as connection:
            told = {
                each.id: each.outcome
                for each in runs.latest(connection, sync_name=self.name, limit=10_000)
            }
        assert None not in told.values()
        assert canonical(
            [line for line in self.lines if line.get("sync") == self.name]
        ) == Counter(told.keys())

    def teardown(self) -> None:
        """I-19, I-1: once faults stop, two runs make it right, and people decide."""
        try:
            if not self.wrong:
                self.come_to_rest()
        finally:
            self.engine.close()
            self.stack.close()

    def come_to_rest(self) -> None:
        self.at_request.clear()
        self.vendor.script.clear()
        self.vendor.locked_out, self.vendor.largest = False, 1000
        # A REMOVE that is refused for ever stays a dead letter for ever, and is told.
        self.vendor.invalid = set()
        self.the_cohort_is_archived_or_restored(archived=False)
        self.clock.advance(timedelta(hours=25))
        self.run_and_approve()
        report = self.run_and_approve()
        assert report is not None
        assert report.outcome in OK
        self.no_law_was_broken()
        self.every_run_is_closed_and_told_once()


# ---- on both stores -----------------------------------------------------------------


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


def test_a_sync_survives_whatever_happens(memory: Path) -> None:
    database = new_database(memory)

    run_state_machine_as_test(
        partial(SyncMachine, database, memory),  # type: ignore[arg-type]
        settings=machine_settings(45),
    )

    database.close()


def test_a_sync_survives_whatever_happens_on_postgres(
    postgres_database: str, memory: Path
) -> None:
    database = Database(postgres_database)
    migrate(database)

    run_state_machine_as_test(
        partial(SyncMachine, database, memory),  # type: ignore[arg-type]
        settings=machine_settings(5),
    )

    database.close()
