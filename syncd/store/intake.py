"""What arrives is stored in groups: one commit for all that waited.

Receivers hand in deliveries and get a future; one thread takes all that is there and
has the store's writer commit it. Waiting is bounded: beyond that the caller is told to
come back later, and nothing was taken. A delivery that cannot be stored takes only
itself along.
"""

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import (
    DataError,
    IntegrityError,
    InvalidRequestError,
    ProgrammingError,
)

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import StoreError, StoreUnavailable
from syncd.model import Message
from syncd.store import inbox
from syncd.store.inbox import Taken
from syncd.store.writer import Writer

WAITING = 100_000
"""People who may wait; one delivery of more is taken where nothing else waits."""
GROUP_MESSAGES = 512
GROUP_PEOPLE = 20_000
"""What is stored in one transaction ends with the delivery that reaches either."""
FEW = 16
LINGER = 0.003
"""Where fewer deliveries wait, more are waited for, so many seconds: a commit costs as
much as twenty events. Under a crowd nobody waits for this."""


class IntakeFull(StoreError):
    """More waits than may wait; nothing of this was taken."""

    code = "inbox.full"


class Unstorable(StoreError):
    """The store does not take this, now or later; nothing of it was stored."""

    code = "inbox.unstorable"


_OF_THE_DATA = (DataError, IntegrityError, ProgrammingError, InvalidRequestError)
"""Errors that come again whenever the same is stored; others are the database's."""


@dataclass(slots=True)
class _Waiting:
    """What one request brought, and whoever waits for it."""

    connection: str
    messages: Sequence[Message]
    results: Mapping[str, int]
    people: int
    """At least one: who says nothing about anybody waits, too."""
    future: Future[Taken] = field(default_factory=Future)


_Outcome = Taken | Exception


class Intake:
    """The thread that stores messages. Every method may be called from any thread."""

    def __init__(self, writer: Writer, clock: Clock, *, linger: float = LINGER) -> None:
        self._writer = writer
        self._linger = linger
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._people = 0
        self._accepts = False
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._loop, name="store-intake", daemon=True
        )

    def start(self) -> None:
        """Start the thread; once."""
        self._accepts = True
        self._thread.start()

    def stop(self, patience: float | None = None) -> bool:
        """Take nothing more, store what was taken, then end.

        False where that took more than `patience` seconds: the store hangs, and nobody
        was told that what is left was taken.
        """
        with self._changed:
            self._accepts = False
            self._changed.notify()
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(patience)
        return not self._thread.is_alive()

    def submit(
        self, connection: str, messages: Sequence[Message], results: Mapping[str, int]
    ) -> Future[Taken]:
        """Queue messages of one request, to be stored all or none, and the counts of
        what was left out of it. The future fails with `StoreError`: `StoreUnavailable`
        (later it may work) or `Unstorable` (it never will).

        Raises `IntakeFull`, `StoreUnavailable` when stopped.
        """
        people = max(1, sum(inbox.people(each) for each in messages))
        entry = _Waiting(connection, messages, results, people)
        with self._changed:
            if not self._accepts:
                raise StoreUnavailable("the intake is not running")
            if self._people and self._people + people > WAITING:
                raise IntakeFull(f"{self._people} people wait to be stored already")
            self._people += people
            self._waiting.append(entry)
            self._changed.notify()
        return entry.future

    @property
    def backlog(self) -> int:
        """People waiting to be stored."""
        return self._people

    def _loop(self) -> None:
        while group := self._gather():
            wanted = [each for each in group if _is_wanted(each)]
            outcomes = self._store(wanted)
            with self._changed:
                self._people -= sum(each.people for each in group)
            for each, outcome in zip(wanted, outcomes, strict=True):
                _answer(each, outcome)

    def _gather(self) -> list[_Waiting]:
        """All that waits, up to a group's size; nothing once stopped and drained."""
        with self._changed:
            while not self._waiting and self._accepts:
                self._changed.wait()
            few = len(self._waiting) < FEW
        if few:
            # Not on the condition: each delivery would wake us.
            self._stopped.wait(self._linger)
        group: list[_Waiting] = []
        messages = people = 0
        with self._changed:
            while self._waiting and messages < GROUP_MESSAGES and people < GROUP_PEOPLE:
                entry = self._waiting.popleft()
                messages += max(1, len(entry.messages))
                people += entry.people
                group.append(entry)
        return group

    def _store(self, group: Sequence[_Waiting]) -> Sequence[_Outcome]:
        """Store a group in one transaction; if one of it cannot be, all the others."""
        if not group:
            return []
        now = self._clock.now()
        try:
            taken = self._writer.write(partial(_write, group=group, now=now))
        except StoreUnavailable as error:
            return [error] * len(group)
        except Exception as error:  # noqa: BLE001  # whoever waits gets an answer
            if len(group) == 1:
                return [_as_store_error(error)]
            half = len(group) // 2
            return [*self._store(group[:half]), *self._store(group[half:])]
        _count(_results(group, taken))
        return taken


def _is_wanted(entry: _Waiting) -> bool:
    """Whether somebody still waits; from now on nobody can call it off."""
    return entry.future.set_running_or_notify_cancel()


def _write(
    connection: Connection, *, group: Sequence[_Waiting], now: datetime
) -> list[Taken]:
    try:
        taken = inbox.take_each(connection, [each.messages for each in group], now)
    except _OF_THE_DATA as error:
        raise _as_store_error(error) from None
    for name, results in sorted(_results(group, taken).items()):
        inbox.tally(connection, name, results, now)
    return taken


def _results(
    group: Sequence[_Waiting], taken: Sequence[Taken]
) -> dict[str, Counter[str]]:
    """What became of each connection's events."""
    results: dict[str, Counter[str]] = {}
    for each, stored in zip(group, taken, strict=True):
        counts = results.get(each.connection)
        if counts is None:
            counts = results[each.connection] = Counter()
        if each.results:
            counts.update(each.results)
        counts["accepted"] += stored.messages
        counts["duplicate"] += stored.duplicates
    return results


def _count(results: Mapping[str, Mapping[str, int]]) -> None:
    for name, counts in results.items():
        for result, n in counts.items():
            if n > 0:
                metrics.INBOX_EVENTS.labels(connection=name, result=result).inc(n)


def _as_store_error(error: Exception) -> StoreError:
    """The error without its text, which may quote a person's id."""
    if isinstance(error, StoreError):
        return error
    return Unstorable(f"this cannot be stored ({type(error).__name__})")


def _answer(entry: _Waiting, outcome: _Outcome) -> None:
    if isinstance(outcome, Exception):
        entry.future.set_exception(outcome)
    else:
        entry.future.set_result(outcome)
