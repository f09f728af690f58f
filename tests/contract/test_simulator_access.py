"""R2 to R5: the clock, the region, the credentials and the list."""

from typing import Any

import httpx
import pytest

RECORDED_KEYS = {
    *("appId", "archived", "definition", "description", "finished", "id", "name"),
    *("published", "type", "lastMod", "createdAt", "lastComputed", "hidden"),
    *("metadata", "view_count", "popularity", "last_viewed", "chart_id", "edit_id"),
    *("is_predictive", "is_official_content", "location_id", "shortcut_ids"),
    *("per_app_metadata", "cohort_definition_type", "cohort_output_type"),
    *("is_generated_content", "owners", "viewers", "size"),
}


def details(response: httpx.Response) -> Any:
    return response.json()["error"]["metadata"]["details"]


def listed_ids(sim) -> set[str]:
    cohorts = sim.api.get("/api/3/cohorts").json()["cohorts"]
    return {one["id"] for one in cohorts}


def test_r2_times_in_cohort_objects_are_epoch_seconds_of_the_virtual_clock(sim):
    sim.post("/_sim/clock", {"freeze": True, "set": "2031-05-06T07:08:09+00:00"})
    cohort_id = sim.cohort(members=["ann-1"])

    shown = sim.listed(cohort_id)

    at = 1935817689
    assert [shown[key] for key in ("createdAt", "lastMod", "lastComputed")] == [at] * 3


def test_r2_a_frozen_clock_moves_only_by_hand(sim):
    frozen = sim.post("/_sim/clock", {"set": 1_900_000_000, "freeze": True})["epoch"]

    again = sim.get("/_sim/clock")["epoch"]
    advanced = sim.post("/_sim/clock", {"advance": 3600})["epoch"]

    assert again == frozen
    assert advanced - frozen == 3600


def test_r2_a_fast_clock_runs_faster_than_the_wall(sim):
    first = sim.post("/_sim/clock", {"speed": 1_000_000})["epoch"]

    second = sim.get("/_sim/clock")["epoch"]

    assert second - first > 60


def test_r2_setting_a_running_clock_lets_it_run_on_from_there(sim):
    sim.post("/_sim/clock", {"set": "2040-01-01T00:00:00", "speed": 1000})

    shown = sim.get("/_sim/clock")

    assert shown["now"].startswith("2040-01-01T00:")
    assert shown["frozen"] is False


@pytest.mark.parametrize("path", ["/api/3/cohorts", "/api/3/nowhere", "/"])
def test_r3_a_key_of_the_other_region_is_unknown_here(sim, path):
    sim.post(
        "/_sim/projects",
        {"app_id": 7, "api_key": "eu-key", "secret_key": "eu-secret", "region": "eu"},
    )

    response = sim.api.get(path, auth=("eu-key", "eu-secret"))

    assert response.status_code == 403
    assert details(response) == "Invalid API Key"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "Bearer demo-api-key",
        "Basic not-base64!",
        "Basic ZGVtby1hcGkta2V5",  # a key without a colon
        "Basic bm9ib2R5OmRlbW8tc2VjcmV0LWtleQ==",  # nobody:demo-secret-key
    ],
)
@pytest.mark.parametrize("path", ["/api/3/cohorts", "/api/3/nowhere"])
def test_r4_no_or_malformed_or_unknown_key_is_403_invalid_api_key(sim, header, path):
    headers = {} if header is None else {"Authorization": header}

    response = httpx.get(sim.amplitude_url + path, headers=headers)

    assert response.status_code == 403
    assert response.json() == {
        "error": {
            "http_code": 403,
            "type": "unspecified",
            "metadata": {"details": "Invalid API Key"},
        }
    }


@pytest.mark.parametrize("secret", ["", "wrong", "demo-secret-key "])
def test_r4_a_known_key_with_a_wrong_secret_is_403_invalid_combination(sim, secret):
    response = sim.api.get("/api/3/cohorts", auth=("demo-api-key", secret))

    assert response.status_code == 403
    assert details(response) == "Invalid API/Secret Key combination"


def test_r4_a_rotated_secret_closes_the_door_for_the_old_one(sim):
    sim.control.patch("/_sim/projects/187520", json={"secret_key": "rotated"})

    old = sim.api.get("/api/3/cohorts")
    new = sim.api.get("/api/3/cohorts", auth=("demo-api-key", "rotated"))

    assert (old.status_code, new.status_code) == (403, 200)


