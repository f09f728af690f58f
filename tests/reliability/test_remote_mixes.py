"""Answers that belong together: people a vendor refuses, limits, and mixes by seed.

A mix draws up to six answers for any of the calls of a sync and plays them at requests
of its choice; then the trouble is over, and the sync is right within a few runs.
"""

import math
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from syncd.store.runs import OK
from tests.reliability.remote.answers import JSON, Answers, envelope, plain
from tests.reliability.remote.becoming import becomes, fit, leaked
from tests.reliability.remote.remotes import KINDS, SIZE, Kind, Remote, remote
from tests.reliability.remote.scripted import Asked, Play, Script, listening
from tests.simulated import Simulator, simulating

BY_NAME = {kind.name: kind for kind in KINDS}
REFUSALS = {
    "add": envelope(400, "Invalid ids", invalid_ids_sample=["x"]),
    "identify": plain(400, b'{"message": "an event is not valid"}', JSON),
    "partner-add": plain(404, b'{"error": "Invalid User ID"}', JSON),
    "property": plain(400, b'{"error": "invalid request"}', JSON),
}
"""What a vendor says of a request with somebody whom it refuses."""
WHOLE = {
    "add": ("add", "remove", "list"),
    "identify": tuple(
        "identify identify-out source-list usage request status file".split()
    ),
    "partner-add": ("partner-add", "partner-remove", "source-list", "status"),
    "property": ("property", "source-list", "usage", "file"),
}
"""A sync by one of its calls -> the calls of it that a mix spoils."""
SLOW = ("hang", "hang half way", "drip")
MIXES, LONG = 3, 400
"""Of each sync."""
RUNS = 2
"""While the answers are odd; then so many at most until all is right."""
RUNS_TO_HEAL = 4


@pytest.fixture(scope="module")
def vendors() -> Iterator[Simulator]:
    with simulating("--latency", "0") as simulator:
        yield simulator


def refusing(kind: Kind, *people: str) -> Play:
    """Whoever of these is named, the whole request is refused."""

    def when(asked: Asked) -> bool:
        return any(f'"{each}"'.encode() in asked.body for each in people)

    return Play(name="refused people", make=REFUSALS[kind.name], when=when)


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("count", [1, 3])
def test_who_is_refused_is_found_by_halving_and_nobody_else_waits(
    name: str, count: int, vendors: Simulator, tmp_path: Path
) -> None:
    kind = BY_NAME[name]
    with remote(kind, vendors, tmp_path / "sync") as made:
        made.answerer.watch = made.watch
        made.move()
        made.run()
        made.move()
        refused = set(sorted(made.wanted())[:count])
        script = kind.script(plays={None: refusing(kind, *refused)})
        made.answerer.play(script)

        report = made.run()

        assert report.outcome in OK
        assert made.broken == []
        assert made.answerer.trouble == []
        assert made.truth() == made.wanted() - refused
        known = made.belief()
        assert refused <= {each.decode() for each in known.unaccepted}
        assert not known.uncertain
        planned = int(report.numbers["batches"])
        assert script.met <= planned + count * 2 * math.ceil(math.log2(SIZE))
        assert leaked(made.output() + made.kept()) == []


@pytest.mark.parametrize("name", REFUSALS)
def test_a_limit_of_size_is_met_by_halving(
    name: str, vendors: Simulator, tmp_path: Path
) -> None:
    kind = BY_NAME[name]
    limit = Play(
        name="a limit",
        make=plain(413),
        when=lambda asked: asked.body.count(b"person-") > SIZE // 3,
    )
    with remote(kind, vendors, tmp_path / "sync") as made:
        made.answerer.watch = made.watch
        made.answerer.play(kind.script(plays={None: limit}))
        made.move()
        made.run()
        made.move()

        report = made.run()

        assert report.outcome in OK
        assert made.broken == []
        assert made.healed()


# ---- mixes -------------------------------------------------------------------------


def mix(name: str, trap: int, dice: random.Random) -> list[Script]:
    """Up to six answers, to any of the calls of a sync."""
    drawn: dict[str, dict[int | None, Play]] = {}
    for _ in range(dice.randint(1, 6)):
        kind = BY_NAME[dice.choice(WHOLE[name])]
        plays = Answers(apply=dice.random() < 0.5, trap=trap).all()
        play = plays[dice.choice(sorted(plays))]
        place = dice.randint(1, 2 * kind.batches)
        fitting = fit(kind, play, becomes(kind.family, play.name))
        drawn.setdefault(kind.name, {})[place] = fitting
    return [BY_NAME[each].script(plays=plays) for each, plays in drawn.items()]


def lived_through(made: Remote, scripts: list[Script]) -> list[str]:
    """Odd answers, then none; what was wrong."""
    plays = [play for each in scripts for play in each.plays.values()]
    made.broken.clear()
    made.unproven.clear()
    made.hurry(hasty=any(play.name in SLOW for play in plays))
    made.answerer.play(*scripts)
    for _ in range(RUNS):
        # A change within ten minutes of a request whose job nobody saw end may be taken
        # for that job's own computation, until the next one.
        made.later()
        made.move()
        made.run()
    found = [*made.broken, *map(repr, made.answerer.trouble)]
    found += [f"{len(made.misled())} are wrong"] if made.misled() else []
    made.answerer.trouble.clear()
    made.answerer.play()
    made.hurry(hasty=False)
    ends = []
    for _ in range(RUNS_TO_HEAL):
        made.later()
        report = made.run()
        if report.outcome in OK and made.healed():
            return found + leaked(made.output())
        ends.append(f"{report.outcome} {report.reason} {report.message}")
    return [*found, f"not healed: {'; '.join(ends)}"]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", WHOLE)
def test_whatever_is_mixed_heals(
    name: str, vendors: Simulator, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    asked = request.config.getoption("--seed")
    many = LONG if request.config.getoption("--long") else MIXES
    many = request.config.getoption("--seeds") or many
    seeds = range(many) if asked is None else [asked]
    trapped: list[object] = []
    wrong: list[str] = []
    with listening(trapped.append) as trap, ExitStack() as world:
        made = None
        for seed in seeds:
            if made is None:
                world.pop_all().close()
                folder = tmp_path / f"{seed}"
                made = world.enter_context(remote(BY_NAME[name], vendors, folder))
                made.answerer.watch = made.watch
                made.move()
                made.run()
            dice = random.Random(f"{name} {seed}")  # noqa: S311  # repeatable
            scripts = mix(name, trap, dice)
            found = lived_through(made, scripts)
            wrong += [
                f"{name} --seed {seed}: {told(scripts)}: {each}" for each in found
            ]
            made = None if found else made
    assert not wrong, "\n".join(wrong)
    assert trapped == []


def told(scripts: list[Script]) -> str:
    return "; ".join(
        f"{place} of {each.path}: {play.name}{' after' if play.apply else ''}"
        for each in scripts
        for place, play in each.plays.items()
    )
