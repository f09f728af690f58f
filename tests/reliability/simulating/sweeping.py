"""Many histories, one after the other or in several processes; what was found."""

import gc
import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.reliability.simulating.histories import History, draw, shrink
from tests.reliability.simulating.staging import Store
from tests.reliability.simulating.storytelling import Verdict, simulate

BLOCK = 50
"""Seeds that a process carries out before it reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What histories came to, together."""

    histories: int = 0
    runs: int = 0
    requests: int = 0
    checks: int = 0
    wrong: tuple[tuple[int, str], ...] = ()
    """Seeds, and the first law that each broke."""

    def __add__(self, other: "Found") -> "Found":
        return Found(
            histories=self.histories + other.histories,
            runs=self.runs + other.runs,
            requests=self.requests + other.requests,
            checks=self.checks + other.checks,
            wrong=self.wrong + other.wrong,
        )


@contextmanager
def a_store() -> Iterator[Store]:
    """A store in memory where there is such a folder: every commit is durable, and
    that costs nothing there."""
    shared = Path("/dev/shm")  # noqa: S108
    where = shared if shared.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="syncd-sim-", dir=where) as folder:
        store = Store(Path(folder))
        try:
            yield store
        finally:
            store.close()


def of_seed(store: Store, mode: str, seed: int) -> Found:
    """What the history of one seed comes to."""
    verdict = simulate(store, draw(seed), mode)
    return Found(
        histories=1,
        runs=verdict.runs,
        requests=verdict.requests,
        checks=verdict.checks,
        wrong=tuple((seed, law) for law in verdict.wrong[:1]),
    )


def sweep(store: Store, mode: str, seeds: Iterable[int]) -> Found:
    """One seed after the other."""
    return sum((of_seed(store, mode, seed) for seed in seeds), Found())


def sweep_alone(mode: str, seeds: Sequence[int]) -> Found:
    """The same in a process that does nothing else."""
    # Statements leave many small objects and no cycles behind.
    gc.set_threshold(50_000, 20, 20)
    with a_store() as store:
        return sweep(store, mode, seeds)


def sweep_all(mode: str, seeds: Sequence[int]) -> Found:
    """With as many processes as there are processors."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawning) as pool:
        blocks = [seeds[n : n + BLOCK] for n in range(0, len(seeds), BLOCK)]
        return sum(pool.map(partial(sweep_alone, mode), blocks), Found())


def shortest(store: Store, mode: str, history: History) -> tuple[History, Verdict]:
    """The shortest history that breaks the same law as this one does first."""
    law = simulate(store, history, mode).wrong[0]

    def fails(shorter: History) -> bool:
        return law in simulate(store, shorter, mode).wrong[:1]

    least = shrink(history, fails)
    return least, simulate(store, least, mode)
