"""Amplitude as the simulator plays it: the pushes of a cohort, byte for byte."""

import threading
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulated import PATIENCE, Simulator, simulating

CONTEXT = {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}}


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with simulating("--latency", "0", "--origin", "2026-03-02T10:11:12Z") as simulator:
        yield simulator


@pytest.fixture
def sim(running: Simulator) -> Simulator:
    """As it was when it started, with a clock that stands still."""
    running.post("/_sim/reset", {})
    running.post("/_sim/clock", {"freeze": True, "set": "2026-03-02T10:11:12.131Z"})
    return running


def amplitude(sim: Simulator, receiver: Any, **settings: Any) -> None:
    """A sender `a` of the cohort `9xk2`, with `ann` and `bob` unless there is one."""
    if not sim.cohorts():
        sim.cohort("9xk2", name="Power Users", members=["ann", "bob"])
    receiver.answer = lambda _: b'{"response":{"listId":"L1"}}'
    given = {"url": f"{receiver.url}/lists", "cohort": "9xk2", "api_key": "demo-key"}
    sim.amplitude_sender("a", **given | settings)


def pushing(sim: Simulator, sender: str) -> threading.Thread:
    """A push that is waited for elsewhere."""
    thread = threading.Thread(target=sim.push, args=(sender,))
    thread.start()
    return thread


# ---- Amplitude -------------------------------------------------------------------


def test_a_list_is_made_then_filled_then_changed(sim, receiver):
    amplitude(sim, receiver)
    first = sim.push("a")
    sim.change("9xk2", add=["cy"], remove=["ann"])

    second = sim.push("a")

    create, add, more, remove = receiver.got
    assert (first["outcome"], second["outcome"]) == ("success", "success")
    assert create.path == "/lists"
    assert create.json == {"name": "[Amplitude] Power Users: 9xk2", "context": CONTEXT}
    assert (add.path, add.json) == (
        "/lists/L1/add",
        {"userIds": ["ann", "bob"], "context": CONTEXT},
    )
    assert (more.path, more.json["userIds"]) == ("/lists/L1/add", ["cy"])
    assert (remove.path, remove.json["userIds"]) == ("/lists/L1/remove", ["ann"])
    basic = f"Basic {b64encode(b'demo-key:').decode()}"
    assert {one.headers["authorization"] for one in receiver.got} == {basic}


def test_a_large_list_is_added_in_batches_of_10_000_by_up_to_four(sim, receiver):
    people = {"prefix": "user-", "count": 40_001}
    sim.cohort("9xk2", name="Power Users", generate=people)
    amplitude(sim, receiver)

    result = sim.push("a")

    adds = [one.json["userIds"] for one in receiver.got[1:]]
    assert sorted(map(len, adds)) == [1, 10_000, 10_000, 10_000, 10_000]
    assert len({one for batch in adds for one in batch}) == 40_001
    assert result["accepted"] == 40_002
    assert 1 <= receiver.most <= 4


@pytest.mark.parametrize(
    ("mode", "answer", "works"),
    [
        ("production", b'{"response":{"listId":"L1"}}', True),
        ("production", b'{"listId":"L1"}', False),
        ("testing", b'{"listId":"L1"}', True),
        ("testing", b'{"response":{"listId":"L1"}}', False),
        ("production", b"OK", False),
    ],
)
def test_the_list_id_is_read_where_that_mode_looks_only(
    sim, receiver, mode, answer, works
):
    amplitude(sim, receiver, list_answer=mode)
    receiver.answer = lambda _: answer

    result = sim.push("a")

    assert (result["outcome"] == "success") is works
    assert (len(receiver.got) > 1) is works
    if not works:
        assert result["error"] == "a required response value was missing"


def test_the_next_delta_is_against_the_last_sync_that_succeeded(sim, receiver):
    sim.post("/_sim/clock", {"freeze": False, "speed": 5000})
    amplitude(sim, receiver)
    sim.push("a")
    receiver.got.clear()
    sim.change("9xk2", add=["cy"])
    receiver.statuses = [500] * 9

    failed = sim.push("a")
    sim.change("9xk2", add=["di"], remove=["cy", "bob"])
    receiver.got.clear()
    again = sim.push("a")

    sent = {one.path: one.json["userIds"] for one in receiver.got}
    assert (failed["outcome"], failed["statuses"]) == ("failed", {"500": 9})
    assert again["outcome"] == "success"
    assert sent == {"/lists/L1/add": ["di"], "/lists/L1/remove": ["bob"]}


