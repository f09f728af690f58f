"""An upload in the place of all members, by the sink, against the simulator."""

from collections.abc import Iterator

import pytest

from syncd.clients.amplitude import AmplitudeClient
from syncd.clients.http import HttpClient
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault, TargetUnusable
from syncd.model import Batch, IdType, Operation, Target
from syncd.sinks.amplitude_cohort import AmplitudeCohortSink

NAME, OWNER = "[Segment] Power users", "growth-ops@acme.example"


@pytest.fixture
def sink(simulator) -> Iterator[AmplitudeCohortSink]:
    keys = ("demo-api-key", "demo-secret-key")
    with HttpClient(simulator.amplitude_url, clock=Clock(), deadline=10) as client:
        amplitude = AmplitudeClient(client, lambda: keys, clock=Clock())
        yield AmplitudeCohortSink(client=amplitude, app_id=187520)


@pytest.fixture
def cohort(simulator) -> str:
    """Two members, of five people who are known."""
    simulator.users(["ann", "bob", "cid", "dan", "eve"])
    made = {"name": NAME, "type": "manual_upload", "owners": [OWNER]}
    return str(
        simulator.post("/_sim/cohorts", {**made, "members": ["ann", "bob"]})["id"]
    )


def target(cohort_id: str | None, owner: str = OWNER) -> Target:
    return Target(
        sync="vip",
        name="as configured",
        owner=owner,
        id_type=IdType.USER_ID,
        external_id=cohort_id,
    )


def upload(*names: str) -> Batch:
    ids = tuple(name.encode() for name in names)
    return Batch(id=1, binding_id=1, run_id="r", operation=Operation.REPLACE, ids=ids)


def test_an_upload_replaces_all_members_and_acknowledges_nobody(
    simulator, sink, cohort
):
    receipt = sink.deliver(upload("bob", "cid", "stranger"), target(cohort))

    assert receipt.replaced
    assert (receipt.accepted, receipt.unmatched) == ((), ())
    assert simulator.members(cohort) == {"bob", "cid"}


def test_a_cohort_keeps_its_name_and_its_owner(simulator, sink, cohort):
    sink.deliver(upload("cid"), target(cohort, owner=""))

    (sent,) = simulator.log("upload")
    assert sent["status"] == 200
    (found,) = simulator.cohorts()
    assert (found["id"], found["name"]) == (cohort, NAME)
    listed = sink.find(target(cohort))
    assert listed is not None
    assert listed.name == NAME


def test_uploading_twice_has_the_effect_of_once(simulator, sink, cohort):
    for _ in range(2):
        sink.deliver(upload("dan", "eve"), target(cohort))

    assert simulator.members(cohort) == {"dan", "eve"}
    assert len(simulator.cohorts()) == 1


def test_an_upload_of_strangers_alone_moves_nobody(simulator, sink, cohort):
    with pytest.raises(DeliveryError) as refusal:
        sink.deliver(upload("stranger"), target(cohort))

    assert refusal.value.fault is Fault.BAD_IDS
    assert simulator.members(cohort) == {"ann", "bob"}


def test_a_cohort_that_is_gone_is_not_made_anew(simulator, sink, cohort):
    simulator.control.delete(f"/_sim/cohorts/{cohort}").raise_for_status()

    with pytest.raises(DeliveryError) as refusal:
        sink.deliver(upload("cid"), target(cohort))

    assert refusal.value.fault is Fault.TARGET_GONE
    assert simulator.cohorts() == []


def test_an_archived_cohort_is_not_replaced(simulator, sink, cohort):
    simulator.control.patch(f"/_sim/cohorts/{cohort}", json={"archived": True})

    with pytest.raises(TargetUnusable) as refusal:
        sink.deliver(upload("cid"), target(cohort))

    assert refusal.value.code == "target.archived"
    assert simulator.members(cohort) == {"ann", "bob"}


def test_an_answer_that_names_another_cohort_proves_nothing(simulator, sink, cohort):
    simulator.fault("upload", "wrong_cohort")

    with pytest.raises(DeliveryError) as refusal:
        sink.deliver(upload("cid"), target(cohort))

    assert (refusal.value.fault, refusal.value.error_type) == (
        Fault.PASSING,
        "bad_response",
    )
