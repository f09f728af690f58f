"""Histories: what happens to some syncs, drawn from a seed before anything happens.

A history is a list of events, so it can be made shorter while it still fails. Events
name people by number and faults by name; nothing in them depends on what the syncs do.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

PEOPLE = 30
INVALID = (90, 91)
"""Numbers of people whose ids make a destination refuse a whole request."""

RUNS = {"run", "slot", "twice", "approve", "push", "retry", "drop"}
"""Events in which a run may happen: the faults before it are about it."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens; `args` are numbers, words and lists of numbers."""

    what: str
    sync: int = 0
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        words = [self.what, "abc"[self.sync], *(json.dumps(each) for each in self.args)]
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """One sync of a history."""

    style: str
    """Its destination: cohort, trait or partner."""
    source: str
    """list, asked or fed."""
    guard: str
    """tight, usual or none."""
    patient: bool
    """Retries wait as they do by default; else not at all."""
    broken: str = ""
    """What is wrong with it for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What happens to whom."""

    casts: tuple[Cast, ...]
    events: tuple[Event, ...]

    def text(self) -> str:
        """One line that `of_text` reads."""
        casts = [[c.style, c.source, c.guard, c.patient, c.broken] for c in self.casts]
        events = [[e.what, e.sync, list(e.args)] for e in self.events]
        return json.dumps({"casts": casts, "events": events})


def of_text(text: str) -> History:
    """The history that was written down."""
    raw = json.loads(text)
    return History(
        casts=tuple(
            Cast(style=s, source=o, guard=g, patient=p, broken=b)
            for s, o, g, p, b in raw["casts"]
        ),
        events=tuple(
            Event(what, sync, tuple(args)) for what, sync, args in raw["events"]
        ),
    )


# ---- drawing ------------------------------------------------------------------------


def draw(seed: int) -> History:
    """The history of a seed."""
    chance = Random(seed)  # noqa: S311  # to be repeated, not to be kept secret
    casts = tuple(_casts(chance))
    drawing = _Drawing(chance, casts)
    for number, _ in enumerate(casts):
        drawing.begin(number)
    for _ in range(chance.randint(8, 15)):
        drawing.step()
    return History(casts=casts, events=tuple(drawing.events))


def _casts(chance: Random) -> list[Cast]:
    count = chance.choices([1, 2, 3], [7, 2, 1])[0]
    casts = [_cast(chance) for _ in range(count)]
    if count > 1 and chance.random() < 0.6:
        casts[-1] = _broken(chance)
    return casts


def _cast(chance: Random) -> Cast:
    source = chance.choices(["list", "asked", "fed"], [7, 2, 2])[0]
    return Cast(
        style=chance.choices(["cohort", "trait", "partner"], [7, 2, 1])[0],
        source=source,
        guard=chance.choices(["tight", "usual", "none"], [3, 1, 2])[0],
        patient=chance.random() < 0.4,
    )


def _broken(chance: Random) -> Cast:
    return Cast(
        style="cohort",
        source="list",
        guard="none",
        patient=chance.random() < 0.5,
        broken=chance.choice(
            ["down", "midway", "5xx", "lost", "403", "400", "garbled"]
        ),
    )


MOMENTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 17, 20)
"""The n-th write transaction: a run of three batches makes about ten."""
ANSWERS = {
    "5xx": 2,
    "5xx_applied": 2,
    "reset": 2,
    "lost": 5,
    "409": 1,
    "409_applied": 1,
    "429": 2,
    "429_60": 2,
    "429_900": 1,
    "400": 2,
    "401": 1,
    "403": 1,
    "404": 1,
    "forbidden": 1,
    "garbled": 3,
    "elsewhere": 2,
    "late_25": 1,
    "late_600": 2,
    "late_3000": 2,
}


FLAPS = ("lost", "garbled", "5xx", "late_600", "late_3000")
"""What becomes of the exit of somebody who comes back."""


