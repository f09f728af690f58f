"""R18 to R22: adding and removing members."""

import pytest


def details(response):
    return response.json()["error"]["metadata"]["details"]


def send(sim, cohort_id, *entries, **fields):
    body = {"cohort_id": cohort_id, "memberships": list(entries)} | fields
    return sim.api.post("/api/3/cohorts/membership", json=body)


def entry(operation, *ids, id_type="BY_NAME"):
    return {"ids": list(ids), "id_type": id_type, "operation": operation}


def test_r18_an_unknown_cohort_is_a_404(sim):
    sim.users("ann-1")

    response = sim.change("gone1234", "ADD", ["ann-1"])

    assert response.status_code == 404
    assert response.json()["error"]["http_code"] == 404


def test_r18_a_cohort_of_another_project_is_a_404(sim):
    sim.post("/_sim/projects", {"app_id": 8, "api_key": "k8", "secret_key": "s8"})
    made = sim.control.post("/_sim/cohorts", params={"project": 8}, json={"name": "x"})
    sim.users("ann-1")

    response = sim.change(made.json()["id"], "ADD", ["ann-1"])

    assert response.status_code == 404


@pytest.mark.parametrize(
    ("fields", "switch"),
    [
        ({"archived": True}, "archived_status"),
        ({"type": "redshift"}, "membership_dynamic_status"),
    ],
)
def test_r18_an_archived_or_dynamic_cohort_is_refused_with_its_switch(
    sim, fields, switch
):
    cohort_id = sim.cohort(**fields)
    sim.users("ann-1")

    by_default = sim.change(cohort_id, "ADD", ["ann-1"])
    sim.post("/_sim/config", {switch: 403})
    switched = sim.change(cohort_id, "ADD", ["ann-1"])

    assert [by_default.status_code, switched.status_code] == [400, 403]
    assert sim.members(cohort_id) == set()


@pytest.mark.parametrize(
    "bad",
    [
        entry("ADD", "ann-1", id_type="BY_USER_ID"),
        entry("ADD", "ann-1", id_type="BY_AMP_ID"),
        entry("add", "ann-1"),
        entry("REPLACE", "ann-1"),
        entry("ADD"),
        {"id_type": "BY_NAME", "operation": "ADD"},
        {"ids": ["ann-1"], "operation": "ADD"},
        {"ids": [5], "id_type": "BY_NAME", "operation": "ADD"},
        "ann-1",
    ],
)
def test_r18_a_wrong_entry_is_a_400_and_nothing_of_the_request_applies(sim, bad):
    cohort_id = sim.cohort()
    sim.users("ann-1", "bob-1")

    response = send(sim, cohort_id, entry("ADD", "bob-1"), bad)

    assert response.status_code == 400
    assert sim.members(cohort_id) == set()


@pytest.mark.parametrize(
    "fields",
    [
        {"memberships": []},
        {"memberships": None},
        {"cohort_id": None},
        {"count_group": "org"},
        {"skip_invalid_ids": "no"},
    ],
)
def test_r18_a_wrong_request_is_a_400(sim, fields):
    cohort_id = sim.cohort()
    sim.users("ann-1")
    good = {"cohort_id": cohort_id, "memberships": [entry("ADD", "ann-1", "nobody-1")]}

    response = sim.api.post("/api/3/cohorts/membership", json=good | fields)

    assert response.status_code == 400
    assert sim.members(cohort_id) == set()


def test_r18_the_limit_counts_all_ids_of_a_request(sim):
    cohort_id = sim.cohort()
    ids = [f"user-{number:06d}" for number in range(100_000)]
    sim.post("/_sim/users", {"user_ids": ids})

    over = send(sim, cohort_id, entry("ADD", *ids), entry("ADD", "user-000000"))
    exact = send(sim, cohort_id, entry("ADD", *ids))

    assert (over.status_code, exact.status_code) == (400, 200)
    assert sim.listed(cohort_id)["size"] == 100_000


