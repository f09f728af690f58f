"""The list-based and the property-based sink against the simulated partner."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from syncd.clients.http import HttpClient
from syncd.clients.partner import PartnerClient
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault
from syncd.model import Batch, IdType, Operation, Receipt, Target
from syncd.sinks import Sink
from syncd.sinks.list_api import ListApiSink
from syncd.sinks.property_api import PropertyApiSink
from tests.simulated import simulating

KEY = "demo-partner-key"
RUN = "019e1b75-47da-732d-8f77-c01b463ddf1e"
NAME = "[Amplitude] Power Users: 7khm89cz"
ODD = ("zoë@acme.example", "a+b/c?d", "名前", '"quoted\\"', "\u2603")


@dataclass
class Simulator:
    """The partner of a running simulator, and its control side."""

    partner: str
    control: httpx.Client

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A control call that must work."""
        answer = self.control.request(method, path, json=body)
        return answer.raise_for_status().json()

    def configure(self, **switches: Any) -> None:
        self.call("POST", "/_sim/config", switches)

    def know(self, *names: str) -> None:
        """From now on these are the only people it knows."""
        self.configure(partner_knows_everybody=False)
        self.call("POST", "/_sim/partner/people", {"user_ids": names})

    def lists(self) -> list[str]:
        found = self.call("GET", "/_sim/partner/lists")["lists"]
        return [each["name"] for each in found]

    def members(self, list_id: str) -> set[str]:
        path = f"/_sim/partner/lists/{list_id}/members"
        return set(self.call("GET", path)["ids"])

    def holders(self, value: str = "true") -> set[str]:
        path = f"/_sim/partner/members?trait={quote(NAME)}&value={value}"
        return set(self.call("GET", path)["ids"])


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with simulating("--latency", "0") as running:
        yield Simulator(running.origins["partner"], running.control)


@pytest.fixture
def simulator(process: Simulator) -> Simulator:
    process.call("POST", "/_sim/reset", {})
    return process


@contextmanager
def client(
    simulator: Simulator,
    *,
    key: str = KEY,
    key_header: str | None = None,
    headers: dict[str, str] | None = None,
) -> Iterator[PartnerClient]:
    with HttpClient(simulator.partner, clock=Clock(), deadline=10.0) as http:
        yield PartnerClient(
            http,
            lambda: key,
            api_key_header=key_header,
            headers=lambda: headers or {},
            clock=Clock(),
        )


@pytest.fixture
def lists(simulator: Simulator) -> Iterator[Sink]:
    with client(simulator) as partner:
        yield ListApiSink(client=partner)


@pytest.fixture
def properties(simulator: Simulator) -> Iterator[Sink]:
    with client(simulator) as partner:
        yield PropertyApiSink(client=partner, path="/property")


def target(external_id: str | None = None) -> Target:
    return Target(
        sync="power-users",
        name=NAME,
        owner="",
        id_type=IdType.USER_ID,
        external_id=external_id,
    )


def batch(*names: str, operation: Operation = Operation.ADD) -> Batch:
    ids = tuple(name.encode() for name in names)
    return Batch(
        id=1, binding_id=1, run_id=RUN, operation=operation, ids=ids, plan_id="plan-1"
    )


def removal(*names: str) -> Batch:
    return batch(*names, operation=Operation.REMOVE)


def made(sink: Sink) -> Target:
    """A list of the partner, made by a first batch."""
    created = sink.deliver(batch("seed"), target()).created
    assert created is not None
    return target(created.external_id)


def members_of(simulator: Simulator, bound: Target) -> set[str]:
    assert bound.external_id is not None
    return simulator.members(bound.external_id)


def failed(sink: Sink, sent: Batch, to: Target) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sink.deliver(sent, to)
    return caught.value


# --- lists ----------------------------------------------------------------------------


def test_the_first_batch_makes_the_list_and_acknowledges_nobody(simulator, lists):
    receipt = lists.deliver(batch("u1"), target())

    assert simulator.lists() == [NAME]
    assert receipt.created is not None
    assert (receipt.accepted, receipt.created.name) == ((), NAME)
    assert simulator.members(receipt.created.external_id) == set()


@pytest.mark.parametrize("shape", ["both", "flat", "response", "id"])
def test_every_shape_of_the_answer_to_a_creation_is_read(simulator, lists, shape):
    simulator.configure(partner_list_answer=shape)

    bound = made(lists)

    lists.deliver(batch("u1"), bound)
    assert members_of(simulator, bound) == {"u1"}


def test_members_are_added_and_removed(simulator, lists):
    bound = made(lists)

    lists.deliver(batch("u1", "u2", *ODD), bound)
    receipt = lists.deliver(removal("u2"), bound)

    assert receipt == Receipt(accepted=(b"u2",), status=200)
    assert members_of(simulator, bound) == {"u1", *ODD}


def test_sending_a_batch_twice_has_the_effect_of_once(simulator, lists):
    bound = made(lists)

    for _ in range(2):
        lists.deliver(batch("u1", "u2"), bound)
        lists.deliver(removal("u1", "stranger"), bound)

    assert members_of(simulator, bound) == {"u2"}


