"""One sync's processes, one after the other, under a judge: what state machines share.

The real store, runs, pool and workers, in one process; the source and the destination
are in memory, time stands still between rules. The destination judges with every
request, before and after its effect; rules are mixed in from `machinery.ordeals` (the
world and its faults) and `machinery.hands` (people), and from the machine's own file.

Which law is judged where (reliability.md, section 3):

    with every request     I-2, I-3, I-7, I-8, I-10, and that nothing is sent while a
                           person paused the sync, nobody added who is to be forgotten
    after every rule       I-2, I-5, I-6, I-9, I-21, each run closed and told once
    after every run        I-20: OK if and only if all is settled, and then I-1
    at the end             I-19: a run or two, and a person's word, and it is I-1

Somebody else may edit the cohort: what I-1 and I-2 say is then of whom they left alone.
A request nobody got an answer to may land within `WINDOW`: until then whoever it would
move the wrong way is known (`doubtful`), and the first run after that puts it right.
"""

from collections import Counter
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from hypothesis.stateful import RuleBasedStateMachine, invariant
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from syncd.app.slots import Slots
from syncd.config.settings import DeliverySettings, GuardSettings, ToCohort
from syncd.errors import PutOff, SyncdError
from syncd.model import Operation, Outcome, Trigger
from syncd.schedule import Every
from syncd.store import bindings, pauses, runs
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.store.leases import TTL
from syncd.sync.beginning import WaitsForPerson
from syncd.sync.decide import Decision
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    LANDS_LATE,
    Belief,
    ManualClock,
    Mortal,
    Request,
    World,
    belief,
    canonical,
    people,
)
from tests.reliability.machinery.examining import Vendor, empty, process_name

EVERYBODY = sorted(people(*range(14)))
KNOWN = EVERYBODY[:9]
INVALID = people(90, 91)
"""Ids that make the destination refuse a whole request; nobody has them."""
OK = (Outcome.SUCCESS, Outcome.NO_CHANGE)
BATCH = 3
HOURLY = Every(period=timedelta(hours=1))
GUARD = GuardSettings(max_exit=0.5, max_enter=10.0, ignore_below=3, on_trip="hold")
MOMENT = timedelta(seconds=5)
WINDOW = timedelta(minutes=30)
"""Of late landings; a few minutes more than all the moments of an example."""
NAME, VENDOR = "vip", "amplitude"
DELIVERY = DeliverySettings(
    batch_size=BATCH,
    retries=8,
    first_delay=timedelta(0),
    max_delay=timedelta(0),
    late_landings=WINDOW,
)

Lists = list[frozenset[bytes]]


