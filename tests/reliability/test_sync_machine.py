"""A state machine tries to break a sync that reads lists.

Its rules are those of `machinery.ordeals` (faults), `machinery.hands` (decisions) and
`machinery.edits` (others write the cohort, repairs, new beginnings); its laws are those
of `machinery.machines`, which says which is judged where. Here are the rules about its
source.

The long form, other examples each time:
`pytest --hypothesis-profile=long -o timeout=0 tests/reliability/test_*_machine.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from syncd.store.bindings import Binding
from syncd.store.buckets import bucket_hash
from syncd.store.database import Database
from syncd.store.migrate import migrate
from tests.builders import LANDS_LATE, THROTTLED, ListSource, new_database
from tests.reliability.machinery.edits import Edits
from tests.reliability.machinery.examining import examine, in_memory
from tests.reliability.machinery.machines import (
    DELIVERY,
    EVERYBODY,
    GUARD,
    HOURLY,
    INVALID,
    NAME,
    Lists,
)
from tests.reliability.machinery.ordeals import Script, somebody, troubles

members = st.sets(st.sampled_from([*EVERYBODY, *sorted(INVALID)]))


class Remembering(ListSource):
    """Remembers every list it ever told, by its digest."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[tuple[int, int], frozenset[bytes]] = {}
        self.last: frozenset[bytes] = frozenset()

    def blocks(self) -> Iterator[list[bytes]]:
        said: list[bytes] = []
        for block in super().blocks():
            said += block
            yield block
        total = sum(map(bucket_hash, said)) & ((1 << 64) - 1)
        self.last = frozenset(said)
        self.told[len(said), total] = self.last


class ListMachine(Edits):
    """One sync of whole lists."""

    def configure(self) -> None:
        self.source = Remembering()
        self.world.sources[NAME] = self.source
        self.vendor.invalid = set(INVALID)
        self.world.sync(
            NAME, target=self.target(), guard=GUARD, schedule=HOURLY, delivery=DELIVERY
        )
        self.standing: Lists = []
        """The list of the last plan, and that of a repair since, if there was one."""
        self.repairing: Lists = []

    def wanted(self) -> set[bytes]:
        return set(self.source.members)

    def wanted_now(self) -> set[bytes]:
        return self.wanted() - self.gone.keys()

    def lists(self, binding: Binding) -> Lists:
        digest = binding.digest
        if digest is not None and (digest.count, digest.total) in self.source.told:
            told = self.source.told[digest.count, digest.total]
            if self.standing != [told]:
                self.standing, self.repairing = [told], []
        return self.standing + self.repairing

    def about_to_repair(self) -> None:
        binding = self.binding()
        assert binding is not None
        self.lists(binding)
        self.repairing = [frozenset(self.source.members)]

    def adopted(self) -> None:
        super().adopted()
        self.standing, self.repairing = [frozenset(self.truth())], []

    @initialize(listed=st.sets(somebody, min_size=4), script=troubles)
    def a_first_run(self, listed: set[bytes], script: Script) -> None:
        self.source.members = listed
        self.it_runs_into_trouble(script)

    @rule(listed=members)
    def the_audience_is_another_one(self, listed: set[bytes]) -> None:
        self.source.members = listed

    @rule(person=somebody)
    def somebody_enters_or_exits(self, person: bytes) -> None:
        self.somebody_moves(person)

    def somebody_moves(self, person: bytes) -> None:
        self.source.members ^= {person}

    @rule(restarted=st.booleans())
    def the_query_is_rewritten(self, restarted: bool) -> None:
        self.source.named += "+"
        self.restart() if restarted else self.reload()


def test_a_sync_of_lists_survives_whatever_happens() -> None:
    with in_memory() as folder:
        examine(ListMachine, new_database(folder), 25)


def test_a_sync_of_lists_survives_whatever_happens_on_postgres(
    postgres_database: str,
) -> None:
    database = Database(postgres_database)
    migrate(database)

    examine(ListMachine, database, 3)


# ---- what it found ------------------------------------------------------------------


@contextmanager
def machine() -> Iterator[ListMachine]:
    """One that does what a test says, and comes to rest."""
    with in_memory() as folder:
        database = new_database(folder)
        state = ListMachine(database, folder)
        try:
            yield state
            state.check()
        finally:
            state.teardown()
            database.close()


def test_a_wait_that_a_connection_was_told_ends_with_a_clock_that_is_set_back() -> None:
    with machine() as state:
        state.a_first_run(listed=set(EVERYBODY[:4]), script=[THROTTLED])
        state.the_clock_is_set_back(days=2)
        state.somebody_enters_or_exits(EVERYBODY[5])

        state.it_runs()

        assert EVERYBODY[5] in state.truth()


def test_waiting_for_a_dead_process_ends_with_a_clock_that_is_set_back() -> None:
    with machine() as state:
        state.a_first_run(listed=set(EVERYBODY[:4]), script=[None])
        state.somebody_enters_or_exits(EVERYBODY[5])
        state.it_dies_at_a_request(request=1, how="die")  # taken over from the dead
        state.the_clock_is_set_back(days=2)
        state.somebody_enters_or_exits(EVERYBODY[6])

        state.it_runs()

        assert EVERYBODY[6] in state.truth()


# ---- what chance may leave out ------------------------------------------------------


def test_a_process_that_was_taken_over_writes_no_answer() -> None:
    with machine() as state:
        state.a_first_run(listed=set(EVERYBODY[:4]), script=[None])

        state.another_process_comes(nth=1, in_time=False, answered=False)


def test_whoever_a_late_request_moves_the_wrong_way_was_known_before() -> None:
    with machine() as state:
        state.a_first_run(listed=set(EVERYBODY[:4]), script=[None])
        state.somebody_moves_and_returns_while_nothing_is_answered(
            EVERYBODY[5], LANDS_LATE
        )

        state.what_was_late_lands()

        assert EVERYBODY[5] in state.truth() - state.source.members
