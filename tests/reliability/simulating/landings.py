"""A model of requests that land late: one cohort, faults by chance, rules to compare.

Plain sets and a seed, no product code: what it shows is which rule keeps a cohort
right, not how the product does it. The rates are high on purpose: the ranking counts.

A history has 12 runs, 1 to 20 minutes apart, with 4 changes of 30 people between two of
them and batches of 3. Every step may be the last of its process (3 %). A request fails
(5 %), loses its answer after it took effect (3 %), or takes effect later than anybody
waits (2 %): those three look the same from here, and the batch is sent again. A request
that was on the wire when its process died may land later as well. Afterwards come runs
without any fault, for longer than the window, and nobody moves any more.
"""

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

PEOPLE = range(30)
RUNS = 12
CHANGES = 4
BATCH = 3
TRIES = 4
CRASH, FAIL, LOST, LATE = 0.03, 0.05, 0.03, 0.02
LATE_AFTER_DEATH = 0.2
"""Of the requests that were on the wire when their process died."""
WINDOW = 60.0
"""Minutes."""
MEAN_DELAY = 10.0
PACE = 0.1
"""Minutes a request takes."""

Word = Literal["add", "remove"]
Ids = frozenset[int]


@dataclass(frozen=True, slots=True)
class Request:
    """One batch as it is sent."""

    word: Word
    ids: Ids


class Rule(Protocol):
    """What is kept of requests that ended without a known outcome."""

    name: str

    def unknown(self, request: Request, now: float) -> None:
        """It ended so."""

    def suspects(self, acknowledged: set[int], now: float) -> set[int]:
        """Whom a plan asserts again though no batch of theirs is open."""

    def names(self, acknowledged: set[int], now: float) -> set[int]:
        """Whom it knows to be in doubt, asserted again by every plan or not."""

    def withheld(self, now: float) -> set[int]:
        """Whom a plan must not touch yet."""

    def planned(self, now: float) -> None:
        """A plan made at `now` is durable."""

    def proven(self, ids: Ids) -> None:
        """A request about these was acknowledged."""


@dataclass(slots=True)
class Nothing:
    """An acknowledged retry settles the matter."""

    name: str = "none"

    def unknown(self, request: Request, now: float) -> None:
        del request, now

    def suspects(self, acknowledged: set[int], now: float) -> set[int]:
        del acknowledged, now
        return set()

    def names(self, acknowledged: set[int], now: float) -> set[int]:
        return self.suspects(acknowledged, now)

    def withheld(self, now: float) -> set[int]:
        del now
        return set()

    def planned(self, now: float) -> None:
        del now

    def proven(self, ids: Ids) -> None:
        del ids


@dataclass(slots=True)
class Again(Nothing):
    """Whoever such a request named is asserted again by `times` further plans."""

    times: int = 1
    left: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = f"K = {self.times}"

    def unknown(self, request: Request, now: float) -> None:
        # One more: the retry of this very batch is acknowledged first.
        self.left |= dict.fromkeys(request.ids, self.times + 1)

    def suspects(self, acknowledged: set[int], now: float) -> set[int]:
        return set(self.left)

    def proven(self, ids: Ids) -> None:
        for one in ids & self.left.keys():
            self.left[one] -= 1
            if not self.left[one]:
                del self.left[one]


@dataclass(slots=True)
class Wait(Nothing):
    """Nobody whom such a request named is touched for some minutes."""

    minutes: float = 5.0
    since: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = f"wait {self.minutes:.0f} min"

    def unknown(self, request: Request, now: float) -> None:
        self.since |= dict.fromkeys(request.ids, now)

    def withheld(self, now: float) -> set[int]:
        return {one for one, at in self.since.items() if now < at + self.minutes}


