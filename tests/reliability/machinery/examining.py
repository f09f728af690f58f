"""Where state machines play: an emptied store, names, sizes, answers on their way."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from sqlalchemy import delete

from syncd.errors import DeliveryError
from syncd.model import Batch, Receipt, Target
from syncd.store import installation, leases
from syncd.store.database import Database
from syncd.store.tables import metadata
from tests.builders import FakeVendor, Request

Machine = Callable[[Database, Path], RuleBasedStateMachine]
processes = count(1)


@dataclass(kw_only=True)
class Vendor(FakeVendor):
    """A destination whose answers may be on their way for a while."""

    answering: Callable[[Request], None] = lambda _: None
    """Called when a request is over there, and its answer has not arrived here."""

    def deliver(self, batch: Batch, target: Target) -> Receipt:
        """See `Sink.deliver`."""
        try:
            return super().deliver(batch, target)
        finally:
            self.answering(self.requests[-1])

    def land(self) -> None:
        """Whatever is late takes effect now, or is refused: nobody is told."""
        with self._lock:
            late, self.late = self.late, []
            for request, target in late:
                with suppress(DeliveryError):
                    self._effect(request, target)


def process_name() -> str:
    """A process of this machine that is gone by the time anybody asks."""
    here, _, _ = leases.holder_name().rpartition("/")
    return f"{here}/{next(processes)}"


def elsewhere() -> str:
    """A process of another machine, of which nobody here can tell whether it lives."""
    return f"elsewhere:{os.getpid()}/1/{next(processes)}"


def empty(database: Database) -> None:
    """Of the example before; who is forgotten is so in the whole installation."""
    with database.begin() as connection:
        installation.hash_key(connection)
        for table in reversed(metadata.sorted_tables):
            if table.name not in ("meta", "inbox_position"):
                connection.execute(delete(table))
        meta = metadata.tables["meta"]
        connection.execute(delete(meta).where(meta.c.key.like("forgotten%")))


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder in memory: a machine makes thousands of durable commits."""
    shared = Path("/dev/shm")  # noqa: S108
    folder = tempfile.mkdtemp(dir=shared if shared.is_dir() else None)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder)


def sized(examples: int) -> settings:
    """Short and repeatable, unless the profile `long` is asked for: then 50 steps,
    forty times as many examples, and others each time."""
    if settings.get_current_profile_name() == "long":
        long = settings.get_profile("long")
        return settings(long, max_examples=40 * examples, stateful_step_count=50)
    return settings(
        max_examples=examples,
        stateful_step_count=20,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def examine(machine: Machine, database: Database, examples: int) -> None:
    """Run a machine on an open store, and close that."""
    with in_memory() as spool:
        run_state_machine_as_test(
            lambda: machine(database, spool),  # type: ignore[arg-type]
            settings=sized(examples),
        )
    database.close()
