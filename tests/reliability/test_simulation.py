"""Seeded simulation: thousands of histories of syncs, with every fault we can think of.

One seed is one history; `histories` draws it, `simulation` carries it out on the real
planner, store and delivery, `judging` judges every step. In *safety* mode people decide
on what is held and the end must be right; in *liveness* mode the faults end and nobody
helps.

    pytest tests/reliability/test_simulation.py                        # the short form
    pytest tests/reliability/test_simulation.py --seeds 20000 -o timeout=0 -s
    pytest tests/reliability/test_simulation.py --seed 42 -s           # one, told
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.simulating.histories import History, draw, of_text, shrink
from tests.reliability.simulating.staging import Store
from tests.reliability.simulating.storytelling import simulate
from tests.reliability.simulating.sweeping import (
    Found,
    a_store,
    shortest,
    sweep,
    sweep_all,
)

BLOCK = 20
"""Histories of one test of the short form."""
SHORT = {"safety": 4, "liveness": 2}
"""Blocks."""

KEPT = json.loads(Path(__file__).with_name("kept_histories.json").read_text())
"""Histories that found something, as short as they can be, and what that was."""


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with a_store() as made:
        yield made


@pytest.mark.parametrize(
    ("mode", "block"),
    [(mode, block) for mode, blocks in SHORT.items() for block in range(blocks)],
)
def test_no_history_breaks_a_law(
    mode: str, block: int, store: Store, pytestconfig: pytest.Config
) -> None:
    if (seed := pytestconfig.getoption("--seed")) is not None:
        tell(store, mode, seed)
        return
    seeds = range(block * BLOCK, (block + 1) * BLOCK)
    count = pytestconfig.getoption("--seeds") or 0

    if count:  # dealt out to the blocks
        seeds = range(block, count, SHORT[mode])
    found = sweep_all(mode, seeds) if count else sweep(store, mode, seeds)

    print(f"\n{mode}: {found}")
    assert found.histories == len(seeds)
    assert found.wrong == (), explained(store, mode, found)


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept["found"][:40])
def test_a_history_that_once_found_something_stays_right(
    kept: dict[str, Any], store: Store
) -> None:
    history = of_text(json.dumps(kept["history"]))

    verdict = simulate(store, history, kept["mode"])

    assert verdict.wrong == (), kept["found"]


def test_a_history_is_made_as_short_as_it_can_be() -> None:
    history = draw(20)
    needed = {"list", "run"}

    least = shrink(history, lambda less: needed <= {e.what for e in less.events})

    assert sorted(each.what for each in least.events) == sorted(needed)
    assert of_text(least.text()) == least


@pytest.mark.parametrize("seed", [3, 7, 20])
def test_the_same_seed_is_the_same_trace(seed: int, store: Store) -> None:
    first, second = (simulate(store, draw(seed)) for _ in range(2))

    assert first.trace == second.trace
    assert first.digest == second.digest


def test_the_same_seed_is_the_same_trace_in_another_process(store: Store) -> None:
    script = (
        "from tests.reliability.simulating.sweeping import *\n"
        "with a_store() as s: print([simulate(s, draw(n)).digest for n in (3, 7)])"
    )

    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout

    assert told.strip() == str([simulate(store, draw(n)).digest for n in (3, 7)])


# ---- what a person is shown ---------------------------------------------------------


def explained(store: Store, mode: str, found: Found) -> str:
    """The seeds that failed, and the shortest history of the first."""
    seeds = "\n".join(f"  --seed {seed}   {law}" for seed, law in found.wrong[:20])
    seed, _ = found.wrong[0]
    return f"{len(found.wrong)} histories failed; one is told by\n{seeds}\n" + shrunk(
        store, mode, draw(seed)
    )


def shrunk(store: Store, mode: str, history: History) -> str:
    """A failing history made short, as it is told and as it is kept."""
    least, verdict = shortest(store, mode, history)
    lines = "\n".join(verdict.trace)
    return f"{lines}\n{verdict.wrong}\nto be kept: {mode} {least.text()}"


def tell(store: Store, mode: str, seed: int) -> None:
    """One history, step by step."""
    verdict = simulate(store, draw(seed), mode)

    print("", *verdict.trace, f"{mode}: {verdict.wrong} {verdict.digest}", sep="\n")
    assert verdict.wrong == (), shrunk(store, mode, draw(seed))
