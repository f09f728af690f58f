"""The demo's story: what happens to audiences and cohorts, told while it happens.

Each chapter changes something in the warehouse or at Amplitude, or decides something,
waits until the daemon has dealt with it, and shows what the daemon did about it.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from syncd.cli import demo_cohort_proof, demo_proof
from syncd.cli.demo_cohort_proof import CohortProof, prove_cohort
from syncd.cli.demo_proof import Proof, prove
from syncd.cli.demo_spending import Spending, add_up
from syncd.cli.demo_teller import Teller
from syncd.cli.demo_vendors import FakeVendors
from syncd.cli.demo_watch import Records, Watch, all_of
from syncd.cli.demo_world import Audience, World
from syncd.cli.words import number, plural
from syncd.store.runs import Run

SHRINK = 0.6
"""Share of the members that disappears: the guard holds from 20 % on."""


class Story:
    """The demo from the first sync to the proofs."""

    def __init__(
        self,
        *,
        teller: Teller,
        world: World,
        watch: Watch,
        records: Records,
        vendors: FakeVendors,
    ) -> None:
        self._teller = teller
        self._say = teller.say
        self._world = world
        self._watch = watch
        self._records = records
        self._vendors = vendors

    def first_sync(self) -> None:
        """Everybody is sent, once."""
        self._teller.heading("2. The first sync sends everybody")
        self._say("The daemon waits for the next full hour, then all four syncs run.")
        since = self._watch.clock.origin or self._watch.clock.now()
        self._until_all_ran_well("the first syncs", self._world.syncs, since)
        self._teller.show_runs()
        strangers = len(self._world.strangers)
        self._say(
            f"Amplitude does not know {strangers} of these people. They are "
            "listed as unmatched,",
            "and offered again after 1 hour, 2 hours, 4 hours …",
        )
        spent = sum(self._vendors.traffic().downloads.values())
        nameless = sum(
            self._records.anonymous(each.sync) for each in self._world.cohorts
        )
        self._say(
            f"The two cohorts cost {plural(spent, 'download')}. {nameless} people in "
            "them are anonymous: counted, not sent.",
        )

    def people_move(self) -> None:
        """Later runs send only who entered and who exited."""
        self._teller.heading("3. People move on both sides; only they are sent")
        main = self._world.audiences[0]
        appeared = main.strangers[0]
        self._vendors.know([appeared])
        self._say("One of the unmatched people signs up at Amplitude.")
        before = self._vendors.traffic().ids
        self._move_audiences()
        self._move_cohorts()
        self._until_moved("the first moves")
        self._move_audiences()
        self._say("The cohorts stay as they are.")
        self._until_moved("the second moves")
        self._watch.until(
            "the person who signed up to be matched",
            lambda: appeared not in self._unmatched(main) or None,
        )
        self._teller.show_runs()
        received = self._vendors.traffic().ids - before
        self._say(self._sent(received), self._gates())

    def guards_hold(self) -> None:
        """Both audiences lose most of their members: one was meant, one was not."""
        meant, mistaken = self._world.audiences
        self._teller.heading(f"4. Both audiences lose {SHRINK:.0%}; nothing is sent")
        now = self._watch.clock.now()
        for each in (meant, mistaken):
            count = self._world.shrink(each, SHRINK, now)
            self._say(f"{each.key}: {number(count)} of its members are gone.")
        held = [self._until_held(each) for each in (meant, mistaken)]
        self._teller.show_runs()
        self._say("The guard holds both plans until a person decides:")
        quote = self._teller.quote
        quote("show", held[0].short_id)
        self._say(f"{meant.key} was cleaned up: that was meant.")
        quote("approve", held[0].short_id, "--reason", "demo: it is meant")
        self._say(f"{mistaken.key} was a broken query. It is repaired first.")
        self._world.repair(mistaken, self._watch.clock.now())
        quote("reject", held[1].short_id, "--reason", "demo: a broken query")
        self._until_all_ran_well("the runs after the decisions", self._world.syncs)
        self._teller.show_runs()

    def proofs(self) -> list[Proof]:
        """After one more run of each: are audience and cohort equal?"""
        self._teller.heading("5. All four syncs, compared person by person")
        now = self._watch.clock.now()
        found = [
            prove(self._world, each, self._records, self._vendors, now)
            for each in self._world.audiences
        ]
        demo_proof.show(self._teller.out, found)
        return found

    def cohort_proofs(self) -> list[CohortProof]:
        """Are the cohorts and what was made of them equal?"""
        found = [
            prove_cohort(each, self._records, self._vendors, self._watch)
            for each in self._world.cohorts
        ]
        self._say("")
        demo_cohort_proof.show_cohorts(self._teller.out, found)
        return found

    def spending(self) -> Spending:
        """What the downloads cost."""
        self._teller.heading("6. The downloads of the month")
        found = add_up(self._world, self._records, self._vendors, self._watch)
        self._say(*found.lines())
        return found

    # ---- what happens ----------------------------------------------------------------

    def _move_audiences(self) -> None:
        for each in self._world.audiences:
            entering, leaving = self._world.move(each, self._watch.clock.now())
            self._say(f"{each.key}: {entering} enter, {leaving} leave.")

    def _move_cohorts(self) -> None:
        for each in self._world.cohorts:
            entering, leaving = each.move(self._vendors)
            self._say(f"{each.name}: {entering} enter, {leaving} leave.")

    def _sent(self, received: int) -> str:
        """How many ids it took."""
        people = sum(len(each.members) for each in self._world.audiences)
        return (
            f"Amplitude received {plural(received, 'id')} for all of this, not "
            f"{number(people)} every hour."
        )

    def _gates(self) -> str:
        """What asking about the cohorts has cost so far."""
        now = add_up(self._world, self._records, self._vendors, self._watch)
        free = now.gates - now.used
        return (
            f"The cohorts: {plural(now.gates, 'time')} asked whether they changed, "
            f"{plural(now.used, 'download')}; {number(free)} times they had not, free."
        )

    # ---- waiting ---------------------------------------------------------------------

    def _until_moved(self, what: str) -> None:
        self._until_all_ran_well(what, self._world.syncs)
        self._teller.show_runs()

    def _until_all_ran_well(
        self, what: str, syncs: Sequence[str], since: datetime | None = None
    ) -> None:
        """Until each had a run that began since then (now) and left nothing to do."""
        start = since or self._watch.clock.now()
        well = self._records.ended_well
        self._watch.until(what, lambda: all_of([well(each, start) for each in syncs]))

    def _until_held(self, audience: Audience) -> Run:
        what = f"the guard to hold {audience.sync}"
        return self._watch.until(what, partial(self._records.held, audience.sync))

    def _unmatched(self, audience: Audience) -> set[str]:
        return self._records.unmatched(self._records.binding(audience.sync))
