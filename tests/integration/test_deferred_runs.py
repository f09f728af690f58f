"""What a daemon leaves to workers, and what comes of a job that none can begin."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from syncd.app.pausing import pause, resume
from syncd.app.reacting import Reacting
from syncd.app.signals import say_refused
from syncd.app.slots import Slots
from syncd.cluster import schema
from syncd.cluster.job import Job, Queued
from syncd.cluster.queue import Queue
from syncd.errors import StoreUnavailable, SyncdError
from syncd.model import Trigger
from syncd.store.database import Database
from syncd.store.migrate import migrate
from tests.builders import ManualClock, World, people
from tests.installed import Installation

SECOND = timedelta(seconds=1)
BY = {"sync": "vip", "actor": "joe", "via": "cli"}


@dataclass
class Deferred:
    """Where runs are deferred to; no worker takes any."""

    put_in: list[Job] = field(default_factory=list)

    def put(self, job: Job, *, instead: bool = False) -> Queued:
        """See `Jobs`."""
        assert not instead
        self.put_in.append(job)
        return Queued.NEW

    def waits(self, sync: str, slot: datetime) -> bool:
        """See `Jobs`."""
        del sync, slot
        return False


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """A sync that is fed, and runs a second after news."""
    made = World(database=database, spool=tmp_path)
    made.fed("vip").say(enter=people(1))
    sync = made.syncs["vip"]
    events = sync.source.events
    assert events is not None
    source = replace(sync.source, events=replace(events, run_after=SECOND))
    made.syncs["vip"] = replace(sync, source=source)
    return made


def at_once(_: str, action: Callable[[], object]) -> None:
    action()


def test_news_that_no_worker_could_begin_is_deferred_anew_until_it_is_read(
    world: World,
) -> None:
    jobs, clock = Deferred(), cast(ManualClock, world.clock)
    with world.engine() as engine:
        reacting = Reacting(engine, clock, at_once, jobs)
        for _ in range(10):
            clock.advance(SECOND)
            reacting.look()
        deferred = len(jobs.put_in)
        engine.run("vip", Trigger.PUSH)
        for _ in range(10):
            clock.advance(SECOND)
            reacting.look()

    assert deferred > 1
    assert {(each.sync, each.trigger) for each in jobs.put_in} == {
        ("vip", Trigger.PUSH)
    }
    # One may have been on its way.
    assert len(jobs.put_in) <= deferred + 1


def test_a_run_that_was_cut_off_is_not_deferred_while_its_sync_is_paused(
    world: World,
) -> None:
    jobs = Deferred()
    with world.engine() as engine:
        slots = Slots(engine, world.clock, at_once, jobs)
        why = {"reason": "INC-7", "span": "4h", "until": None}
        pause(engine, BY | why)
        slots.resume("vip")
        meanwhile = list(jobs.put_in)
        resume(engine, BY)
        slots.resume("vip")

    assert meanwhile == []
    assert jobs.put_in == [Job(sync="vip", trigger=Trigger.RESUME)]


@pytest.mark.parametrize(
    ("refusal", "event"),
    [
        (StoreUnavailable("gone"), "store.unavailable"),
        (SyncdError("no"), "run.skipped"),
    ],
)
def test_a_refusal_that_nobody_waits_for_says_what_it_is_about(
    refusal: SyncdError, event: str
) -> None:
    def refused() -> None:
        raise refusal

    with capture_logs() as lines:
        say_refused(refused, sync="vip")

    assert [(line["event"], line["sync"]) for line in lines] == [(event, "vip")]


def test_a_job_of_a_sync_that_a_worker_does_not_know_is_a_refusal_and_no_crash(
    installation: Installation, postgres_database: str
) -> None:
    """Its file is older than the daemon's, or newer."""
    installation.config["store"]["url"] = postgres_database
    installation.config["cluster"] = "procrastinate"
    installation.sync("vip")
    store = Database(postgres_database, readers=1)
    migrate(store)
    schema.migrate(store)
    Queue(store).put(Job(sync="unheard-of", trigger=Trigger.PUSH))
    store.close()

    worker = installation.start("worker")
    assert worker.reached("run.skipped", sync="unheard-of")

    assert worker.stop() == 0
    assert not worker.events("daemon.crashed")
    (said,) = worker.events("run.skipped")
    assert said["code"] == "sync.unknown"
