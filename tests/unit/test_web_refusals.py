"""What is told of refusals: the first at once, the rest as one count a minute."""

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from syncd.clock import Clock
from syncd.web.refusals import PERIOD, Folded


@dataclass(frozen=True, slots=True, kw_only=True)
class HandClock(Clock):
    """Monotonic time that a test moves."""

    seconds: list[float] = field(default_factory=lambda: [0.0])

    def monotonic(self) -> float:
        return self.seconds[0]

    def move(self, seconds: float) -> None:
        self.seconds[0] += seconds


class Told:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.lines: list[tuple[float, str, int]] = []
        self.folded: Folded[str] = Folded(self.clock, self._tell)

    def _tell(self, kind: str, count: int) -> None:
        self.lines.append((self.clock.monotonic(), kind, count))


def test_the_first_of_a_kind_is_told_at_once() -> None:
    told = Told()

    assert told.folded.add("a", 3)
    assert told.folded.add("b")

    assert [line[1:] for line in told.lines] == [("a", 3), ("b", 1)]


def test_later_ones_are_told_as_one_count_after_a_minute() -> None:
    told = Told()
    told.folded.add("a")
    for _ in range(10):
        assert not told.folded.add("a")

    told.folded.flush()
    told.clock.move(PERIOD)
    told.folded.flush()

    assert told.lines == [(0.0, "a", 1), (PERIOD, "a", 10)]


def test_a_refusal_after_a_minute_tells_those_before_it_too() -> None:
    told = Told()
    told.folded.add("a")
    told.folded.add("a")
    told.clock.move(PERIOD)

    assert told.folded.add("a")

    assert [count for _, _, count in told.lines] == [1, 2]


def test_at_the_end_all_that_waits_is_told() -> None:
    told = Told()
    told.folded.add("a")
    told.folded.add("a", 5)

    told.folded.flush(last=True)
    told.folded.flush(last=True)

    assert [count for _, _, count in told.lines] == [1, 5]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(1, 5),
        st.sampled_from([0.0, 7.0, 61.0]),
    ),
    max_size=40,
)


@given(STEPS)
def test_nothing_is_lost_and_no_kind_is_told_twice_in_a_minute(
    steps: list[tuple[str, int, float]],
) -> None:
    told = Told()
    counted = {"a": 0, "b": 0}
    for kind, count, pause in steps:
        told.folded.add(kind, count)
        counted[kind] += count
        told.clock.move(pause)
        told.folded.flush()
    told.clock.move(PERIOD)
    told.folded.flush()

    for kind, total in counted.items():
        times = [at for at, of, _ in told.lines if of == kind]
        assert sum(count for _, of, count in told.lines if of == kind) == total
        assert all(b - a >= PERIOD for a, b in pairwise(times))
