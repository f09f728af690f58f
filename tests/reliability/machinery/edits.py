"""Somebody else edits the cohort: rules of state machines about whoever puts it right.

Mixed into a `machinery.machines.Machine`. What others did is found by reading the
cohort back, exactly that, and repaired as far as it is ours; or a person has the sync
begin anew, with what is there or with everybody once more.
"""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from syncd.app import repairing, resyncing, verifying
from syncd.app.verifying import Compared
from syncd.model import Operation, Trigger
from syncd.sources import Listing, Standing
from syncd.store import authorship, bindings
from syncd.sync import adopting, mending
from syncd.sync.mending import Errand
from syncd.sync.resync import Wish
from syncd.sync.run import run as run_story
from syncd.sync.spec import Report
from syncd.sync.steps import Run
from tests.builders import Belief, ListSource
from tests.reliability.machinery.hands import WHO, Hands
from tests.reliability.machinery.machines import MOMENT, NAME, OK
from tests.reliability.machinery.ordeals import Script, moments, somebody, troubles


class Edits(Hands):
    """Rules about others who write the cohort too."""

    # ---- the cohort is edited --------------------------------------------------------

    @precondition(lambda self: self.vendor.cohorts)
    @rule(put_in=st.sets(somebody, max_size=3), out=st.sets(somebody, max_size=3))
    def somebody_edits_the_cohort(self, put_in: set[bytes], out: set[bytes]) -> None:
        members = self.vendor.cohort.members
        before = set(members)
        members |= put_in & self.vendor.known
        members -= out
        self.edited |= members ^ before

    @precondition(lambda self: self.vendor.cohorts)
    @rule()
    def it_is_read_back(self) -> None:
        self.verify()

    @precondition(lambda self: self.vendor.cohorts)
    @rule(
        script=st.one_of(st.just([]), troubles),
        moved=st.booleans(),
        death=st.none() | moments,
    )
    def it_is_repaired(self, script: Script, moved: bool, death: int | None) -> None:
        """Whom others took out comes back, where the source still lists them; whom they
        put in is left alone; and on old evidence nothing is sent."""
        found = self.verify()
        if found is None:
            return
        moved = moved and self.run() is not None and self.moved_since(found)
        others = self.truth() & found.causes.others
        before = len(self.vendor.requests)
        self.vendor.script.extend(script)
        if death is not None:
            self.store.die_at(death)
        self.about_to_repair()

        _, report = self.attempt(lambda: self.repair(found))

        self.vendor.script.clear()
        asked = self.vendor.requests[before:]
        if moved:
            assert not asked
        removed = {
            each for r in asked if r.operation is Operation.REMOVE for each in r.ids
        }
        self.require(not removed & others, "a repair removed whom others put in")
        if report is not None and report.outcome in OK and not self.store.dead:
            self.judge_repair(report, found)
        if death is not None:
            self.restart()

    def about_to_repair(self) -> None:
        """The repair will read the newest word."""

    def judge_repair(self, report: Report, found: Compared) -> None:
        back = found.causes.missing & self.wanted_now() & self.vendor.known
        assert back - self.vendor.invalid <= self.truth()
        assert not self.known().uncertain

    def wanted_now(self) -> set[bytes]:
        """Whom the source wants by its newest word, the forgotten left out."""
        raise NotImplementedError

    def verify(self) -> Compared | None:
        """Read it back: what is found is exactly what others edited, and ours is
        nobody whom they put in."""
        binding = self.binding()
        if binding is None or binding.external_id is None:
            return None
        with self.engine.at_rest(NAME) as (parts, _):
            found = verifying.compared_with(
                self.cohort_listing(), parts, binding, others=[]
            )
        known, there = self.known(), self.truth()
        unsure = known.uncertain | known.doubtful
        certain = known.acknowledged - unsure
        ghosts = there - known.acknowledged - unsure
        assert set(found.differences.missing) == certain - there
        assert set(found.differences.ghosts) == ghosts
        strange = self.edited | known.doubtful
        assert found.causes.missing <= strange
        assert not found.causes.ours
        assert ghosts & self.vendor.ever_sent <= strange
        assert found.causes.returned <= strange & self.vendor.ever_sent
        return found

    def cohort_listing(self) -> Listing:
        """The cohort's file, as a download would bring it."""
        question: Any = None  # a list that stands asks nothing
        return Standing(ListSource(self.truth())).ask(question)

    def moved_since(self, found: Compared) -> bool:
        with self.world.database.read() as connection:
            moment = authorship.newest_moment(connection, found.binding)
            binding = bindings.current(connection, NAME)
        return moment != found.moment or binding != found.binding

    def repair(self, found: Compared) -> Report | None:
        """As `app.repairing.repair` does, but for the download."""
        self.pass_time(MOMENT)
        with self.engine.alone(NAME) as (parts, spec):
            with parts.database.read() as connection:
                now = parts.clock.now()
                repairing.require_nothing_waits(connection, NAME, now)
            if not found.causes.repairable:
                return None
            errand = Errand(
                binding=found.binding,
                moment=found.moment,
                as_of=found.as_of,
                causes=found.causes,
                actor="ann",
                via="cli",
                reason="verify --repair",
            )
            return run_story(parts, spec, Trigger.REPAIR, story=mending.story(errand))

    # ---- a sync begins anew ----------------------------------------------------------

    @precondition(lambda self: not self.is_held() and not self.paused())
    @rule(script=st.one_of(st.just([]), troubles))
    def everybody_is_pushed(self, script: Script) -> None:
        """Once it ends well whoever is wanted is there, whatever others did to them."""
        body = WHO | {"sync": NAME, "how": "push", "reason": "anew"}
        self.vendor.script.extend(script)
        self.pass_time(MOMENT)

        answer = resyncing.resync(self.engine, body)

        self.vendor.script.clear()
        if answer["run"] is not None and answer["run"]["outcome"] in OK:
            wanted = self.wanted() - self.gone.keys() - self.known().unaccepted
            assert wanted <= self.truth()

    @precondition(lambda self: self.binding() is not None and not self.is_held())
    @rule(death=st.none() | moments)
    def what_is_there_is_adopted(self, death: int | None) -> None:
        """Nothing is sent; then nobody has edited anything, as far as it knows."""
        before, known = len(self.vendor.requests), self.known()
        if death is not None:
            self.store.die_at(death)
        self.pass_time(MOMENT)

        _, report = self.attempt(self.adopt)

        assert len(self.vendor.requests) == before
        done = report is not None and report.reason == adopting.ADOPTED
        if done or self.died_after(before_it=known):
            self.adopted()
        if death is not None:
            self.restart()

    def adopt(self) -> Report | None:
        wish = Wish(actor="ann", via="cli", reason="a lost store")
        belief = adopting.Belief(reads=self.reads, mark=self.position())
        with self.engine.alone(NAME) as (parts, spec):
            return adopting.adopt(parts, spec, wish, belief)

    def reads(self, _: Run, _cohort: str) -> Listing:
        return self.cohort_listing()

    def position(self) -> str | None:
        """From where on words stand above who is there; None where a list says that."""
        return None

    def died_after(self, *, before_it: Belief) -> bool:
        """Whether the one transaction of an adoption had been made by then."""
        known = self.known()
        changed = self.store.dead and known != before_it
        in_order = not known.uncertain and not known.unaccepted
        return changed and in_order and known.acknowledged == self.truth()

    def adopted(self) -> None:
        """What is there is what counts; nobody who is in doubt is left."""
        self.edited.clear()
        known = self.known()
        assert known.acknowledged == self.truth()
        assert not known.uncertain
