"""What a sync goes through: rules of state machines about the world and its faults.

Mixed into a `machinery.machines.Machine`. Requests fail before their effect or after
it, the process dies at any transaction and any request, another process takes over
while a request is under way, clocks are set back, due times come.
"""

from contextlib import suppress
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from syncd.app import forgetting, pausing
from syncd.errors import SyncdError
from syncd.model import Outcome, Trigger
from syncd.schedule import latest_at_or_before
from syncd.store import runs
from syncd.store.leases import TTL
from syncd.sync.beginning import Busy, WaitsForPerson
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    GONE,
    LANDS_LATE,
    LOST_ANSWER,
    REFUSED,
    THROTTLED,
    UNAUTHORIZED,
    Belief,
    Request,
    Trouble,
)
from tests.reliability.machinery.examining import elsewhere, process_name
from tests.reliability.machinery.machines import (
    EVERYBODY,
    HOURLY,
    MOMENT,
    NAME,
    OK,
    Machine,
)

Script = list[Trouble | None]

troubles = st.lists(
    st.sampled_from(
        [
            None,
            FAILED_BEFORE,
            LOST_ANSWER,
            LANDS_LATE,
            THROTTLED,
            REFUSED,
            GONE,
            UNAUTHORIZED,
        ]
    ),
    min_size=1,
    max_size=8,
)
moments = st.integers(min_value=1, max_value=14)
"""Of a death: the n-th write transaction; a run of three batches makes about ten."""
somebody = st.sampled_from(EVERYBODY)


