"""Segment's Public API as the simulator plays it: audiences, pages, rates."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.simulated import Simulator, simulating

TOKEN = "demo-public-token"
SPACE = "/spaces/spa_demo/audiences"


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with simulating("--latency", "0") as simulator:
        yield simulator


@pytest.fixture
def sim(running: Simulator) -> Simulator:
    """As it was when it started, with a clock that stands still."""
    running.post("/_sim/reset", {})
    running.post("/_sim/clock", {"freeze": True, "set": "2026-03-02T10:11:12Z"})
    return running


@pytest.fixture
def api(sim: Simulator) -> Iterator[httpx.Client]:
    """The origin, with the right token."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    url = sim.origins["public"]
    with httpx.Client(base_url=url, headers=headers, timeout=10) as client:
        yield client


def audiences(api: httpx.Client, **query: Any) -> list[str]:
    """The keys of one page."""
    answer = api.get(SPACE, params=query).raise_for_status()
    return [one["key"] for one in answer.json()["data"]["audiences"]]


def test_an_audience_is_told_as_documented(sim, api):
    sim.audience("lapsed_trials", id="aud_7Fh", members=["u-1", "u-2"])

    one = api.get(f"{SPACE}/aud_7Fh").json()
    listed = api.get(SPACE).json()

    assert one == {
        "data": {
            "audience": {
                "id": "aud_7Fh",
                "spaceId": "spa_demo",
                "name": "Lapsed Trials",
                "key": "lapsed_trials",
                "enabled": True,
                "status": "Live",
                "audienceType": "USERS",
                "computeCadence": {"type": "REALTIME"},
                "size": {"type": "USERS", "count": 2, "uniqueCount": 2},
                "definition": {"query": "trait('lapsed_trials') = true"},
                "createdBy": "growth-ops@acme.example",
                "updatedBy": "growth-ops@acme.example",
                "createdAt": "2026-03-02T10:11:12Z",
                "updatedAt": "2026-03-02T10:11:12Z",
            }
        }
    }
    assert listed["data"]["audiences"] == [one["data"]["audience"]]
    assert listed["data"]["pagination"] == {"current": "MA==", "totalEntries": 1}


def size(api: httpx.Client) -> int:
    """What the API says of the audience `a`."""
    said = api.get(f"{SPACE}/aud_a").raise_for_status().json()
    return int(said["data"]["audience"]["size"]["count"])


def test_the_size_follows_the_profiles_until_it_is_frozen_or_falsified(sim, api):
    sim.post("/_sim/engage/profiles", [{"profile": "ann", "user_ids": ["a-1", "a-2"]}])
    sim.audience("a", id="aud_a", members={"user_ids": ["ann"], "anonymous": 2})
    sizes = [size(api)]

    sim.move("a", freeze_size=True)
    sim.move("a", enter=["bob"], leave=["anonymous-000000", "anonymous-000001"])
    sizes.append(size(api))
    sim.move("a", size=70_000)
    sizes.append(size(api))
    sim.move("a", size=None)
    sizes.append(size(api))

    assert sizes == [3, 3, 70_000, 2]
    assert set(sim.get("/_sim/engage/audiences/a/members")["ids"]) == {
        *("a-1", "a-2", "bob")
    }


def test_a_change_of_members_moves_the_time_of_the_update_only(sim, api):
    sim.audience("a", id="aud_a")
    sim.post("/_sim/clock", {"advance": 60})

    sim.move("a", enter=["u-1"], status="Computing", enabled=False)

    told = api.get(f"{SPACE}/aud_a").json()["data"]["audience"]
    assert told["createdAt"] == "2026-03-02T10:11:12Z"
    assert told["updatedAt"] == "2026-03-02T10:12:12Z"
    assert (told["status"], told["enabled"]) == ("Computing", False)


def test_pages_follow_the_cursor_to_the_end(sim, api):
    keys = [f"audience_{number}" for number in range(7)]
    for key in keys:
        sim.audience(key)

    found: list[str] = []
    cursor: dict[str, str | None] = {}
    totals = set()
    page: dict[str, Any] = {}
    for _ in range(3):
        page = api.get(SPACE, params={"pagination.count": 3} | cursor).json()["data"]
        found += [one["key"] for one in page["audiences"]]
        totals.add(page["pagination"]["totalEntries"])
        cursor = {"pagination.cursor": page["pagination"].get("next")}

    assert found == keys
    assert totals == {7}
    assert cursor == {"pagination.cursor": None}
    assert page["pagination"]["current"] == "Ng=="


def test_brackets_are_understood_too_and_a_page_without_a_count_is_small(sim, api):
    for number in range(12):
        sim.audience(f"audience_{number}")

    assert len(audiences(api)) == 10
    assert len(audiences(api, **{"pagination[count]": 2})) == 2
    assert audiences(api, **{"pagination[cursor]": "MTE="}) == ["audience_11"]


@pytest.mark.parametrize(
    "query",
    [
        {"pagination.count": "0"},
        {"pagination.count": "201"},
        {"pagination.count": "many"},
        {"pagination.cursor": "?"},
        {"pagination.cursor": "bWFueQ=="},
        {"pagination.cursor": "OTk="},
        {"pagination.cursor": "LTE="},
    ],
)
def test_a_wrong_page_is_a_400(api, query):
    answer = api.get(SPACE, params=query)

    assert answer.status_code == 400
    assert "pagination" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    "header", [None, f"Bearer {TOKEN}x", TOKEN, "Basic ZGVtbzo=", "bearer x"]
)
def test_without_the_token_everything_is_a_401(sim, header):
    headers = {} if header is None else {"authorization": header}
    sim.audience("a", id="aud_a")
    url = sim.origins["public"]

    for path in (SPACE, f"{SPACE}/aud_a", "/nowhere"):
        answer = httpx.get(f"{url}{path}", headers=headers)

        assert answer.status_code == 401
        assert answer.json()["errors"][0]["type"] == "unauthorized"