def test_a_failed_first_sync_is_whole_again_and_the_list_stays(sim, receiver):
    amplitude(sim, receiver, retries=0)
    receiver.statuses = [200, 400]
    sim.push("a")
    receiver.got.clear()

    sim.push("a")

    assert receiver.paths() == ["/lists/L1/add"]
    assert receiver.got[0].json["userIds"] == ["ann", "bob"]


@pytest.mark.parametrize("status", [201, 204, 400, 401, 404, 429, 500])
def test_amplitude_asks_again_at_anything_but_a_200(sim, receiver, status):
    sim.post("/_sim/clock", {"freeze": False, "speed": 5000})
    amplitude(sim, receiver, mode="property_single")
    receiver.answer = lambda _: b""
    receiver.statuses = [status]

    assert sim.push("a")["statuses"] == {str(status): 1, "200": 2}


def test_a_4xx_is_final_if_the_switch_says_so(sim, receiver):
    sim.post("/_sim/config", {"amplitude_sender_retries_4xx": False})
    amplitude(sim, receiver, mode="property_batch")
    receiver.statuses = [400]

    assert sim.push("a")["statuses"] == {"400": 1}


@pytest.mark.parametrize(
    ("spelling", "trait"),
    [
        ("brackets_colon", "[Amplitude] Power Users: 9xk2"),
        ("parentheses", "Power Users (9xk2)"),
        ("brackets_parentheses", "[Amplitude] Power Users (9xk2)"),
        ("colon", "Power Users:9xk2"),
    ],
)
def test_a_property_is_a_trait_of_an_identify_in_every_spelling(
    sim, receiver, spelling, trait
):
    sim.post("/_sim/config", {"sender_trait": spelling})
    amplitude(sim, receiver, mode="property_single")
    sim.push("a")
    sim.change("9xk2", remove=["ann"])

    sim.push("a")

    bodies = sorted(receiver.events(), key=lambda body: body["userId"])
    assert bodies[2] == {
        "type": "identify",
        "traits": {trait: True},
        "userId": "bob",
        "context": CONTEXT,
    }
    values = [body["traits"][trait] for body in bodies if body["userId"] == "ann"]
    assert sorted(values) == [False, True]


def test_a_property_batch_holds_identifies(sim, receiver):
    amplitude(
        sim,
        receiver,
        mode="property_batch",
        trait="amplitude_{name}_{id}",
        auth="header",
        app_id="304551",
    )

    sim.push("a")

    (got,) = receiver.got
    assert list(got.json) == ["batch"]
    assert [one["userId"] for one in got.json["batch"]] == ["ann", "bob"]
    assert got.json["batch"][0]["traits"] == {"amplitude_Power Users_9xk2": True}
    assert got.headers["api_key"] == "demo-key"
    assert got.headers["app_id"] == "304551"
    assert "authorization" not in got.headers


def test_a_webhook_says_one_direction_per_message_under_a_stable_id(sim, receiver):
    sim.post("/_sim/clock", {"freeze": False, "speed": 5000})
    amplitude(
        sim, receiver, mode="webhook", auth="none", headers={"x-webhook-key": "k"}
    )
    receiver.statuses = [500]
    sim.push("a")
    first, second = receiver.got
    receiver.got.clear()
    sim.change("9xk2", add=["cy"], remove=["ann"])

    sim.push("a")

    body = first.json
    uuid, direction, number = body["message_id"].split("::")
    assert first.body == second.body
    assert (len(uuid), direction, number) == (36, "enter", "0")
    assert body["computed_time"].isdigit()
    assert body == {
        "cohort_name": "Power Users",
        "cohort_id": "9xk2",
        "in_cohort": True,
        "computed_time": body["computed_time"],
        "message_id": body["message_id"],
        "users": [{"user_id": "ann"}, {"user_id": "bob"}],
    }
    assert first.headers["user-agent"] == "Amplitude/Webhook/1.0"
    assert first.headers["x-webhook-key"] == "k"
    enter, exit_ = receiver.events()
    assert (enter["in_cohort"], enter["users"]) == (True, [{"user_id": "cy"}])
    assert (exit_["in_cohort"], exit_["users"]) == (False, [{"user_id": "ann"}])
    assert exit_["message_id"] == enter["message_id"].replace("enter", "exit")


def test_a_webhook_template_may_spell_things_in_other_ways(sim, receiver):
    amplitude(
        sim,
        receiver,
        mode="webhook",
        value_as="text",
        computed_key="compute_time",
        user_properties={"country": "US"},
    )

    sim.push("a")

    (body,) = receiver.events()
    assert body["in_cohort"] == "true"
    assert "compute_time" in body
    assert "computed_time" not in body
    assert body["users"][0] == {"user_id": "ann", "user_properties": {"country": "US"}}