class _Drawing:
    """Draws events one after the other."""

    def __init__(self, chance: Random, casts: Sequence[Cast]) -> None:
        self.chance, self.casts = chance, casts
        self.events: list[Event] = []
        self.inside: list[set[int]] = [set() for _ in casts]
        """Whom each source lists, as far as events went."""

    def add(self, what: str, *args: object, sync: int | None = None) -> None:
        chosen = self._sync() if sync is None else sync
        self.events.append(Event(what, chosen, args))

    def begin(self, sync: int) -> None:
        """A first list, and usually a first run."""
        self._list(sync, self._some(range(PEOPLE), 12, 24))
        if self.chance.random() < 0.8:
            self._faults(sync, 0.2)
            self.add("run", sync=sync)

    def step(self) -> None:
        """The world changes, faults are laid out, something runs."""
        sync = self._sync()
        for _ in range(self.chance.choice([0, 1, 1, 1, 2])):
            self._change(sync)
        if self.chance.random() < 0.12:
            self._flap(sync)
        self._faults(sync, 0.55)
        what = self.chance.choices(
            ["run", "slot", "twice", "approve", "reject", "push", "retry", "drop"],
            [30, 8, 5, 14, 3, 3, 2, 1],
        )[0]
        if what == "approve":  # there may be nothing to decide on
            self.add("run", sync=sync)
        self.add(what, sync=sync)
        if self.chance.random() < 0.5:
            self.add("pass", self.chance.choice([5, 60, 900, 3600, 3600, 10800, 90000]))

    # -- the world --

    def _change(self, sync: int) -> None:
        kinds: dict[Callable[[int], None], float] = {
            self._moves: 9,
            self._another_list: 2,
            self._leak: 1,
            self._odd: 1,
            self._source_fails: 2,
            self._destination: 4,
            self._configuration: 1.2,
            self._clock: 1.2,
            self._person: 1,
        }
        self.chance.choices(list(kinds), list(kinds.values()))[0](sync)

    def _moves(self, sync: int) -> None:
        inside = self.inside[sync]
        gone = self._some(sorted(inside), 0, 4)
        came = self._some(sorted(set(range(PEOPLE)) - inside), 0, 4)
        if self.chance.random() < 0.1:
            came = [*came, self.chance.choice(INVALID)]
        inside.difference_update(gone)
        inside.update(came)
        self.add("enter", came, sync=sync)
        self.add("exit", gone, sync=sync)

    def _another_list(self, sync: int) -> None:
        everybody = range(PEOPLE)
        lists = [[], list(everybody), self._some(everybody, 5, 25)]
        self._list(sync, self.chance.choices(lists, [1, 1, 3])[0])
        if self.chance.random() < 0.15:
            self.add("older", self.chance.randint(1, 3), sync=sync)

    def _leak(self, sync: int) -> None:
        """Fewer and fewer, each time by 9 %."""
        for _ in range(self.chance.randint(2, 5)):
            inside = sorted(self.inside[sync])
            gone = self.chance.sample(inside, len(inside) * 9 // 100 or bool(inside))
            self.inside[sync].difference_update(gone)
            self.add("exit", gone, sync=sync)
            self.add("run", sync=sync)
            self.add("pass", 3600)

    def _list(self, sync: int, people: Sequence[int]) -> None:
        self.inside[sync] = set(people)
        self.add("list", list(people), sync=sync)

    def _odd(self, sync: int) -> None:
        self.add("odd", self._some(range(15), 0, 6), sync=sync)

    def _source_fails(self, sync: int) -> None:
        how = self.chance.choice(["down", "midway", "short", "stale", "not_now"])
        self.add("source", how, sync=sync)

    def _flap(self, sync: int) -> None:
        """Somebody leaves, nobody answers, and is back, perhaps before that lands."""
        if not (inside := sorted(self.inside[sync])):
            return
        who = self.chance.sample(inside, min(2, len(inside)))
        self.add("exit", who, sync=sync)
        self.add("always", self.chance.choice(FLAPS), sync=sync)
        self.add("run", sync=sync)
        self.add("enter", who, sync=sync)
        if self.chance.random() < 0.6:
            self.add("run", sync=sync)
            self.add("pass", self.chance.choice([900, 3100]))

    def _destination(self, sync: int) -> None:
        match self.chance.randrange(8):
            case 0 | 1:
                self.add("known", self._some(range(PEOPLE), 1, 6), sync=sync)
            case 2:
                self.add("key", self.chance.random() < 0.4, sync=sync)
            case 3:
                self.add("archived", self.chance.random() < 0.4, sync=sync)
            case 4:
                self.add("gone", self.chance.random() < 0.4, sync=sync)
            case 5:
                self.add("largest", self.chance.choice([1, 2, 1000]), sync=sync)
            case 6:
                self.add("renamed", sync=sync)
            case _:
                some = self._some(range(PEOPLE), 1, 3), self._some(range(PEOPLE), 1, 3)
                self.add("edited", *some, sync=sync)

    def _configuration(self, sync: int) -> None:
        self.add(self.chance.choice(["query", "match", "target"]), sync=sync)

    def _clock(self, _: int) -> None:
        hour = 3600
        steps = [-hour, hour, -60, 60, 24 * hour, 365 * 24 * hour]
        self.add("clock", self.chance.choice(steps), sync=0)

    def _person(self, sync: int) -> None:
        what = self.chance.choice(["pause", "resume", "resume", "reload"])
        self.add(what, sync=sync)

    # -- faults of the next run --

    def _faults(self, sync: int, share: float) -> None:
        if self.chance.random() > share:
            return
        for _ in range(self.chance.choice([1, 1, 1, 2, 2, 3])):
            self._fault(sync)

    def _fault(self, sync: int) -> None:
        kinds: dict[Callable[[int], None], float] = {
            self._answers: 8,
            self._every_answer: 2,
            self._death_at_a_transaction: 4,
            self._store_fails: 3,
            self._at_a_request: 7,
            self._free_call: 1,
        }
        self.chance.choices(list(kinds), list(kinds.values()))[0](sync)

    def _answers(self, sync: int) -> None:
        at, many = self._request(), self.chance.choice([1, 1, 1, 2, 4, 9])
        words, weights = list(ANSWERS), list(ANSWERS.values())
        for n, what in enumerate(self.chance.choices(words, weights, k=many)):
            self.add("answer", at + n, what, sync=sync)

    def _every_answer(self, sync: int) -> None:
        what = self.chance.choice(["lost", "5xx", "garbled", "429", "429_60"])
        self.add("always", what, sync=sync)

    def _death_at_a_transaction(self, sync: int) -> None:
        how = self.chance.choice(["die", "die_inside", "die_after"])
        self.add("store", self.chance.choice(MOMENTS), how, sync=sync)
        self._again(sync)

    def _store_fails(self, sync: int) -> None:
        moment = self.chance.choice(MOMENTS)
        how = self.chance.choice(["fail", "fail_inside", "fail_after"])
        for n in range(self.chance.choice([1, 1, 2, 5])):
            self.add("store", moment + n, how, sync=sync)

    def _at_a_request(self, sync: int) -> None:
        kinds = {"die": 3, "die_applied": 3, "stop": 2, "overlap": 2, "takeover": 2}
        what = self.chance.choices(list(kinds), list(kinds.values()))[0]
        self.add("at", self._request(), what, sync=sync)
        if what.startswith("die"):
            self._again(sync)

    def _free_call(self, sync: int) -> None:
        self.add("find", self.chance.choice(["5xx", "403", "429"]), sync=sync)

    def _request(self) -> int:
        return self.chance.choice([1, 1, 1, 2, 2, 3, 4, 5, 6, 8])

    def _again(self, sync: int) -> None:
        """The recovery may die as well."""
        while self.chance.random() < 0.25:
            self.add("again", self.chance.choice(MOMENTS), sync=sync)

    # -- choices --

    def _sync(self) -> int:
        return self.chance.randrange(len(self.casts))

    def _some(self, of: Sequence[int], least: int, most: int) -> list[int]:
        wanted = self.chance.randint(least, most)
        return sorted(self.chance.sample(list(of), min(wanted, len(of))))


# ---- shrinking ----------------------------------------------------------------------


def shrink(history: History, fails: Callable[[History], bool]) -> History:
    """The shortest that can be had by leaving events out while it still fails."""
    events = list(history.events)
    size = max(1, len(events) // 2)
    while True:
        events, less = _without(history, events, size, fails)
        if size == 1 and not less:
            return History(casts=history.casts, events=tuple(events))
        size = max(1, size // 2)


def _without(
    history: History,
    events: list[Event],
    size: int,
    fails: Callable[[History], bool],
) -> tuple[list[Event], bool]:
    """Leave pieces of this size out, where it fails all the same."""
    less, start = False, 0
    while start < len(events):
        left = events[:start] + events[start + size :]
        if fails(History(casts=history.casts, events=tuple(left))):
            events, less = left, True
        else:
            start += size
    return events, less
