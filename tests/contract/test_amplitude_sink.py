"""The Amplitude sink against the simulator, as its own process over sockets."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from syncd.clients.amplitude import AmplitudeClient
from syncd.clients.cohort_list import CohortList
from syncd.clients.http import HttpClient
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault, TargetUnusable
from syncd.model import Batch, Found, IdType, Operation, Receipt, Target
from syncd.sinks import Sink
from syncd.sinks.amplitude_cohort import AmplitudeCohortSink
from tests.simulated import simulating

APP = 187520
KEY = "demo-api-key"
SECRET = "demo-secret-key"
OWNER = "growth-ops@acme.example"
NAME = "[Segment] Power users"
RUN = "019e1b75-47da-732d-8f77-c01b463ddf1e"


@dataclass
class Simulator:
    """The control side of a running simulator."""

    amplitude: str
    control: httpx.Client

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A control call that must work."""
        answer = self.control.request(method, path, json=body)
        return answer.raise_for_status().json()

    def users(self, *names: str) -> None:
        self.call("POST", "/_sim/users", {"user_ids": names})

    def cohort(self, **changes: Any) -> str:
        """Make a cohort; the id."""
        given = {"name": NAME, "type": "manual_upload", "owners": [OWNER], **changes}
        return str(self.call("POST", "/_sim/cohorts", given)["id"])

    def cohorts(self) -> list[str]:
        return [each["id"] for each in self.call("GET", "/_sim/cohorts")["cohorts"]]

    def members(self, cohort_id: str) -> set[str]:
        return set(self.call("GET", f"/_sim/cohorts/{cohort_id}/members")["ids"])

    def fault(self, endpoint: str, kind: str, **more: Any) -> None:
        self.call("POST", "/_sim/faults", {"endpoint": endpoint, "kind": kind, **more})

    def configure(self, **switches: Any) -> None:
        self.call("POST", "/_sim/config", switches)

    def requests(self) -> list[tuple[str, str | None]]:
        """Endpoint and operation of every request, in order."""
        entries = self.call("GET", "/_sim/log")["entries"]
        return [(each["endpoint"], each["operation"]) for each in entries]


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with simulating() as running:
        yield Simulator(running.origins["amplitude"], running.control)


@pytest.fixture
def simulator(process: Simulator) -> Simulator:
    process.call("POST", "/_sim/reset", {})
    process.call("POST", "/_sim/latency", {"all": 0.0})
    return process


@contextmanager
def connected(
    simulator: Simulator,
    *,
    secret: str = SECRET,
    app_id: int = APP,
    deadline: float = 10.0,
    shared: bool = False,
) -> Iterator[Sink]:
    with HttpClient(simulator.amplitude, clock=Clock(), deadline=deadline) as client:
        amplitude = AmplitudeClient(client, lambda: (KEY, secret), clock=Clock())
        listed = CohortList(amplitude.list_cohorts, Clock()) if shared else None
        yield AmplitudeCohortSink(client=amplitude, app_id=app_id, listed=listed)


@pytest.fixture
def sink(simulator: Simulator) -> Iterator[Sink]:
    with connected(simulator) as connection:
        yield connection


def target(external_id: str | None = None, **changes: Any) -> Target:
    return Target(
        **{
            "sync": "power-users",
            "name": NAME,
            "owner": OWNER,
            "id_type": IdType.USER_ID,
            "external_id": external_id,
            **changes,
        }
    )


def unbound(*, intent_ago: float = 0.0, **changes: Any) -> Target:
    """A target whose creation was decided `intent_ago` seconds ago."""
    at = datetime.now(UTC) - timedelta(seconds=intent_ago)
    return target(creation_intent_at=at, **changes)


def batch(*names: str, operation: Operation = Operation.ADD) -> Batch:
    ids = tuple(name.encode() for name in names)
    return Batch(id=1, binding_id=1, run_id=RUN, operation=operation, ids=ids)


def removal(*names: str) -> Batch:
    return batch(*names, operation=Operation.REMOVE)