def test_r18_by_amp_id_is_accepted_only_by_switch(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1")
    number = sim.amplitude_ids("ann-1")["ann-1"]
    sim.post("/_sim/config", {"accept_by_amp_id": True})

    accepted = sim.change(cohort_id, "ADD", [number], id_type="BY_AMP_ID")
    never = sim.change(cohort_id, "ADD", ["ann-1"], id_type="BY_USER_ID")

    assert (accepted.status_code, never.status_code) == (200, 400)
    assert sim.members(cohort_id) == {"ann-1"}


def test_r18_a_group_cohort_wants_its_count_group(sim):
    sim.control.post(
        "/_sim/users", params={"count_group": "org"}, json={"user_ids": ["acme"]}
    )
    cohort_id = sim.cohort(count_group="org")

    as_user = sim.change(cohort_id, "ADD", ["acme"])
    as_group = sim.change(cohort_id, "ADD", ["acme"], count_group="org")

    assert (as_user.status_code, as_group.status_code) == (400, 200)
    assert sim.members(cohort_id) == {"acme"}


def test_r19_known_users_are_applied_and_unknown_ones_skipped_once_in_order(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1", "bob-1")

    response = sim.change(
        cohort_id, "ADD", ["zoe-9", "ann-1", "yan-9", "zoe-9", "bob-1", "ann-1"]
    )

    assert response.status_code == 200
    assert response.json() == {
        "cohort_id": cohort_id,
        "memberships_result": [
            {
                "skipped_ids": ["zoe-9", "yan-9"],
                "id_type": "BY_NAME",
                "operation": "ADD",
            }
        ],
    }
    assert sim.members(cohort_id) == {"ann-1", "bob-1"}


def test_r19_adding_a_member_and_removing_a_stranger_are_not_skipped(sim):
    cohort_id = sim.cohort(members=["ann-1"])
    sim.users("bob-1")

    added = sim.change(cohort_id, "ADD", ["ann-1"])
    removed = sim.change(cohort_id, "REMOVE", ["bob-1"])

    skipped = [
        one.json()["memberships_result"][0]["skipped_ids"] for one in (added, removed)
    ]
    assert skipped == [[], []]
    assert sim.members(cohort_id) == {"ann-1"}


def test_r19_a_user_id_matches_exactly(sim):
    cohort_id = sim.cohort()
    sim.users("Ann@Example.com", "emoji-\U0001f600")

    response = sim.change(
        cohort_id,
        "ADD",
        ["ann@example.com", " Ann@Example.com", "emoji-\U0001f600"],
    )

    skipped = response.json()["memberships_result"][0]["skipped_ids"]
    assert skipped == ["ann@example.com", " Ann@Example.com"]
    assert sim.members(cohort_id) == {"emoji-\U0001f600"}


def test_r19_by_id_takes_amplitude_ids_as_decimal_text(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1")
    number = sim.amplitude_ids("ann-1")["ann-1"]
    strange = ["ann-1", f"0{number}", f"{number}.0", "9" * 30, "", "\u0661"]

    response = sim.change(cohort_id, "ADD", [number, *strange], id_type="BY_ID")

    assert response.json()["memberships_result"][0]["skipped_ids"] == strange
    assert sim.members(cohort_id) == {"ann-1"}


def test_r19_an_anonymous_user_can_be_added_by_amplitude_id(sim):
    cohort_id = sim.cohort()
    sim.post("/_sim/users", {"users": [{"amplitude_id": "356896327775"}]})

    sim.change(cohort_id, "ADD", ["356896327775"], id_type="BY_ID")

    shown = sim.get(f"/_sim/cohorts/{cohort_id}/members")
    numbers = sim.get(f"/_sim/cohorts/{cohort_id}/members?as=amplitude_id")
    assert (shown["count"], shown["anonymous"], shown["ids"]) == (1, 1, [])
    assert numbers["ids"] == ["356896327775"]


def test_r19_without_skipping_one_unknown_id_applies_nothing(sim):
    cohort_id = sim.cohort(members=["ann-1"])
    sim.users("bob-1")

    response = send(
        sim,
        cohort_id,
        entry("REMOVE", "ann-1"),
        entry("ADD", "bob-1", "zoe-9"),
        skip_invalid_ids=False,
    )

    metadata = response.json()["error"]["metadata"]
    assert response.status_code == 400
    assert metadata["cohort_id"] == cohort_id
    assert metadata["memberships_result"] == [
        {"skipped_ids": [], "id_type": "BY_NAME", "operation": "REMOVE"},
        {"skipped_ids": ["zoe-9"], "id_type": "BY_NAME", "operation": "ADD"},
    ]
    assert sim.members(cohort_id) == {"ann-1"}


def test_r20_entries_apply_in_order_with_one_result_each(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1", "bob-1")
    number = sim.amplitude_ids("bob-1")["bob-1"]

    response = send(
        sim,
        cohort_id,
        entry("ADD", "ann-1"),
        entry("REMOVE", "ann-1"),
        entry("REMOVE", number, id_type="BY_ID"),
        entry("ADD", number, id_type="BY_ID"),
    )

    result = response.json()["memberships_result"]
    assert [(one["operation"], one["id_type"]) for one in result] == [
        ("ADD", "BY_NAME"),
        ("REMOVE", "BY_NAME"),
        ("REMOVE", "BY_ID"),
        ("ADD", "BY_ID"),
    ]
    assert sim.members(cohort_id) == {"bob-1"}


def test_r20_the_result_can_lack_the_id_type(sim):
    cohort_id = sim.cohort(members=["ann-1"])
    sim.post("/_sim/config", {"omit_result_id_type": True})

    response = sim.change(cohort_id, "ADD", ["ann-1"])

    assert response.json()["memberships_result"] == [
        {"skipped_ids": [], "operation": "ADD"}
    ]


def test_r21_cohort_calls_never_create_users_and_events_do(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1")
    sim.upload(["ann-1", "late-1"])
    before = sim.change(cohort_id, "ADD", ["late-1"])

    total = sim.get("/_sim/users")["total"]
    sim.users("late-1")
    after = sim.change(cohort_id, "ADD", ["late-1"])

    assert total == 1
    assert before.json()["memberships_result"][0]["skipped_ids"] == ["late-1"]
    assert after.json()["memberships_result"][0]["skipped_ids"] == []


def test_r21_ids_that_ingestion_rejects_never_become_users(sim):
    impossible = ["null", "Undefined", "0", "-1", "", "x" * 1025, "n/a"]

    answer = sim.post("/_sim/users", {"user_ids": [*impossible, "fine-1"]})

    assert answer == {"created": 1, "existing": 0, "refused": 7, "total": 1}


@pytest.mark.parametrize(
    "touches", ["lastMod,lastComputed,size", "lastComputed", "size", ""]
)
def test_r22_an_effective_change_moves_the_named_fields_only(sim, touches):
    sim.post("/_sim/clock", {"freeze": True})
    sim.post("/_sim/config", {"membership_touches": touches})
    cohort_id = sim.cohort(members=["ann-1"])
    sim.users("bob-1")
    before = sim.listed(cohort_id)
    sim.post("/_sim/clock", {"advance": 60})

    sim.change(cohort_id, "ADD", ["bob-1"])

    after = sim.listed(cohort_id)
    assert {key for key in before if before[key] != after[key]} == {
        *filter(None, touches.split(","))
    }


def test_r22_a_call_that_changes_nobody_moves_nothing(sim):
    sim.post("/_sim/clock", {"freeze": True})
    cohort_id = sim.cohort(members=["ann-1"])
    sim.users("bob-1")
    before = sim.listed(cohort_id)
    sim.post("/_sim/clock", {"advance": 60})

    sim.change(cohort_id, "ADD", ["ann-1", "nobody-1"])
    sim.change(cohort_id, "REMOVE", ["bob-1"])

    assert sim.listed(cohort_id) == before
