"""The month's downloads on the page, of a real store."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from syncd.app.board import StoreBoard
from syncd.config.secrets import SecretRef
from syncd.config.settings import FromCohort
from syncd.config.settings_connections import (
    AmplitudeConnection,
    QuotaSettings,
    Transport,
)
from syncd.store import fetches, quotas
from tests.builders import ManualClock, World, new_database, settings_of, sync_settings


def amplitude() -> AmplitudeConnection:
    secret = SecretRef(key="api_key", origin="syncd.yaml:1:1", env="UNREAD")
    return AmplitudeConnection(
        name="amplitude",
        region="us",
        app_id=1,
        api_key=secret,
        secret_key=secret,
        owner="o@x",
        name_prefix="",
        quota=QuotaSettings(downloads_per_month=500, reserve=50),
        download_deadline=timedelta(hours=1),
        storage_hosts=(),
        storage_origin=None,
        push=None,
        transport=Transport(
            base_url=None,
            ca_file=None,
            proxy_url=None,
            request_deadline=timedelta(seconds=30),
        ),
    )


def test_the_month_counts_what_we_asked_for_and_what_others_did(
    tmp_path: Path,
) -> None:
    database = new_database(tmp_path)
    world = World(database=database, spool=tmp_path, clock=ManualClock())
    source = FromCohort(
        connection="amplitude",
        cohort_id="1a2bc3d",
        max_staleness=timedelta(days=1),
        events=None,
        linked=False,
    )
    settings = settings_of(sync_settings("churn", source=source))
    settings = replace(settings, connections={"amplitude": amplitude()})
    known = StoreBoard(world.database, lambda: settings, world.clock)
    now = world.clock.now()
    with world.database.begin() as connection:
        resets_at = now + timedelta(days=15)
        quotas.remember(
            connection,
            "us:1",
            limit=500,
            used=5,
            resets_at=resets_at,
            estimated=False,
            now=now,
        )
        for hours in (30, 2):
            fetches.begin(
                connection,
                project="us:1",
                cohort_id="1a2bc3d",
                name="Churn",
                computed_before=None,
                size_before=None,
                sync="churn",
                run_id="r",
                by_person=False,
                now=now - timedelta(hours=hours),
            )

    (month,) = known.overview("").months

    assert (month.used, month.limit) == (5, 500)
    assert month.spent[-1][1] == 5
    assert [count for _, count in month.spent] == sorted(c for _, c in month.spent)
    assert "3 by other tools" in month.words
    assert 0.4 < month.elapsed < 0.6
    database.close()
