"""How the demo follows the daemon: it reads the store, as `syncd status` does.

It waits by looking every tenth of a second, never for longer than its patience, and
gives up at once when one of the processes is gone.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import orjson

from syncd.cli.demo_processes import DemoFailed, Processes
from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.model import Outcome
from syncd.store import (
    acknowledged,
    bindings,
    fetches,
    inbox,
    installation,
    runs,
    unaccepted,
)
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.store.fetches import FetchState
from syncd.store.runs import Run

LOOK = 0.1
"""Real seconds between two looks."""
PROJECT = "us:187520"
"""The Amplitude project of the demo's configuration, as the store calls it."""
_HISTORY = 1_000

T = TypeVar("T")


class Watch:
    """Looks at the daemon from outside."""

    def __init__(
        self, processes: Processes, clock: Clock, *, patience: float, log: Path
    ) -> None:
        """`patience`: real seconds that one wait may take."""
        self.clock = clock
        self.patience = patience
        self._processes = processes
        self._log = log
        self._nobody = threading.Event()

    def until(self, what: str, look: Callable[[], T | None]) -> T:
        """The first answer of `look` that is not None.

        Raises `DemoFailed` when it does not come in time or a process ended.
        """
        deadline = self.clock.monotonic() + self.patience
        while True:
            found = look()
            if found is not None:
                return found
            self.require_all(what)
            if self.clock.monotonic() > deadline:
                raise DemoFailed(f"waited {self.patience:.0f} s for {what} in vain")
            self._nobody.wait(LOOK)

    def require_all(self, what: str) -> None:
        """Raise `DemoFailed` if a process ended while the demo waited for this."""
        if gone := self._processes.ended():
            raise DemoFailed(f"{gone} ended while the demo waited for {what}")

    def pause(self) -> None:
        """Let a little real time pass."""
        if gone := self._processes.ended():
            raise DemoFailed(f"{gone} ended by itself")
        self._nobody.wait(1)

    def listening(self, server: str) -> str | None:
        """The address of a server of the daemon, `inbound` or `admin`, once it is."""
        for line in self._lines():
            if '"web.listening"' not in line:
                continue
            said = orjson.loads(line)
            if said["server"] == server:
                return str(said["address"])
        return None

    def last_words(self, count: int = 15) -> list[str]:
        """The last lines of the daemon's log."""
        return self._lines()[-count:]

    def _lines(self) -> list[str]:
        """Whole lines only: the daemon may be writing the next one."""
        try:
            text = self._log.read_text("utf-8", errors="replace")
        except FileNotFoundError:
            return []
        return text.rpartition("\n")[0].splitlines()


class Records:
    """What the daemon's store says."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def runs(self, sync: str) -> list[Run]:
        """Every run of a sync that has ended and is no skipped slot, oldest first."""
        with self._database.read() as connection:
            found = runs.latest(connection, sync_name=sync, limit=_HISTORY)
        wanted = (None, Outcome.SKIPPED)
        return [each for each in reversed(found) if each.outcome not in wanted]

    def ended_well(self, sync: str, after: datetime) -> Run | None:
        """The first run that began after `after` and left nothing to do.

        Raises `DemoFailed` when one was held or failed instead.
        """
        for each in self.runs(sync):
            if each.started_at <= after:
                continue
            if each.outcome in runs.OK:
                return each
            if each.outcome in (Outcome.HELD, Outcome.FAILED):
                why = each.summary.get("message") or each.reason
                raise DemoFailed(f"a run of {sync} was {each.outcome}: {why}")
        return None

    def held(self, sync: str) -> Run | None:
        """The run whose plan waits for a person."""
        with self._database.read() as connection:
            return runs.waiting_for_a_person(connection, sync)

    def binding(self, sync: str) -> Binding:
        """Which cohort the sync works on."""
        with self._database.read() as connection:
            found = bindings.current(connection, sync)
        if found is None:
            raise DemoFailed(f"{sync} has no cohort yet")
        return found

    def acknowledged(self, binding: Binding, now: datetime) -> set[str]:
        """Whom the destination said yes to."""
        with self._database.read() as connection:
            buckets = acknowledged.read(connection, binding.id, binding.n_buckets, now)
            return {one.decode() for each in buckets for one in each.acknowledged}

    def unmatched(self, binding: Binding) -> set[str]:
        """Whom the destination did not take."""
        with self._database.read() as connection:
            found = unaccepted.members(connection, binding.id)
        return {member_id.decode() for member_id, _, _ in found}

    def anonymous(self, sync: str) -> int:
        """People without a user id in the list that the sync read last."""
        read = [each for each in self.runs(sync) if "refused" in each.summary]
        return int(read[-1].summary["refused"].get("anonymous", 0)) if read else 0

    def seen_twice(self, connection_name: str) -> int:
        """Pushed messages that were known already and changed nothing."""
        with self._database.read() as connection:
            results = inbox.tallies(connection).get(connection_name, {})
        return results.get("duplicate", (0, None))[0]

    def downloads(self) -> Counter[str]:
        """Cohort id -> downloads that syncd counts as spent."""
        with self._database.read() as connection:
            found = fetches.recent(connection, PROJECT, limit=_HISTORY)
        return Counter(
            each.cohort_id for each in found if each.state is not FetchState.REFUSED
        )


def daemon_beats(database: Database) -> bool | None:
    """Whether a daemon said that it lives; None when none did."""
    with database.read() as connection:
        return bool(installation.daemons(connection)) or None


def none_if_absent(open_it: Callable[[], T]) -> T | None:
    """What `open_it` opens, or None while the daemon has not made it yet."""
    try:
        return open_it()
    except StoreError:
        return None


def all_of(answers: Sequence[T | None]) -> list[T] | None:
    """The answers, if none is missing."""
    there = [each for each in answers if each is not None]
    return there if len(there) == len(answers) else None
