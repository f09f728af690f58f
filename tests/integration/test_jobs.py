"""The queue of due runs on the store's Postgres, and the tables it needs."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from procrastinate.schema import SchemaManager
from structlog.testing import capture_logs

from syncd.app.jobs import Unattended, bring_up_to_date
from syncd.clock import Clock
from syncd.cluster import schema
from syncd.cluster.job import Job, Queued
from syncd.cluster.queue import Queue, standing
from syncd.errors import StoreRefused
from syncd.model import Trigger
from syncd.store import engine_tables, installation
from syncd.store.database import Database
from syncd.store.installation import Daemon, Role
from syncd.store.migrate import migrate
from tests.builders import rows

NOON = datetime(2026, 5, 12, 12, tzinfo=UTC)
ONE = NOON + timedelta(hours=1)
OLD = "03.01.00_50_post_add_heartbeat"
"""A step that an older Procrastinate ended with."""


def job(slot: datetime | None = NOON, trigger: Trigger = Trigger.SCHEDULE) -> Job:
    return Job(sync="vip", trigger=trigger, slot=slot)


@pytest.fixture
def store(postgres_database: str) -> Iterator[Database]:
    opened = Database(postgres_database)
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def queue(store: Database) -> Queue:
    schema.migrate(store)
    return Queue(store)


def begun(store: Database) -> None:
    """A worker took the only job that waits."""
    with store.begin() as connection:
        connection.exec_driver_sql(
            "SELECT procrastinate_fetch_job_v2("
            "  NULL, procrastinate_register_worker_v1())"
        )


# ---- what may stand in the queue -----------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "found", "waits", "becomes"),
    [
        (job(), job(), True, Queued.BEFORE),
        (job(), job(), False, Queued.BEFORE),
        (job(), job(trigger=Trigger.CATCH_UP), True, Queued.BEFORE),
        (job(ONE), job(), True, Queued.OVERLAP),
        (job(ONE), job(), False, Queued.OVERLAP),
        (job(), job(None, Trigger.RESUME), True, Queued.NEW),
        (job(None, Trigger.RESUME), job(), False, Queued.NEW),
        (job(None, Trigger.RESUME), job(None, Trigger.RESUME), False, Queued.BEFORE),
        (job(None, Trigger.PUSH), job(None, Trigger.PUSH), True, Queued.BEFORE),
        (job(None, Trigger.PUSH), job(None, Trigger.PUSH), False, Queued.NEW),
    ],
)
def test_a_job_is_queued_unless_it_is_or_its_due_time_overlaps(
    asked: Job, found: Job, waits: bool, becomes: Queued
) -> None:
    assert standing(asked, [(found, waits)]) is becomes


def test_a_due_time_is_queued_once_and_the_next_overlaps_until_it_is_done(
    queue: Queue, store: Database
) -> None:
    assert queue.put(job()) is Queued.NEW
    assert queue.put(job()) is Queued.BEFORE
    assert queue.put(job(ONE)) is Queued.OVERLAP
    assert (queue.waiting(), queue.waits("vip", NOON)) == (1, True)

    begun(store)

    assert queue.put(job()) is Queued.BEFORE
    assert queue.put(job(ONE)) is Queued.OVERLAP
    assert (queue.waiting(), queue.waits("vip", NOON)) == (0, True)
    assert not queue.waits("vip", ONE)


def test_two_processes_that_queue_the_same_at_once_queue_one_job(
    queue: Queue, store: Database
) -> None:
    """The other one's job is durable between our look and our insert."""
    other = Queue(store)

    class Late(Queue):
        def _open(self, connection, sync):
            found = super()._open(connection, sync)
            if not found:
                assert other.put(job()) is Queued.NEW
            return found

    assert Late(store).put(job()) is Queued.BEFORE

    assert queue.waiting() == 1


def test_jobs_of_other_syncs_and_causes_are_queued_beside(queue: Queue) -> None:
    assert queue.put(job()) is Queued.NEW
    assert queue.put(job(None, Trigger.RESUME)) is Queued.NEW
    assert queue.put(Job(sync="other", trigger=Trigger.SCHEDULE, slot=NOON))

    assert queue.waiting() == 3


def test_a_job_that_nobody_here_understands_keeps_no_sync_from_its_own(
    queue: Queue, store: Database
) -> None:
    for arguments in ('{"later": 1}', '{"sync": "vip", "trigger": "?", "slot": 1}'):
        with store.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args)"
                f" VALUES ('syncd', 'run', 'vip', '{arguments}')"
            )

    assert queue.put(job()) is Queued.NEW
    assert queue.put(job(ONE)) is Queued.OVERLAP
    assert queue.waits("vip", NOON)


