"""Events for Segment are right, stable and valid before a byte of them leaves."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import pytest

from syncd import __version__
from syncd.clients.segment_events import (
    MAX_BODY_BYTES,
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    Identifies,
    body_of,
    message_ids,
)
from syncd.errors import DeliveryError, Fault

PLANNED = datetime(2026, 3, 2, 10, 11, 12, 345_678, tzinfo=UTC)
SENT = datetime(2026, 3, 2, 10, 11, 15, tzinfo=UTC)
TRAIT = "[Amplitude] Power Users (9xk2)"


def identifies(**changes: Any) -> Identifies:
    return Identifies(
        **{
            "plan_id": "019e1b75-47da-732d-8f77-c01b463ddf1e",
            "sync": "power-users",
            "trait": TRAIT,
            "value": True,
            "at": PLANNED,
            "integrations": {"All": True},
            **changes,
        }
    )


def built(ids: Sequence[bytes] = (b"u-81",), **changes: Any) -> Any:
    return json.loads(body_of(identifies(**changes), ids, sent_at=SENT))


def refused(action: Callable[[], object]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        action()
    return caught.value


def room_for_an_id() -> int:
    """Bytes of a user id that fill an event to the last one allowed."""
    small = json.dumps(built([b"u"])["batch"][0], separators=(",", ":"))
    return MAX_EVENT_BYTES - len(small.encode()) + 1


# --- the shape ------------------------------------------------------------------------


def test_a_body_is_field_by_field_what_segment_documents():
    (message_id,) = message_ids(identifies(), [b"u-81"])

    body = built()

    assert body == {
        "sentAt": "2026-03-02T10:11:15.000Z",
        "context": {"library": {"name": "syncd", "version": __version__}},
        "batch": [
            {
                "type": "identify",
                "userId": "u-81",
                "messageId": message_id,
                "timestamp": "2026-03-02T10:11:12.345Z",
                "traits": {"[Amplitude] Power Users (9xk2)": True},
                "context": {
                    "integration": {
                        "name": "Amplitude Cohort Sync",
                        "version": "1.0.0",
                    }
                },
                "integrations": {"All": True},
            }
        ],
    }


def test_an_exit_says_false_not_null_and_not_text():
    assert built(value=False)["batch"][0]["traits"] == {TRAIT: False}


def test_every_person_has_one_event_in_order_with_the_shared_parts():
    events = built([b"a", b"b", b"c"])["batch"]

    assert [each["userId"] for each in events] == ["a", "b", "c"]
    assert len({each["messageId"] for each in events}) == 3
    assert len({json.dumps(each["traits"]) for each in events}) == 1


def test_the_integrations_of_the_connection_go_with_every_event():
    events = built([b"a", b"b"], integrations={"All": False, "Braze": True})["batch"]

    wanted = {"All": False, "Braze": True}
    assert [each["integrations"] for each in events] == [wanted, wanted]


def test_a_time_of_another_zone_is_written_in_utc():
    east = timezone(timedelta(hours=5, minutes=30))

    events = built(at=PLANNED.astimezone(east))["batch"]

    assert events[0]["timestamp"] == "2026-03-02T10:11:12.345Z"


def test_a_batch_of_the_first_schema_is_dated_when_it_is_sent():
    assert built(at=None)["batch"][0]["timestamp"] == "2026-03-02T10:11:15.000Z"


# --- one id for one transition --------------------------------------------------------


def test_leaving_coming_back_and_leaving_again_are_three_message_ids():
    left = identifies(plan_id="run-1", value=False)
    came_back = identifies(plan_id="run-2", value=True)
    left_again = identifies(plan_id="run-3", value=False)

    made = [message_ids(each, [b"u-81"])[0] for each in (left, came_back, left_again)]

    assert len(set(made)) == 3


def test_a_half_of_a_batch_keeps_the_message_ids_of_the_whole():
    ids = [b"u-%d" % number for number in range(10)]

    whole = message_ids(identifies(), ids)

    assert message_ids(identifies(), ids[5:]) == whole[5:]


def test_the_time_of_sending_does_not_change_a_message_id():
    first = json.loads(body_of(identifies(), [b"u"], sent_at=SENT))
    later = json.loads(body_of(identifies(), [b"u"], sent_at=SENT + timedelta(hours=9)))

    assert first["batch"] == later["batch"]
    assert first["sentAt"] != later["sentAt"]


def test_a_message_id_is_the_hash_that_the_first_release_made():
    # A new recipe would make every open batch a second event after an upgrade.
    (made,) = message_ids(identifies(plan_id="p", sync="s", trait="t"), [b"u"])

    assert made == "syncd-" + sha256(b"1:p1:s1:t4:true1:u").hexdigest()[:40]


def test_two_syncs_of_one_trait_do_not_swallow_each_others_events():
    one = message_ids(identifies(sync="a"), [b"u"])

    assert one != message_ids(identifies(sync="b"), [b"u"])


# --- valid before it leaves -----------------------------------------------------------


def test_an_event_of_exactly_32_kb_goes_out():
    body = built([b"u" * room_for_an_id()])

    event = json.dumps(body["batch"][0], separators=(",", ":"))
    assert len(event) == MAX_EVENT_BYTES


def test_an_event_over_32_kb_is_its_persons_fault():
    long_id = b"u" * (room_for_an_id() + 1)

    error = refused(lambda: built([b"u-1", long_id, b"u-2"]))

    assert (error.fault, error.error_type) == (Fault.BAD_IDS, "invalid_id")
    assert error.status is None
    assert "uuu" not in str(error)


@pytest.mark.parametrize("bad", [b"", b"  ", b"\t", b"\xff\xfe", b"\xed\xa0\x80"])
def test_an_id_that_is_empty_or_no_text_is_found_here(bad):
    error = refused(lambda: built([b"u-1", bad]))

    assert (error.fault, error.error_type) == (Fault.BAD_IDS, "invalid_id")
    assert error.__cause__ is None
    assert error.__context__ is None


def test_a_body_just_under_500_kb_goes_out_and_one_byte_more_does_not():
    count = 16  # of about 31 kB each
    empty = len(body_of(identifies(), [b"u"] * count, sent_at=SENT))
    each, rest = divmod(MAX_BODY_BYTES - empty, count)
    ids = [b"u" * (1 + each)] * (count - 1) + [b"u" * (1 + each + rest)]

    body = body_of(identifies(), ids, sent_at=SENT)

    assert len(body) == MAX_BODY_BYTES == 499_999
    ids[-1] += b"u"
    error = refused(lambda: body_of(identifies(), ids, sent_at=SENT))
    assert (error.fault, error.error_type) == (Fault.TOO_LARGE, "too_large")


def test_the_2501st_event_is_never_sent_for_segment_would_drop_it_with_a_200():
    ids = [b"%d" % number for number in range(MAX_EVENTS + 1)]

    error = refused(lambda: built(ids, trait="t", integrations={}))

    assert error.fault is Fault.TOO_LARGE
    assert "2501" in str(error)


@pytest.mark.parametrize(
    "trait", ["", "  ", "t" * MAX_EVENT_BYTES, "half a \ud800 character"]
)
def test_a_trait_that_no_event_can_carry_is_not_blamed_on_people(trait):
    error = refused(lambda: built([b"u-1", b"u-2"], trait=trait))

    assert (error.fault, error.error_type) == (Fault.REFUSED, "config")
    assert "syncd check" in error.hint


def test_a_time_without_a_zone_is_never_sent_for_engage_would_discard_it():
    error = refused(lambda: built(at=PLANNED.replace(tzinfo=None)))

    assert (error.fault, error.error_type) == (Fault.REFUSED, "internal")


def test_a_thousand_usual_events_fit_a_body():
    ids = [b"%08d-47da-732d-8f77-c01b463ddf1e" % number for number in range(1000)]

    body = body_of(identifies(), ids, sent_at=SENT)

    assert len(body) < 0.7 * MAX_BODY_BYTES
