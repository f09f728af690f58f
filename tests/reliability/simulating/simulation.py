"""Carrying a history out: real planner, store and delivery decisions, virtual time.

One thread, one clock, one SQLite file in memory per history: the same history is the
same trace, in any process. Faults are laid out for the next run, which takes them up;
whatever dies is started again before the next event.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random

from syncd.errors import SyncdError
from syncd.model import Receipt, Trigger
from syncd.store import leases
from syncd.store.database import Database
from syncd.sync.spec import Report
from tests.builders import FAILED_BEFORE
from tests.reliability.simulating.books import Books
from tests.reliability.simulating.histories import History
from tests.reliability.simulating.judging import Judge
from tests.reliability.simulating.outsides import Asked, Watch
from tests.reliability.simulating.staging import Stage
from tests.reliability.simulating.stepwise import FaultyStore, Process

LEASE = timedelta(seconds=100)
"""Longer than a lease is trusted by anybody."""
WHO = {"actor": "ann", "via": "cli", "reason": "looked at it"}


class Simulation:
    """The syncs of one history and all around them."""

    def __init__(self, database: Database, spool: Path, history: History) -> None:
        self.history = history
        watch = Watch(before=self._before, after=self._after, answered=self._answered)
        self.stage = Stage(database, spool, history, watch=watch, heard=self._heard)
        self.clock, self.world = self.stage.clock, self.stage.world
        self.at: dict[str, dict[int, str]] = {}
        """What happens to the process at the n-th request of a sync from now."""
        self.again: list[int] = []
        self.trace: list[str] = []
        self.processes = self.runs = self.requests = 0
        self.last: dict[str, Report] = {}
        self.lost: dict[str, int] = {}
        """Lines in the ledger of a sync when our process lost it, in this event."""
        syncs = self.world.syncs.items()
        self.judge = Judge(
            books=Books(database.path),
            destinations=self.stage.vendors,
            guards={name: each.guard for name, each in syncs},
            batch_sizes={name: each.delivery.batch_size for name, each in syncs},
        )
        self.process = self._open()
        self.process.start()

    def _heard(self, name: str, listed: frozenset[bytes]) -> None:
        self.judge.heard(name, listed)

    # ---- processes ----

    def _open(self) -> Process:
        self.processes += 1
        return Process(
            self.world.blueprint(),
            FaultyStore(self.world.database, self._committed),
            self.clock,
            holder=f"simulated/{self.processes}",
            chance=Random(self.processes),  # noqa: S311  # to be repeated
        )

    def restart(self) -> None:
        """End the process; start others, which may die early, until one lives."""
        for moment in [*self.again, 0]:
            self.process.close()
            self.clock.advance(timedelta(seconds=5))
            if self.processes % 3:  # the daemon of one store, which knows it is alone
                with self.world.database.begin() as connection:
                    leases.expire_all(connection, self.clock.wall())
            else:  # a replica, which waits until the lease is over
                self.clock.advance(LEASE)
            self.process = self._open()
            if moment:
                self.process.store.order(moment, "die")
            self.say(f"start {self.process.holder}")
            with suppress(SyncdError):
                self._boot(self.process)
        self.again.clear()

    def _boot(self, process: Process) -> None:
        process.start()
        for name in process.close_abandoned():
            with suppress(SyncdError):
                self.judge.begin(name)
                self._note(process.resume(name), process)

    def _committed(self) -> None:
        self.judge.look()

    def close(self) -> None:
        """Close what is open."""
        self.process.close()
        self.judge.books.close()

    # ---- requests ----

    def _before(self, asked: Asked) -> None:
        self.requests += 1
        self.land()
        ids = b" ".join(asked.ids).decode()
        self.say(f"request {asked.sync} {asked.operation} {asked.cohort} {ids}")
        alive = not self.process.store.dead
        self.judge.before_request(asked, alive=alive)
        orders = self.at.get(asked.sync, {})
        self.at[asked.sync] = {n - 1: what for n, what in orders.items()}
        match self.at[asked.sync].get(0):
            case "die":
                self.process.store.die()
                raise FAILED_BEFORE.error()
            case "stop":
                self.process.stop()
            case "overlap":
                self._overlap(asked.sync)
            case _:
                pass

    def _overlap(self, name: str) -> None:
        """Another request while this one is under way: its lane's, or another run's."""
        if self.process.overlap():
            return
        active = self.process.active()
        for other in [each for each in self.world.syncs if each not in active][:1]:
            self.perform(other, partial(self._run, other), alone=False)

    def _after(self, asked: Asked) -> None:
        self.judge.look()
        if self.at[asked.sync].get(0) == "die_applied":
            self.process.store.die()

    def _answered(self, asked: Asked, receipt: Receipt | None) -> None:
        self.say(f"answer {asked.sync} {_told(receipt)}")
        self.judge.answered(asked, receipt)
        if self.at[asked.sync].pop(0, "") == "takeover":
            self._taken_over(asked.sync)

    def _taken_over(self, name: str) -> None:
        """The process stands still; another one has the sync meanwhile."""
        self.clock.advance(LEASE)
        other = self._open()
        self.say(f"takeover by {other.holder}")
        with other:
            self._boot(other)
            with suppress(SyncdError):
                self.judge.begin(name)
                self._note(other.run(name, Trigger.MANUAL), other)
        self.lost[name] = self.judge.lines(name)

    def _fenced(self) -> None:
        """I-9: an answer to a process that lost the sync changes nothing."""
        for name, lines in self.lost.items():
            fenced = self.judge.lines(name) == lines
            self.judge.require(fenced, f"I-9 {name}: written behind the fence")
        self.lost.clear()

    def land(self) -> None:
        """What nobody waits for any more may take effect."""
        for vendor in self.stage.vendors.values():
            for asked in vendor.arrive():
                self.say(f"landed {asked.sync} {asked.operation}")
        self.judge.look()

    # ---- runs ----

    def perform(
        self, name: str, action: Callable[[], Report | None], *, alone: bool = True
    ) -> Report | None:
        """Something in which a run may happen; afterwards a process is alive."""
        report = None
        self.judge.begin(name)
        try:
            report = action()
            self._note(report, self.process)
        except SyncdError as error:
            self.say(f"refused {name} {error.code}")
        if alone:
            self._fenced()
            self._clear()
            if self.process.store.dead or self.process.stop_event.is_set():
                report = None
                self.restart()
            self.clock.advance(timedelta(seconds=5))
        return report

    def _note(self, report: Report | None, process: Process) -> None:
        if report is None:
            return
        self.runs += 1
        self.last[report.sync] = report
        self.say(f"run {report.sync} {report.trigger} {report.outcome} {report.reason}")
        if not process.store.dead:
            self.judge.ended(report)

    def _clear(self) -> None:
        """Faults that no run took up are over."""
        self.stage.clear()
        self.at.clear()
        self.process.store.heal()

    def _run(self, name: str) -> Report | None:
        return self.process.run(name, Trigger.MANUAL)

    # ---- faults of the next run ----

    def on_at(self, name: str, request: int, what: str) -> None:
        self.at.setdefault(name, {}).setdefault(request, what)

    def on_store(self, _: str, transaction: int, what: str) -> None:
        self.process.store.order(transaction, what)

    def on_again(self, _: str, transaction: int) -> None:
        self.again.append(transaction)

    # ---- the trace ----

    def say(self, line: str) -> None:
        """One line of the trace; no run id, since those are random."""
        self.trace.append(f"{self.clock.monotonic():>10.3f} {line}")


def _told(receipt: Receipt | None) -> str:
    if receipt is None:
        return "nothing proven"
    return f"{len(receipt.accepted)} taken, {len(receipt.unmatched)} unknown"
