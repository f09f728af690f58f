"""How a long-lived process hears of its end, and how it ends.

Signals are blocked in every thread, and the main thread waits for them: no handler, no
race, nothing of ours runs in the middle of something else.
"""

import logging
import os
import signal
from collections.abc import Callable
from typing import Any

from syncd import events
from syncd.errors import StoreError, SyncdError
from syncd.events import emit

STOP = (signal.SIGTERM, signal.SIGINT)


def block() -> None:
    """Block the signals in this thread and all that it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*STOP, signal.SIGHUP))


def next_signal(patience: float) -> int | None:
    """The next signal that was sent to this process, within `patience` seconds."""
    found = signal.sigtimedwait((*STOP, signal.SIGHUP), patience)
    return found.si_signo if found is not None else None


def end_at_once() -> None:
    """End though a thread is stuck in a read: it must not write once the lock is free.

    Safe as any kill is. The interpreter would wait for that thread otherwise.
    """
    logging.shutdown()
    os._exit(0)


def say_refused(action: Callable[[], object], **about: Any) -> None:
    """Carry out something nobody waits for; a refusal becomes a log line, which says
    what it is `about` (`sync`)."""
    try:
        action()
    except StoreError as error:
        emit(events.STORE_UNAVAILABLE, error=str(error), code=error.code, **about)
    except SyncdError as error:
        emit(events.RUN_SKIPPED, reason=str(error), code=error.code, **about)
