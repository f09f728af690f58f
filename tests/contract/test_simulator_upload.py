"""R16 and R17: creating cohorts and replacing their content."""

import re

import pytest

APP_ID = 187520


def error(response):
    return response.json()["error"]


def cohort_ids(sim) -> list[str]:
    return [one["id"] for one in sim.get("/_sim/cohorts")["cohorts"]]


@pytest.mark.parametrize(
    "field", ["name", "app_id", "id_type", "ids", "owner", "published"]
)
def test_r16_each_required_field_is_required(sim, field):
    sim.users("ann-1")

    response = sim.upload(**({"ids": ["ann-1"]} | {field: None}))

    assert response.status_code == 400
    assert error(response)["http_code"] == 400
    assert field in error(response)["metadata"]["details"]
    assert cohort_ids(sim) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"ids": []},
        {"ids": "ann-1"},
        {"ids": [1]},
        {"ids": ["nobody-1", "nobody-2"]},
        {"id_type": "BY_NAME"},
        {"id_type": "BY_ID"},
        {"id_type": "BY_EMAIL"},
        {"app_id": 1},
        {"app_id": True},
        {"published": "yes"},
        {"name": 5},
        {"cg": "a group nobody has"},
        {"skip_invalid_ids": "true"},
    ],
)
def test_r16_a_wrong_field_creates_nothing(sim, wrong):
    sim.users("ann-1")

    response = sim.upload(**({"ids": ["ann-1"]} | wrong))

    assert response.status_code == 400
    assert cohort_ids(sim) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe"])
def test_r16_a_body_that_is_no_json_object_is_a_400(sim, body):
    response = sim.api.post("/api/3/cohorts/upload", content=body)

    assert response.status_code == 400
    assert error(response)["type"] == "invalid"


def test_r16_one_hundred_thousand_ids_pass_and_one_more_does_not(sim):
    ids = [f"user-{number:06d}" for number in range(100_001)]
    sim.post("/_sim/users", {"user_ids": ids})

    too_many = sim.upload(ids)
    enough = sim.upload(ids[:-1])

    assert too_many.status_code == 400
    assert enough.status_code == 200
    assert enough.json()["metadata"]["matched"] == 100_000


def test_r16_an_unknown_owner_is_refused_only_by_switch(sim):
    sim.users("ann-1")

    taken = sim.upload(["ann-1"], owner="stranger@acme.example")
    sim.post("/_sim/config", {"check_owner": True})
    refused = sim.upload(["ann-1"], owner="stranger@acme.example")
    known = sim.upload(["ann-1"], owner="growth-ops@acme.example")

    assert [taken.status_code, refused.status_code, known.status_code] == [
        200,
        400,
        200,
    ]


def test_r16_without_skipping_an_invalid_id_ends_the_upload_and_is_named(sim):
    sim.users("ann-1")

    response = sim.upload(["ann-1", "nobody-1"], skip_invalid_ids=False)

    assert response.status_code == 400
    assert error(response)["metadata"]["invalid_ids"] == ["nobody-1"]
    assert cohort_ids(sim) == []


def test_r17_success_describes_the_new_cohort(sim):
    sim.users("ann-1", "bob-1")
    sim.post("/_sim/clock", {"set": 1_900_000_000, "freeze": True})

    response = sim.upload(["ann-1", "bob-1", "nobody-1"])

    body = response.json()
    shown = body["cohortsById"][body["cohortId"]]
    assert response.status_code == 200
    assert re.fullmatch("[a-z0-9]{8}", body["cohortId"])
    assert body["metadata"] == {
        "matched": 2,
        "totals": 3,
        "invalid_ids_sample": ["nobody-1"],
    }
    assert shown["type"] == "manual_upload"
    assert shown["definition"]["countGroup"] == "User"
    assert (shown["size"], shown["finished"]) == (2, True)
    assert shown["owners"] == ["growth-ops@acme.example"]
    times = [shown[key] for key in ("lastMod", "createdAt", "lastComputed")]
    assert times == [1_900_000_000] * 3
    assert sim.members(body["cohortId"]) == {"ann-1", "bob-1"}


