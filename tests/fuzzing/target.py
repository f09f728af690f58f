"""What is fuzzed, and how one input is judged.

A target is a function that takes any bytes. It swallows the errors which its parser
declares, asserts what must hold of what came out, and lets every other error pass. Two
limits hold for any input: so many seconds of the processor, and so many bytes at once.
Others on the machine only make it slower, so a suspect is measured again, and the
fastest time counts.
"""

import resource
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

SECONDS = 0.05
BYTES = 64 * 1024 * 1024
LARGEST = 16 * 1024
"""Bytes of an input that is mutated: within 50 ms, a square shows at this size."""
_AGAIN = 5
_GROWN_KIB = 16 * 1024
"""Growth of the process from which on an input is measured byte by byte."""


def require(holds: object, what: str = "") -> None:
    """As `assert`, also where an error is looked at."""
    if not holds:
        raise AssertionError(what)


class TooMuch(AssertionError):
    """An input takes more time or memory than any may."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One parser of outside data."""

    name: str
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    """Valid inputs, or nearly; mutations start from them."""
    words: tuple[bytes, ...] = ()
    """Pieces that mean something to the parser."""
    found: tuple[bytes, ...] = ()
    """Inputs that once failed."""
    seconds: float = SECONDS


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing of what targets tell is written."""
    silent = structlog.make_filtering_bound_logger("critical")
    structlog.configure(processors=[], wrapper_class=silent)
    try:
        yield
    finally:
        structlog.reset_defaults()


def judge(target: Target, data: bytes) -> None:
    """Run one input. Raises what the target does, and `TooMuch`."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if _seconds(target, data) > target.seconds:
        least = min(_seconds(target, data) for _ in range(_AGAIN))
        if least > target.seconds:
            raise TooMuch(f"{target.name}: {least:.3f} s for {len(data)} bytes")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if after - before > _GROWN_KIB and (peak := _peak(target, data)) > BYTES:
        raise TooMuch(f"{target.name}: {peak} bytes for {len(data)}")


def _seconds(target: Target, data: bytes) -> float:
    """Of the processor, in this thread."""
    began = time.thread_time()
    target.run(data)
    return time.thread_time() - began


def _peak(target: Target, data: bytes) -> int:
    tracemalloc.start()
    try:
        target.run(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