def refused(action: Callable[[], object]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        action()
    return caught.value


def unusable(action: Callable[[], object]) -> TargetUnusable:
    with pytest.raises(TargetUnusable) as caught:
        action()
    return caught.value


# --- find -----------------------------------------------------------------------------


def test_a_bound_cohort_is_found_by_its_id_whatever_its_name(simulator, sink):
    cohort_id = simulator.cohort(name="renamed by a person", members=["a", "b"])

    found = sink.find(target(cohort_id))

    assert found == Found(external_id=cohort_id, name="renamed by a person", size=2)


def test_a_bound_cohort_that_is_gone_is_not_found_under_its_name(simulator, sink):
    simulator.cohort()

    assert sink.find(target("deleted1")) is None


def test_an_unbound_cohort_is_found_by_exact_name_and_owner(simulator, sink):
    cohort_id = simulator.cohort()
    simulator.cohort(name=NAME.lower())
    simulator.cohort(owners=["somebody-else@acme.example"])
    simulator.cohort(type="redshift")

    found = sink.find(target(owner=OWNER.upper()))

    assert found is not None
    assert found.external_id == cohort_id


def test_nobody_elses_cohort_is_ours(simulator, sink):
    simulator.cohort(owners=["somebody-else@acme.example", "amp"])

    assert sink.find(target()) is None


def test_two_cohorts_of_one_name_are_not_told_apart(simulator, sink):
    simulator.cohort()
    simulator.cohort()

    error = unusable(lambda: sink.find(target()))

    assert error.code == "target.ambiguous"
    assert "cohort_id" in error.hint


@pytest.mark.parametrize("bound", [True, False])
def test_an_archived_cohort_is_not_written_to(simulator, sink, bound):
    cohort_id = simulator.cohort(archived=True)

    error = unusable(lambda: sink.find(target(cohort_id if bound else None)))

    assert error.code == "target.archived"
    assert error.hint.endswith("syncd run power-users")


def test_runs_that_begin_together_share_a_list(simulator):
    first, second = simulator.cohort(name="One"), simulator.cohort(name="Two")

    with connected(simulator, shared=True) as sink:
        found = [sink.find(target(each)) for each in (first, second, first)]

    assert [each.external_id for each in found if each] == [first, second, first]
    assert simulator.requests() == [("list", None)]


def test_what_a_shared_list_lacks_or_refuses_is_asked_for_anew(simulator):
    archived = simulator.cohort(name="One", archived=True)

    with connected(simulator, shared=True) as sink:
        unusable(lambda: sink.find(target(archived)))
        made = simulator.cohort(name="Two")
        simulator.call("PATCH", f"/_sim/cohorts/{archived}", {"archived": False})
        found = [sink.find(target(each)) for each in (made, archived)]

    assert [each.external_id for each in found if each] == [made, archived]


def test_a_cohort_that_is_not_bound_is_never_looked_for_in_a_shared_list(simulator):
    with connected(simulator, shared=True) as sink:
        sink.find(target(simulator.cohort(name="Another")))
        cohort_id = simulator.cohort()
        found = sink.find(target())

    assert found is not None
    assert found.external_id == cohort_id


def test_a_live_cohort_beside_an_archived_one_of_its_name_is_the_one(simulator, sink):
    simulator.cohort(archived=True)
    cohort_id = simulator.cohort()

    found = sink.find(target())

    assert found is not None
    assert found.external_id == cohort_id


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"type": "redshift"}, "target.not_manual"),
        ({"count_group": "org name"}, "target.group"),
    ],
)
def test_a_cohort_that_is_not_an_uploaded_list_of_people_is_refused(
    simulator, sink, changes, code
):
    cohort_id = simulator.cohort(**changes)

    error = unusable(lambda: sink.find(target(cohort_id)))

    assert error.code == code
    assert error.hint.endswith("syncd check")


def test_a_key_of_another_project_is_noticed_before_the_first_write(simulator):
    simulator.cohort()

    with connected(simulator, app_id=APP + 1) as sink:
        error = unusable(lambda: sink.find(target()))

    assert error.code == "target.wrong_app"


