"""Telling a history: its events one after the other, then the end its mode asks for.

In *safety* mode people resume and approve at the end, and then all must be right. In
*liveness* mode nobody helps first: two due times must do, unless a sync says why not.
"""

import hashlib
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from syncd.app import pausing
from syncd.errors import PutOff, SyncdError
from syncd.model import Outcome, Trigger
from syncd.store import runs
from syncd.sync import resync
from syncd.sync.beginning import WaitsForPerson
from syncd.sync.decide import Decision
from syncd.sync.outbox import Choice
from syncd.sync.spec import Report
from tests.reliability.simulating.histories import RUNS, Event, History
from tests.reliability.simulating.simulation import WHO, Simulation
from tests.reliability.simulating.staging import HOUR, NAMES, Store

STRANGERS = "target.rejects_everybody"
"""Why a run is partial in which a partner was asked about nobody but strangers."""
CONFIGURATION = {"query", "match", "target", "reload"}
"""Events after which the daemon reads its configuration again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a history ended."""

    wrong: tuple[str, ...]
    """Laws that were broken; none where all is well."""
    trace: tuple[str, ...]
    runs: int
    requests: int
    checks: int

    @property
    def digest(self) -> str:
        """The same for the same trace."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]


def simulate(store: Store, history: History, mode: str = "safety") -> Verdict:
    """Carry a history out. `mode` is how it ends: safety or liveness."""
    with capture_logs([merge_contextvars]):
        story = Story(store.renew(), store.folder, history)
        with closing(story):
            story.tell(mode)
            return story.verdict()


class Story(Simulation):
    """A history, told."""

    def tell(self, mode: str) -> None:
        """All events, then the end that the mode asks for."""
        for event in self.history.events:
            self.say(f"# {event}")
            self.carry_out(event)
            if self.judge.wrong:
                return
        self.say("# faults are over")
        self._heal()
        if mode == "liveness":
            self._silence()
        if not self.judge.wrong:
            self._people_decide()
        self.judge.slots()

    def carry_out(self, event: Event) -> None:
        """One event, and a look at everything after it."""
        self.land()
        name = NAMES[event.sync]
        of_world = getattr(self.stage, f"on_{event.what}", None)
        action = of_world or getattr(self, f"on_{event.what}")
        if event.what in RUNS:
            self.perform(name, partial(action, name, *event.args))
        else:
            with suppress(SyncdError):
                action(name, *event.args)
        if event.what in CONFIGURATION:
            with suppress(SyncdError):
                self.process.replace(self.world.blueprint())
        self.judge.look()
        for vendor in self.stage.vendors.values():
            widest = vendor.capabilities.max_in_flight
            met = max(vendor.most_in_flight.values(), default=0)
            self.judge.require(met <= widest, "I-9: too many requests at once")

    def _heal(self) -> None:
        self._clear()
        if self.process.store.dead:  # in the last event, and nothing came after it
            self.restart()
        self.clock.advance(timedelta(seconds=30))
        self.land()
        for name in self.stage.whole():
            self.stage.vendors[name].heal()

    def _silence(self) -> None:
        """I-19: two runs without a person make it right, unless they say why not."""
        for _ in range(2):
            self.on_pass("", 3700)
            for name in self.stage.whole():
                self.perform(name, partial(self.on_slot, name))
        for name in self.stage.whole():
            excused = self.judge.is_held(name) or self.process.put_off(name)
            well = self._is_well(name)
            self.judge.require(bool(excused) or well, f"I-19 {name}: does not heal")

    def _people_decide(self) -> None:
        """I-1: once people resume and approve, all is right."""
        for name in self.stage.whole():
            self.on_resume(name)
        self.clock.advance(25 * HOUR)
        for name in self.stage.whole():
            for _ in range(3):
                if self.judge.is_held(name):
                    self.perform(name, partial(self.on_approve, name))
                self.perform(name, partial(self._run, name))
                if self._is_well(name):
                    break
                self.on_pass("", 3700)  # what a dead process sent may land for an hour
        for name in self.stage.whole():
            self.judge.require(self._is_well(name), f"I-1 {name}: wrong at the end")

    def _is_well(self, name: str) -> bool:
        last = self.last.get(name)
        if last is None or (last.outcome not in runs.OK and last.reason != STRANGERS):
            return False
        return self.judge.settled(name, self.stage.wanted(name))

    # ---- runs and people ----

    def on_run(self, name: str) -> Report | None:
        return self._run(name)

    def on_slot(self, name: str) -> Report | None:
        """A due time, as the scheduler has it; the second time it is taken."""
        slot = self.clock.now().replace(minute=0, second=0, microsecond=0)
        try:
            report = self.process.run(name, Trigger.SCHEDULE, slot)
        except WaitsForPerson:
            self.process.skip(name, slot, "held")
            return None
        except PutOff as why:
            self.process.skip(name, slot, why.reason, why.until)
            return None
        if report is not None and not self.process.store.dead:
            with suppress(SyncdError):
                again = self.process.run(name, Trigger.SCHEDULE, slot)
                self.judge.require(again is None, f"I-21 {name}: a slot run twice")
        return report

    def on_twice(self, name: str) -> Report | None:
        """I-11: where nothing changed nothing is sent."""
        began = self.clock.now()
        first = self._run(name)
        self._note(first, self.process)
        ended = self.process.store.dead or self.process.stop_event.is_set()
        if first is None or first.outcome not in runs.OK or ended:
            return None
        self._clear()
        before = self.requests
        if self.clock.now() - began > HOUR / 2 or self.judge.doubts(name):
            return None  # strangers may be due again, or somebody who may have moved
        second = self._run(name)
        quiet = second is not None and second.outcome is Outcome.NO_CHANGE
        self.judge.require(
            quiet and self.requests == before, f"I-11 {name}: not quiet when equal"
        )
        return second

    def on_approve(self, name: str) -> Report | None:
        held = self.judge.is_held(name)
        return self.process.approve(Decision(run_id=held, **WHO)) if held else None

    def on_reject(self, name: str) -> None:
        if held := self.judge.is_held(name):
            with suppress(SyncdError):
                self.process.reject(Decision(run_id=held, **WHO))

    def on_push(self, name: str) -> Report | None:
        with self.process.alone(name) as (parts, spec):
            return resync.push(parts, spec, resync.Wish(**WHO))

    def on_retry(self, name: str) -> Report | None:
        return self.process.retry_batches(name, Choice(batches=(), **WHO))

    def on_drop(self, name: str) -> None:
        self.process.drop_batches(name, Choice(batches=(), **WHO))

    def on_pause(self, name: str) -> None:
        body = {**WHO, "sync": name, "span": "4h", "until": None}
        pausing.pause(self.process, body)

    def on_resume(self, name: str) -> None:
        pausing.resume(self.process, {**WHO, "sync": name})

    def on_pass(self, _: str, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))
        self.process.probe_connections()

    def verdict(self) -> Verdict:
        """How it ended."""
        return Verdict(
            wrong=tuple(self.judge.wrong),
            trace=tuple(self.trace),
            runs=self.runs,
            requests=self.requests,
            checks=self.judge.checks,
        )
