"""How late the request that this thread is about to make may begin.

Whoever may make a request only for so long (a lease) says so here. A process that stood
still between the question and the request finds out when it begins: right before its
first byte, as from then on the request's deadline ends it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LATEST: ContextVar[float] = ContextVar("latest_beginning", default=math.inf)


@contextmanager
def begun_by(latest: float) -> Iterator[None]:
    """Let the next request of this thread begin at `latest` (monotonic seconds) at the
    latest; those that follow it may take as long as they do."""
    token = _LATEST.set(latest)
    try:
        yield
    finally:
        _LATEST.reset(token)


def is_too_late(now: float) -> bool:
    """Whether the request that begins now may not any more."""
    latest = _LATEST.get()
    _LATEST.set(math.inf)
    return now > latest