def test_an_unknown_path_is_a_404_envelope_and_a_wrong_method_a_405(sim):
    unknown = sim.api.get("/api/3/cohort")
    wrong_method = sim.api.get("/api/3/cohorts/upload")

    assert unknown.status_code == 404
    assert unknown.json()["error"]["http_code"] == 404
    assert wrong_method.status_code == 405


def test_r5_the_list_shows_the_recorded_object_with_every_key(sim):
    cohort_id = sim.cohort("Two", members=["ann-1", "bob-1"], owners=["amp"])

    shown = sim.listed(cohort_id)

    assert set(shown) == RECORDED_KEYS
    assert shown["definition"]["countGroup"] == {"name": "User", "is_computed": False}
    assert shown["owners"] == ["amp"]
    assert (shown["appId"], shown["size"], shown["finished"]) == (187520, 2, True)
    assert shown["type"] == "manual_upload"


def test_r5_a_never_computed_cohort_has_neither_size_nor_time(sim):
    cohort_id = sim.cohort(type="redshift", computed=False)

    shown = sim.listed(cohort_id)

    assert shown["type"] == "redshift"
    assert [shown[key] for key in ("finished", "lastComputed", "size")] == [
        False,
        None,
        None,
    ]


def test_r5_sync_metadata_appears_only_when_asked_for(sim):
    cohort_id = sim.cohort(sync_metadata=[{"target": "segment", "frequency": "hourly"}])

    plain = sim.listed(cohort_id)
    asked = sim.api.get("/api/3/cohorts", params={"includeSyncInfo": "true"}).json()

    assert "syncMetadata" not in plain
    assert asked["cohorts"][0]["syncMetadata"] == [
        {"target": "segment", "frequency": "hourly"}
    ]


def test_r5_archived_cohorts_are_listed_and_hidden_ones_are_not_by_default(sim):
    archived = sim.cohort("archived", archived=True)
    hidden = sim.cohort("hidden", hidden=True)
    unpublished = sim.cohort("unpublished", published=False)

    assert listed_ids(sim) == {archived, unpublished}
    sim.post(
        "/_sim/config",
        {"list_includes_archived": False, "list_includes_hidden": True},
    )

    assert listed_ids(sim) == {hidden, unpublished}


def test_r5_a_deleted_cohort_is_gone_and_other_projects_are_not_shown(sim):
    sim.post("/_sim/projects", {"app_id": 8, "api_key": "k8", "secret_key": "s8"})
    sim.control.post("/_sim/cohorts", params={"project": 8}, json={"name": "other"})
    doomed = sim.cohort("doomed")

    sim.control.delete(f"/_sim/cohorts/{doomed}")

    assert listed_ids(sim) == set()
    other = sim.api.get("/api/3/cohorts", auth=("k8", "s8")).json()["cohorts"]
    assert [one["name"] for one in other] == ["other"]


def test_r5_the_list_never_recomputes(sim):
    sim.post("/_sim/clock", {"freeze": True})
    cohort_id = sim.cohort(type="redshift", members=["ann-1"])
    before = sim.listed(cohort_id)["lastComputed"]

    sim.post("/_sim/clock", {"advance": 3600})

    assert sim.listed(cohort_id)["lastComputed"] == before


@pytest.mark.parametrize(
    ("now", "resets_at"),
    [
        ("2026-05-31T23:59:59+00:00", "2026-06-01T00:00:00"),
        ("2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00"),
    ],
)
def test_usage_counts_in_calendar_months_of_utc(sim, now, resets_at):
    sim.post("/_sim/clock", {"set": now, "freeze": True})
    sim.control.patch("/_sim/projects/187520", json={"downloads_used": 42})

    this_month = sim.api.get("/api/3/cohorts/usage").json()
    sim.post("/_sim/clock", {"advance": 31 * 86400})
    next_month = sim.api.get("/api/3/cohorts/usage").json()

    assert this_month["rest_download"] == {
        "limit": 500,
        "usage": 42,
        "resets_at": resets_at,
    }
    assert next_month["rest_download"]["usage"] == 0
