"""How late the requests that this thread is about to make may begin.

Whoever may make a request only for so long (a lease) says so here. A process that stood
still between the question and the request finds out when it begins: right before its
first byte, as from then on the request's deadline ends it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class _Latest:
    first: float = math.inf
    others: float = math.inf
    began: bool = False


_LATEST: ContextVar[_Latest | None] = ContextVar("latest_beginning", default=None)


@contextmanager
def begun_by(latest: float, *, others: float = math.inf) -> Iterator[None]:
    """Let the next request of this thread begin at `latest` (monotonic seconds) at the
    latest; those that follow it in here at `others`.

    A creation looks first whether an earlier one was made: what counts is the request
    after that look.
    """
    token = _LATEST.set(_Latest(latest, others))
    try:
        yield
    finally:
        _LATEST.reset(token)


def is_too_late(now: float) -> bool:
    """Whether the request that begins now may not any more."""
    latest = _LATEST.get()
    if latest is None:
        return False
    until = latest.others if latest.began else latest.first
    latest.began = True
    return now > until