@dataclass(slots=True)
class Doubts(Nothing):
    """Whom it named and what it asked for is kept for a window: whoever is acknowledged
    as the opposite meanwhile is asserted again, lastly by the first plan after it;
    `at_the_end`: by that one alone."""

    name: str = "doubts, 60 min"
    window: float = WINDOW
    at_the_end: bool = False
    rows: list[tuple[Request, float]] = field(default_factory=list)

    def unknown(self, request: Request, now: float) -> None:
        self.rows.append((request, now + self.window))

    def suspects(self, acknowledged: set[int], now: float) -> set[int]:
        return self._opposing(acknowledged, now if self.at_the_end else math.inf)

    def names(self, acknowledged: set[int], now: float) -> set[int]:
        return self._opposing(acknowledged, math.inf)

    def _opposing(self, acknowledged: set[int], until: float) -> set[int]:
        found: set[int] = set()
        for request, end in self.rows:
            if end <= until:
                wrong = request.word == "remove"
                found |= {one for one in request.ids if (one in acknowledged) is wrong}
        return found

    def planned(self, now: float) -> None:
        self.rows = [row for row in self.rows if row[1] > now]


class _Died(Exception):
    """The process, at some step."""


@dataclass(slots=True)
class Ending:
    """What became of one history."""

    wrong: bool = False
    """The cohort at the very end."""
    blind: bool = False
    """At some moment somebody was wrong whom neither an open batch nor the rule named:
    nobody knew of it."""
    again: int = 0
    """Ids that were sent for the rule's sake alone."""
    minutes: float = 0.0
    """Spent wrong by somebody whom no open batch named; two people count twice."""


@dataclass(slots=True)
class History:
    """One cohort and what is known of it; `play` makes the ending."""

    rule: Rule
    chance: random.Random
    longest: float = WINDOW
    """Minutes within which every late request lands."""
    mean: float = MEAN_DELAY
    """Minutes it takes one to land, roughly."""
    now: float = 0.0
    source: set[int] = field(default_factory=set)
    truth: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    open: list[Request] = field(default_factory=list)
    late: list[tuple[float, Request]] = field(default_factory=list)
    faulty: bool = True
    died: bool = False
    ending: Ending = field(default_factory=Ending)

    def play(self) -> Ending:
        """All runs, the clean ones behind them, and the verdict."""
        for _ in range(RUNS):
            for one in self.chance.sample(PEOPLE, CHANGES):
                self.source ^= {one}
            self.one_run()
        self.faulty, quiet = False, self.now + 2 * max(WINDOW, self.longest) + 20
        while self.now < quiet:
            self.one_run()
        self.ending.wrong = self.truth != self.source
        return self.ending

    def one_run(self) -> None:
        self.pass_time(self.chance.uniform(1, 20))
        if self.died:
            # Any open batch may have been on the wire.
            for request in self.open:
                self.rule.unknown(request, self.now)
        self.died = False
        try:
            self.plan()
            while self.open and self.deliver(self.open[0]):
                del self.open[0]
        except _Died:
            self.died = True

    def plan(self) -> None:
        """Durable before anything of it is sent."""
        uncertain = self.uncertain()
        suspects = self.rule.suspects(self.acknowledged, self.now) - uncertain
        again = (uncertain | suspects) - self.rule.withheld(self.now)
        touched = (self.source ^ self.acknowledged) - self.rule.withheld(self.now)
        self.step()
        self.ending.again += len(suspects - touched)
        kept = self.rule.withheld(self.now) & uncertain
        waiting = [r for r in self.open if r.ids & kept]
        named = {one for request in waiting for one in request.ids}
        changed = (touched | again) - named
        self.open = [
            *waiting,
            *batches("remove", changed - self.source),
            *batches("add", changed & self.source),
        ]
        self.rule.planned(self.now)

    def deliver(self, request: Request) -> bool:
        """Send it until it is acknowledged; False: not in this run."""
        for _ in range(TRIES):
            self.step()
            if self.send(request):
                self.acknowledge(request)
                return True
        return False

    def send(self, request: Request) -> bool:
        """One request; True: it was answered."""
        self.pass_time(PACE)
        fate = self.chance.random() if self.faulty else 1.0
        if fate < CRASH:
            self.on_the_wire(request)
            raise _Died
        if fate < CRASH + LATE:
            self.land_later(request)
        elif fate < CRASH + LATE + LOST:
            self.take_effect(request)
        elif fate >= CRASH + LATE + LOST + FAIL:
            self.take_effect(request)
            return True
        self.rule.unknown(request, self.now)
        return False

    def on_the_wire(self, request: Request) -> None:
        """Its process died: it was carried out, will be, or never is."""
        if self.chance.random() < LATE_AFTER_DEATH:
            self.land_later(request)
        elif self.chance.random() < 0.5:
            self.take_effect(request)

    def acknowledge(self, request: Request) -> None:
        self.step()
        if request.word == "add":
            self.acknowledged |= request.ids
        else:
            self.acknowledged -= request.ids
        self.rule.proven(request.ids)

    def land_later(self, request: Request) -> None:
        delay = self.longest + 1
        while delay > self.longest:
            delay = self.chance.expovariate(1 / self.mean)
        self.late.append((self.now + delay, request))

    def take_effect(self, request: Request) -> None:
        if request.word == "add":
            self.truth |= request.ids
        else:
            self.truth -= request.ids

    def step(self) -> None:
        """The process may die here."""
        if self.faulty and self.chance.random() < CRASH:
            raise _Died

    def pass_time(self, minutes: float) -> None:
        """What is late lands meanwhile, in its order; then somebody looks."""
        until = self.now + minutes
        due = sorted(
            (each for each in self.late if each[0] <= until), key=lambda each: each[0]
        )
        for at, request in due:
            self.count_minutes(at)
            self.late.remove((at, request))
            self.take_effect(request)
            self.look()
        self.count_minutes(until)

    def count_minutes(self, until: float) -> None:
        wrong = len((self.truth ^ self.acknowledged) - self.uncertain())
        self.ending.minutes += wrong * (until - self.now)
        self.now = until

    def look(self) -> None:
        wrong = (self.truth ^ self.acknowledged) - self.uncertain()
        self.ending.blind |= not wrong <= self.rule.names(self.acknowledged, self.now)

    def uncertain(self) -> set[int]:
        return {one for request in self.open for one in request.ids}


