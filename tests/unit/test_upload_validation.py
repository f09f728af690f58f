"""What an upload that is not to be saved may be answered, and what that means."""

import json

import pytest

from syncd.clients.amplitude_answers import Validated, read_validation
from syncd.clients.http import Answer
from syncd.errors import DeliveryError


def answer(**body: object) -> Answer:
    headers = {"content-type": "application/json"}
    raw = json.dumps(body).encode()
    return Answer(status=200, headers=headers, body=raw, duration=0.1)


def test_nothing_is_required_of_an_answer_whose_shape_is_not_documented():
    assert read_validation(answer()) == Validated(matched=None, created=None)


def test_how_many_ids_are_known_is_read_where_it_is_said():
    found = read_validation(answer(cohortId=None, metadata={"matched": 3, "totals": 3}))

    assert found == Validated(matched=3, created=None)


@pytest.mark.parametrize("key", ["cohortId", "cohort_id"])
def test_a_cohort_that_was_made_all_the_same_is_noticed(key):
    assert read_validation(answer(**{key: "7y6y3ij"})).created == "7y6y3ij"


def test_an_error_beside_a_success_proves_nothing():
    with pytest.raises(DeliveryError):
        read_validation(answer(error="Unknown owner"))
