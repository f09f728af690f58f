"""Every answer to every call: what becomes of it, and that nobody is wrong for it.

One call of a sync is answered as scripted; then a run without trouble follows.
`remote.becoming` says what is to become of each answer (400: halved down to a person,
or a dead letter; 401: the connection stops; 5xx, silence and whatever proves nothing:
again). Whatever it was: nobody becomes certain by an answer that proves nothing, no id
is wrong that is not uncertain, requests stay within their budget, nobody is named, no
credentials go elsewhere.
"""

import math
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncd.model import Outcome
from syncd.store.runs import OK
from syncd.sync.spec import Report
from tests.reliability.remote.answers import Answers
from tests.reliability.remote.becoming import (
    AGAIN,
    DEAD,
    HALVED,
    HELD,
    TAKEN,
    WELL,
    becomes,
    fit,
    leaked,
    seen,
)
from tests.reliability.remote.remotes import BATCHES, KINDS, Kind, Remote, remote
from tests.reliability.remote.scripted import Play, Script, listening
from tests.simulated import Simulator, simulating

RETRIES = 8
SHARE = 16
"""Of the answers to calls that name nobody, the short form plays one in so many."""
RUNS_TO_HEAL = 2
SLOW = ("hang", "hang half way", "drip")


# ---- one case ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Case:
    """One answer to one call, at one place of its requests; None: at every one."""

    play: Play
    place: int | None

    def __str__(self) -> str:
        after = ", after the effect" if self.play.apply else ""
        return f"{self.play.name!r} to request {self.place or 'by request'}{after}"


def expected(kind: Kind, case: Case) -> set[str]:
    """Whatever the table says, where the batch can be halved and is asked once."""
    word = becomes(kind.family, case.play.name)
    if word == WELL:
        return {TAKEN, AGAIN}
    if case.place is None and word == AGAIN:
        return {"given up"}
    if word == HALVED and kind.size == 1:
        # Who leaves is not taken for out, unless unknown to whom knew others.
        return {"rejected", DEAD, TAKEN}
    return {word}


def budget(kind: Kind, case: Case, report: Report) -> int:
    """The most requests of its kind that the run may make."""
    planned = max(int(report.numbers.get("batches", 0)), kind.batches)
    if case.place is None:
        return planned * (1 + RETRIES)
    if becomes(kind.family, case.play.name) == HALVED:
        return planned + 2 * math.ceil(math.log2(max(kind.size, 2)))
    return planned + 2


def played(remote: Remote, case: Case) -> list[str]:
    """Play one case and heal it; what was wrong."""
    kind = remote.kind
    remote.broken.clear()
    remote.unproven.clear()
    remote.hurry(hasty=case.play.name in SLOW)
    remote.move()
    script = kind.script(plays={case.place: case.play})
    remote.answerer.play(script)
    report = remote.run()
    found = [*remote.broken, *map(repr, remote.answerer.trouble)]
    found += judged(remote, case, script, report)
    remote.answerer.trouble.clear()
    remote.hurry(hasty=False)
    remote.answerer.play()
    if becomes(kind.family, case.play.name) != HELD or not kind.fresh:
        found += healed(remote, report)
    return found


def judged(remote: Remote, case: Case, script: Script, report: Report) -> list[str]:
    found, word = [], seen(remote, report)
    if not script.played:
        found.append("it was never played")
    if word not in expected(remote.kind, case):
        wanted = " or ".join(sorted(expected(remote.kind, case)))
        found.append(f"became {word!r}, not {wanted!r} ({report.message[:200]})")
    if script.met > budget(remote.kind, case, report):
        found.append(f"asked {script.met} times")
    found += remote.misbehaved()
    known = remote.belief()
    certain = remote.unproven - known.uncertain - known.unaccepted
    if remote.misled():
        found.append(f"{len(remote.misled())} are wrong and not uncertain")
    if certain and not (word == HALVED or "404" in case.play.name):
        found.append(f"{len(certain)} are certain without proof")
    if word not in (TAKEN, AGAIN, HALVED, "rejected") and not report.reason:
        found.append("it does not say why")
    return found


def healed(remote: Remote, report: Report) -> list[str]:
    """A run or two without trouble, by schedule: all is right (I-1, I-19)."""
    for _ in range(RUNS_TO_HEAL):
        if report.outcome in OK and remote.healed():
            return []
        if remote.stopped() or report.outcome is Outcome.SKIPPED:
            remote.later()
        report = remote.run()
    if report.outcome in OK and remote.healed():
        return []
    return [f"not healed: {report.outcome} {report.reason} {report.message[:200]}"]


# ---- all cases of a kind -----------------------------------------------------------


@pytest.fixture(scope="module")
def vendors() -> Iterator[Simulator]:
    """One simulator, whose clock every case sets."""
    with simulating("--latency", "0") as simulator:
        yield simulator


def cases(kind: Kind, trap: int, *, seed: int, long: bool) -> list[Case]:
    """Some answers, each at a place of the seed's choice; or all at all places."""
    dice = random.Random(f"{kind.name} {seed}")  # noqa: S311  # repeatable
    whole = {
        True: Answers(apply=True, trap=trap),
        False: Answers(apply=False, trap=trap),
    }
    plays = {effect: answers.all() for effect, answers in whole.items()}
    names = list(plays[False])
    if not long:
        names = share(kind, names, dice)
    places: list[int | None] = [1, 2, 3] if kind.batches == BATCHES else [1]
    found = []
    for name in names:
        word = becomes(kind.family, name)
        many = word == AGAIN and kind.batches == BATCHES
        every: list[int | None] = [None] if many else []
        for place in (places + every) if long else [dice.choice(places + every)]:
            play = plays[dice.random() < 0.5][name]
            found.append(Case(play=fit(kind, play, word), place=place))
    return found


def share(kind: Kind, names: list[str], dice: random.Random) -> list[str]:
    """The short form's: each answer once to a membership call, every fourth one to
    Segment and to a partner, and some to the calls that name nobody."""
    if kind.batches < BATCHES:
        return sorted(dice.sample(names, len(names) // SHARE))
    family = [each.name for each in KINDS if each.family == kind.family]
    step = len(family) if kind.family == "membership" else 4 * len(family)
    return names[family.index(kind.name) :: step]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_answer_is_taken_for_what_it_proves(
    kind: Kind, vendors: Simulator, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    long = request.config.getoption("--long")
    seed = request.config.getoption("--seed") or 0
    trapped: list[object] = []
    wrong: list[str] = []
    with listening(trapped.append) as trap, ExitStack() as world:
        made = None
        for number, case in enumerate(cases(kind, trap, seed=seed, long=long)):
            if made is None or kind.fresh:
                world.pop_all().close()
                made = world.enter_context(
                    remote(kind, vendors, tmp_path / f"{number}")
                )
                begin(made)
            found = played(made, case) + leaked(made.output())
            wrong += [f"{kind.name}: {case}: {each}" for each in found]
            made = None if found else made
        wrong += leaked(made.kept()) if made is not None else []
    assert not wrong, "\n".join(wrong)
    assert trapped == []


def begin(made: Remote) -> None:
    """A first good run, unless that is what is to be spoilt."""
    if not made.kind.fresh:
        made.move()
        made.run()
    made.answerer.watch = made.watch
