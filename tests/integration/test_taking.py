"""A worker of the queue by itself, while its database is away and comes back."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from syncd.clock import Clock
from syncd.cluster import schema
from syncd.cluster.job import Job
from syncd.cluster.queue import Queue
from syncd.cluster.taking import LOOKS, Taking
from syncd.model import Trigger
from syncd.store.database import Database
from syncd.store.migrate import migrate
from tests.builders import PATIENCE, rows
from tests.reliability.storing.severing import severing

BEAT = 0.5


@pytest.fixture
def store(postgres_database: str) -> Iterator[Database]:
    """The store as daemons have it, beside every wire."""
    opened = Database(postgres_database)
    migrate(opened)
    schema.migrate(opened)
    yield opened
    opened.close()


@dataclass
class Carried:
    """What a worker was given; a job of the sync `long` lasts until it is let go."""

    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)
    let_go: threading.Event = field(default_factory=threading.Event)

    def carry_out(self, job: Job) -> None:
        self._note(self.begun, job)
        if job.sync == "long":
            assert self.let_go.wait(PATIENCE)
        self._note(self.ended, job)

    def _note(self, where: list[str], job: Job) -> None:
        with self.news:
            where.append(job.sync)
            self.news.notify_all()

    def until(self, reached: Callable[[], bool]) -> None:
        with self.news:
            assert self.news.wait_for(reached, PATIENCE), (self.begun, self.ended)


@contextmanager
def working(url: str, carried: Carried) -> Iterator[Taking]:
    """A worker that looks at the queue by this URL."""
    database = Database(url)
    taking = Taking(database, 2, carried.carry_out, left=lambda _: True, beat=BEAT)
    taking.start()
    try:
        yield taking
    finally:
        carried.let_go.set()
        taking.stop()
        assert taking.is_at_rest(PATIENCE)
        database.close()


def until(reached: Callable[[], object]) -> None:
    """Nobody tells it: looked at now and then."""
    pause = threading.Event()
    for _ in range(int(PATIENCE * 50)):
        if reached():
            return
        pause.wait(0.02)
    raise AssertionError("it was not reached")


def queue(store: Database, sync: str) -> None:
    Queue(store).put(Job(sync=sync, trigger=Trigger.PUSH))


def told(lines: Sequence[Mapping[str, object]]) -> list[object]:
    return [line["operation"] for line in lines if line["event"] == "store.unavailable"]


def test_while_the_database_is_away_a_long_run_goes_on_and_nobody_is_given_up(
    store: Database, postgres_database: str
) -> None:
    carried, clock = Carried(), Clock()
    with (
        severing(postgres_database) as (wire, url),
        working(url, carried) as taking,
        capture_logs() as lines,
    ):
        queue(store, "long")
        carried.until(lambda: carried.begun == ["long"])

        wire.go_away()
        until(lambda: not taking.is_taking)
        begun_by_another(store, "silent")
        wire.come_back()
        until(lambda: taking.is_taking)
        back = clock.monotonic()

        # It may have been away for the other one as well: that is given time to return.
        carried.until(lambda: carried.ended == ["silent"])
        assert clock.monotonic() - back > (LOOKS - 2) * BEAT
        assert carried.begun == ["long", "silent"]
    assert told(lines) == ["jobs"]
    assert [line["sync"] for line in lines if line["event"] == "job.given_back"] == [
        "silent"
    ]


def begun_by_another(store: Database, sync: str) -> None:
    """A worker took the only job that waits, and gives no sign of life since."""
    queue(store, sync)
    with store.begin() as connection:
        ((number,),) = connection.execute(
            text("SELECT worker_id FROM procrastinate_register_worker_v1()")
        )
        connection.execute(
            text("SELECT procrastinate_fetch_job_v2(NULL, :number)"), {"number": number}
        )
        connection.execute(
            text(
                "UPDATE procrastinate_workers"
                " SET last_heartbeat = now() - interval '1h' WHERE id = :number"
            ),
            {"number": number},
        )


def test_a_wire_that_is_cut_under_a_long_run_keeps_no_other_job_waiting(
    store: Database, postgres_database: str
) -> None:
    carried = Carried()
    with (
        severing(postgres_database) as (wire, url),
        working(url, carried) as taking,
        capture_logs() as lines,
    ):
        queue(store, "long")
        carried.until(lambda: carried.begun == ["long"])

        wire.cut()
        queue(store, "other")

        carried.until(lambda: carried.ended == ["other"])
        until(lambda: taking.is_taking)
        queue(store, "another")
        carried.until(lambda: carried.ended == ["other", "another"])
        carried.let_go.set()
        until(lambda: rows(store, "SELECT 1 FROM procrastinate_jobs") == [])
    assert told(lines) == []


def test_a_worker_that_others_took_for_dead_goes_on_under_a_new_number(
    store: Database, postgres_database: str
) -> None:
    carried = Carried()
    with working(postgres_database, carried), capture_logs() as lines:
        queue(store, "first")
        carried.until(lambda: carried.ended == ["first"])
        ((before,),) = rows(store, "SELECT id FROM procrastinate_workers")

        with store.begin() as connection:
            connection.execute(text("DELETE FROM procrastinate_workers"))
        queue(store, "second")

        carried.until(lambda: carried.ended == ["first", "second"])
        ((after,),) = rows(store, "SELECT id FROM procrastinate_workers")
        assert after != before
    assert told(lines) == []
    assert rows(store, "SELECT 1 FROM procrastinate_workers") == []


def test_a_statement_that_never_succeeds_is_not_taken_for_an_absence(
    store: Database, postgres_database: str
) -> None:
    carried = Carried()
    with store.begin() as connection:
        connection.execute(
            text("ALTER FUNCTION procrastinate_fetch_job_v2 RENAME TO gone")
        )

    with capture_logs() as lines, working(postgres_database, carried):
        until(lambda: len(told(lines)) == 2)

        # Not waited out, as an absence would be: it began anew.
        ((number,),) = rows(
            store, "SELECT last_value FROM procrastinate_workers_id_seq"
        )
        assert number == 2
    named = {line["error"] for line in lines if line["event"] == "store.unavailable"}
    assert named == {"UndefinedFunction"}


def test_a_job_that_nobody_understands_is_over_and_stops_nobody(
    store: Database, postgres_database: str
) -> None:
    carried = Carried()
    with store.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args)"
                " VALUES ('syncd', 'run', 'vip', '{\"later\": 1}')"
            )
        )
    queue(store, "vip")

    with working(postgres_database, carried), capture_logs() as lines:
        carried.until(lambda: carried.ended == ["vip"])
        until(lambda: rows(store, "SELECT 1 FROM procrastinate_jobs") == [])

    assert [line["event"] for line in lines] == ["daemon.crashed"]