def test_four_batches_of_one_list_may_be_under_way_at_once(simulator, lists):
    bound = made(lists)
    batches = [batch(*(f"{part}-{each}" for each in range(500))) for part in range(8)]

    with ThreadPoolExecutor(4) as threads:
        receipts = list(threads.map(lambda each: lists.deliver(each, bound), batches))

    assert sum(len(each.accepted) for each in receipts) == 4000
    assert len(members_of(simulator, bound)) == 4000


@pytest.mark.parametrize(
    ("status", "error_type"), [(400, "invalid_id"), (404, "unknown_user")]
)
def test_an_unknown_person_leads_to_halving_and_not_to_a_lost_list(
    simulator, lists, status, error_type
):
    bound = made(lists)
    simulator.know("u1")
    simulator.configure(partner_unknown_user_status=status)

    error = failed(lists, batch("u1", "stranger"), bound)
    receipt = lists.deliver(batch("u1"), bound)

    assert (error.fault, error.error_type) == (Fault.BAD_IDS, error_type)
    assert receipt.accepted == (b"u1",)


def test_a_list_that_was_deleted_is_never_called_gone(simulator, lists):
    bound = made(lists)
    simulator.call("DELETE", f"/_sim/partner/lists/{bound.external_id}")

    error = failed(lists, batch("u1"), bound)

    assert error.fault is Fault.BAD_IDS


def test_a_partner_that_wants_other_keys_gets_them(simulator):
    simulator.call("POST", "/_sim/partner/setup", {"ids_key": "user_ids"})
    with client(simulator) as partner:
        sink = ListApiSink(client=partner, user_ids_key="user_ids")
        bound = made(sink)
        sink.deliver(batch("u1"), bound)

    assert members_of(simulator, bound) == {"u1"}


def test_ten_thousand_ids_go_in_one_request(simulator, lists):
    bound = made(lists)
    names = [f"u{number}" for number in range(lists.capabilities.max_batch)]

    lists.deliver(batch(*names), bound)

    assert members_of(simulator, bound) == set(names)


# --- properties -----------------------------------------------------------------------


def test_a_batch_sets_the_property_of_everybody_in_it(simulator, properties):
    properties.deliver(batch("u1", "u2", *ODD), target(NAME))
    properties.deliver(removal("u2"), target(NAME))

    assert simulator.holders() == {"u1", *ODD}
    assert simulator.holders("false") == {"u2"}


def test_a_single_update_sets_the_property_of_one(simulator):
    with client(simulator) as partner:
        sink = PropertyApiSink(client=partner, path="/property", mode="single")
        for name in ODD:
            sink.deliver(batch(name), target(NAME))

    assert simulator.holders() == set(ODD)


def test_an_unknown_person_spoils_the_batch_but_not_the_others(simulator, properties):
    simulator.know("u1")

    error = failed(properties, batch("u1", "stranger"), target(NAME))
    properties.deliver(batch("u1"), target(NAME))

    assert (error.fault, error.error_type) == (Fault.BAD_IDS, "unknown_user")
    assert simulator.holders() == {"u1"}


# --- access and trouble ---------------------------------------------------------------


def test_a_wrong_key_stops_the_connection(simulator):
    with client(simulator, key="wrong-partner-key") as partner:
        error = failed(ListApiSink(client=partner), batch("u1"), target())

    assert (error.fault, error.status) == (Fault.CREDENTIALS, 401)


def test_the_key_may_be_a_header_as_in_the_pages_test_call(simulator):
    simulator.call("POST", "/_sim/partner/setup", {"auth": "headers"})
    with client(
        simulator, key_header="api_key", headers={"app_id": "187520"}
    ) as partner:
        made(ListApiSink(client=partner))

    assert simulator.lists() == [NAME]


def test_a_partner_that_throttles_says_for_how_long(simulator, lists):
    simulator.call(
        "POST",
        "/_sim/faults",
        {"endpoint": "any", "kind": "status", "status": 429, "retry_after": 11},
    )

    error = failed(lists, batch("u1"), target("L1"))

    assert (error.fault, error.retry_after) == (Fault.THROTTLED, 11.0)


def test_an_effect_without_an_answer_is_no_proof_and_is_repeated(simulator, lists):
    bound = made(lists)
    simulator.call(
        "POST", "/_sim/faults", {"endpoint": "any", "kind": "truncated", "calls": [1]}
    )

    error = failed(lists, batch("u1"), bound)
    receipt = lists.deliver(batch("u1"), bound)

    assert error.fault is Fault.PASSING
    assert receipt.accepted == (b"u1",)
    assert members_of(simulator, bound) == {"u1"}


def test_a_login_page_is_no_proof(simulator, lists):
    bound = made(lists)
    simulator.call("POST", "/_sim/faults", {"endpoint": "any", "kind": "html_200"})

    error = failed(lists, batch("u1"), bound)

    assert (error.fault, error.error_type) == (Fault.PASSING, "bad_response")
