"""Runs that did not come to their end: which syncs have one, and how each goes on.

Read from the rows, so that it counts whichever process it happened in. Only whoever
went on after a run is remembered here: by a clock that was ahead such a run may stay
the newest for years.
"""

from collections.abc import Collection
from dataclasses import dataclass

from syncd.model import Outcome, Trigger
from syncd.store import latest_runs, outbox, runs
from syncd.store.database import Connection, Database

_CUT_OFF = (Outcome.INTERRUPTED, Outcome.ABANDONED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What is left to do of a sync."""

    trigger: Trigger
    """Of the run that does it."""
    of_run: str | None
    """The run that was cut off; None where none ran before."""


class CutOff:
    """The cut off runs of one store. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gone_on: set[str] = set()
        """Runs that were cut off and after which another one was made."""

    def among(self, syncs: Collection[str]) -> list[str]:
        """The syncs whose newest run did not come to its end, and was not gone on."""
        names = []
        with self._database.read() as connection:
            for name, newest in latest_runs.newest_each(connection, syncs).items():
                last = newest[0]
                if last.outcome not in _CUT_OFF or last.id in self._gone_on:
                    continue
                if not _postponed_since(connection, last):
                    names.append(name)
        return names

    def rest(self, sync: str) -> Rest | None:
        """How a sync goes on: its open batches, or else a new run. None: it need not,
        since another process did so before."""
        with self._database.read() as connection:
            newest = runs.latest(connection, sync_name=sync, outcomes=latest_runs.RAN)
            if not newest:
                return Rest(trigger=Trigger.CATCH_UP, of_run=None)
            if newest[0].outcome not in _CUT_OFF:
                return None
            own = outbox.waiting(connection, newest[0].id)
        trigger = Trigger.RESUME if own else Trigger.CATCH_UP
        return Rest(trigger=trigger, of_run=newest[0].id)

    def was_gone_on(self, rest: Rest) -> None:
        """Another run was made in the place of the one that was cut off."""
        if rest.of_run is not None:
            self._gone_on.add(rest.of_run)


def _postponed_since(connection: Connection, cut_off: runs.Run) -> bool:
    """Whether a run did go on after it, and was only put off by its source.

    Such a run is a skipped one as well; a slot that nobody ran has timed no phase.
    """
    skipped = runs.latest(
        connection, sync_name=cut_off.sync, outcomes=(Outcome.SKIPPED,), limit=50
    )
    return any(
        each.started_at > cut_off.started_at and "phase_ms" in each.summary
        for each in skipped
    )
