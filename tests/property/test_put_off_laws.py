"""Whatever is paused, closed or down: each due time is run as soon as it may be.

Time goes by in quarters of an hour. A model knows when the daemon was up and the sync
neither paused nor in a blackout; the first run at or after each due time must begin at
the first such moment, and none at any other.
"""

import tempfile
from collections.abc import Callable
from datetime import datetime, time, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.app import pausing
from syncd.app.engine import Engine
from syncd.app.slots import Slots
from syncd.schedule import Every
from syncd.scheduler import Timing
from syncd.windows import Window, window_at
from tests.builders import NOW, ManualClock, World, new_database, people, rows

STEP = timedelta(minutes=15)
QUIET = 40
"""Steps at the end, in which everything is over."""
ETL = Window(name="etl", zone="UTC", start=time(15), end=time(18, 30))
PERIOD = timedelta(hours=1)
SCHEDULE = Every(PERIOD)
TIMING = Timing(sync="vip", schedule=SCHEDULE, shift=timedelta(0), blackout=(ETL,))

steps = st.integers(1, 12)
events = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), steps),
        st.tuples(st.just("pause"), steps),
        st.tuples(st.just("down"), steps),
        st.tuples(st.just("resume"), st.just(0)),
    ),
    max_size=8,
)


def at_once(_: str, action: Callable[[], object]) -> None:
    action()


class Days:
    """A daemon whose time a test moves, beside the model of when it may run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = ManualClock()
        world.clock = self.clock
        self.paused_until = NOW
        self.open: list[datetime] = []

    def play(self, told: list[tuple[str, int]]) -> None:
        """Daemons one after the other, until nothing is left to be told."""
        left = [*told, ("pass", QUIET)]
        while left:
            with self.world.engine() as engine:
                slots = Slots(engine, self.clock, at_once)
                slots.start(())
                self.note()
                down = self.serve(engine, slots, left)
            for _ in range(down):
                self.clock.advance(STEP)

    def serve(self, engine: Engine, slots: Slots, left: list[tuple[str, int]]) -> int:
        """Until it goes down; for how many steps."""
        body = {"sync": "vip", "actor": "joe", "via": "cli", "reason": "a test"}
        while left:
            what, count = left.pop(0)
            match what:
                case "down":
                    return count
                case "pause":
                    span = {"span": f"{15 * count}m", "until": None}
                    pausing.pause(engine, body | span)
                    self.paused_until = self.clock.now() + count * STEP
                case "resume":
                    pausing.resume(engine, body, slots.make_up_put_off)
                    self.paused_until = min(self.paused_until, self.clock.now())
                    self.note()
                case _:
                    self.wait(engine, slots, count)
        return 0

    def wait(self, engine: Engine, slots: Slots, count: int) -> None:
        for _ in range(count):
            looks = TIMING.after(self.clock.now())
            self.clock.advance(STEP)
            if looks is not None and looks <= self.clock.now():
                slots.due("vip")
            for name in pausing.end_pauses(engine.database, self.clock.now()):
                slots.make_up_put_off(name)
            self.note()

    def note(self) -> None:
        now = self.clock.now()
        if now >= self.paused_until and window_at([ETL], now) is None:
            self.open.append(now)


def began(world: World) -> list[datetime]:
    query = "SELECT started_at FROM run WHERE outcome <> 'skipped' ORDER BY started_at"
    return [
        datetime.fromisoformat(f"{at}+00:00") for (at,) in rows(world.database, query)
    ]


@settings(max_examples=25, deadline=None)
@given(events)
def test_a_due_time_is_never_lost(told: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = new_database(Path(folder))
        world = World(database=database, spool=Path(folder))
        world.sync(members=people(1), schedule=SCHEDULE, blackout=(ETL,))
        world.vendor.known = people(1)
        days = Days(world)

        days.play(told)

        ran = began(world)
        database.close()
    last = days.clock.now() - QUIET // 2 * STEP
    moment = NOW + PERIOD
    while moment <= last:
        first_open = next(at for at in days.open if at >= moment)
        first_run = next((at for at in ran if at >= moment), None)
        assert first_run == first_open, f"due at {moment}"
        moment += PERIOD
    assert set(ran) <= set(days.open)
