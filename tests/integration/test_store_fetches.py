"""Requests for downloads and the quota's row: durable, counted, locked, told once."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.model import Found, SnapshotDigest
from syncd.store import bindings, fetches, quotas
from syncd.store.database import Database
from syncd.store.fetches import Fetch, FetchState

NOW = datetime(2026, 5, 12, 9, 0, tzinfo=UTC)
RESET = datetime(2026, 6, 1, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
PROJECT = "us:187520"
DIGEST = SnapshotDigest(count=2, total=2**64 - 1)


def begin(database: Database, now: datetime = NOW, **values: Any) -> int:
    given: dict[str, Any] = {
        "project": PROJECT,
        "cohort_id": "c1",
        "name": "VIP",
        "computed_before": NOW - DAY,
        "size_before": 2,
        "sync": "vip",
        "run_id": "run-1",
        "by_person": False,
    }
    with database.begin() as connection:
        return fetches.begin(connection, now=now, **(given | values))


def accept(database: Database, key: int, now: datetime = NOW + MINUTE) -> None:
    with database.begin() as connection:
        fetches.accepted(connection, key, f"q{key}", now)


def complete(database: Database, key: int, **values: Any) -> Fetch:
    given: dict[str, Any] = {
        "computed_after": NOW,
        "size": 3,
        "rows": 3,
        "digest": DIGEST,
        "now": NOW + 2 * MINUTE,
    }
    with database.begin() as connection:
        return fetches.complete(connection, key, **(given | values))


def ready(database: Database, key: int, **values: Any) -> Fetch:
    given: dict[str, Any] = {
        "computed_after": NOW + MINUTE,
        "size": 4,
        "size_ready": 5,
    }
    with database.begin() as connection:
        return fetches.ready(connection, key, **(given | values))


def get(database: Database, key: int) -> Fetch:
    with database.read() as connection:
        return fetches.get(connection, key)


def break_file(database: Database, key: int) -> bool:
    with database.begin() as connection:
        return fetches.broke(connection, key, "cut short", NOW + DAY)


# ---- one request's life -------------------------------------------------------------


def test_a_request_is_noted_before_it_is_sent(database: Database) -> None:
    key = begin(database, by_person=True)

    assert get(database, key) == Fetch(
        id=key,
        project=PROJECT,
        cohort_id="c1",
        sync="vip",
        run_id="run-1",
        by_person=True,
        state=FetchState.ASKING,
        request_id=None,
        asked_at=NOW,
        ended_at=None,
        computed_before=NOW - DAY,
        computed_after=None,
        name="VIP",
        size_before=2,
        size_ready=None,
        size=None,
        rows=None,
        digest=None,
        broken=0,
        error=None,
    )


def test_an_accepted_request_keeps_its_id_and_the_time_of_the_answer(
    database: Database,
) -> None:
    key = begin(database)
    accept(database, key)

    kept = get(database, key)

    assert (kept.state, kept.request_id) == (FetchState.RUNNING, f"q{key}")
    assert kept.asked_at == NOW + MINUTE


def test_a_file_read_whole_completes_its_request(database: Database) -> None:
    key = begin(database)
    accept(database, key)
    there = ready(database, key)
    assert there == get(database, key)
    assert (there.state, there.computed_after) == (FetchState.READY, NOW + MINUTE)
    assert (there.size_before, there.size_ready, there.size) == (2, 5, 4)

    done = complete(database, key)

    assert done.state is FetchState.COMPLETED
    assert (done.rows, done.size, done.digest) == (3, 3, DIGEST)
    assert (done.computed_after, done.ended_at) == (NOW, NOW + 2 * MINUTE)


def test_the_first_who_sees_a_job_end_says_what_was_listed(database: Database) -> None:
    key = begin(database)
    accept(database, key)
    first = ready(database, key)

    assert ready(database, key, computed_after=NOW + DAY, size=None) == first


def test_the_first_who_reads_a_file_says_what_it_stands_for(database: Database) -> None:
    key = begin(database)
    accept(database, key)
    complete(database, key)

    assert ready(database, key).computed_after == NOW
    second = complete(database, key, computed_after=NOW + DAY)

    assert second.state is FetchState.COMPLETED
    assert second.computed_after == NOW


@pytest.mark.parametrize(
    ("note", "state"),
    [(fetches.refused, FetchState.REFUSED), (fetches.lost, FetchState.LOST)],
)
def test_a_request_that_failed_says_why_and_is_over(
    database: Database, note: Any, state: FetchState
) -> None:
    key = begin(database)

    with database.begin() as connection:
        note(connection, key, "turned away", NOW + MINUTE)

    over = get(database, key)
    assert (over.state, over.error) == (state, "turned away")
    assert over.asked_at == over.ended_at == NOW + MINUTE


def test_a_file_is_given_up_when_it_was_broken_three_times(database: Database) -> None:
    key = begin(database)
    accept(database, key)

    assert [break_file(database, key) for _ in range(3)] == [False, False, True]

    over = get(database, key)
    assert (over.state, over.broken, over.error) == (FetchState.ENDED, 3, "cut short")
    assert over.ended_at == NOW + DAY


def test_what_was_read_stays_read_when_its_file_is_gone(database: Database) -> None:
    key = begin(database)
    accept(database, key)
    complete(database, key)

    with database.begin() as connection:
        fetches.give_up(connection, key, "expired", NOW + DAY)

    kept = get(database, key)
    assert (kept.state, kept.request_id) == (FetchState.COMPLETED, None)
    assert (kept.rows, kept.ended_at) == (3, NOW + 2 * MINUTE)


# ---- what is asked of them ----------------------------------------------------------


def test_a_cohorts_history_is_its_own_newest_first(database: Database) -> None:
    first, _, _, last = (
        begin(database),
        begin(database, cohort_id="c2"),
        begin(database, project="eu:1"),
        begin(database),
    )

    with database.read() as connection:
        history = fetches.of_cohort(connection, PROJECT, "c1")
        newest = fetches.of_cohort(connection, PROJECT, "c1", limit=1)
        recent = fetches.recent(connection, PROJECT, limit=2)

    assert [each.id for each in history] == [last, first]
    assert [each.id for each in newest] == [last]
    assert [each.cohort_id for each in recent] == ["c1", "c2"]


def refuse(database: Database, **values: Any) -> None:
    key = begin(database, **values)
    with database.begin() as connection:
        fetches.refused(connection, key, "429", NOW)


def test_a_cohorts_history_leaves_out_what_was_refused(database: Database) -> None:
    first = begin(database)
    refuse(database)
    last = begin(database)
    refuse(database)

    with database.read() as connection:
        history = fetches.of_cohort(connection, PROJECT, "c1", limit=2)

    assert [each.id for each in history] == [last, first]


def test_a_runs_refusals_are_counted(database: Database) -> None:
    refuse(database)
    refuse(database)
    refuse(database, run_id="another")
    begin(database)

    with database.read() as connection:
        assert fetches.refusals(connection, "run-1") == 2
        assert fetches.refusals(connection, "nobody") == 0


def test_a_projects_requests_are_those_since_then(database: Database) -> None:
    begin(database, now=NOW - MINUTE)
    at, after = begin(database), begin(database, now=NOW + MINUTE, cohort_id="c2")
    begin(database, project="eu:1")

    with database.read() as connection:
        found = fetches.of_project(connection, PROJECT, NOW)

    assert [each.id for each in found] == [at, after]


def test_whoever_ever_wrote_a_cohort_is_known(database: Database, new_binding) -> None:
    writer = new_binding("writer")
    new_binding("stranger")
    with database.begin() as connection:
        found = Found(external_id="c1", name="VIP", size=None)
        bindings.bind(connection, writer.id, found)

    with database.read() as connection:
        assert fetches.writers(connection, "c1") == [("writer", "amplitude")]
        assert fetches.writers(connection, "c2") == []


# ---- the quota's row ----------------------------------------------------------------


def remember(database: Database, now: datetime = NOW, **values: Any) -> None:
    given: dict[str, Any] = {
        "limit": 500,
        "used": 42,
        "resets_at": RESET,
        "estimated": False,
    }
    with database.begin() as connection:
        quotas.remember(connection, PROJECT, now=now, **(given | values))


def test_a_reading_replaces_the_one_before(database: Database) -> None:
    with database.read() as connection:
        assert quotas.get(connection, PROJECT) is None
    remember(database)
    remember(database, now=NOW + MINUTE, used=43, limit=1000, estimated=True)

    with database.read() as connection:
        kept = quotas.get(connection, PROJECT)

    assert kept == quotas.Quota(
        project=PROJECT,
        limit=1000,
        used=43,
        resets_at=RESET,
        read_at=NOW + MINUTE,
        estimated=True,
        exhausted_at=None,
        low_at=None,
    )


def test_exhaustion_is_news_once_a_month(database: Database) -> None:
    remember(database)
    with database.begin() as connection:
        assert quotas.exhaust(connection, PROJECT, NOW)
        assert not quotas.exhaust(connection, PROJECT, NOW + DAY)
    remember(database, now=NOW + DAY)
    with database.begin() as connection:
        assert not quotas.exhaust(connection, PROJECT, NOW + DAY)

    remember(database, now=RESET, resets_at=RESET + 30 * DAY)

    with database.begin() as connection:
        assert quotas.exhaust(connection, PROJECT, RESET)


def test_a_low_quota_is_news_once_a_day(database: Database) -> None:
    remember(database)
    evening = NOW.replace(hour=23, minute=59)

    with database.begin() as connection:
        told = [
            quotas.warn(connection, PROJECT, at)
            for at in (NOW, evening, evening + MINUTE, evening + 2 * MINUTE)
        ]

    assert told == [True, False, True, False]


def test_whoever_stores_a_reading_locks_the_project(
    database: Database, database_url: str
) -> None:
    """The second one sees what the first one has written, not what was before it."""
    other = database if database.dialect == "sqlite" else Database(database_url)
    remember(database)
    started, seen = threading.Event(), []

    def second() -> None:
        started.set()
        with other.begin() as connection:
            quotas.remember(
                connection,
                PROJECT,
                limit=500,
                used=42,
                resets_at=RESET,
                estimated=False,
                now=NOW,
            )
            seen.extend(fetches.of_project(connection, PROJECT, NOW))

    thread = threading.Thread(target=second)
    with database.begin() as connection:
        quotas.remember(
            connection,
            PROJECT,
            limit=500,
            used=42,
            resets_at=RESET,
            estimated=False,
            now=NOW,
        )
        thread.start()
        assert started.wait(10)
        thread.join(0.2)
        assert thread.is_alive()
        fetches.begin(
            connection,
            project=PROJECT,
            cohort_id="c1",
            name="VIP",
            computed_before=None,
            size_before=None,
            sync="vip",
            run_id="r",
            by_person=False,
            now=NOW,
        )
    thread.join(10)

    assert len(seen) == 1
    if other is not database:
        other.close()
