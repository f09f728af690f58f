"""The demo's story: what happens to audiences and cohorts, told while it happens.

Each chapter changes something at Engage or at Amplitude, or decides something, waits
until the daemon has dealt with it, and shows what the daemon did about it.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial

from syncd.cli import demo_cohort_proof, demo_proof
from syncd.cli.demo_audiences import Audience
from syncd.cli.demo_cohort_proof import CohortProof, prove_cohort
from syncd.cli.demo_cohorts import Cohort
from syncd.cli.demo_proof import Proof, prove
from syncd.cli.demo_pushes import Push, Pushes
from syncd.cli.demo_spending import Spending, add_up
from syncd.cli.demo_teller import Teller
from syncd.cli.demo_vendors import FakeVendors
from syncd.cli.demo_watch import Records, Watch, all_of
from syncd.cli.demo_world import World
from syncd.report.words import number, plural
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
        pushes: Pushes,
    ) -> None:
        self._teller = teller
        self._say = teller.say
        self._world = world
        self._watch = watch
        self._records = records
        self._vendors = vendors
        self._pushes = pushes

    def first_sync(self) -> None:
        """Everybody is sent, once."""
        self._teller.heading("2. The first sync sends everybody")
        begin = self._watch.clock.origin or self._watch.clock.now()
        since = dict.fromkeys(self._world.syncs, begin)
        for each in self._world.cohorts:
            if each.pushed:
                self._push_whole(each)
                since[each.sync] = self._watch.clock.now()
        self._say(
            "The others run when they are due: at the next hour, or quarter of it."
        )
        self._until_all_ran_well("the first syncs", since)
        self._show()
        self._say(
            "These are real times since Amplitude began to push; the wait for the next "
            "quarter",
            "of an hour is half a second.",
        )
        strangers = len(self._world.strangers)
        self._say(
            f"Amplitude does not know {strangers} of these people. They are "
            "listed as unmatched,",
            "and offered again after 1 hour, 2 hours, 4 hours …",
        )
        self._say(*self._costs())

    def people_move(self) -> None:
        """Later runs send only who entered and who exited."""
        self._teller.heading("3. People move on both sides; only they are sent")
        main = self._world.audiences[0]
        appeared = main.strangers[0]
        self._vendors.know([appeared])
        self._say("One of the unmatched people signs up at Amplitude.")
        before = self._vendors.traffic().ids
        self._move(*self._world.audiences, *self._world.cohorts)
        self._until_moved("the first moves")
        self._move(*self._world.audiences)
        self._say("The cohorts stay as they are.")
        self._until_moved("the second moves")
        self._watch.until(
            "the person who signed up to be matched",
            lambda: appeared not in self._unmatched(main) or None,
        )
        self._show()
        received = self._vendors.traffic().ids - before
        self._say(self._sent(received), self._gates())

    def guards_hold(self) -> None:
        """Both audiences lose most of their members: one was meant, one was not."""
        meant, mistaken = self._world.audiences
        self._teller.heading(f"4. Both audiences lose {SHRINK:.0%}; nothing is sent")
        for each in (meant, mistaken):
            count = each.shrink(self._vendors, SHRINK)
            self._say(f"{each.key}: {number(count)} of its members are gone.")
            self._tell(each)
        held = [self._until_held(each) for each in (meant, mistaken)]
        self._show()
        self._say("The guard holds both plans until a person decides:")
        quote = self._teller.quote
        quote("show", held[0].short_id)
        self._say(f"{meant.key} was cleaned up: that was meant.")
        quote("approve", held[0].short_id, "--reason", "demo: it is meant")
        self._say(f"{mistaken.key} was a broken query. It is repaired first.")
        mistaken.repair(self._vendors)
        self._tell(mistaken)
        quote("reject", held[1].short_id, "--reason", "demo: a broken query")
        self._until_moved("the runs after the decisions")

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

    def pushed(self) -> list[Push]:
        """Everything that was pushed."""
        return self._pushes.all

    # ---- what happens ----------------------------------------------------------------

    def _push_whole(self, cohort: Cohort) -> None:
        """Amplitude's first push of a cohort names everybody."""
        push = self._pushes.push(cohort)
        self._say(
            f"Amplitude pushes {cohort.name}: it makes a list and adds "
            f"{number(push.items)} people, with {push.at_once} requests at once.",
        )

    def _move(self, *moving: Audience | Cohort) -> None:
        for each in moving:
            entering, leaving = each.move(self._vendors)
            name = each.key if isinstance(each, Audience) else each.name
            self._say(f"{name}: {entering} enter, {leaving} leave.")
            self._tell(each)

    def _tell(self, each: Audience | Cohort) -> None:
        """Let the vendor push the change, where it is one that does."""
        told = each.by_webhook if isinstance(each, Audience) else each.pushed
        if told:
            self._pushes.push(each)

    def _show(self) -> None:
        """The runs since the last time, and what they made of what was pushed."""
        self._teller.show_runs()
        self._pushes.show(self._teller.out)

    def _costs(self) -> Iterator[str]:
        """What each cohort cost, and whom it cannot name."""
        spent = self._vendors.traffic().downloads
        for each in self._world.cohorts:
            cost = f"{each.name} cost {plural(spent.get(each.id, 0), 'download')}"
            if each.pushed:
                nameless = each.anonymous
                yield f"{cost}: it is pushed, without its {nameless} anonymous people."
            else:
                nameless = self._records.anonymous(each.sync)
                yield f"{cost}; {nameless} people in it are anonymous: not sent."

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
        asked = [each.name for each in self._world.cohorts if not each.pushed]
        times = plural(now.gates, "time")
        return (
            f"{', '.join(asked)}: {times} asked whether it changed, "
            f"{plural(now.used, 'download')}; {number(free)} times it had not, free."
        )

    # ---- waiting ---------------------------------------------------------------------

    def _until_moved(self, what: str) -> None:
        """Until everything that happened up to now was dealt with."""
        now = self._watch.clock.now()
        self._until_all_ran_well(what, dict.fromkeys(self._world.syncs, now))
        self._show()

    def _until_all_ran_well(self, what: str, since: Mapping[str, datetime]) -> None:
        """Until each had a run that began since then and left nothing to do."""
        well = self._records.ended_well
        self._watch.until(
            what, lambda: all_of([well(sync, at) for sync, at in since.items()])
        )

    def _until_held(self, audience: Audience) -> Run:
        what = f"the guard to hold {audience.sync}"
        return self._watch.until(what, partial(self._records.held, audience.sync))

    def _unmatched(self, audience: Audience) -> set[str]:
        return self._records.unmatched(self._records.binding(audience.sync))
