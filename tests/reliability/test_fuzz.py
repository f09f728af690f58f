"""Every parser of outside data, and inputs near to valid ones.

The short form. The long one is guided by coverage and runs for as long as one likes:
`python -m tests.fuzzing --seconds 100`. README.md says what holds of every input.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzzing.mutation import HOSTILE, inputs, is_json, swept
from tests.fuzzing.target import judge, quiet
from tests.fuzzing.targets import TARGETS

EXAMPLES = 120
EXAMPLES_LONG = 5_000


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet():
        yield


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_valid_and_what_once_failed_costs_little(name: str) -> None:
    target = TARGETS[name]

    for data in (*target.seeds, *target.found, *HOSTILE, b""):
        judge(target, data)


@pytest.mark.parametrize(
    "name", [name for name, each in TARGETS.items() if any(map(is_json, each.seeds))]
)
def test_any_odd_value_may_stand_anywhere_in_a_document(name: str) -> None:
    target = TARGETS[name]

    for seed in target.seeds:
        for data in swept(seed):
            judge(target, data)


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_is_an_error_of_ours_or_costs_much(
    name: str, request: pytest.FixtureRequest
) -> None:
    target = TARGETS[name]
    long = request.config.getoption("--long")

    @settings(
        max_examples=EXAMPLES_LONG if long else EXAMPLES,
        derandomize=not long,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(target))
    def judged(data: bytes) -> None:
        judge(target, data)

    judged()