def test_looking_and_probing_are_free(simulator, sink):
    sink.find(target())
    sink.probe()

    assert simulator.requests() == [("list", None), ("list", None)]


# --- creation -------------------------------------------------------------------------


def test_the_first_batch_creates_and_acknowledges_nobody(simulator, sink):
    simulator.users("a", "b")

    receipt = sink.deliver(batch("a", "b", "stranger"), unbound())

    (cohort_id,) = simulator.cohorts()
    assert receipt.created is not None
    assert receipt.created.external_id == cohort_id
    assert (receipt.accepted, receipt.unmatched) == ((), ())
    assert simulator.requests() == [("list", None), ("upload", "CREATE")]


def test_a_created_cohort_is_the_one_that_is_found_afterwards(simulator, sink):
    simulator.users("a")
    made = sink.deliver(batch("a"), unbound()).created

    assert made is not None
    assert sink.find(target(made.external_id)) == sink.find(target())


def test_amplitude_ids_create_and_change_by_their_own_words(simulator, sink):
    simulator.users("a")
    known = simulator.call("POST", "/_sim/users/lookup", {"user_ids": ["a"]})
    number = known["amplitude_ids"]["a"]
    made = sink.deliver(batch(number), unbound(id_type=IdType.AMPLITUDE_ID)).created
    assert made is not None
    bound = target(made.external_id, id_type=IdType.AMPLITUDE_ID)

    receipt = sink.deliver(removal(number, "999999999999"), bound)

    assert receipt.accepted == (number.encode(),)
    assert receipt.unmatched == (b"999999999999",)
    assert simulator.members(made.external_id) == set()


def test_a_batch_of_strangers_creates_nothing_and_is_unmatched(simulator, sink):
    receipt = sink.deliver(batch("stranger-1", "stranger-2"), unbound())

    assert receipt == Receipt(
        unmatched=(b"stranger-1", b"stranger-2"), status=400, created_empty_handed=True
    )
    assert simulator.cohorts() == []


def test_a_creation_refused_for_another_reason_is_an_error(simulator, sink):
    simulator.users("a")
    simulator.configure(check_owner=True)

    error = refused(lambda: sink.deliver(batch("a"), unbound(owner="who@acme.example")))

    assert error.fault is Fault.REFUSED
    assert error.vendor_message
    assert simulator.cohorts() == []


def test_a_creation_whose_answer_was_lost_is_adopted_not_doubled(simulator):
    simulator.users("a")
    simulator.fault("upload", "hang_after", calls=[1])
    wanted = unbound()
    with connected(simulator, deadline=0.5) as sink:
        error = refused(lambda: sink.deliver(batch("a"), wanted))

        receipt = sink.deliver(batch("a"), wanted)

    (cohort_id,) = simulator.cohorts()
    assert (error.fault, error.error_type) == (Fault.PASSING, "timeout")
    assert receipt.created is not None
    assert receipt.created.external_id == cohort_id
    assert receipt.accepted == ()


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("missing_result", {}),
        ("zero_byte", {"apply": True}),
        ("html_200", {"apply": True}),
    ],
)
def test_an_upload_answer_that_names_no_cohort_is_looked_into(
    simulator, sink, kind, more
):
    simulator.users("a")
    simulator.fault("upload", kind, calls=[1], **more)
    wanted = unbound()

    error = refused(lambda: sink.deliver(batch("a"), wanted))
    receipt = sink.deliver(batch("a"), wanted)

    assert error.error_type == "bad_response"
    assert receipt.created is not None
    assert simulator.cohorts() == [receipt.created.external_id]


def test_a_cohort_older_than_our_intent_is_not_adopted_as_our_creation(simulator, sink):
    simulator.users("a")
    old = simulator.cohort()

    receipt = sink.deliver(batch("a"), unbound(intent_ago=-3600))

    assert receipt.created is not None
    assert receipt.created.external_id != old


def test_a_vendor_clock_a_little_behind_ours_makes_no_second_cohort(simulator, sink):
    simulator.users("a")
    made = simulator.cohort()

    receipt = sink.deliver(batch("a"), unbound(intent_ago=-30))

    assert receipt.created is not None
    assert receipt.created.external_id == made


