"""What becomes of a batch after each kind of failure."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.delivery.retry import (
    DeadLetter,
    Decision,
    GiveUp,
    Halve,
    HoldTarget,
    Reject,
    RetryAt,
    RetryPolicy,
    StopConnection,
    ThrottleConnection,
    decide,
)
from syncd.errors import DeliveryError, Fault


def failed(
    fault: Fault = Fault.PASSING,
    error_type: str = "http_5xx",
    retry_after: float | None = None,
) -> DeliveryError:
    return DeliveryError(
        "made up", fault=fault, error_type=error_type, retry_after=retry_after
    )


def decided(
    error: DeliveryError,
    *,
    attempts: int = 1,
    size: int = 1000,
    chance: float = 0.0,
    policy: RetryPolicy | None = None,
) -> Decision:
    return decide(policy or RetryPolicy(), attempts, error, lambda: chance, size=size)


def seconds(decision: Decision) -> float:
    assert isinstance(decision, RetryAt | ThrottleConnection)
    return decision.delay.total_seconds()


def test_eight_retries_double_from_one_second_to_over_two_minutes():
    delays = [seconds(decided(failed(), attempts=n)) for n in range(1, 9)]

    assert delays == [1, 2, 4, 8, 16, 32, 64, 128]


def test_after_the_last_retry_the_batch_is_given_up_not_dropped():
    assert decided(failed(), attempts=9) == GiveUp()
    assert decided(failed(Fault.THROTTLED, retry_after=3), attempts=9) == GiveUp()


def test_no_retries_configured_gives_up_at_once():
    policy = RetryPolicy(retries=0)

    assert decided(failed(), attempts=1, policy=policy) == GiveUp()


@given(attempts=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_jitter_only_lengthens_and_never_beyond_a_quarter(attempts, chance):
    policy = RetryPolicy(retries=10_000)
    step = seconds(decided(failed(), attempts=attempts, policy=policy))

    delay = seconds(decided(failed(), attempts=attempts, policy=policy, chance=chance))

    assert step <= delay <= step * 1.25 <= 160


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 64), (0.5, 72), (0.75, 76)])
def test_jitter_is_spread_evenly_over_a_quarter(chance, delay):
    assert seconds(decided(failed(), attempts=7, chance=chance)) == delay


def test_a_step_below_a_second_is_waited_as_it_is():
    policy = RetryPolicy(first_delay=timedelta(milliseconds=100))

    delays = [seconds(decided(failed(), attempts=n, policy=policy)) for n in (1, 2, 3)]

    assert delays == [0.1, 0.2, 0.4]


def test_a_retry_after_is_the_least_wait_and_never_shortens_one():
    longer = decided(failed(retry_after=600.0), attempts=3)
    shorter = decided(failed(retry_after=0.5), attempts=3)

    assert longer == RetryAt(timedelta(seconds=600))
    assert shorter == RetryAt(timedelta(seconds=4))


def test_a_named_wait_of_a_429_holds_the_whole_connection():
    decision = decided(failed(Fault.THROTTLED, "rate_limited", retry_after=17.0))

    assert decision == ThrottleConnection(timedelta(seconds=17))


@pytest.mark.parametrize("fault", [Fault.TOO_LARGE, Fault.BAD_IDS])
def test_halving_goes_on_down_to_one_id_which_is_rejected(fault):
    error = failed(fault, "invalid_id")

    assert decided(error, size=2) == Halve()
    assert decided(error, size=1) == Reject("invalid_id")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.REFUSED, DeadLetter("forbidden")),
        (Fault.CREDENTIALS, StopConnection()),
        (Fault.TARGET_GONE, HoldTarget()),
    ],
)
@pytest.mark.parametrize("attempts", [1, 9])
def test_a_terminal_answer_is_never_retried(fault, expected, attempts):
    assert decided(failed(fault, "forbidden"), attempts=attempts) == expected