def batches(word: Word, ids: Iterable[int]) -> list[Request]:
    """Of three people each."""
    listed = sorted(ids)
    return [
        Request(word, frozenset(listed[first : first + BATCH]))
        for first in range(0, len(listed), BATCH)
    ]


RULES = ("none", "wait", "K1", "K2", "K4", "end", "doubts")


def rule(name: str) -> Rule:
    """A new one, that knows of nothing yet."""
    match name:
        case "none":
            return Nothing()
        case "wait":
            return Wait()
        case "doubts":
            return Doubts()
        case "end":
            return Doubts(name="doubts, at their end only", at_the_end=True)
        case _:
            return Again(times=int(name[1:]))


@dataclass(slots=True)
class Tally:
    """What became of many histories under one rule."""

    rule: str
    histories: int = 0
    wrong: int = 0
    blind: int = 0
    again: int = 0
    minutes: float = 0.0

    def count(self, ending: Ending) -> None:
        """One more."""
        self.histories += 1
        self.wrong += ending.wrong
        self.blind += ending.blind
        self.again += ending.again
        self.minutes += ending.minutes


def compare(
    histories: int, *, mean: float = MEAN_DELAY, longest: float = WINDOW
) -> dict[str, Tally]:
    """The same seeds under every rule."""
    found: dict[str, Tally] = {}
    for name in RULES:
        tally = found[name] = Tally(rule=rule(name).name)
        for seed in range(histories):
            chance = random.Random(seed)  # noqa: S311
            made = History(rule=rule(name), chance=chance, longest=longest, mean=mean)
            tally.count(made.play())
    return found


def table(found: dict[str, Tally]) -> str:
    """Markdown."""
    head = (
        "| rule | histories | wrong at the end | wrong unnoticed "
        "| minutes wrong | ids sent again |"
    )
    rows = [
        f"| {each.rule} | {each.histories:,} | {each.wrong:,} | {each.blind:,} "
        f"| {each.minutes / each.histories:.2f} | {each.again / each.histories:.2f} |"
        for each in found.values()
    ]
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])
