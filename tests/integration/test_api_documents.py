"""What `/api/v1` knows, on a real store: which rows it tells, whom it never asks."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.app.api import Documents
from syncd.app.months import NOT_ASKED
from syncd.config.secrets import SecretRef
from syncd.config.settings import FromCohort, Settings
from syncd.config.settings_connections import (
    AmplitudeConnection,
    QuotaSettings,
    Transport,
)
from syncd.errors import SourceError
from syncd.model import Outcome, Trigger
from syncd.schedule import Every
from syncd.store import fetches, quotas, runs
from syncd.store.database import Database
from syncd.web.api import BadParameter, Missing, Question
from tests.builders import NOW, World, people

DAY = timedelta(days=1)
PROJECT = "us:7"
SECRET = SecretRef(key="api_key", origin="syncd.yaml:1:1", env="UNUSED")


def documents(world: World, settings: Settings | None = None) -> Documents:
    """Of the configuration as it is now."""
    used = settings or world.blueprint().settings
    return Documents(world.database, lambda: used, world.clock)


def told(text: str, schema: str) -> dict[str, Any]:
    """The document, whose first words name its schema."""
    assert text.startswith(f'{{\n  "schema": "syncd.{schema}/1",\n')
    assert text.endswith("}\n")
    return dict(json.loads(text))


def asked(named: str = "", **parameters: Any) -> Question:
    given = {
        name: [value] if isinstance(value, str) else value
        for name, value in parameters.items()
    }
    return Question(named=named, parameters=given)


def broken() -> None:
    raise SourceError("the file ended early", code="source.short")


@pytest.fixture
def ran(world: World) -> World:
    """`vip` succeeded and was then held; `new` failed; `idle` never ran."""
    for name in ("vip", "new", "idle"):
        world.sync(name, members=people(*range(300)))
    world.vendor.known = people(*range(300))
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)
        world.clock.advance(timedelta(minutes=1))  # type: ignore[attr-defined]
        world.sources["vip"].members = people(1)
        engine.run("vip", Trigger.MANUAL)
        world.clock.advance(timedelta(minutes=1))  # type: ignore[attr-defined]
        world.sources["new"].while_reading = broken
        engine.run("new", Trigger.MANUAL)
    return world


def newest(world: World, sync: str) -> runs.Run:
    with world.database.read() as connection:
        return runs.latest(connection, sync_name=sync)[0]


# ---- syncs ---------------------------------------------------------------------------


def test_the_worst_sync_is_first_and_one_can_be_asked_for_alone(ran: World) -> None:
    api = documents(ran)

    status = told(api.status(asked()), "status")
    listed = told(api.syncs(asked()), "syncs")
    alone = told(api.sync(asked("vip")), "status")

    assert status["syncs"][0]["name"] == "vip"
    assert status["syncs"][0]["state"] == "held"
    assert (status["instance"], status["needs_you"]) == ("test", 1)
    assert listed == {
        "schema": "syncd.syncs/1",
        "now": status["now"],
        "syncs": status["syncs"],
    }
    assert alone["syncs"] == status["syncs"][:1]


def test_a_sync_that_is_not_configured_is_missing_and_the_nearest_is_named(
    ran: World,
) -> None:
    with pytest.raises(Missing, match="no such sync") as refused:
        documents(ran).sync(asked("vpi"))

    assert (refused.value.code, refused.value.hint) == (
        "sync.unknown",
        "Did you mean 'vip'?",
    )


def test_no_document_holds_a_member(ran: World) -> None:
    api = documents(ran)
    run = newest(ran, "vip").id
    texts = [
        *(ask(asked()) for ask in (api.status, api.syncs, api.runs, api.quota)),
        *(api.sync(asked("vip")), api.run(asked(run)), api.schedule(asked())),
    ]

    members = [member.decode() for member in people(*range(300))]
    assert not [member for member in members for text in texts if member in text]


def test_both_kinds_of_store_tell_the_same(database: Database, tmp_path: Path) -> None:
    either = World(database=database, spool=tmp_path)
    either.sync(members=people(1, 2))
    either.vendor.known = people(1)
    with either.engine() as engine:
        engine.run("vip", Trigger.MANUAL)

    api, run = documents(either), newest(either, "vip")
    (one,) = told(api.sync(asked("vip")), "status")["syncs"]
    shown = told(api.run(asked(run.short_id)), "show")

    assert (one["members"], one["last_run"]["id"]) == (1, run.id)
    assert told(api.runs(asked()), "runs")["runs"] == [shown["run"]]
    assert told(api.quota(asked()), "quota")["projects"] == []


# ---- runs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, ["new failed", "vip held", "vip success"]),
        ({"sync": "vip"}, ["vip held", "vip success"]),
        ({"sync": ["vip", "new"], "limit": "2"}, ["new failed", "vip held"]),
        ({"outcome": ["held", "failed"]}, ["new failed", "vip held"]),
        ({"outcome": "success", "sync": "new"}, []),
    ],
)
def test_runs_are_filtered_as_the_command_filters_them(
    ran: World, parameters: dict[str, Any], expected: list[str]
) -> None:
    document = told(documents(ran).runs(asked(**parameters)), "runs")

    assert [f"{one['sync']} {one['outcome']}" for one in document["runs"]] == expected


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"sync": "vpi"}, "sync.unknown"),
        ({"outcome": "lost"}, "api.parameter"),
        ({"limit": "0"}, "api.parameter"),
        ({"limit": "10001"}, "api.parameter"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(
    ran: World, parameters: dict[str, str], code: str
) -> None:
    with pytest.raises(BadParameter) as refused:
        documents(ran).runs(asked(**parameters))

    assert refused.value.code == code


def test_a_run_is_found_by_its_id_and_its_ending_and_says_what_may_be_decided(
    ran: World,
) -> None:
    held, api = newest(ran, "vip"), documents(ran)

    document = told(api.run(asked(held.id)), "show")

    assert api.run(asked(held.short_id)) == api.run(asked(held.id))
    assert document["run"]["outcome"] == Outcome.HELD
    assert document["choices"] == [
        f'syncd {verb} {held.short_id} --reason "..."' for verb in ("approve", "reject")
    ]


def test_a_run_that_nobody_can_mean_is_refused(ran: World) -> None:
    api = documents(ran)
    with ran.database.begin() as connection:
        for start in ("one", "two"):
            runs.begin(
                connection,
                run_id=f"{start}-the-same",
                sync_name="gone",
                trigger=Trigger.MANUAL,
                slot=None,
                config_hash="sha256:00000000",
                now=NOW,
            )

    with pytest.raises(Missing) as unknown:
        api.run(asked("00000000"))
    with pytest.raises(Missing) as never:
        api.run(asked("idle"))
    with pytest.raises(BadParameter) as ambiguous:
        api.run(asked("-the-same"))

    assert (unknown.value.code, never.value.code) == ("run.unknown", "run.none")
    assert never.value.hint == "syncd run idle"
    assert "one-the-same, two-the-same" in str(ambiguous.value)


# ---- quota ---------------------------------------------------------------------------


def with_a_cohort(world: World) -> Settings:
    """A sync that downloads a cohort every day, from a project of 500 a month."""
    cohort = FromCohort(
        connection="amplitude",
        cohort_id="c1",
        max_staleness=DAY,
        events=None,
        linked=False,
    )
    world.sync(source=cohort, schedule=Every(DAY))
    transport = Transport(
        base_url=None, ca_file=None, proxy_url=None, request_deadline=DAY
    )
    amplitude = AmplitudeConnection(
        name="amplitude",
        region="us",
        app_id=7,
        api_key=SECRET,
        secret_key=SECRET,
        owner="o@x",
        name_prefix="",
        quota=QuotaSettings(downloads_per_month=500, reserve=50),
        download_deadline=DAY,
        storage_hosts=(),
        storage_origin=None,
        push=None,
        transport=transport,
    )
    settings = world.blueprint().settings
    return replace(settings, connections={"amplitude": amplitude})


def read_before(world: World, *, resets_in: timedelta) -> None:
    with world.database.begin() as connection:
        quotas.remember(
            connection,
            PROJECT,
            limit=400,
            used=63,
            resets_at=NOW + resets_in,
            estimated=False,
            now=NOW - timedelta(hours=1),
        )


def download(world: World) -> None:
    """`vip` asks for one, as a run does: its row, and one more that is spent."""
    with world.database.begin() as connection:
        fetch = fetches.begin(
            connection,
            project=PROJECT,
            cohort_id="c1",
            name="C1",
            computed_before=None,
            size_before=None,
            sync="vip",
            run_id="r",
            by_person=False,
            now=NOW,
        )
        quotas.spend(connection, PROJECT)
        fetches.accepted(connection, fetch, "q1", NOW)


def month(world: World, settings: Settings) -> dict[str, Any]:
    (only,) = told(documents(world, settings).quota(asked()), "quota")["projects"]
    return dict(only)


def test_a_quota_is_told_as_it_was_read_with_what_was_spent_since(world: World) -> None:
    settings = with_a_cohort(world)
    read_before(world, resets_in=2 * DAY)
    download(world)

    said = month(world, settings)

    assert (said["used"], said["limit"], said["estimated"]) == (64, 400, False)
    assert said["read_at"] == "2026-03-02T11:00:00Z"
    assert (said["unread"], said["elsewhere"]) == (None, 63)
    assert said["forecast"] == 64 + 2
    assert said["syncs"] == [{"name": "vip", "spent": 1, "at_most": 31}]


@pytest.mark.parametrize("stale", [False, True])
def test_a_month_that_nobody_asked_about_is_our_own_count(
    world: World, stale: bool
) -> None:
    settings = with_a_cohort(world)
    if stale:
        read_before(world, resets_in=-DAY)

    said = month(world, settings)

    assert (said["used"], said["limit"], said["estimated"]) == (0, 500, True)
    assert (said["read_at"], said["unread"]) == (None, NOT_ASKED)
    assert said["resets_at"] == "2026-04-01T00:00:00Z"


# ---- what needs no store -------------------------------------------------------------


def test_the_schedule_and_the_runbook_are_told_while_the_store_is_gone(
    world: World,
) -> None:
    settings = with_a_cohort(world)
    api = documents(world, settings)
    world.database.path.unlink()

    coming = told(api.schedule(asked(next="3")), "schedule")
    page = told(api.help(asked("guard.max_exit")), "explain")
    pages = told(api.helps(asked()), "explain")
    with pytest.raises(Missing) as unknown:
        api.help(asked("guard.max_exti"))

    assert len(coming["syncs"][0]["next"]) == 3
    assert page["pages"][0] in pages["pages"]
    assert unknown.value.hint == "syncd explain guard.max_exit"