def test_two_cohorts_since_our_intent_are_for_a_person_to_tell_apart(simulator, sink):
    simulator.cohort()
    simulator.cohort()

    error = unusable(lambda: sink.deliver(batch("a"), unbound()))

    assert error.code == "target.ambiguous"
    assert simulator.requests() == [("list", None)]


def test_a_list_that_cannot_be_had_creates_nothing(simulator, sink):
    simulator.users("a")
    simulator.fault("list", "status", status=503)

    error = refused(lambda: sink.deliver(batch("a"), unbound()))

    assert error.fault is Fault.PASSING
    assert simulator.cohorts() == []


def test_a_removal_from_nothing_is_proven_without_a_request(simulator, sink):
    receipt = sink.deliver(removal("a", "b"), target())

    assert receipt.accepted == (b"a", b"b")
    assert simulator.requests() == []


def test_a_removal_before_any_known_creation_looks_for_a_lost_one(simulator, sink):
    cohort_id = simulator.cohort(members=["a"])

    adopted = sink.deliver(removal("a"), unbound())

    assert adopted.created is not None
    assert adopted.created.external_id == cohort_id
    assert adopted.accepted == ()


def test_a_removal_where_the_lost_creation_never_happened_is_proven(simulator, sink):
    receipt = sink.deliver(removal("a"), unbound())

    assert receipt.accepted == (b"a",)
    assert simulator.requests() == [("list", None)]


# --- membership -----------------------------------------------------------------------


def test_added_and_removed_ids_are_acknowledged_and_really_there(simulator, sink):
    cohort_id = simulator.cohort(members=["a", "b"])
    simulator.users("c")

    added = sink.deliver(batch("b", "c"), target(cohort_id))
    removed = sink.deliver(removal("a", "c"), target(cohort_id))

    assert (added.accepted, added.unmatched) == ((b"b", b"c"), ())
    assert (removed.accepted, removed.unmatched) == ((b"a", b"c"), ())
    assert simulator.members(cohort_id) == {"b"}


def test_thirty_seven_unknown_ids_of_a_thousand_are_unmatched(simulator, sink):
    names = [f"user-{n:04}" for n in range(1000)]
    unknown = names[::27][:37]
    simulator.users(*(name for name in names if name not in unknown))
    cohort_id = simulator.cohort()

    receipt = sink.deliver(batch(*names), target(cohort_id))

    assert [each.decode() for each in receipt.unmatched] == unknown
    assert len(receipt.accepted) == 963
    assert simulator.members(cohort_id) == set(names) - set(unknown)


def test_a_removal_of_an_unknown_id_is_unmatched_not_an_error(simulator, sink):
    cohort_id = simulator.cohort(members=["a"])

    receipt = sink.deliver(removal("a", "stranger"), target(cohort_id))

    assert (receipt.accepted, receipt.unmatched) == ((b"a",), (b"stranger",))


def test_delivering_twice_has_the_effect_of_once(simulator, sink):
    simulator.users("a")
    cohort_id = simulator.cohort()

    first = sink.deliver(batch("a"), target(cohort_id))
    second = sink.deliver(batch("a"), target(cohort_id))

    assert first.accepted == second.accepted == (b"a",)
    assert simulator.members(cohort_id) == {"a"}


def test_ids_arrive_exactly_as_they_are(simulator, sink):
    names = ["Ünï-çødé", 'quo"te', "back\\slash", "CASE", "case", "😀-user", "a b"]
    simulator.users(*names)
    cohort_id = simulator.cohort()

    receipt = sink.deliver(batch(*names), target(cohort_id))

    assert receipt.unmatched == ()
    assert simulator.members(cohort_id) == set(names)


def test_the_answer_may_leave_out_the_id_type(simulator, sink):
    simulator.users("a")
    simulator.configure(omit_result_id_type=True)

    receipt = sink.deliver(batch("a"), target(simulator.cohort()))

    assert receipt.accepted == (b"a",)


