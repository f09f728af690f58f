"""The Segment sink against the simulated Tracking API, as its own process."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from syncd.clients.http import HttpClient
from syncd.clients.segment import SegmentClient
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault
from syncd.model import Batch, IdType, Operation, Target
from syncd.sinks import Sink
from syncd.sinks.segment_identify import SegmentIdentifySink
from tests.simulated import simulating

KEY = "demo-write-key"
TRAIT = "[Amplitude] Power Users (9xk2)"
ODD = ("zoë@acme.example", "a+b/c?d", "名前", '"quoted\\"', "\u2603", "0")


@dataclass
class Simulator:
    """The segment origin of a running simulator, and its control side."""

    segment: str
    control: httpx.Client

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A control call that must work."""
        answer = self.control.request(method, path, json=body)
        return answer.raise_for_status().json()

    def configure(self, **switches: Any) -> None:
        self.call("POST", "/_sim/config", switches)

    def fault(self, kind: str, **more: Any) -> None:
        self.call("POST", "/_sim/faults", {"endpoint": "any", "kind": kind, **more})

    def holders(self, value: str = "true", trait: str = TRAIT) -> set[str]:
        path = f"/_sim/segment/members?trait={quote(trait)}&value={value}"
        return set(self.call("GET", path)["ids"])

    def dropped(self) -> dict[str, int]:
        """Events answered with 200 and thrown away, by reason."""
        return dict(self.call("GET", "/_sim/segment/dropped")["by_reason"])


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with simulating("--latency", "0") as running:
        yield Simulator(running.origins["segment"], running.control)


@pytest.fixture
def simulator(process: Simulator) -> Simulator:
    process.call("POST", "/_sim/reset", {})
    return process


@contextmanager
def connected(simulator: Simulator, *, key: str = KEY) -> Iterator[Sink]:
    with HttpClient(simulator.segment, clock=Clock(), deadline=10.0) as http:
        client = SegmentClient(http, lambda: key, clock=Clock())
        yield SegmentIdentifySink(client=client, integrations={"All": True})


@pytest.fixture
def sink(simulator: Simulator) -> Iterator[Sink]:
    with connected(simulator) as connection:
        yield connection


def target(trait: str = TRAIT) -> Target:
    return Target(
        sync="power-users",
        name=trait,
        owner="",
        id_type=IdType.USER_ID,
        external_id=trait,
    )


def batch(
    *names: str,
    operation: Operation = Operation.ADD,
    plan: str = "plan-1",
    minutes_ago: float = 1.0,
) -> Batch:
    return Batch(
        id=1,
        binding_id=1,
        run_id="run-1",
        operation=operation,
        ids=tuple(name.encode() for name in names),
        plan_id=plan,
        planned_at=datetime.now(UTC) - timedelta(minutes=minutes_ago),
    )


def removal(*names: str, **more: Any) -> Batch:
    return batch(*names, operation=Operation.REMOVE, **more)


def failed(sink: Sink, sent: Batch) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sink.deliver(sent, target())
    return caught.value


def test_people_of_any_spelling_get_the_trait_and_nothing_is_dropped(simulator, sink):
    receipt = sink.deliver(batch("u1", *ODD), target())

    assert len(receipt.accepted) == 7
    assert simulator.holders() == {"u1", *ODD}
    assert simulator.dropped() == {}


@pytest.mark.parametrize("trait", ["N (id)", "N: id", '[Amplitude] ☃ "x" (9_k-2)'])
def test_a_trait_of_any_spelling_arrives_as_it_is(simulator, sink, trait):
    sink.deliver(batch("u1"), target(trait))

    assert simulator.holders(trait=trait) == {"u1"}


def test_leaving_coming_back_and_leaving_again_are_all_kept(simulator, sink):
    sink.deliver(removal("u1", plan="run-1", minutes_ago=3), target())
    sink.deliver(batch("u1", plan="run-2", minutes_ago=2), target())
    came_back = simulator.holders()
    sink.deliver(removal("u1", plan="run-3", minutes_ago=1), target())

    assert came_back == {"u1"}
    assert simulator.holders("false") == {"u1"}
    assert simulator.dropped() == {}


def test_a_late_retry_of_an_older_plan_does_not_undo_a_newer_one(simulator, sink):
    sink.deliver(batch("u1", plan="run-2", minutes_ago=1), target())
    sink.deliver(removal("u1", plan="run-1", minutes_ago=9), target())

    assert simulator.holders() == {"u1"}


def test_a_batch_sent_twice_is_one_event_for_segment(simulator, sink):
    sent = batch("u1", "u2")

    sink.deliver(sent, target())
    receipt = sink.deliver(sent, target())

    assert len(receipt.accepted) == 2
    path = "/_sim/segment/events?user_id=u1"
    outcomes = [each["outcome"] for each in simulator.call("GET", path)["events"]]
    assert len(outcomes) == 2
    assert outcomes[1] != outcomes[0]
    assert "duplicate" in outcomes[1]


def test_full_batches_in_parallel_all_arrive(simulator, sink):
    batches = [batch(*(f"{part}-{each}" for each in range(1000))) for part in range(6)]

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda each: sink.deliver(each, target()), batches))

    assert len(simulator.holders()) == 6000
    assert simulator.dropped() == {}


def test_the_integrations_of_the_connection_arrive(simulator, sink):
    sink.deliver(batch("u1"), target())

    user = simulator.call("GET", "/_sim/segment/user?user_id=u1")
    assert user["integrations"] == {"All": True}


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_stops_the_connection_and_the_probe_sees_it(simulator, status):
    simulator.configure(segment_unknown_key_status=status)
    with connected(simulator, key="wrong-write-key") as sink:
        error = failed(sink, batch("u1"))
        with pytest.raises(DeliveryError) as probed:
            sink.probe()

    assert error.fault is probed.value.fault is Fault.CREDENTIALS
    assert "wrong-write-key" not in str(error) + error.vendor_message


def test_a_right_key_passes_the_probe_and_nothing_is_written(simulator, sink):
    sink.probe()

    assert simulator.holders() == set()
    assert simulator.dropped() == {}


@pytest.mark.parametrize("body", ["empty", "html"])
def test_a_200_without_a_json_object_acknowledges_nobody(simulator, sink, body):
    simulator.configure(segment_success_body=body)

    error = failed(sink, batch("u1"))

    assert (error.fault, error.error_type) == (Fault.PASSING, "bad_response")


def test_above_the_rate_segment_says_how_long_to_wait(simulator, sink):
    simulator.configure(segment_events_per_second=10)
    errors = []
    for part in range(20):
        names = [f"{part}-{each}" for each in range(10)]
        try:
            sink.deliver(batch(*names), target())
        except DeliveryError as error:
            errors.append(error)

    assert errors
    assert {each.fault for each in errors} == {Fault.THROTTLED}
    assert all(0 <= (each.retry_after or 0) <= 900 for each in errors)


@pytest.mark.parametrize("kind", ["truncated", "reset", "zero_byte", "redirect"])
def test_a_broken_answer_is_no_proof_and_the_retry_is_right(simulator, sink, kind):
    simulator.fault(kind, calls=[1])
    sent = batch("u1")

    error = failed(sink, sent)
    receipt = sink.deliver(sent, target())

    assert error.fault is Fault.PASSING
    assert receipt.accepted == (b"u1",)
    assert simulator.holders() == {"u1"}
