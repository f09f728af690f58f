"""What belongs to a credential, a request or the installation, not to one cohort."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from syncd.errors import StoreRefused
from syncd.model import BatchState, Operation, Outcome, PlannedBatch, Trigger
from syncd.store import connections, installation, ledger, outbox, runs, unaccepted
from syncd.store.bindings import Binding
from syncd.store.connections import PROBE_EVERY, ConnectionState
from syncd.store.database import Database
from syncd.store.installation import Action, Daemon
from syncd.store.ledger import Line, Totals
from syncd.store.unaccepted import Kind

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BindingMaker = Callable[..., Binding]


def count(database: Database, table: str) -> int:
    with database.read() as connection:
        query = text(f"SELECT count(*) FROM {table}")
        return int(connection.execute(query).scalar_one())


# --- connections


def state(database: Database, name: str = "amplitude") -> ConnectionState:
    with database.read() as connection:
        return connections.get(connection, name)


def test_a_connection_that_nothing_happened_to_is_free(database: Database) -> None:
    assert state(database) == ConnectionState(name="amplitude")


def test_a_stopped_connection_is_probed_later_and_again_after_a_failed_probe(
    database: Database,
) -> None:
    with database.begin() as connection:
        connections.stop(connection, "amplitude", "Invalid API key", NOW)
    first = state(database)
    with database.begin() as connection:
        connections.stop(connection, "amplitude", "Invalid API key", NOW + PROBE_EVERY)
    again = state(database)

    assert first == ConnectionState(
        name="amplitude",
        stopped_at=NOW,
        stopped_reason="Invalid API key",
        probe_at=NOW + PROBE_EVERY,
    )
    assert again.probe_at == NOW + 2 * PROBE_EVERY


def test_a_resumed_connection_is_free_but_keeps_its_pause(database: Database) -> None:
    with database.begin() as connection:
        connections.throttle(connection, "amplitude", NOW + HOUR)
        connections.stop(connection, "amplitude", "Invalid API key", NOW)
        connections.resume(connection, "amplitude")

    assert state(database) == ConnectionState(
        name="amplitude", throttled_until=NOW + HOUR
    )


@pytest.mark.parametrize("waits", [(1, 5), (5, 1), (5, 5)])
def test_of_two_pauses_the_longer_one_counts(
    database: Database, waits: tuple[int, int]
) -> None:
    with database.begin() as connection:
        connections.stop(connection, "amplitude", "reason", NOW)
        connections.resume(connection, "amplitude")  # a row without a pause
        for wait in waits:
            connections.throttle(connection, "amplitude", NOW + wait * HOUR)

    assert state(database).throttled_until == NOW + 5 * HOUR


def test_connections_do_not_share_their_state(database: Database) -> None:
    with database.begin() as connection:
        connections.throttle(connection, "amplitude", NOW + HOUR)

    assert state(database, "segment") == ConnectionState(name="segment")


# --- the ledger


def line(
    number: int = 1,
    result: str = "accepted",
    run_id: str = "run-1",
    operation: Operation = Operation.ADD,
    *,
    accepted: int = 0,
    unmatched: int = 0,
    rejected: int = 0,
    error_type: str | None = None,
    message: str | None = None,
    at: datetime = NOW,
) -> Line:
    return Line(
        run_id=run_id,
        sync="vip",
        batch_id=1,
        operation=operation,
        n=10,
        number=number,
        at=at,
        duration_ms=12.5,
        result=result,
        status=200,
        accepted=accepted,
        unmatched=unmatched,
        rejected=rejected,
        error_type=error_type,
        message=message,
    )


def write(database: Database, *lines: Line) -> None:
    with database.begin() as connection:
        for each in lines:
            ledger.write(connection, each)


def test_the_totals_of_a_run_are_the_sums_of_its_lines(database: Database) -> None:
    write(
        database,
        line(1, "retried", error_type="timeout"),
        line(2, "accepted", accepted=8, unmatched=1, rejected=1),
        line(1, "accepted", operation=Operation.REMOVE, accepted=5, unmatched=2),
        line(1, "split", error_type="http_4xx"),
        line(1, "accepted", run_id="run-2", accepted=99),
    )

    with database.read() as connection:
        found = ledger.totals(connection, "run-1")

    assert found == Totals(
        requests=4,
        retries=1,
        batches=2,
        entered=8,
        exited=5,
        unmatched=3,
        rejected=1,
    )


def test_a_run_without_a_request_adds_up_to_nothing(database: Database) -> None:
    with database.read() as connection:
        found = ledger.totals(connection, "run-1")
        assert ledger.failures(connection, "run-1") == []

    assert found == Totals(
        requests=0,
        retries=0,
        batches=0,
        entered=0,
        exited=0,
        unmatched=0,
        rejected=0,
    )


def test_failures_are_told_with_the_vendors_words_most_frequent_first(
    database: Database,
) -> None:
    write(
        database,
        line(1, "retried", error_type="timeout"),
        line(1, "retried", error_type="http_5xx", message="try later"),
        line(2, "retried", error_type="http_5xx", message="try later"),
        line(3, "accepted"),
        line(1, "dead", run_id="run-2", error_type="bad_request"),
    )

    with database.read() as connection:
        found = ledger.failures(connection, "run-1")

    assert found == [("http_5xx", "try later", 2), ("timeout", "", 1)]


# --- the installation


def test_the_hash_key_is_made_once_and_stays(database: Database) -> None:
    with database.begin() as connection:
        first = installation.hash_key(connection)
    with database.begin() as connection:
        again = installation.hash_key(connection)

    assert first == again
    assert len(first) == 32


def test_two_installations_have_different_hash_keys(
    database: Database,
) -> None:
    with database.begin() as connection:
        first = installation.hash_key(connection)
        connection.execute(text("DELETE FROM meta"))
        second = installation.hash_key(connection)

    assert first != second


def test_replicas_that_start_together_agree_on_one_hash_key(
    database: Database,
) -> None:
    together = threading.Barrier(4)
    keys: list[bytes] = []

    def start() -> None:
        with database.begin() as connection:
            if database.dialect == "postgresql":
                together.wait(timeout=30)  # all inside their transactions
            keys.append(installation.hash_key(connection))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(keys) == 4
    assert len(set(keys)) == 1


@pytest.mark.parametrize("fast", [False, True])
def test_a_store_is_used_on_one_kind_of_clock_only(
    database: Database, *, fast: bool
) -> None:
    with database.begin() as connection:
        installation.agree_on_clock(connection, fast=fast)
        installation.agree_on_clock(connection, fast=fast)

    with (
        pytest.raises(
            StoreRefused, match=r"a fast clock.*a real|a real clock.*a fast"
        ) as refused,
        database.begin() as connection,
    ):
        installation.agree_on_clock(connection, fast=not fast)

    assert "store.url" in refused.value.hint


def test_a_fast_store_says_how_its_clock_runs(database: Database) -> None:
    origin = datetime.fromisoformat("2026-03-01T12:00:00.000001+00:00")
    with database.begin() as connection:
        before = installation.fast_clock(connection)
        installation.keep_fast_clock(connection, 60.0, NOW)
        installation.keep_fast_clock(connection, 0.1 + 0.2, origin)
        after = installation.fast_clock(connection)

    assert before is None
    assert after == (0.1 + 0.2, origin)


def daemon(holder: str = "here/1/1", heartbeat_at: datetime = NOW) -> Daemon:
    return Daemon(
        holder=holder,
        host="here",
        pid=1,
        version="1.2.3",
        started_at=NOW,
        heartbeat_at=heartbeat_at,
    )


def beat(database: Database, *daemons: Daemon) -> None:
    with database.begin() as connection:
        for each in daemons:
            installation.beat(connection, each)


def alive(database: Database) -> list[Daemon]:
    with database.read() as connection:
        return installation.daemons(connection)


def test_a_daemon_beats_until_it_leaves(database: Database) -> None:
    beat(database, daemon("here/1/1"), daemon("here/2/2", NOW + HOUR))
    beat(database, daemon("here/1/1", NOW + 2 * HOUR))

    both = alive(database)
    with database.begin() as connection:
        installation.leave(connection, "here/1/1")

    assert both == [daemon("here/1/1", NOW + 2 * HOUR), daemon("here/2/2", NOW + HOUR)]
    assert alive(database) == [daemon("here/2/2", NOW + HOUR)]


def action(run_id: str | None, verb: str = "approve") -> Action:
    return Action(
        at=NOW,
        actor="ann",
        via="cli",
        verb=verb,
        sync="vip",
        run_id=run_id,
        reason="looked at it",
        plan_hash="abc",
    )


def test_what_people_did_about_a_run_is_kept_in_order(database: Database) -> None:
    done = [action("run-1", "reject"), action("run-1"), action("run-2"), action(None)]
    with database.begin() as connection:
        for each in done:
            installation.record(connection, each)

    with database.read() as connection:
        assert installation.actions(connection, "run-1") == done[:2]


def old_run(
    database: Database, run_id: str, *, finished: bool = True, at: datetime = NOW
) -> None:
    with database.begin() as connection:
        runs.begin(
            connection,
            run_id=run_id,
            sync_name="vip",
            slot=None,
            trigger=Trigger.MANUAL,
            config_hash="c",
            now=at,
        )
        if finished:
            runs.finish(
                connection,
                run_id,
                outcome=Outcome.SUCCESS,
                reason=None,
                summary={},
                now=at,
            )


def prune(database: Database, now: datetime, keep: timedelta) -> int:
    with database.begin() as connection:
        return installation.prune(connection, now=now, keep=keep)


def run_ids(database: Database) -> list[str]:
    with database.read() as connection:
        return sorted(run.id for run in runs.latest(connection, limit=100))


def test_pruning_deletes_what_is_old_and_keeps_the_rest(database: Database) -> None:
    old_run(database, "old", at=NOW - timedelta(seconds=1))
    old_run(database, "young", at=NOW)
    write(database, line(run_id="old", at=NOW - HOUR), line(run_id="young", at=NOW))

    deleted = prune(database, NOW + 400 * DAY, 400 * DAY)

    assert deleted == 1
    assert run_ids(database) == ["young"]
    assert count(database, "attempt") == 1


def test_pruning_keeps_runs_that_are_not_over(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    for run_id in ("unfinished", "held", "owner", "done"):
        old_run(database, run_id, finished=run_id != "unfinished")
    with database.begin() as connection:
        runs.hold(connection, "held", plan_hash="abc", expires_at=NOW + DAY)
        outbox.add(
            connection,
            binding_id=binding.id,
            run_id="owner",
            state=BatchState.DEAD,
            batches=[
                PlannedBatch(
                    operation=Operation.ADD, ids=[b"a"], first_bucket=0, last_bucket=0
                )
            ],
            now=NOW,
        )

    deleted = prune(database, NOW + 400 * DAY, DAY)

    assert deleted == 1
    assert run_ids(database) == ["held", "owner", "unfinished"]


def test_pruning_never_deletes_members_slots_or_what_people_did(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    with database.begin() as connection:
        runs.know_sync(connection, "vip", NOW)
        installation.hash_key(connection)
        installation.record(connection, action("run-1"))
        connection.execute(
            text(
                "INSERT INTO chunk (binding_id, bucket, n, codec, ids) "
                "VALUES (:id, 0, 1, 0, 'c')"
            ),
            {"id": binding.id},
        )
        unaccepted.note(connection, binding.id, 1, Kind.REJECTED, {b"a": "odd"}, NOW)
    prune(database, NOW + 4_000 * DAY, DAY)

    tables = ("binding", "chunk", "unaccepted", "sync", "meta", "action")
    assert [count(database, table) for table in tables] == [1] * 6


def test_pruning_forgets_daemons_that_are_silent_for_a_month(
    database: Database,
) -> None:
    beat(database, daemon("here/1/1", NOW), daemon("here/2/2", NOW + DAY))

    prune(database, NOW + 30 * DAY + HOUR, 400 * DAY)

    assert alive(database) == [daemon("here/2/2", NOW + DAY)]