def test_another_token_may_be_set_and_none_is_ever_logged(sim, api):
    sim.post("/_sim/engage", {"token": "another-token"})

    old = api.get(SPACE)
    new = api.get(SPACE, headers={"authorization": "Bearer another-token"})

    logged = sim.control.get("/_sim/log?ids=1").text
    assert (old.status_code, new.status_code) == (401, 200)
    assert "public_audiences" in logged
    assert "-token" not in logged


def test_an_audience_is_found_in_its_own_space_only(sim, api):
    sim.audience("mine", id="aud_1")
    sim.audience("theirs", id="aud_2", space="spa_other")

    assert audiences(api) == ["mine"]
    assert api.get(f"{SPACE}/aud_2").status_code == 404
    assert api.get("/spaces/spa_other/audiences/aud_2").status_code == 200
    assert api.get("/spaces/spa_none/audiences").status_code == 404
    assert api.get("/spaces").status_code == 404
    assert api.post(SPACE).status_code == 405


@pytest.mark.parametrize(
    ("switch", "path"),
    [("public_list_per_minute", SPACE), ("public_per_minute", f"{SPACE}/aud_a")],
)
def test_more_than_the_rate_is_a_429_until_the_minute_is_over(sim, api, switch, path):
    sim.audience("a", id="aud_a")
    sim.post("/_sim/config", {switch: 2})
    left = [api.get(path).headers["x-ratelimit-remaining"] for _ in range(2)]
    sim.post("/_sim/clock", {"advance": 20.5})

    refused = api.get(path)
    sim.post("/_sim/clock", {"advance": 39.5})
    again = api.get(path)

    said = refused.json()["errors"][0]
    assert left == ["1", "0"]
    assert refused.status_code == 429
    assert said["type"] == "RequestError"
    assert said["data"] == {
        "msBeforeNext": 39_500,
        "remainingPoints": 0,
        "consumedPoints": 3,
    }
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert refused.headers["x-ratelimit-reset"] == "2026-03-02T10:12:12.000Z"
    assert again.status_code == 200


def test_the_two_endpoints_are_counted_apart_at_60_and_100_a_minute(sim, api):
    sim.audience("a", id="aud_a")

    listed = api.get(SPACE).headers
    single = api.get(f"{SPACE}/aud_a").headers
    sim.post("/_sim/config", {"public_reset": "http"})

    assert listed["x-ratelimit-remaining"] == "59"
    assert single["x-ratelimit-remaining"] == "99"
    reset = datetime.fromisoformat(listed["x-ratelimit-reset"])
    assert reset - datetime.fromisoformat("2026-03-02T10:11:12Z") == timedelta(
        minutes=1
    )
    assert api.get(SPACE).headers["x-ratelimit-reset"] == (
        "Mon, 02 Mar 2026 10:12:12 GMT"
    )


def test_faults_are_played_here_too(sim, api):
    sim.fault("public_audiences", "status", status=503, calls=[1])

    refused, answered = api.get(SPACE), api.get(SPACE)

    assert (refused.status_code, answered.status_code) == (503, 200)
    assert list(refused.json()) == ["errors"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": "Not Snake"},
        {"key": "a", "colour": 1},
        {"key": "a", "members": "ann"},
        {"key": "a", "members": {"prefix": "u", "count": 1, "duplicates": 1}},
        {"key": "a", "status": "Asleep"},
        {"key": "a", "enabled": "yes"},
        {"key": "a", "name": 7},
        {"key": "a", "id": "aud_taken"},
    ],
)
def test_a_wrong_audience_is_a_400_and_makes_nothing(sim, body):
    sim.audience("taken", id="aud_taken")

    answer = sim.control.post("/_sim/engage/audiences", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]
    assert len(sim.get("/_sim/engage/audiences")["audiences"]) == 1


@pytest.mark.parametrize("change", [{"size": -1}, {"size": "2"}, {"key": "b"}])
def test_a_wrong_change_of_an_audience_is_a_400(sim, change):
    sim.audience("a")

    answer = sim.control.patch("/_sim/engage/audiences/a", json=change)

    assert answer.status_code == 400


def test_members_are_readable_in_every_shape(sim):
    sim.post(
        "/_sim/engage/profiles",
        [{"profile": "ann", "user_ids": ["a-1", "a-2"], "anonymous_ids": ["x"]}],
    )
    sim.audience("a", members=["ann"])
    path = "/_sim/engage/audiences/a/members"

    shapes = {
        name: sim.get(f"{path}?as={name}")["ids"]
        for name in ("user_id", "profile", "anonymous_id")
    }
    compared = sim.post("/_sim/engage/audiences/a/compare", {"user_ids": ["a-1", "b"]})

    assert shapes == {
        "user_id": ["a-1", "a-2"],
        "profile": ["ann"],
        "anonymous_id": ["x"],
    }
    assert (compared["missing_sample"], compared["extra_sample"]) == (["b"], ["a-2"])
    assert sim.control.get(f"{path}?as=email").status_code == 400
    assert sim.control.get("/_sim/engage/audiences/none").status_code == 404
