"""Which requests may land late, and how a plan counts whom they would move."""

from typing import Any

import pytest

from syncd.errors import DeliveryError, Fault
from syncd.sync.diff import changes
from syncd.sync.plan import Tally
from syncd.sync.repair import mended

IN, OUT, BACK = b"in", b"out", b"back"
KNOWN: dict[str, Any] = {
    "bucket": 0,
    "acknowledged": {IN, BACK},
    "uncertain": set(),
    "waiting": set(),
    "unaccepted": set(),
}


def test_somebody_who_left_before_is_counted_as_no_exit() -> None:
    tally = Tally()

    tally.count(changes(snapshot=[IN], doubtful={OUT}, **KNOWN))

    assert (tally.exited, tally.union) == (1, 2), "of two who are there, one leaves"
    assert tally.reasserted == 1


def test_a_repair_asserts_the_doubtful_too() -> None:
    found = mended(
        bucket=0,
        wanted={IN, BACK},
        acknowledged={IN, BACK},
        uncertain=set(),
        doubtful={OUT, BACK},
        missing=set(),
        ours=set(),
    )

    assert (found.adds, found.removes, found.undone) == ([BACK], [OUT], 1)


@pytest.mark.parametrize(
    ("fault", "status", "sent", "may"),
    [
        (Fault.PASSING, None, True, True),  # no answer
        (Fault.PASSING, None, False, False),  # no connection
        (Fault.PASSING, 503, True, True),
        (Fault.PASSING, 200, True, True),  # an answer that proves nothing
        (Fault.PASSING, 408, True, True),
        (Fault.PASSING, 429, True, False),
        (Fault.THROTTLED, 429, True, False),
        (Fault.REFUSED, 400, True, False),
        (Fault.REFUSED, None, True, False),  # refused by ourselves
        (Fault.CREDENTIALS, 403, True, False),
        (Fault.TOO_LARGE, 413, True, False),
    ],
)
def test_only_what_was_sent_and_not_refused_may_take_effect(
    fault: Fault, status: int | None, sent: bool, may: bool
) -> None:
    error = DeliveryError(
        "so it is", fault=fault, error_type="http_5xx", status=status, sent=sent
    )

    assert error.may_take_effect is may