class Ordeals(Machine):
    """Rules about the world, the destination, runs and deaths."""

    def let_go_of_the_long_gone(self) -> None:
        """Nobody is forgotten where nobody asks for it."""

    # ---- time ------------------------------------------------------------------------

    @rule(hours=st.sampled_from([1, 3, 25]))
    def time_passes(self, hours: int) -> None:
        self.pass_time(timedelta(hours=hours))
        pausing.end_pauses(self.world.database, self.clock.now())

    @rule(days=st.sampled_from([2, 400]))
    def the_clock_is_set_back(self, days: int) -> None:
        self.clock.advance(-timedelta(days=days))
        self.engine.put_right()  # as `serve` does once it sees the step

    @rule()
    def a_due_time_comes(self) -> None:
        """I-21: it is run or skipped with a reason, and never twice."""
        self.pass_time(timedelta(hours=1))
        before = len(self.vendor.requests)
        paused = self.paused() or self.waits_for_a_person()

        self.slots.due(NAME)

        assert self.slot_is_settled()
        assert not paused or len(self.vendor.requests) == before
        again = len(self.vendor.requests)
        if not self.is_held() and not self.paused():
            due = self.clock.now().replace(minute=0, second=0)
            assert self.engine.run(NAME, Trigger.SCHEDULE, due) is None
        assert len(self.vendor.requests) == again

    def waits_for_a_person(self) -> bool:
        """A plan that is held, and has not expired."""
        held = self.held()
        until = held.hold_expires_at if held is not None else None
        return until is not None and until > self.clock.now()

    def slot_is_settled(self) -> bool:
        """I-21: the newest due time was run or skipped, never nothing."""
        due = latest_at_or_before(HOURLY, self.clock.now())
        with self.world.database.read() as connection:
            last = runs.last_slot(connection, NAME)
            first = runs.first_seen(connection, NAME)
        assert due is not None
        assert first is not None
        return due <= max(last or first, first)

    @rule()
    def the_day_ends(self) -> None:
        """The daily prune lets nobody go who was forgotten within 30 days."""
        forgetting.prune(self.engine)
        self.let_go_of_the_long_gone()

    # ---- the destination -------------------------------------------------------------

    @rule(person=somebody)
    def an_unknown_person_appears(self, person: bytes) -> None:
        self.vendor.known.add(person)

    @precondition(lambda self: self.vendor.cohorts)
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
    def it_runs_into_trouble(self, script: Script) -> None:
        self.vendor.script.extend(script)
        self.run()
        self.vendor.script.clear()

    @rule(what=st.sampled_from([LOST_ANSWER, FAILED_BEFORE, LANDS_LATE]))
    def nothing_is_ever_answered(self, what: Trouble) -> None:
        self.vendor.always = what
        self.run()
        self.vendor.always = None

    @precondition(lambda self: self.vendor.cohorts)
    @rule(person=somebody, what=st.sampled_from([LOST_ANSWER, LANDS_LATE]))
    def somebody_moves_and_returns_while_nothing_is_answered(
        self, person: bytes, what: Trouble
    ) -> None:
        """A second word about somebody whose first one may have been carried out, or
        may be still."""
        self.somebody_moves(person)
        self.vendor.always = what
        self.run()
        self.vendor.always = None
        self.somebody_moves(person)
        self.run()

    def somebody_moves(self, person: bytes) -> None:
        """Into what the source says, or out of it."""
        raise NotImplementedError

    @precondition(lambda self: self.vendor.late)
    @rule()
    def what_was_late_lands(self) -> None:
        """Whom it moves the wrong way was known before (I-2)."""
        self.vendor.land()

    @rule()
    def a_second_run_is_quiet(self) -> None:
        first = self.run()
        if first is None or first.outcome not in OK or self.known().doubtful:
            return  # whoever is doubtful is asserted again by every plan
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
        self, moment: int, before_commit: bool, then: list[int]
    ) -> None:
        self.store.die_at(moment, before_commit=before_commit)
        with suppress(SyncdError):
            self.run()
        self.restart(*then)

    @rule(request=moments, how=st.sampled_from(["die", "die_applied", "die_late"]))
    def it_dies_at_a_request(self, request: int, how: str) -> None:
        self.at_request[request] = how
        self.run()
        self.restart()

    @rule(days=st.sampled_from([2, 400]), request=moments)
    def it_dies_and_the_clock_is_set_back(self, days: int, request: int) -> None:
        self.at_request[request] = "die"
        self.run()
        self.clock.advance(-timedelta(days=days))
        self.restart()

    # ---- another process -------------------------------------------------------------

    @rule(
        nth=st.integers(min_value=1, max_value=2),
        in_time=st.booleans(),
        answered=st.booleans(),
    )
    def another_process_comes(self, nth: int, in_time: bool, answered: bool) -> None:
        """I-9: it waits while the lease holds; once that is over, the fence keeps the
        first one from writing what its unanswered request came to, also where the
        same batch is still open since the other one had no answer either."""
        left = [nth]
        taken_over: list[Belief] = []

        def come(_: Request) -> None:
            left[0] -= 1
            if left[0] == 0 and not in_time:
                self.pass_time(TTL + MOMENT)
                taken_over.append(self.run_elsewhere(answered=answered))
            elif left[0] == 0:
                self.knock()

        self.somebody_moves(EVERYBODY[nth])
        self.engine.holder = elsewhere()
        self.vendor.answering = come
        report = self.run_unjudged()
        self.vendor.answering = lambda _: None
        self.engine.holder = process_name()
        self.pass_time(TTL + MOMENT)
        if taken_over and report is not None:
            assert report.outcome is Outcome.FAILED
            # It wrote nothing more: neither an answer, nor its own end.
            assert self.known() == taken_over[0]

    def run_unjudged(self) -> Report | None:
        """A run of a process that may lose the sync meanwhile."""
        self.pass_time(MOMENT)
        with suppress(SyncdError):
            return self.engine.run(NAME, Trigger.MANUAL)
        return None

    def run_elsewhere(self, *, answered: bool) -> Belief:
        """Another process takes the sync over; returns what is believed then."""
        self.vendor.answering = lambda _: None
        self.vendor.always = None if answered else FAILED_BEFORE
        other = self.world.engine()
        other.holder = elsewhere()
        with other, suppress(WaitsForPerson):
            report = other.run(NAME, Trigger.MANUAL)
            assert report is not None
            self.believe(report)
        self.vendor.always = None
        return self.known()

    def knock(self) -> None:
        """Another process that is not needed is sent away."""
        other = self.world.engine()
        other.holder = elsewhere()
        before = len(self.vendor.requests)
        with other:
            try:
                other.run(NAME, Trigger.MANUAL)
            except Busy:
                pass
            else:
                self.require(False, "I-9: two processes work on one sync")
        self.require(len(self.vendor.requests) == before, "I-9: a second process sent")