def test_a_deleted_cohort_is_gone_and_not_made_anew(simulator, sink):
    cohort_id = simulator.cohort()
    simulator.call("DELETE", f"/_sim/cohorts/{cohort_id}")

    error = refused(lambda: sink.deliver(batch("a"), target(cohort_id)))

    assert error.fault is Fault.TARGET_GONE
    assert simulator.cohorts() == []


@pytest.mark.parametrize(
    ("fault", "expected", "error_type"),
    [
        ({"kind": "status", "status": 429}, Fault.PASSING, "rate_limited"),
        (
            {"kind": "status", "status": 429, "retry_after": 7},
            Fault.THROTTLED,
            "rate_limited",
        ),
        ({"kind": "status", "status": 500}, Fault.PASSING, "http_5xx"),
        (
            {"kind": "status", "status": 502, "format": "html"},
            Fault.PASSING,
            "http_5xx",
        ),
        (
            {"kind": "status", "status": 504, "format": "text"},
            Fault.PASSING,
            "http_5xx",
        ),
        ({"kind": "status", "status": 413}, Fault.TOO_LARGE, "too_large"),
        ({"kind": "status", "status": 400}, Fault.REFUSED, "http_4xx"),
        ({"kind": "waf_403"}, Fault.REFUSED, "forbidden"),
        ({"kind": "redirect"}, Fault.PASSING, "bad_response"),
        ({"kind": "zero_byte"}, Fault.PASSING, "bad_response"),
        ({"kind": "html_200"}, Fault.PASSING, "bad_response"),
        ({"kind": "wrong_cohort"}, Fault.PASSING, "bad_response"),
        ({"kind": "missing_result"}, Fault.PASSING, "bad_response"),
        ({"kind": "truncated", "length": "sent"}, Fault.PASSING, "bad_response"),
        ({"kind": "truncated", "length": "full"}, Fault.PASSING, "connect"),
        (
            {"kind": "truncated", "length": "sent", "gzip": True},
            Fault.PASSING,
            "bad_response",
        ),
        ({"kind": "reset", "when": "before"}, Fault.PASSING, "connect"),
        ({"kind": "reset", "when": "mid"}, Fault.PASSING, "connect"),
    ],
    ids=lambda value: (
        "-".join(map(str, value.values())) if isinstance(value, dict) else None
    ),
)
def test_each_fault_of_the_vendor_proves_nothing(
    simulator, sink, fault, expected, error_type
):
    simulator.users("a")
    cohort_id = simulator.cohort()
    simulator.fault("membership", **fault)

    error = refused(lambda: sink.deliver(batch("a"), target(cohort_id)))

    assert (error.fault, error.error_type) == (expected, error_type)


@pytest.mark.parametrize("kind", ["hang_before", "hang_after", "drip"])
def test_a_slow_vendor_is_left_at_the_deadline(simulator, kind):
    simulator.users("a")
    cohort_id = simulator.cohort()
    simulator.fault("membership", kind)

    with connected(simulator, deadline=0.5) as sink:
        error = refused(lambda: sink.deliver(batch("a"), target(cohort_id)))

    assert (error.fault, error.error_type) == (Fault.PASSING, "timeout")
    simulator.call("DELETE", "/_sim/faults")


def test_the_sink_never_tries_again_by_itself(simulator, sink):
    simulator.users("a")
    cohort_id = simulator.cohort()
    simulator.fault("membership", "status", status=503, calls=[1])

    refused(lambda: sink.deliver(batch("a"), target(cohort_id)))

    assert simulator.requests() == [("membership", "ADD")]


def test_a_wrong_secret_stops_the_connection_and_says_why(simulator):
    with connected(simulator, secret="wrong-canary-secret") as sink:
        error = refused(sink.probe)

    assert (error.fault, error.status) == (Fault.CREDENTIALS, 403)
    assert error.vendor_message == "Invalid API/Secret Key combination"
    assert "wrong-canary-secret" not in f"{error!r} {error} {vars(error)}"


def test_a_sink_says_what_the_engine_may_ask(sink):
    assert sink.capabilities.max_in_flight == 1
    assert sink.capabilities.max_batch == 100_000