class Machine(RuleBasedStateMachine):
    """One sync, for many days."""

    def __init__(self, database: Database, spool: Path) -> None:
        super().__init__()
        empty(database)
        self.clock = ManualClock()
        self.latest = self.clock.now()
        self.world = World(
            database=database,
            spool=spool,
            clock=self.clock,
            request_deadline=timedelta(0),  # whoever takes over need not wait
        )
        self.vendor = Vendor(known=set(KNOWN), watch=self.judge)
        self.world.vendors[VENDOR] = self.vendor
        self.configure()
        self.wrong: list[str] = []
        self.at_request: dict[int, str] = {}
        """What happens at the n-th judgement from now: stop, die, die_applied, or
        die_late: it lands within `WINDOW`."""
        self.asked: dict[str, dict[Operation, set[bytes]]] = {}
        """Per run: whom it asked to be added, and removed."""
        self.edited: set[bytes] = set()
        """Whom others put in or took out, and nobody of ours named since."""
        self.gone: dict[bytes, datetime] = {}
        """Who is to be forgotten, and since when."""
        self.ever_gone: set[bytes] = set()
        self.largest_batch = BATCH
        self.stack = ExitStack()
        self.lines = self.stack.enter_context(capture_logs([merge_contextvars]))
        self.open()
        self.engine.start()

    # ---- what a machine of a kind says -----------------------------------------------

    def configure(self) -> None:
        """Have the sync, with its source, in the world."""
        raise NotImplementedError

    def wanted(self) -> set[bytes]:
        """Whom the plan of a run that just ended well had to want."""
        raise NotImplementedError

    def yet_to_leave(self) -> AbstractSet[bytes]:
        """Who may still be there after a run that ended well."""
        return frozenset()

    def lists(self, binding: Binding) -> Lists:
        """What the plan that went out last was made from; more than one where newer
        words decided about some of its people."""
        raise NotImplementedError

    def target(self) -> ToCohort:
        return ToCohort(connection=VENDOR, cohort_id=None, cohort="C", owner="o")

    # ---- the destination judges ------------------------------------------------------

    def judge(self, request: Request) -> None:
        with self.world.database.read() as connection:
            binding = bindings.current(connection, NAME)
            held = runs.waiting_for_a_person(connection, NAME)
            known = belief(connection, binding, self.clock.now())
        assert binding is not None
        ids = set(request.ids)
        self.edited -= ids  # from here on they are in doubt, or as we said
        self.require(held is None, "I-8: a request while a plan is held")
        self.require(not self.paused(), "a request while a person paused the sync")
        if not self.store.dead:
            self.require(ids <= known.uncertain, "I-3: sent before it was durable")
        self.require(self.contained(known), "I-2: an error that nobody knows of")
        self.judge_batch(request, ids)
        self.judge_words(request, ids, self.lists(binding))
        self.strike()

    def judge_batch(self, request: Request, ids: set[bytes]) -> None:
        well_formed = 0 < len(ids) == len(request.ids) <= self.largest_batch
        self.require(well_formed, "I-10: malformed")
        nothing: dict[Operation, set[bytes]] = {each: set() for each in Operation}
        asked = self.asked.setdefault(request.run_id, nothing)
        asked[request.operation] |= ids
        both = asked[Operation.ADD] & asked[Operation.REMOVE]
        self.require(not both, "I-10: added and removed in one run")

    def judge_words(self, request: Request, ids: set[bytes], lists: Lists) -> None:
        if request.operation is Operation.REMOVE:
            listed = ids.intersection(*lists) - self.ever_gone
            self.require(not listed, "I-7: removed though the source lists it")
            return
        unlisted = ids.difference(*lists)
        self.require(not unlisted, "added though the source does not list it")
        self.require(not ids & self.gone.keys(), "added though it is to be forgotten")

    def require(self, holds: bool, law: str) -> None:
        if not holds:
            self.wrong.append(law)

    def truth(self) -> set[bytes]:
        """R: who is in the cohort, in truth."""
        found = [each.members for each in self.vendor.cohorts.values()]
        assert len(found) <= 1, "a second cohort was made"
        return set(found[0]) if found else set()

    def contained(self, known: Belief) -> bool:
        """I-2: (R xor IN) and D lies in U, but for whom others edited."""
        error = (self.truth() ^ known.acknowledged) & self.vendor.ever_sent
        return error - self.edited <= known.uncertain | known.doubtful

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
            case "die_late":
                self.store.die()
                self.vendor.script.appendleft(LANDS_LATE)
            case _:
                pass

    # ---- processes -------------------------------------------------------------------

    def open(self) -> None:
        """Another process, of another name; whoever was there before is gone."""
        self.store = Mortal(self.world.database)
        self.engine = self.world.engine(self.store)
        self.engine.holder = process_name()
        self.slots = Slots(self.engine, self.clock, at_once)

    def restart(self, *deaths: int) -> None:
        """End the process; start another, which may die early, and the next one."""
        self.at_request.clear()
        for moment in (*deaths, None):
            self.engine.close()
            self.pass_time(MOMENT)
            self.open()
            if moment is not None:
                self.store.die_at(moment)
            with suppress(SyncdError):
                self.engine.start()
                self.slots.start(self.engine.close_abandoned())

    def pass_time(self, by: timedelta) -> None:
        """What is late lands before the window ends, or never."""
        if by >= TTL:
            self.vendor.land()
        self.clock.advance(by)
        self.latest = max(self.latest, self.clock.now())

    def reload(self) -> None:
        """Use the configuration as it is now, from the next run on."""
        self.engine.replace(self.world.blueprint())

    # ---- runs ------------------------------------------------------------------------

    def run(self) -> Report | None:
        """One run, as a person starts it; None while a plan waits or it is paused."""
        self.pass_time(MOMENT)
        return self.carry_out(partial(self.engine.run, NAME, Trigger.MANUAL))

    def carry_out(self, action: Callable[[], Report | None]) -> Report | None:
        """A run of whole lists or words: judged by what it claims in the end."""
        before = len(self.vendor.requests)
        try:
            report = action()
        except (WaitsForPerson, PutOff):
            assert len(self.vendor.requests) == before
            return None
        assert report is not None
        if not self.store.dead:
            self.believe(report)
        return report

    def believe(self, report: Report) -> None:
        """I-20: OK if and only if all is settled, and then it is right (I-1)."""
        known = self.known()
        if report.outcome not in OK:
            assert report.reason
            return
        assert not known.uncertain
        if report.trigger in (Trigger.APPROVE, Trigger.FORGET, Trigger.REPAIR):
            return  # of what was decided then, or about some people alone
        wanted = self.wanted() - self.gone.keys()
        strange = known.acknowledged ^ (wanted - known.unaccepted)
        assert strange <= self.yet_to_leave()
        ours = self.vendor.ever_sent | known.acknowledged  # some were adopted
        error = (self.truth() & ours) ^ known.acknowledged
        assert error <= self.edited | known.doubtful

    def known(self) -> Belief:
        with self.world.database.read() as connection:
            binding = bindings.current(connection, NAME)
            known = belief(connection, binding, self.clock.now())
        return replace(known, overdue=frozenset())  # that changes with time alone

    def binding(self) -> Binding | None:
        with self.world.database.read() as connection:
            return bindings.current(connection, NAME)

    def held(self) -> runs.Run | None:
        with self.world.database.read() as connection:
            return runs.waiting_for_a_person(connection, NAME)

    def is_held(self) -> bool:
        return self.held() is not None

    def paused(self) -> bool:
        with self.world.database.read() as connection:
            try:
                pauses.require_none(connection, NAME, self.clock.now())
            except PutOff:
                return True
        return False

    def decision(self, run_id: str | None = None) -> Decision:
        held = self.held()
        assert held is not None or run_id is not None
        shown = run_id or (held.id if held is not None else "")
        return Decision(run_id=shown, actor="ann", via="cli", reason="looked at it")

    # ---- what always holds -----------------------------------------------------------

    def check(self) -> None:
        self.no_law_was_broken()
        self.nobody_is_lost()
        self.every_run_is_closed_and_told_once()

    @invariant()
    def no_law_was_broken(self) -> None:
        assert self.wrong == [], self.wrong
        crashes = [each for each in self.lines if each["event"] == "daemon.crashed"]
        for each in crashes:
            raise AssertionError("a bug was swallowed") from each["exc_info"]
        known = self.known()
        assert self.contained(known)
        assert max(self.vendor.most_in_flight.values(), default=0) <= 1

    @invariant()
    def nobody_is_lost(self) -> None:
        """I-5, I-6: who is to move stays in doubt until an answer says otherwise."""
        binding, known = self.binding(), self.known()
        lists = self.lists(binding) if binding is not None else []
        if binding is None or binding.digest is None or not lists:
            return
        listed, gone = lists[0], self.ever_gone
        left = known.acknowledged.difference(*lists) - gone
        assert left <= known.uncertain, "I-5: a lost exit"
        came = listed.intersection(*lists) - gone - known.acknowledged
        assert came <= known.uncertain | known.unaccepted, "I-6: a lost entry"

    @invariant()
    def every_run_is_closed_and_told_once(self) -> None:
        """And I-21: no slot has two of them, since both would be rows."""
        with self.world.database.read() as connection:
            rows = runs.latest(connection, sync_name=NAME, limit=10_000)
        told = Counter(each.id for each in rows if each.reason not in runs.SLOT_SKIPPED)
        lines = canonical([line for line in self.lines if line.get("sync") == NAME])
        assert not [each for each in rows if each.outcome is None], "an open run"
        assert lines == told
        slots = [each.slot for each in rows if each.slot is not None]
        assert len(slots) == len(set(slots))

    # ---- the end ---------------------------------------------------------------------

    def teardown(self) -> None:
        """I-19, I-1: once faults stop, two runs make it right, and people decide."""
        try:
            if not self.wrong:
                self.come_to_rest()
        finally:
            self.engine.close()
            self.stack.close()

    def come_to_rest(self) -> None:
        self.heal()
        self.run_and_approve()
        report = self.run_and_approve()
        assert report is not None
        assert report.outcome in OK
        left_out = self.known().unaccepted
        assert left_out <= self.wanted(), "somebody who left is offered again"
        self.check()

    def heal(self) -> None:
        """Faults stop, nobody holds anything back, what waited for a time is due."""
        self.at_request.clear()
        vendor = self.vendor
        vendor.script.clear()
        vendor.always, vendor.answering = None, lambda _: None
        vendor.locked_out, vendor.largest = False, 1000
        # A REMOVE that is refused for ever stays a dead letter for ever, and is told.
        vendor.invalid = set()
        for cohort in vendor.cohorts.values():
            cohort.archived = False
        self.pass_time(self.latest - self.clock.now() + timedelta(hours=25))
        with self.world.database.begin() as connection:
            pauses.remove(connection, NAME)
        self.world.syncs[NAME] = replace(self.world.syncs[NAME], guard=GUARD)
        self.reload()

    def run_and_approve(self) -> Report | None:
        report = self.run()
        if self.is_held():
            self.pass_time(MOMENT)
            self.engine.approve(self.decision())
        return report


def at_once(_: str, action: Callable[[], object]) -> None:
    """What the daemon does in a thread of its own, soon."""
    action()