def test_r17_the_sample_of_invalid_ids_holds_at_most_ten(sim):
    sim.users("ann-1")

    response = sim.upload(["ann-1", *(f"nobody-{number}" for number in range(25))])

    assert len(response.json()["metadata"]["invalid_ids_sample"]) == 10


def test_r17_ids_may_be_amplitude_ids_and_the_app_id_a_string(sim):
    sim.users("ann-1", "bob-1")
    number = sim.amplitude_ids("bob-1")["bob-1"]

    response = sim.upload([number], id_type="BY_AMP_ID", app_id=str(APP_ID))

    assert sim.members(response.json()["cohortId"]) == {"bob-1"}


def test_r17_two_equal_creations_make_two_cohorts(sim):
    sim.users("ann-1")

    first, second = sim.upload(["ann-1"]), sim.upload(["ann-1"])

    assert first.json()["cohortId"] != second.json()["cohortId"]
    assert [one["name"] for one in sim.get("/_sim/cohorts")["cohorts"]] == [
        "[Segment] VIP",
        "[Segment] VIP",
    ]


def test_r17_an_existing_cohort_gets_exactly_the_uploaded_members(sim):
    cohort_id = sim.cohort(members=["ann-1", "bob-1"])
    sim.users("cat-1")

    response = sim.upload(["bob-1", "cat-1"], existing_cohort_id=cohort_id)

    assert response.json()["cohortId"] == cohort_id
    assert sim.members(cohort_id) == {"bob-1", "cat-1"}
    assert cohort_ids(sim) == [cohort_id]


def test_r17_an_unknown_existing_cohort_is_a_404(sim):
    sim.users("ann-1")

    response = sim.upload(["ann-1"], existing_cohort_id="gone1234")

    assert response.status_code == 404
    assert error(response)["http_code"] == 404


@pytest.mark.parametrize(
    ("fields", "switch"),
    [
        ({"type": "redshift"}, "replace_dynamic_status"),
        ({"archived": True}, "archived_status"),
    ],
)
def test_r17_a_dynamic_or_archived_cohort_is_not_replaced(sim, fields, switch):
    cohort_id = sim.cohort(members=["ann-1"], **fields)
    sim.users("bob-1")

    by_default = sim.upload(["bob-1"], existing_cohort_id=cohort_id)
    sim.post("/_sim/config", {switch: 409})
    switched = sim.upload(["bob-1"], existing_cohort_id=cohort_id)

    assert [by_default.status_code, switched.status_code] == [400, 409]
    assert sim.members(cohort_id) == {"ann-1"}


def test_r17_skip_save_validates_and_changes_nothing(sim):
    cohort_id = sim.cohort(members=["ann-1"])
    sim.users("bob-1")

    created = sim.upload(["bob-1", "nobody-1"], skip_save=True)
    replaced = sim.upload(["bob-1"], skip_save=True, existing_cohort_id=cohort_id)
    refused = sim.upload(["nobody-1"], skip_save=True)

    assert created.json()["metadata"]["matched"] == 1
    assert [created.status_code, replaced.status_code] == [200, 200]
    assert refused.status_code == 400
    assert cohort_ids(sim) == [cohort_id]
    assert sim.members(cohort_id) == {"ann-1"}


def test_r17_a_group_cohort_takes_groups_and_no_users(sim):
    sim.control.post(
        "/_sim/users", params={"count_group": "org"}, json={"user_ids": ["acme"]}
    )
    sim.users("ann-1")

    group = sim.upload(["acme"], cg="org")
    user = sim.upload(["ann-1"], cg="org")

    cohort_id = group.json()["cohortId"]
    assert sim.listed(cohort_id)["definition"]["countGroup"]["name"] == "org"
    assert user.status_code == 400