def test_who_goes_on_and_is_cut_off_again_is_queued_once_more(
    queue: Queue, store: Database
) -> None:
    again = job(None, Trigger.RESUME)
    queue.put(again)
    begun(store)
    assert queue.put(again) is Queued.BEFORE

    assert queue.put(again, instead=True) is Queued.NEW

    assert queue.put(again, instead=True) is Queued.BEFORE
    assert queue.waiting() == 1


# ---- its tables ----------------------------------------------------------------------


def functions(store: Database) -> set[tuple[str, str]]:
    """The engine's functions in the database, with what they do."""
    query = "SELECT proname, prosrc FROM pg_proc WHERE proname LIKE 'procrastinate%'"
    return {(name, " ".join(source.split())) for name, source in rows(store, query)}


def shipped(server: str) -> set[tuple[str, str]]:
    """The functions of an engine that was never older."""
    fresh = Database(server)
    try:
        with fresh.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA fresh")
            connection.exec_driver_sql("SET LOCAL search_path TO fresh")
            script = SchemaManager.get_schema()
            options = {"no_parameters": True}
            connection.exec_driver_sql(script, execution_options=options)
        return functions(fresh)
    finally:
        with fresh.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA fresh CASCADE")
        fresh.close()


def scripts(until: str) -> Mapping[str, Path]:
    return {name: path for name, path in schema.steps().items() if name <= until}


def at_step(store: Database, last: str) -> None:
    """The tables as an older Procrastinate left them."""
    for name, path in scripts(last).items():
        with store.begin() as connection:
            engine_tables.carry_out(connection, path.read_text("utf-8"), name)


def test_the_tables_are_made_once_and_a_second_start_changes_nothing(
    store: Database,
) -> None:
    assert schema.migrate(store) == (None, schema.newest())
    made = functions(store)

    assert schema.migrate(store) == (schema.newest(), schema.newest())

    assert functions(store) == made
    schema.require_current(store)


def test_an_older_engines_tables_are_brought_up_to_date_and_keep_their_jobs(
    store: Database, postgres_url: str
) -> None:
    at_step(store, OLD)
    with pytest.raises(StoreRefused, match="this program needs"):
        bring_up_to_date(store, "manual")
    with store.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args)"
            " VALUES ('syncd', 'run', 'vip', '{\"sync\": \"vip\", \"trigger\":"
            ' "resume", "slot": null}\')'
        )

    assert bring_up_to_date(store, "auto") == (OLD, schema.newest())

    assert functions(store) >= shipped(postgres_url)
    queue = Queue(store)
    assert queue.put(job(None, Trigger.RESUME)) is Queued.BEFORE
    assert queue.put(job()) is Queued.NEW


def test_a_newer_engines_tables_and_a_strangers_are_left_alone(
    store: Database,
) -> None:
    with store.begin() as connection:
        engine_tables.carry_out(connection, "SELECT 1", "99.00.00_01_later")
    with pytest.raises(StoreRefused, match="newer than this"):
        schema.migrate(store)
    with store.begin() as connection:
        connection.exec_driver_sql("DELETE FROM meta WHERE key = 'job_engine_step'")
        connection.exec_driver_sql("CREATE TABLE procrastinate_jobs (id int)")

    with pytest.raises(StoreRefused, match="another program"):
        schema.migrate(store)


def test_jobs_need_a_store_on_postgres(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'syncd.db'}")

    with pytest.raises(StoreRefused, match="SQLite"):
        bring_up_to_date(database, "auto")


# ---- nobody works --------------------------------------------------------------------


def alive(store: Database, role: Role) -> None:
    now = Clock().wall()
    with store.begin() as connection:
        installation.beat(
            connection,
            Daemon(
                holder=f"here/{role}",
                host="here",
                pid=1,
                version="1",
                started_at=now,
                heartbeat_at=now,
                role=role,
            ),
        )


def test_runs_that_no_living_worker_takes_are_told(
    queue: Queue, store: Database
) -> None:
    look = Unattended(store, Clock(), queue).look
    alive(store, Role.DAEMON)
    with capture_logs() as quiet:
        look()
    queue.put(job())

    with capture_logs() as told:
        look()
    alive(store, Role.WORKER)
    with capture_logs() as worked:
        look()

    assert (quiet, worked) == ([], [])
    (line,) = told
    assert (line["event"], line["jobs"]) == ("jobs.unattended", 1)
