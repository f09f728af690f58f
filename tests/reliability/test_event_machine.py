"""A state machine tries to break a sync that is fed by events.

Words about people arrive in any order, late, twice, and again after newer ones; they
arrive while requests are under way; people are deleted; old words are pruned; whole
lists are read above them, or cannot be read. The rules of `machinery.ordeals`, `hands`
and `edits` go on meanwhile, under the laws of `machinery.machines`. Whom a plan may
move is said by a few lines of Python (`Model`), for each plan by the words it could
know.

    I-12, I-13   a word said twice, or again after a newer one, changes nothing, and any
                 order ends in the same: `Model` knows times, the store knows arrivals
    I-7          whoever is removed left by the words and the list of that very plan
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from syncd.errors import SourceUnavailable
from syncd.model import Message, Outcome, Told
from syncd.report.backlog import folded
from syncd.sources.feed_mark import Mark, adopted
from syncd.store import forgotten, inbox
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.store.migrate import migrate
from tests.builders import ListSource, ManualClock, Request, new_database, settings_of
from tests.reliability.machinery.edits import Edits
from tests.reliability.machinery.examining import examine, in_memory
from tests.reliability.machinery.machines import (
    DELIVERY,
    EVERYBODY,
    GUARD,
    HOURLY,
    NAME,
    Lists,
)
from tests.reliability.machinery.ordeals import Script, moments, somebody, troubles

LAG = timedelta(hours=2)
LONG = timedelta(days=8)

some = st.sets(somebody, max_size=5)
lateness = st.sampled_from([0, 0, 1, 3, 5])
"""Hours between an event and its arrival; some are older than a list is sure of."""
Words = list[tuple[set[bytes], set[bytes], int]]
words = st.lists(st.tuples(some, some, lateness), min_size=1, max_size=4)
"""Messages: who entered, who left, and how late it is."""


@dataclass(frozen=True)
class Said:
    """One message, as its sender may repeat it."""

    id: str
    at: datetime
    enter: frozenset[bytes]
    leave: frozenset[bytes]
    deleted: frozenset[bytes] = frozenset()


Word = tuple[datetime, bool, str, bool]
"""(event time, deleted, tie, inside)."""


class Model:
    """Whom the words and the last list that was applied want."""

    def __init__(self) -> None:
        self.newest: dict[bytes, Word] = {}
        self.then: dict[int, dict[bytes, Word]] = {0: {}}
        """The same as it was at each position of the inbox."""
        self.lists: dict[datetime, frozenset[bytes]] = {}
        """Every list that was read, by when."""
        self.base: frozenset[bytes] = frozenset()
        """Who was there when a person said that this counts."""

    def hear(self, said: Said, tie: str) -> None:
        """The newest by its own time counts; of equal ones a deletion, or the tie."""
        for ids, word in (
            (said.enter, (said.at, False, tie, True)),
            (said.leave, (said.at, False, tie, False)),
            (said.deleted, (said.at, True, "", False)),
        ):
            for member in ids:
                before = self.newest.get(member)
                if before is None or word[:3] >= before[:3]:
                    self.newest[member] = word

    def wanted(
        self, listed_at: datetime | None, position: int | None = None
    ) -> set[bytes]:
        """With the list that was read then; without one, the words alone."""
        newest = self.newest
        if position is not None:
            newest = self.then[max(each for each in self.then if each <= position)]
        wanted = set(self.base if listed_at is None else self.lists[listed_at])
        for member, (at, deleted, _, inside) in newest.items():
            if listed_at is None or deleted or at > listed_at - LAG:
                wanted = wanted | {member} if inside else wanted - {member}
        return wanted

    def begin_anew(self, members: set[bytes], kept: set[bytes]) -> None:
        """These count from now on, and the words about `kept` that are still known."""
        self.base = frozenset(members)
        for position, newest in self.then.items():
            self.then[position] = {
                each: word for each, word in newest.items() if each in kept
            }
        self.newest = {k: v for k, v in self.newest.items() if k in kept}


class Listed(ListSource):
    """Tells the model when it is read."""

    def __init__(self, model: Model, clock: ManualClock) -> None:
        super().__init__()
        self.model, self.clock = model, clock

    def blocks(self) -> Iterator[list[bytes]]:
        self.model.lists[self.clock.now()] = frozenset(self.members)
        yield from super().blocks()


class EventMachine(Edits):
    """One sync of words, with a whole list now and then or without one."""

    def __init__(self, database: Database, spool: Path, *, has_list: bool) -> None:
        self.has_list, self.model = has_list, Model()
        self.jumps = 0
        self.said: list[Said] = []
        self.too_late: int | None = None
        """The position behind which words are too late for the run under way."""
        self.heard = False
        """Whether anything at all was said about anybody."""
        super().__init__(database, spool)

    def configure(self) -> None:
        self.whole = Listed(self.model, self.clock) if self.has_list else None
        self.feed = self.world.fed(
            NAME,
            whole=self.whole,
            relist_every=timedelta(days=1),
            snapshot_lag=LAG,
            target=self.target(),
            guard=GUARD,
            schedule=HOURLY,
            delivery=DELIVERY,
        )

    # ---- what the words want ---------------------------------------------------------

    def mark(self, binding: Binding | None) -> Mark | None:
        if binding is None:
            return None
        return Mark.parse(binding.source_mark, self.feed.feed)

    def wanted(self) -> set[bytes]:
        mark = self.mark(self.binding())
        assert mark is not None
        listed_at = mark.listed_at if self.has_list else None
        reached = self.too_late
        if reached is not None:  # a key on trial is tried before anything is read
            reached = max(reached, mark.position)
        return self.model.wanted(listed_at, reached)

    def yet_to_leave(self) -> AbstractSet[bytes]:
        """Who is to be forgotten: a run that finds no new words compares nobody, the
        daemon has the sync let go of them within a minute."""
        return self.gone.keys()

    def wanted_now(self) -> set[bytes]:
        return self.wanted() - self.gone.keys()

    def lists(self, binding: Binding) -> Lists:
        mark = self.mark(binding)
        if mark is None:
            return []
        listed_at = mark.listed_at if self.has_list else None
        return [frozenset(self.model.wanted(listed_at, mark.position))]

    def position(self) -> str | None:
        return None if self.has_list else adopted(self.feed.feed, self.clock.now())

    def adopted(self) -> None:
        super().adopted()
        if self.has_list:
            return  # the next run reads it
        with self.world.database.read() as connection:
            row = inbox.find(connection, self.feed.feed)
            assert row is not None
            blocks = list(inbox.words(connection, row.id, after=0, newer_than=None))
        kept = {each for block in blocks for ids in block for each in ids}
        self.model.begin_anew(self.truth(), kept)

    # ---- what is said ----------------------------------------------------------------

    @initialize(words=words, script=troubles)
    def a_first_run(self, words: Words, script: Script) -> None:
        self.words_arrive(words=words)
        self.it_runs_into_trouble(script)

    @rule(words=words)
    def words_arrive(self, words: Words) -> None:
        for enter, leave, hours in words:
            self.hear(
                Said(
                    id=f"message-{len(self.said)}",
                    at=self.clock.now() - timedelta(hours=hours),
                    enter=frozenset(enter),
                    leave=frozenset(leave - enter),
                )
            )

    def somebody_moves(self, person: bytes) -> None:
        known = self.model.newest.get(person)
        nobody: set[bytes] = set()
        inside = known is not None and known[3]
        word = (nobody, {person}, 0) if inside else ({person}, nobody, 0)
        self.words_arrive(words=[word])

    @rule(words=words)
    def words_arrive_and_it_runs(self, words: Words) -> None:
        self.words_arrive(words=words)
        self.run()

    @precondition(lambda self: self.said)
    @rule(nth=st.integers(min_value=0, max_value=30), same_id=st.booleans())
    def words_are_repeated(self, nth: int, same_id: bool) -> None:
        """A replay: the very message, or the same words under another id. The door
        keeps out what is older than words are kept."""
        before = self.said[nth % len(self.said)]
        if self.clock.now() - before.at < inbox.KEEP:
            self.deliver(before, before.id if same_id else f"{before.id}-again")

    def hear(self, said: Said) -> None:
        self.said.append(said)
        self.deliver(said, said.id)

    def deliver(self, said: Said, message_id: str) -> None:
        """As a door does; whoever is to be forgotten is kept out there."""
        told = tuple(
            Told(
                feed=self.feed.feed, ids=ids, inside=inside, at=said.at, tie=message_id
            )
            for group, inside in ((said.enter, True), (said.leave, False))
            if (ids := self.let_in(group))
        )
        message = Message(
            connection=self.feed.feed.connection,
            id=message_id,
            told=told,
            deleted=tuple(
                (one, self.feed.feed.id_type) for one in sorted(said.deleted)
            ),
            deleted_at=said.at,
        )
        with self.world.database.begin() as connection:
            inbox.take(connection, [message], self.clock.now())
            position = inbox.position(connection)
            for one in said.deleted:
                # Said again, it counts from then on, by the clock of then.
                since = forgotten.since(connection, (one, self.feed.feed.id_type))
                self.gone[one] = since or self.clock.now()
        self.heard = self.heard or bool(told)
        self.model.hear(said, message_id)
        self.model.then[position] = dict(self.model.newest)

    def let_in(self, group: frozenset[bytes]) -> list[bytes]:
        self.engine.remembered.follow()
        accepted, _ = self.engine.remembered.accept(
            sorted(group), self.feed.feed.id_type
        )
        return accepted

    @rule(person=somebody, hours=lateness)
    def somebody_is_deleted(self, person: bytes, hours: int) -> None:
        at = self.clock.now() - timedelta(hours=hours)
        self.note_forgotten(person)
        nobody: frozenset[bytes] = frozenset()
        self.hear(
            Said(
                id=f"deletion-{len(self.said)}",
                at=at,
                enter=nobody,
                leave=nobody,
                deleted=frozenset({person}),
            )
        )

    @rule(words=words, script=troubles)
    def words_arrive_while_it_sends(self, words: Words, script: Script) -> None:
        """Of the run that is under way they are too late, of the next one not."""

        def say(_: Request) -> None:
            self.vendor.answering = lambda _: None
            self.words_arrive(words=words)

        with self.world.database.read() as connection:
            self.too_late = inbox.position(connection)
        self.vendor.answering = say
        self.it_runs_into_trouble(script)
        self.vendor.answering = lambda _: None
        self.too_late = None

    # What a list of the future is sure of, once the clock was set back, depends on when
    # each plan was made: there the model would be no simpler than the product.

    @precondition(lambda self: not self.has_list)
    @rule(days=st.sampled_from([2, 400]))
    def the_clock_is_set_back(self, days: int) -> None:
        super().the_clock_is_set_back(days)

    @precondition(lambda self: not self.has_list)
    @rule(days=st.sampled_from([2, 400]), request=moments)
    def it_dies_and_the_clock_is_set_back(self, days: int, request: int) -> None:
        super().it_dies_and_the_clock_is_set_back(days, request)

    @precondition(lambda self: self.has_list)
    @rule(listed=st.sets(st.sampled_from(EVERYBODY)))
    def the_audience_is_another_one(self, listed: set[bytes]) -> None:
        assert self.whole is not None
        self.whole.members = listed

    @precondition(lambda self: self.has_list)
    @rule()
    def the_list_cannot_be_read(self) -> None:
        assert self.whole is not None
        self.whole.while_reading = _fail
        self.run()
        self.whole.while_reading = lambda: None

    @precondition(lambda self: self.jumps < 3)
    @rule()
    def old_words_are_dropped(self) -> None:
        # At most 24 days in all: a deleted person is kept for 30.
        self.jumps += 1
        self.pass_time(LONG)
        configured = settings_of(*self.world.syncs.values())
        with self.world.database.begin() as connection:
            reached = folded(connection, configured)
            inbox.prune(connection, self.clock.now(), reached)

    # ---- the end ---------------------------------------------------------------------

    def come_to_rest(self) -> None:
        if not self.heard and not self.has_list:
            self.heal()
            report = self.run()
            assert report is not None
            assert report.outcome is Outcome.SKIPPED
            return
        super().come_to_rest()


def _fail() -> None:
    raise SourceUnavailable("the warehouse is away")


def test_a_sync_of_events_survives_whatever_happens() -> None:
    with in_memory() as folder:
        examine(partial(EventMachine, has_list=False), new_database(folder), 8)


def test_a_sync_of_events_and_lists_survives_whatever_happens() -> None:
    with in_memory() as folder:
        examine(partial(EventMachine, has_list=True), new_database(folder), 8)


def test_a_sync_of_events_survives_whatever_happens_on_postgres(
    postgres_database: str,
) -> None:
    database = Database(postgres_database)
    migrate(database)

    examine(partial(EventMachine, has_list=True), database, 2)
