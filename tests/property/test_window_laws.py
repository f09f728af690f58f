"""What holds of every blackout, and that no due time is lost to one."""

from datetime import UTC, date, datetime, time, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.schedule import Every, next_after
from syncd.scheduler import Timing
from syncd.windows import LONGEST, Window, closed_until, longest, next_end, window_at

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Antarctica/Troll", "Asia/Kolkata")
MINUTE = timedelta(minutes=1)
clocks = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 45]))
starts = st.sampled_from([date(2026, 3, 27), date(2026, 10, 23), date(2026, 6, 1)])


@st.composite
def pieces(draw: st.DrawFn) -> Window:
    first = draw(st.none() | starts)
    last = None
    if first is not None:
        last = first + timedelta(days=draw(st.integers(0, 4)))
    return Window(
        name=draw(st.sampled_from(["a", "b"])),
        zone=draw(st.sampled_from(ZONES)),
        first=first,
        last=last,
        days=tuple(sorted(draw(st.sets(st.integers(0, 6), min_size=1)))),
        start=draw(clocks),
        end=draw(clocks),
    )


blackouts = st.lists(pieces(), max_size=3).filter(
    lambda found: longest(found) < LONGEST
)
moments = st.builds(
    lambda day, minutes: (
        datetime(day.year, day.month, day.day, tzinfo=UTC) + minutes * MINUTE
    ),
    starts,
    st.integers(0, 5 * 24 * 60),
)


@settings(max_examples=100, deadline=None)
@given(blackouts, moments)
def test_the_end_of_a_blackout_lies_outside_of_it(
    windows: list[Window], t: datetime
) -> None:
    end = closed_until(windows, t)

    assert (end is None) == (window_at(windows, t) is None)
    if end is not None:
        assert end > t
        assert window_at(windows, end) is None
        assert window_at(windows, end - timedelta(seconds=1)) is not None
        assert next_end(windows, t) == end


@settings(max_examples=50, deadline=None)
@given(blackouts, moments)
def test_there_is_no_blackout_between_now_and_the_next_one(
    windows: list[Window], t: datetime
) -> None:
    end = next_end(windows, t)
    if end is None or closed_until(windows, t) is not None:
        return

    step, moment = 15 * MINUTE, t
    while moment < end and window_at(windows, moment) is None:
        moment += step

    assert closed_until(windows, moment) in (end, None)


@settings(max_examples=60, deadline=None)
@given(blackouts, moments, st.sampled_from([15, 60, 360]), st.integers(0, 59))
def test_a_due_time_is_never_lost_to_a_blackout(
    windows: list[Window], t: datetime, period: int, shift: int
) -> None:
    """The ticker looks at the due time itself, or at the end of what closes it."""
    schedule = Every(period * MINUTE)
    timing = Timing(
        sync="vip",
        schedule=schedule,
        shift=shift * MINUTE,
        blackout=tuple(windows),
    )
    due = next_after(schedule, t)
    assert due is not None
    begins = due + shift * MINUTE
    begins = closed_until(windows, begins) or begins

    looks, moment = [], t
    while moment < begins:
        following = timing.after(moment)
        assert following is not None
        assert following > moment
        looks.append(following)
        moment = following

    assert begins in looks
    assert window_at(windows, begins) is None
