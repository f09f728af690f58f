"""What a tool does on the days after the first, and on bad days."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.attempts import Attempt, Go, Ground
from tests.benchmarks.contest import Sent

LATENCY = 0.2


@dataclass(frozen=True, kw_only=True)
class Habit:
    """What a tool did in one story."""

    exits: str
    """Exit codes of the runs that the story is about."""
    added: int
    """Ids in its requests to add, of these runs together."""
    again: int
    """Of them, those that an earlier request of the story had asked for already."""
    removed: int
    missing: int
    """People whom the list lacks at the end."""
    extra: int
    """Those in the list who are not in the audience."""


def habit(exits: str, sent: list[Sent], end: Attempt, *, before: Sent | None) -> Habit:
    """What came of these runs; `before`: what an earlier run had sent."""
    added = [one for each in sent for one in each.added]
    fresh = set(added) - set(before.added if before else ())
    return Habit(
        exits=exits,
        added=len(added),
        again=len(added) - len(fresh),
        removed=sum(len(each.removed) for each in sent),
        missing=end.missing,
        extra=end.extra,
    )


def unchanged(go: Go, people: range) -> Habit:
    """A second run, although nothing happened."""
    first, second = go.run(people), go.run(people)
    return habit(f"{second.cost.code}", [second.sent], second, before=first.sent)


def moved(go: Go, people: range) -> Habit:
    """A second run after 1 % left and as many entered."""
    one_percent = len(people) // 100
    first = go.run(people)
    second = go.run(range(one_percent, len(people) + one_percent))
    return habit(f"{second.cost.code}", [second.sent], second, before=first.sent)


def killed(go: Go, people: range) -> Habit:
    """kill -9 after three quarters of the first run, then another run."""
    first = go.kill(people, requests=3 * len(people) // 4_000)
    second = go.run(people)
    exits = f"killed, {second.cost.code}"
    return habit(exits, [first, second.sent], second, before=None)


def killed_and_moved(go: Go, people: range) -> Habit:
    """The same, but 1 % left and as many entered before the other run."""
    one_percent = len(people) // 100
    first = go.kill(people, requests=3 * len(people) // 4_000)
    second = go.run(range(one_percent, len(people) + one_percent))
    exits = f"killed, {second.cost.code}"
    return habit(exits, [first, second.sent], second, before=None)


def one_500(go: Go, people: range) -> Habit:
    """One answer in the middle of the first run is a 500; nothing was applied."""
    calls = [len(people) // 2_000]
    go.partner.simulator.fault("partner_add", "status", status=500, calls=calls)
    first = go.run(people)
    return habit(f"{first.cost.code}", [first.sent], first, before=None)


def only_500s(go: Go, people: range) -> Habit:
    """From the middle of the first run on all answers are a 500; then another run."""
    calls = list(range(len(people) // 2_000, 1_000))
    go.partner.simulator.fault("partner_add", "status", status=500, calls=calls)
    first = go.run(people)
    go.partner.simulator.no_faults()
    second = go.run(people)
    exits = f"{first.cost.code}, {second.cost.code}"
    return habit(exits, [first.sent, second.sent], second, before=None)


STORIES: dict[str, Callable[[Go, range], Habit]] = {
    "nothing changed": unchanged,
    "1 % left, 1 % entered": moved,
    "kill -9": killed,
    "kill -9, then 1 % moved": killed_and_moved,
    "one 500": one_500,
    "500 until the run ends": only_500s,
}


def told(ground: Ground, name: str, story: str, people: range) -> Habit:
    """A story of one tool, from its first day on."""
    return STORIES[story](ground.enter(name, LATENCY), people)
