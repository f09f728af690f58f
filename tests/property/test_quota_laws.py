"""Whatever the interleaving of syncs, kills and other spenders, no limit is exceeded.

The vendor here counts when a request arrives; we know only what was durable, what was
answered, and what the usage call said before a decision. Decisions of several processes
come one after the other (the store's lock), everything else in any order.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.clients import quota
from syncd.clients.quota import (
    Admitted,
    Budget,
    Later,
    Reading,
    Rules,
    Spend,
    Wish,
    decide,
)
from syncd.sources.amplitude_download.admission import as_spends
from syncd.store.fetches import Fetch, FetchState

START = datetime(2026, 5, 31, 22, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
PATIENCE = 2 * MINUTE
RESERVE = 3
BUDGET = Budget(downloads=2, per=timedelta(minutes=20))
SYNCS = ["a", "b", "c", "thrifty"]


@dataclass
class Asker:
    """One process of ours on its way from the reading of the usage to the answer."""

    sync: str
    by_person: bool
    reading: Reading
    others: int
    """What other tools had spent in the month when it was read."""
    month: int
    row: int = -1
    decided_at: datetime = START
    arrived: bool = False
    accepted: bool = False


@dataclass
class Arrival:
    """A request as the vendor saw it and counted it."""

    at: datetime
    who: Asker
    ends_at: datetime


class World:
    """Processes of ours, a vendor, and another tool on the same budget."""

    def __init__(self, chance: Random, *, limit: int, has_usage: bool) -> None:
        self.chance = chance
        self.limit = limit
        self.has_usage = has_usage
        self.now = START
        self.rows: list[Fetch] = []
        self.readers: list[Asker] = []
        self.flying: list[Asker] = []
        self.arrivals: list[Arrival] = []
        self.others: dict[int, int] = {}
        self.faults: list[str] = []

    def live(self, steps: int) -> None:
        happenings: list[Callable[[], None]] = [
            *[self.read_the_usage, self.decide_under_the_lock] * 4,
            *[self.a_request_arrives, self.an_answer_is_stored] * 3,
            *[self.a_process_dies, self.an_end_is_noticed, self.another_tool_spends],
            *[self.time_passes] * 3,
        ]
        for _ in range(steps):
            self.chance.choice(happenings)()

    # ---- what the vendor knows

    @property
    def month(self) -> int:
        return self.now.month

    def used(self) -> int:
        ours = sum(each.at.month == self.month for each in self.arrivals)
        return ours + self.others.get(self.month, 0)

    # ---- our processes

    def read_the_usage(self) -> None:
        known = as_spends(self.rows, self.now, PATIENCE)
        reading = Reading(
            limit=self.limit,
            used=self.used() if self.has_usage else 0,
            resets_at=quota.next_month(self.now),
            estimated=not self.has_usage,
            included=frozenset(each.id for each in known if each.answered),
        )
        self.readers.append(
            Asker(
                sync=self.chance.choice(SYNCS),
                by_person=self.chance.random() < 0.2,
                reading=reading,
                others=self.others.get(self.month, 0),
                month=self.month,
            )
        )

    def decide_under_the_lock(self) -> None:
        if not self.readers:
            return
        who = self.readers.pop(self.chance.randrange(len(self.readers)))
        rules = Rules(
            reserve=RESERVE,
            budget=BUDGET if who.sync == "thrifty" else None,
            period=MINUTE,
            demand=self.chance.choice([0.0, 0.0, 50.0]),
        )
        mine = [each.asked_at for each in self.rows if each.sync == who.sync]
        wish = Wish(
            sync=who.sync,
            by_person=who.by_person,
            last_at=mine[-1] if mine else None,
            size_moved=True,
        )
        past = as_spends(self.rows, self.now, PATIENCE)
        if isinstance(decide(wish, rules, who.reading, past, self.now), Admitted):
            who.row, who.decided_at = len(self.rows), self.now
            self.rows.append(row(who, self.now))
            self.flying.append(who)

    def a_request_arrives(self) -> None:
        on_the_wire = [each for each in self.flying if not each.arrived]
        if on_the_wire:
            self.arrive(self.chance.choice(on_the_wire))

    def arrive(self, who: Asker) -> None:
        who.arrived = True
        if self.used() >= self.limit:
            return  # a 429: nothing is counted (contract R7)
        who.accepted = True
        self.judge(who)
        job = self.chance.choice([5, 5, 45, 300, 3540]) * SECOND
        self.arrivals.append(Arrival(self.now, who, self.now + job))

    def judge(self, who: Asker) -> None:
        """The month's law when a request is counted. What other tools spent after the
        reading nobody could know, nor who decides later and is faster on the wire; in
        another month the count is a new one."""
        if self.month != who.month:
            return
        unknown = self.others.get(self.month, 0) - who.others
        unknown += sum(each.who.row > who.row for each in self.arrivals)
        most = self.limit - (0 if who.by_person else RESERVE)
        if self.used() - unknown >= most:
            self.faults.append(f"{who.sync} went over the month: {self.used()}")

    def an_answer_is_stored(self) -> None:
        answered = [each for each in self.flying if each.arrived]
        if answered:
            who = self.chance.choice(answered)
            self.flying.remove(who)
            state = FetchState.RUNNING if who.accepted else FetchState.REFUSED
            known = replace(self.rows[who.row], state=state, asked_at=self.now)
            self.rows[who.row] = known

    def a_process_dies(self) -> None:
        """Its request may be on the wire still; its row stays as it is."""
        if self.flying:
            who = self.chance.choice(self.flying)
            self.flying.remove(who)
            if self.chance.random() < 0.7 and not who.arrived:
                self.arrive(who)

    def an_end_is_noticed(self) -> None:
        """Somebody polls every request that is known to run."""
        over = {each.who.row for each in self.arrivals if each.ends_at <= self.now}
        self.rows = [
            replace(each, state=FetchState.READY)
            if each.id in over and each.state is FetchState.RUNNING
            else each
            for each in self.rows
        ]

    # ---- everything else

    def another_tool_spends(self) -> None:
        if self.has_usage and self.chance.random() < 0.3:
            spent = self.others.get(self.month, 0)
            self.others[self.month] = spent + min(1, max(0, self.limit - self.used()))

    def time_passes(self) -> None:
        """No request is on the wire for longer than anybody waits for it."""
        seconds = self.chance.choice([1, 7, 20, 31, 61, 61, 300, 1300])
        self.now += min(seconds * SECOND, self.patience_left())

    def patience_left(self) -> timedelta:
        ends = [each.decided_at + PATIENCE - SECOND for each in self.flying]
        return max(
            min(ends, default=self.now + timedelta(days=1)) - self.now, 0 * SECOND
        )


def row(who: Asker, now: datetime) -> Fetch:
    return Fetch(
        id=who.row,
        project="us:1",
        cohort_id=who.sync,
        sync=who.sync,
        run_id="r",
        by_person=who.by_person,
        state=FetchState.ASKING,
        request_id=None,
        asked_at=now,
        ended_at=None,
        computed_before=None,
        computed_after=None,
        name="",
        size_before=None,
        size_ready=None,
        size=None,
        rows=None,
        digest=None,
        broken=0,
        error=None,
    )


def most_within(times: list[datetime], length: timedelta) -> int:
    return max(
        (sum(at <= each < at + length for each in times) for at in times), default=0
    )


@given(
    chance=st.randoms(use_true_random=True),
    limit=st.sampled_from([9, 20, 1_000]),
    has_usage=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_no_limit_is_exceeded_whatever_happens(
    chance: Random, limit: int, has_usage: bool
) -> None:
    world = World(chance, limit=limit, has_usage=has_usage)

    world.live(500)

    times = [each.at for each in world.arrivals]
    assert most_within(times, MINUTE) <= 4
    assert most_within(times, 10 * MINUTE) <= 60
    for one in world.arrivals:
        running = [e for e in world.arrivals if e.at <= one.at < e.ends_at]
        assert len(running) <= 4
    assert world.faults == []
    by_schedule = [
        each.at
        for each in world.arrivals
        if each.who.sync == "thrifty" and not each.who.by_person
    ]
    assert most_within(by_schedule, BUDGET.per) <= BUDGET.downloads


SPENDS = st.lists(st.integers(0, 900), max_size=80)


@given(SPENDS)
@settings(max_examples=60, deadline=None)
def test_whoever_waits_as_told_is_admitted_in_the_end(ages: list[int]) -> None:
    """The rate limits alone: each wait is in the future, and there are few of them."""
    past = [
        Spend(
            id=number,
            sync="a",
            cohort_id="a",
            at=START - age * SECOND,
            answered=True,
            confirmed=True,
            running=False,
        )
        for number, age in enumerate(ages)
    ]
    reading = Reading(
        limit=10_000, used=0, resets_at=quota.next_month(START), estimated=False
    )
    rules = Rules(reserve=0, budget=None, period=None, demand=0.0)
    wish = Wish(sync="a", by_person=False, last_at=None, size_moved=True)
    now, waits = START, 0
    while isinstance(answer := decide(wish, rules, reading, past, now), Later):
        assert answer.until > now
        now, waits = answer.until, waits + 1

    assert answer == Admitted()
    assert waits <= 2
    assert now <= START + 10 * MINUTE + quota.SKEW
