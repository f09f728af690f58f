"""A lane: batches in order, one at a time or several, never early, never too late."""

from datetime import timedelta

import pytest

from syncd.delivery.lane import Lane, Route
from syncd.model import Settled, Settlement
from syncd.store.leases import Lease
from syncd.store.outbox import Waiting
from tests.builders import NO_DELAY, NOW, FakeVendor

SECOND = timedelta(seconds=1)
NOTHING_MORE = Settlement(state=Settled.WAITING, code="retries")


def waiting(number: int, *, after: int | None = 0) -> Waiting:
    retry_at = None if after is None else NOW + after * SECOND
    return Waiting(id=number, binding_id=1, n=3, retry_at=retry_at)


def lane(*queue: Waiting, width: int = 1, quiet: int = 0) -> Lane:
    made = Lane(
        run_id="run-1",
        lease=Lease(sync="vip", holder="me", fence=1, taken_over=False),
        route=Route(
            connection="amplitude",
            sink=FakeVendor(max_in_flight=width),
            policy=NO_DELAY,
            request_deadline=30 * SECOND,
        ),
        not_before=NOW + quiet * SECOND,
    )
    made.queue.extend(queue)
    return made


def taken(lane: Lane, *, after: int = 0) -> list[int]:
    """Every batch that may go at this moment."""
    ready = iter(lambda: lane.next_ready(NOW + after * SECOND), None)
    return [each.id for each in ready]


def test_one_batch_at_a_time_goes_and_in_order() -> None:
    narrow = lane(waiting(1), waiting(2))

    assert taken(narrow) == [1]
    narrow.in_flight -= 1
    assert taken(narrow) == [2]


def test_a_batch_that_was_taken_makes_way_before_that_is_durable() -> None:
    narrow = lane(waiting(1), waiting(2), waiting(3))
    narrow.accepted = 3

    assert taken(narrow) == [1]
    assert narrow.make_way()
    assert taken(narrow) == [2]
    assert not narrow.at_rest()


def test_a_lane_is_not_settled_before_its_last_batch_is_durable() -> None:
    narrow = lane(waiting(1))
    narrow.accepted = 3
    assert taken(narrow) == [1]

    assert narrow.make_way()

    assert not narrow.settled()
    narrow.recording -= 1
    assert narrow.settled()


@pytest.mark.parametrize(
    "kept", [{"unbound": True}, {"mixed": True}, {"accepted": 0}], ids=str
)
def test_where_order_matters_nothing_goes_before_the_last_is_durable(
    kept: dict[str, int],
) -> None:
    narrow = lane(waiting(1), waiting(2))
    for name, value in ({"accepted": 3} | kept).items():
        setattr(narrow, name, value)
    assert taken(narrow) == [1]

    assert not narrow.make_way()

    assert taken(narrow) == []
    assert narrow.in_flight == 1


def test_a_head_that_waits_holds_the_narrow_lane() -> None:
    narrow = lane(waiting(1, after=5), waiting(2))

    assert taken(narrow, after=4) == []
    assert narrow.ready_at() == NOW + 5 * SECOND
    assert taken(narrow, after=5) == [1]


def test_a_wide_lane_passes_a_batch_that_waits() -> None:
    wide = lane(*map(waiting, range(1, 8)), width=4)
    wide.queue[0] = waiting(1, after=5)

    assert taken(wide) == [2, 3, 4, 5]
    assert wide.ready_at() is None, "it is full: only an answer makes room"


def test_a_wide_lane_is_ready_when_its_first_batch_is() -> None:
    wide = lane(waiting(1, after=9), waiting(2, after=5), width=4)

    assert wide.ready_at() == NOW + 5 * SECOND


def test_a_wide_lane_is_ready_at_once_when_any_batch_is() -> None:
    wide = lane(waiting(1, after=9), waiting(2, after=None), waiting(3), width=4)

    assert wide.ready_at() == NOW


@pytest.mark.parametrize("width", [1, 4])
def test_nothing_goes_before_a_dead_process_request_is_surely_over(width: int) -> None:
    quiet = lane(waiting(1), width=width, quiet=30)

    assert taken(quiet, after=29) == []
    assert quiet.ready_at() == NOW + 30 * SECOND
    assert taken(quiet, after=30) == [1]


@pytest.mark.parametrize("width", [1, 4])
def test_a_batch_without_retries_left_never_goes(width: int) -> None:
    stuck = lane(waiting(1, after=None), width=width)

    assert taken(stuck, after=10**6) == []
    assert stuck.ready_at() is None


def test_batches_that_come_back_are_first_again_and_in_order() -> None:
    narrow = lane(waiting(1), waiting(3))
    taken(narrow)
    narrow.in_flight -= 1

    narrow.put_back([waiting(1), waiting(2)])

    assert [each.id for each in narrow.queue] == [1, 2, 3]


def test_an_ended_lane_keeps_its_first_reason_and_sends_nothing() -> None:
    ended = lane(waiting(1))

    ended.end(NOTHING_MORE)
    ended.end(Settlement(state=Settled.LOST, code="later"))

    assert ended.ended is NOTHING_MORE
    assert taken(ended) == []
    assert ended.ready_at() is None


def test_a_lane_is_settled_only_when_nothing_is_in_flight() -> None:
    narrow = lane(waiting(1))
    assert not narrow.settled()

    taken(narrow)
    narrow.end(NOTHING_MORE)
    assert not narrow.settled(), "an answer is still to come"

    narrow.in_flight -= 1
    assert narrow.settled()
    assert lane().settled(), "nothing to send is settled at once"
