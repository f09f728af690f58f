"""Runs that begin together share a list of cohorts; no longer than a moment."""

import threading

import pytest

from syncd.clients.amplitude_answers import Cohort
from syncd.clients.cohort_list import FRESH, CohortList
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault
from tests.builders import ManualClock


class Lists:
    """What Amplitude lists, one answer after the other."""

    def __init__(self, *answers: tuple[Cohort, ...] | DeliveryError) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> tuple[Cohort, ...]:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, DeliveryError):
            raise answer
        return answer


class Watch(Clock):
    """Shows so many seconds."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "seconds", [0.0])  # a frozen value with one hand

    def monotonic(self) -> float:
        return float(self.__dict__["seconds"][0])

    def advance(self, seconds: float) -> None:
        self.__dict__["seconds"][0] += seconds


def broken() -> DeliveryError:
    return DeliveryError("no", fault=Fault.PASSING, error_type="http_503")


def test_a_list_is_shared_for_a_moment_and_then_asked_for_anew() -> None:
    clock, lists = Watch(), Lists((), ())
    listed = CohortList(lists, clock)

    for _ in range(3):
        listed.recent()
    clock.advance(FRESH)
    listed.recent()

    assert lists.asked == 2


def test_a_fast_clock_shares_for_as_much_of_its_own_time() -> None:
    lists = Lists((), ())
    listed = CohortList(lists, Clock(speed=1e9, origin=ManualClock().now()))

    listed.recent()
    threading.Event().wait(0.001)
    listed.recent()

    assert lists.asked == 2


def test_a_failure_is_told_to_who_asked_and_not_kept() -> None:
    lists = Lists(broken(), ())
    listed = CohortList(lists, ManualClock())

    with pytest.raises(DeliveryError):
        listed.recent()

    assert listed.recent() == ()


def test_who_waits_long_for_the_list_of_another_asks_alone() -> None:
    begun, answer, lists = threading.Event(), threading.Event(), Lists(())

    def hanging() -> tuple[Cohort, ...]:
        if not begun.is_set():
            begun.set()
            answer.wait()
            return ()
        return lists()

    listed = CohortList(hanging, ManualClock())
    first = threading.Thread(target=listed.recent)
    first.start()
    begun.wait()
    listed.recent()
    answer.set()
    first.join()

    assert lists.asked == 1
