"""Doctor's line about the store, on both kinds of stores."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from syncd.app.doctor.findings import Finding, Verdict
from syncd.app.doctor.machine import daemon_findings
from syncd.app.doctor.store import look
from syncd.app.store import locked
from syncd.clock import Clock
from syncd.config.settings import StoreSettings
from syncd.errors import StoreError, StoreRefused
from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.migrate import head, migrate
from tests.builders import settings_of


def settings(url: str, migration: str = "auto") -> StoreSettings:
    return StoreSettings(
        url=url,
        password=None,
        migrate="manual" if migration == "manual" else "auto",
        lease=timedelta(seconds=90),
        replication="asynchronous",
        keep_runs=timedelta(days=400),
        spool_dir=None,
    )


def migrated(url: str) -> str:
    database = Database(url)
    migrate(database)
    database.close()
    return url


def sqlite(folder: Path) -> str:
    create_file(folder / "syncd.db")
    return f"sqlite:///{folder / 'syncd.db'}"


def only(found: list[Finding]) -> Finding:
    (one,) = found
    return one


def test_a_current_postgres_store_is_well(postgres_database):
    found = only(list(look(settings(migrated(postgres_database)))))

    assert found.verdict is Verdict.OK
    assert f"PostgreSQL, schema {head()} (current)" in found.detail
    assert " MB" in found.detail


def test_an_empty_postgres_store_is_changed_by_the_next_start_or_by_a_person(
    postgres_database,
):
    by_itself = only(list(look(settings(postgres_database))))
    by_person = only(list(look(settings(postgres_database, "manual"))))

    assert (by_itself.verdict, by_itself.next) == (Verdict.WARN, "syncd serve")
    assert (by_person.verdict, by_person.next) == (Verdict.FAIL, "syncd db migrate")


def test_in_an_empty_store_no_daemon_runs_and_that_is_no_failure(postgres_database):
    configured = replace(settings_of(), store=settings(postgres_database))

    first, *_ = daemon_findings(configured, Clock())

    assert (first.verdict, first.detail) == (Verdict.WARN, "no daemon runs")


def test_a_postgres_that_does_not_answer_is_an_error_without_its_password():
    url = "postgresql://syncd:s3cr3t@127.0.0.1:9/syncd"

    with pytest.raises(StoreError) as caught:
        list(look(settings(url)))

    assert "s3cr3t" not in str(caught.value)


def test_a_current_sqlite_store_is_well_and_says_who_works_on_it(tmp_path):
    url = migrated(sqlite(tmp_path))

    idle = only(list(look(settings(url))))
    with locked(url):
        busy = only(list(look(settings(url))))

    assert idle.verdict is busy.verdict is Verdict.OK
    assert "WAL, nobody works on it" in idle.detail
    assert "works on it" in busy.detail
    assert "nobody" not in busy.detail


def test_a_store_of_a_newer_program_is_refused(tmp_path):
    url = migrated(sqlite(tmp_path))
    database = Database(url)
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()

    with pytest.raises(StoreRefused):
        list(look(settings(url)))


def test_a_folder_that_cannot_be_made_is_looked_for_above(tmp_path):
    found = only(list(look(settings(f"sqlite:///{tmp_path}/new/deep/syncd.db"))))

    assert found.verdict is Verdict.OK
    assert "the first run makes it" in found.detail
    assert not (tmp_path / "new").exists()
