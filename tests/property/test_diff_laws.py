"""Laws of the diff (reliability page, section 3): I-2, I-5, I-6, I-7, I-11.

Two views: one bucket against a rule that looks at each id alone, and many runs against
a destination that loses requests and answers.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from syncd.model import Operation, PlannedBatch
from syncd.store.buckets import bucket_of
from syncd.sync.batch import batches
from syncd.sync.diff import BucketChanges, changes

STRANGER = b"stranger"
"""An unaccepted id nobody lists: its presence alone forces the general way."""


class Offer(Enum):
    """What became of an id the last time the destination did not take it."""

    NEVER = "never"
    DUE = "due"
    WAITING = "waiting"


@dataclass(frozen=True)
class Person:
    """Everything the diff can know about one id."""

    id: bytes
    listed: int = 0
    acknowledged: bool = False
    uncertain: bool = False
    offer: Offer = Offer.NEVER

    def expected(self) -> Operation | None:
        """The rule for one id, by itself."""
        if self.listed:
            offered = not self.acknowledged and self.offer is not Offer.WAITING
            return Operation.ADD if self.uncertain or offered else None
        return Operation.REMOVE if self.acknowledged or self.uncertain else None


STATES = st.tuples(
    st.integers(0, 3), st.booleans(), st.booleans(), st.sampled_from(Offer)
)
CERTAIN_STATES = st.tuples(st.integers(0, 3), st.booleans())


@st.composite
def crowds(draw, states=STATES):
    return [
        Person(b"id-%d" % number, *state)
        for number, state in enumerate(draw(st.lists(states, max_size=14)))
    ]


def listing(crowd: list[Person]) -> list[bytes]:
    """The snapshot, duplicates apart from each other."""
    rounds = max((person.listed for person in crowd), default=0)
    return [p.id for turn in range(rounds) for p in crowd if p.listed > turn]


def compared(
    crowd: list[Person], snapshot: list[bytes] | None = None, *, stranger: bool = False
) -> BucketChanges:
    unaccepted = {p.id for p in crowd if p.offer is not Offer.NEVER}
    return changes(
        bucket=7,
        snapshot=listing(crowd) if snapshot is None else snapshot,
        acknowledged={p.id for p in crowd if p.acknowledged},
        uncertain={p.id for p in crowd if p.uncertain},
        waiting={p.id for p in crowd if p.offer is Offer.WAITING},
        unaccepted=unaccepted | {STRANGER} if stranger else unaccepted,
    )


def named(change: BucketChanges) -> Counter[tuple[bytes, Operation]]:
    adds = [(member, Operation.ADD) for member in change.adds]
    return Counter(adds + [(member, Operation.REMOVE) for member in change.removes])


def counts(change: BucketChanges) -> tuple[int, int, int, int]:
    return change.members, change.acknowledged, change.union, change.reasserted


@given(crowd=crowds())
def test_every_id_is_changed_once_and_as_if_it_were_asked_alone(crowd):
    change = compared(crowd)

    expected = Counter((p.id, p.expected()) for p in crowd if p.expected())
    assert named(change) == expected
    assert change.bucket == 7


@given(crowd=crowds())
def test_an_uncertain_id_is_asserted_once_as_the_snapshot_says(crowd):
    change = named(compared(crowd))

    for person in crowd:
        says = Operation.ADD if person.listed else Operation.REMOVE
        says_not = Operation.REMOVE if person.listed else Operation.ADD
        assert change[person.id, says] == 1 or not person.uncertain
        assert change[person.id, says_not] == 0


@given(crowd=crowds())
def test_nobody_who_is_listed_is_removed_and_nobody_else_is_added(crowd):
    change = compared(crowd)

    assert set(change.removes).isdisjoint(listing(crowd))
    assert set(change.adds) <= set(listing(crowd))


@given(crowd=crowds())
def test_waiting_ids_are_not_offered_unless_uncertain(crowd):
    change = compared(crowd)

    waiting = {p.id for p in crowd if p.offer is Offer.WAITING and not p.uncertain}
    assert waiting.isdisjoint(change.adds)


@given(crowd=crowds())
def test_the_plan_turns_acknowledged_into_the_snapshot_without_who_waits(crowd):
    change = compared(crowd)

    before = {p.id for p in crowd if p.acknowledged}
    left_out = {
        p.id
        for p in crowd
        if p.offer is Offer.WAITING and not p.acknowledged and not p.uncertain
    }
    after = (before | set(change.adds)) - set(change.removes)
    assert after == set(listing(crowd)) - left_out


@given(crowd=crowds(), order=st.randoms(use_true_random=False))
def test_order_and_duplicates_of_the_snapshot_change_nothing(crowd, order):
    snapshot = listing(crowd)
    once = compared(crowd, list(dict.fromkeys(snapshot)))
    order.shuffle(snapshot)

    change = compared(crowd, snapshot)

    assert named(change) == named(once)
    assert counts(change) == counts(once)


@given(crowd=crowds(CERTAIN_STATES))
def test_the_short_way_agrees_with_the_general_way(crowd):
    short = compared(crowd)
    general = compared(crowd, stranger=True)

    assert named(short) == named(general)
    assert counts(short) == counts(general)
    assert (short.vanished, general.vanished) == ([], [STRANGER])


@given(crowd=crowds())
def test_the_counts_are_of_distinct_people(crowd):
    change = compared(crowd)

    certain = [Person(p.id, p.listed, p.acknowledged, offer=p.offer) for p in crowd]
    reasserted = sum(
        p.expected() is not None and alone.expected() is None
        for p, alone in zip(crowd, certain, strict=True)
    )
    assert counts(change) == (
        sum(p.listed > 0 for p in crowd),
        sum(p.acknowledged for p in crowd),
        sum(p.acknowledged or p.uncertain for p in crowd),
        reasserted,
    )


@given(crowd=crowds())
def test_an_unaccepted_id_vanishes_when_the_snapshot_no_longer_lists_it(crowd):
    change = compared(crowd)

    gone = [p.id for p in crowd if p.offer is not Offer.NEVER and not p.listed]
    assert sorted(change.vanished) == sorted(gone)


@given(crowd=crowds(CERTAIN_STATES))
def test_when_nothing_changed_nothing_is_sent(crowd):
    acknowledged = {p.id for p in crowd}

    change = changes(
        bucket=0,
        snapshot=[p.id for p in crowd],
        acknowledged=acknowledged,
        uncertain=set(),
        waiting=set(),
        unaccepted=set(),
    )

    assert named(change) == Counter()
    assert counts(change) == (len(crowd), len(crowd), len(crowd), 0)


@given(crowd=crowds())
def test_the_sets_of_the_caller_are_left_as_they_are(crowd):
    sets = {
        "acknowledged": {p.id for p in crowd if p.acknowledged},
        "uncertain": {p.id for p in crowd if p.uncertain},
        "waiting": {p.id for p in crowd if p.offer is Offer.WAITING},
        "unaccepted": {p.id for p in crowd if p.offer is not Offer.NEVER},
    }
    before = {name: set(value) for name, value in sets.items()}

    changes(bucket=0, snapshot=listing(crowd), **sets)

    assert sets == before


class Answer(Enum):
    """What becomes of one batch on its way."""

    TAKEN = "carried out, and we know"
    LOST = "carried out, and the answer is lost"
    UNSENT = "never carried out, and we do not know"


PEOPLE = [b"p%d" % number for number in range(12)]
N_BUCKETS = 4


@dataclass
class Destination:
    """A cohort that knows some people and holds some of them."""

    known: set[bytes]
    members: set[bytes] = field(default_factory=set)

    def carry_out(self, batch: PlannedBatch) -> set[bytes]:
        """Returns the ids it skipped."""
        taken = self.known.intersection(batch.ids)
        if batch.operation is Operation.ADD:
            self.members |= taken
        else:
            self.members -= taken
        return set(batch.ids) - taken


class ManyRuns(RuleBasedStateMachine):
    """Runs of one sync while requests and answers get lost."""

    @initialize(known=st.sets(st.sampled_from(PEOPLE)))
    def start(self, known):
        self.destination = Destination(known)
        self.snapshot: set[bytes] = set()
        self.acknowledged: set[bytes] = set()
        self.uncertain: set[bytes] = set()
        self.unaccepted: dict[bytes, bool] = {}
        """Whether the next offer is due."""

    @rule(snapshot=st.sets(st.sampled_from(PEOPLE)))
    def people_move(self, snapshot):
        self.snapshot = snapshot

    @rule(known=st.sets(st.sampled_from(PEOPLE)))
    def the_destination_meets_people(self, known):
        self.destination.known |= known

    @rule(answers=st.data())
    def run(self, answers):
        plan = self.take_over()
        for batch in plan:
            self.deliver(batch, answers.draw(st.sampled_from(Answer)))

    @rule()
    def all_waits_end(self):
        self.unaccepted = dict.fromkeys(self.unaccepted, True)

    @precondition(lambda self: self.unaccepted)
    @rule(data=st.data())
    def a_wait_ends(self, data):
        member = data.draw(st.sampled_from(sorted(self.unaccepted)))
        self.unaccepted[member] = True

    @rule()
    def a_run_without_faults_makes_both_equal_and_the_next_one_is_quiet(self):
        for batch in self.take_over():
            self.deliver(batch, Answer.TAKEN)

        assert self.uncertain == set()
        assert self.acknowledged == self.snapshot - self.unaccepted.keys()
        assert self.destination.members == self.acknowledged
        waiting = [member for member, due in self.unaccepted.items() if not due]
        assert len(waiting) == len(self.unaccepted)
        assert self.take_over() == []

    @invariant()
    def every_difference_is_among_the_uncertain(self):
        differing = self.destination.members ^ self.acknowledged
        assert differing <= self.uncertain

    def compare(self) -> list[BucketChanges]:
        return [
            changes(
                bucket=index,
                snapshot=in_bucket(self.snapshot, index),
                acknowledged=set(in_bucket(self.acknowledged, index)),
                uncertain=set(in_bucket(self.uncertain, index)),
                waiting={
                    member
                    for member in in_bucket(self.unaccepted, index)
                    if not self.unaccepted[member]
                },
                unaccepted=set(in_bucket(self.unaccepted, index)),
            )
            for index in range(N_BUCKETS)
        ]

    def take_over(self) -> list[PlannedBatch]:
        """The durable intent: what was uncertain is replaced by the plan's ids."""
        compared = self.compare()
        plan = list(batches(compared, size=3))
        planned = {member for batch in plan for member in batch.ids}
        assert self.uncertain <= planned
        for change in compared:
            for member in change.vanished:
                del self.unaccepted[member]
        self.uncertain = planned
        return plan

    def deliver(self, batch: PlannedBatch, answer: Answer) -> None:
        if answer is Answer.UNSENT:
            return
        skipped = self.destination.carry_out(batch)
        if answer is Answer.TAKEN:
            self.acknowledge(batch, skipped)

    def acknowledge(self, batch: PlannedBatch, skipped: set[bytes]) -> None:
        self.uncertain.difference_update(batch.ids)
        self.acknowledged.difference_update(batch.ids)
        if batch.operation is Operation.ADD:
            self.acknowledged |= set(batch.ids) - skipped
            for member in batch.ids:
                self.unaccepted.pop(member, None)
            self.unaccepted |= dict.fromkeys(skipped, False)


def in_bucket(members, index: int) -> list[bytes]:
    return [member for member in members if bucket_of(member, N_BUCKETS) == index]


ManyRuns.TestCase.settings = settings(max_examples=150, stateful_step_count=25)
TestManyRuns = ManyRuns.TestCase