def test_a_webhook_can_be_an_array_with_an_object_per_user(sim, receiver):
    amplitude(sim, receiver, mode="webhook_users")

    sim.push("a")

    name = "amplitude_Power Users_9xk2"
    assert receiver.got[0].json == [
        {"user_id": "ann", name: True},
        {"user_id": "bob", name: True},
    ]


def test_a_webhook_that_answers_late_is_asked_again(sim, receiver):
    amplitude(sim, receiver, mode="webhook", timeout=0.3, retries=0)
    receiver.gate.clear()

    assert sim.push("a")["statuses"] == {"timeout": 1}


def test_anonymous_members_are_never_pushed(sim, receiver):
    people = {"user_ids": ["ann"], "anonymous": 3}
    sim.cohort("9xk2", name="Power Users", generate=people)
    amplitude(sim, receiver, ids_key="user_ids")

    sim.push("a")

    assert receiver.got[1].json["user_ids"] == ["ann"]


def test_removes_may_leave_among_the_adds(sim, receiver):
    amplitude(sim, receiver, removes_wait=False, batch_size=1)
    sim.push("a")
    receiver.got.clear()
    sim.change("9xk2", add=["cy"], remove=["ann"])
    receiver.gate.clear()
    thread = pushing(sim, "a")

    receiver.until(lambda: len(receiver.got) == 2)
    receiver.gate.set()
    thread.join(PATIENCE)

    assert set(receiver.paths()) == {"/lists/L1/add", "/lists/L1/remove"}
    assert receiver.most == 2


def test_removes_wait_for_the_adds_otherwise(sim, receiver):
    amplitude(sim, receiver)
    sim.push("a")
    receiver.got.clear()
    sim.change("9xk2", add=["cy"], remove=["ann"])
    receiver.statuses = [503]
    thread = pushing(sim, "a")
    receiver.until(
        lambda: sim.get("/_sim/senders/a/sent")["sent"][-1]["outcome"] == "503"
    )

    assert receiver.paths() == ["/lists/L1/add"]
    sim.post("/_sim/clock", {"advance": 1})
    thread.join(PATIENCE)

    assert receiver.paths()[-1] == "/lists/L1/remove"
    assert receiver.paths().count("/lists/L1/add") == 2


def test_duplicates_of_adds_are_sent_in_any_order(sim, receiver):
    people = {"prefix": "user-", "count": 10}
    sim.cohort("9xk2", name="Power Users", generate=people)
    amplitude(sim, receiver, batch_size=1, duplicates=0.5, shuffle=True)

    result = sim.push("a")

    bodies = [one.body for one in receiver.got[1:]]
    assert (len(bodies), len(set(bodies))) == (15, 10)
    assert result["outcome"] == "success"


def test_a_schedule_pushes_by_the_clock(sim, receiver):
    amplitude(sim, receiver, every=3600)
    receiver.until(lambda: len(receiver.got) == 2)
    receiver.until(lambda: not sim.get("/_sim/senders/a")["busy"])
    sim.change("9xk2", add=["cy"])
    sim.post("/_sim/clock", {"advance": 3590})
    before = len(receiver.got)

    sim.post("/_sim/clock", {"advance": 10})

    receiver.until(lambda: len(receiver.got) == 3)
    assert before == 2
    assert receiver.got[2].json["userIds"] == ["cy"]


def test_a_sync_of_an_archived_cohort_fails_and_its_schedule_ends(sim, receiver):
    amplitude(sim, receiver)
    sim.control.patch("/_sim/cohorts/9xk2", json={"archived": True}).raise_for_status()

    result = sim.push("a")

    assert (result["outcome"], receiver.got) == ("failed", [])
    assert sim.get("/_sim/senders/a")["disabled"] is True


def test_no_more_than_four_adds_are_in_flight(sim, receiver):
    people = {"prefix": "user-", "count": 10}
    sim.cohort("9xk2", name="Power Users", generate=people)
    amplitude(sim, receiver)
    sim.push("a")
    sim.control.patch("/_sim/senders/a", json={"batch_size": 1}).raise_for_status()
    sim.change("9xk2", add=[f"late-{number}" for number in range(10)])
    receiver.gate.clear()
    thread = pushing(sim, "a")
    receiver.until(lambda: receiver.busy == 4)

    receiver.gate.set()
    thread.join(PATIENCE)

    assert receiver.most == 4
    assert sim.get("/_sim/senders/a")["last_push"]["accepted"] == 10
