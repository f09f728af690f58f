"""The inbox on both stores: the newest word holds, once, and none is lost unread."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import select, text

from syncd.model import Feed, IdType, Message, Told
from syncd.store import inbox, pruning, words
from syncd.store import tables as t
from syncd.store.database import Database
from syncd.store.inbox import KEEP, KEEP_DELETED, Taken
from syncd.store.migrate import migrate
from syncd.sync import ids
from syncd.sync.ids import MAX_BYTES

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
VIP = Feed(connection="engage", key="vip", id_type=IdType.USER_ID)
CHURN = Feed(connection="engage", key="churn", id_type=IdType.USER_ID)
BY_AMP_ID = Feed(connection="engage", key="vip", id_type=IdType.AMPLITUDE_ID)
ELSEWHERE = Feed(connection="other", key="vip", id_type=IdType.USER_ID)


def told(
    *ids: bytes,
    inside: bool = True,
    at: datetime | None = NOW,
    tie: str = "",
    feed: Feed = VIP,
    name: str = "",
) -> Told:
    return Told(feed=feed, ids=ids, inside=inside, at=at, tie=tie, name=name)


def message(*says: Told, message_id: str = "", connection: str = "engage") -> Message:
    return Message(connection=connection, id=message_id, told=says)


def deletion(
    member_id: bytes = b"ann",
    at: datetime | None = NOW,
    id_type: IdType = IdType.USER_ID,
) -> Message:
    return Message(
        connection="engage", id="", deleted=((member_id, id_type),), deleted_at=at
    )


def take(database: Database, *messages: Message, now: datetime = NOW) -> Taken:
    with database.begin() as connection:
        return inbox.take(connection, messages, now)


def feed_row(database: Database, feed: Feed = VIP) -> inbox.FeedRow:
    with database.read() as connection:
        row = inbox.find(connection, feed)
    assert row is not None
    return row


def members(
    database: Database,
    feed: Feed = VIP,
    *,
    after: int = 0,
    newer_than: datetime | None = None,
) -> dict[bytes, bool]:
    """Everybody there is a word about, and whether they are in; each named once."""
    found: dict[bytes, bool] = {}
    with database.read() as connection:
        row = inbox.find(connection, feed)
        assert row is not None
        for entered, exited in inbox.words(
            connection, row.id, after=after, newer_than=newer_than
        ):
            for ids, inside in ((entered, True), (exited, False)):
                assert not found.keys() & ids
                found.update(dict.fromkeys(ids, inside))
    return found


def position(database: Database) -> int:
    with database.read() as connection:
        return inbox.position(connection)


def rows(database: Database) -> list[tuple[object, ...]]:
    with database.read() as connection:
        query = select(t.inbox).order_by(t.inbox.c.feed_id, t.inbox.c.member_id)
        return [tuple(row) for row in connection.execute(query)]


def prune(
    database: Database, now: datetime, folded: dict[Feed, int] | None = None
) -> int:
    with database.begin() as connection:
        return inbox.prune(connection, now, folded or {})


@pytest.fixture
def postgres_store(postgres_database: str) -> Iterator[Database]:
    """The store that several replicas share."""
    opened = Database(postgres_database)
    migrate(opened)
    yield opened
    opened.close()


# ---- which word holds ----------------------------------------------------------------


def test_the_word_with_the_newest_event_time_holds(database: Database) -> None:
    take(database, message(told(b"ann", at=NOW), told(b"bob", inside=False, at=NOW)))

    take(
        database,
        message(told(b"ann", inside=False, at=NOW - MINUTE)),
        message(told(b"bob", inside=True, at=NOW + MINUTE)),
    )

    assert members(database) == {b"ann": True, b"bob": True}


def test_an_instant_is_compared_whatever_zone_it_is_written_in(
    database: Database,
) -> None:
    elsewhere = datetime.fromisoformat("2026-03-01T20:00:00+09:00")  # an hour earlier

    take(database, message(told(b"ann", at=NOW)))
    take(database, message(told(b"ann", inside=False, at=elsewhere)))

    assert members(database) == {b"ann": True}


@pytest.mark.parametrize(
    ("first", "second", "inside"),
    [("a", "b", False), ("b", "a", True), ("a", "a", False), ("é", "z", True)],
)
@pytest.mark.parametrize("together", [False, True])
def test_of_equal_times_the_greater_tie_holds_and_of_equal_ties_the_later_arrival(
    database: Database, first: str, second: str, *, inside: bool, together: bool
) -> None:
    messages = [
        message(told(b"ann", tie=first)),
        message(told(b"ann", inside=False, tie=second)),
    ]

    for group in [messages] if together else [[each] for each in messages]:
        take(database, *group)

    assert members(database) == {b"ann": inside}


@pytest.mark.parametrize("together", [False, True])
def test_words_without_a_time_hold_in_the_order_of_arrival(
    database: Database, *, together: bool
) -> None:
    messages = [
        message(told(b"ann", at=NOW + MINUTE)),
        message(told(b"ann", inside=False, at=None)),
        message(told(b"bob", inside=False, at=None), told(b"bob", at=None)),
    ]

    for group in [messages] if together else [[each] for each in messages]:
        take(database, *group)

    assert members(database) == {b"ann": False, b"bob": True}
    with database.read() as connection:
        row = inbox.find(connection, VIP)
        assert row is not None
        assert inbox.word_of(connection, row.id, b"ann") == (False, NOW, NOW)


def test_a_newer_word_after_one_without_a_time_holds_whatever_the_store_has(
    database: Database,
) -> None:
    """One by one the second would replace the first, and the third the second."""
    take(database, message(told(b"ann", at=NOW + 5 * MINUTE)))

    take(
        database,
        message(told(b"ann", at=None)),
        message(told(b"ann", inside=False, at=NOW + MINUTE)),
    )

    assert members(database) == {b"ann": False}


def test_a_word_that_is_not_the_newest_changes_nothing(database: Database) -> None:
    take(database, message(told(b"ann")))
    before = rows(database)

    take(database, message(told(b"ann", inside=False, at=NOW - MINUTE)))

    assert rows(database) == before


def test_feeds_of_other_connections_and_kinds_of_id_are_other_feeds(
    database: Database,
) -> None:
    take(
        database,
        message(told(b"ann"), told(b"1", feed=BY_AMP_ID), told(b"eve", feed=CHURN)),
        message(told(b"bob", feed=ELSEWHERE), connection="other"),
    )

    assert members(database) == {b"ann": True}
    assert members(database, BY_AMP_ID) == {b"1": True}
    assert members(database, CHURN) == {b"eve": True}
    assert members(database, ELSEWHERE) == {b"bob": True}


def test_ids_are_kept_byte_for_byte(database: Database) -> None:
    odd = [
        b'a"b',
        b"a\\b",
        b"A",
        b"a",
        "жук".encode(),
        "👩🏽‍🚀".encode(),
        b"a{}b",
        b"%s",
    ]

    take(database, message(told(*odd)))

    assert members(database) == dict.fromkeys(odd, True)


def test_the_longest_id_that_hygiene_lets_pass_can_be_stored(
    database: Database,
) -> None:
    """Postgres takes no much longer key; its error is that of the whole group."""
    letters = (chr(0x4E00 + (n * 7919) % 20_000) for n in range(MAX_BYTES // 3))
    longest = "".join(letters).encode()
    assert ids.reason(longest, IdType.USER_ID) is None

    take(database, message(told(longest)))

    assert members(database) == {longest: True}


def test_many_people_in_one_message_each_get_a_position_of_their_own(
    database: Database,
) -> None:
    ids = [b"user-%05d" % number for number in range(10_000)]

    taken = take(database, message(told(*ids, *ids[:5], at=None)))

    assert taken == Taken(messages=1, duplicates=0, people=10_005)
    assert members(database) == dict.fromkeys(ids, True)
    assert len({row[-1] for row in rows(database)}) == 10_000
    assert max(int(str(row[-1])) for row in rows(database)) == position(database)


def test_any_number_of_feeds_and_messages_may_come_at_once(database: Database) -> None:
    """More than a statement has room for values: 32,766 on SQLite."""
    feeds = [
        Feed(connection="engage", key=f"k{number}", id_type=IdType.USER_ID)
        for number in range(11_000)
    ]
    messages = [
        message(*(told(b"ann", feed=feed) for feed in feeds)),
        *(message(message_id=f"m{number}") for number in range(33_000)),
    ]

    takings = [take(database, *messages) for _ in range(2)]

    assert [each.messages for each in takings] == [33_001, 1]
    assert len(rows(database)) == len(feeds)


# ---- the same message again ----------------------------------------------------------


def test_a_message_delivered_three_times_changes_nothing_after_the_first(
    database: Database,
) -> None:
    def deliver(now: datetime) -> Taken:
        return take(
            database,
            message(told(b"ann"), message_id="m1"),
            message(told(b"bob", at=None), message_id="m2"),
            now=now,
        )

    first = deliver(NOW)
    before, highest, feed = rows(database), position(database), feed_row(database)
    again = [deliver(NOW + MINUTE), deliver(NOW + 2 * MINUTE)]

    assert first == Taken(messages=2, duplicates=0, people=2)
    assert again == [Taken(messages=0, duplicates=2, people=0)] * 2
    assert (rows(database), position(database)) == (before, highest)
    assert feed_row(database) == feed


def test_of_a_message_that_comes_twice_at_once_the_first_is_taken(
    database: Database,
) -> None:
    taken = take(
        database,
        message(told(b"ann", at=None), message_id="m1"),
        message(told(b"ann", inside=False, at=None), message_id="m1"),
    )

    assert taken == Taken(messages=1, duplicates=1, people=1)
    assert members(database) == {b"ann": True}


def test_messages_without_an_id_are_always_taken(database: Database) -> None:
    takings = [take(database, message(told(b"ann", at=None))) for _ in range(2)]

    assert takings == [Taken(messages=1, duplicates=0, people=1)] * 2


def test_another_connection_may_use_the_same_message_id(database: Database) -> None:
    take(database, message(told(b"ann"), message_id="m1"))

    taken = take(
        database,
        message(told(b"ann", feed=ELSEWHERE), message_id="m1", connection="other"),
    )

    assert taken.messages == 1
    assert members(database, ELSEWHERE) == {b"ann": True}


def test_each_delivery_is_told_what_became_of_its_own_messages(
    database: Database,
) -> None:
    deliveries: list[Sequence[Message]] = [
        [message(told(b"ann", b"bob"), message_id="m1")],
        [],
        [message(told(b"ann"), message_id="m1"), message(told(b"eve"))],
        [deletion(b"eve")],
    ]

    with database.begin() as connection:
        takings = inbox.take_each(connection, deliveries, NOW)

    assert [(each.messages, each.duplicates, each.people) for each in takings] == [
        (1, 0, 2),
        (0, 0, 0),
        (1, 1, 1),
        (1, 0, 1),
    ]


def test_a_group_that_is_rolled_back_leaves_nothing(database: Database) -> None:
    poison = message(told(b"bob", b"\xff"), message_id="m2")

    with pytest.raises(UnicodeDecodeError):
        take(database, message(told(b"ann"), message_id="m1"), poison)

    with database.read() as connection:
        assert inbox.feeds(connection) == []
    assert (rows(database), position(database)) == ([], 0)
    assert take(database, message(told(b"ann"), message_id="m1")).messages == 1
    assert members(database) == {b"ann": True}


# ---- deletions -----------------------------------------------------------------------


def test_a_deleted_person_is_out_of_every_feed_of_the_connection(
    database: Database,
) -> None:
    take(
        database,
        message(told(b"ann", at=NOW - MINUTE), told(b"7", feed=BY_AMP_ID)),
        message(told(b"bob", feed=CHURN)),
        message(told(b"ann", feed=ELSEWHERE), connection="other"),
    )

    take(database, deletion(b"ann"))

    assert members(database) == {b"ann": False}
    assert members(database, CHURN) == {b"bob": True, b"ann": False}
    assert members(database, BY_AMP_ID) == {b"7": True}
    assert members(database, ELSEWHERE) == {b"ann": True}


@pytest.mark.parametrize("deleted_first", [False, True])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("word_at", "inside"),
    [(NOW - MINUTE, False), (NOW, False), (NOW + MINUTE, True)],
)
def test_only_a_newer_word_brings_a_deleted_person_back(
    database: Database,
    word_at: datetime,
    *,
    inside: bool,
    together: bool,
    deleted_first: bool,
) -> None:
    take(database, message(told(b"bob")))
    messages = [message(told(b"ann", at=word_at, tie="z")), deletion(b"ann", NOW)]
    if deleted_first:
        messages.reverse()

    for group in [messages] if together else [[each] for each in messages]:
        take(database, *group)

    assert members(database)[b"ann"] is inside


def test_a_deletion_without_a_time_holds_until_something_newer_arrives(
    database: Database,
) -> None:
    take(database, message(told(b"ann", at=NOW + MINUTE)))

    take(database, deletion(b"ann", at=None), now=NOW)
    after_deletion = members(database)
    take(database, message(told(b"ann", at=None)), now=NOW)

    assert after_deletion == {b"ann": False}
    assert members(database) == {b"ann": True}


# ---- feeds ---------------------------------------------------------------------------


def test_a_feed_is_known_from_the_first_word_and_called_as_it_was_last(
    database: Database,
) -> None:
    later = NOW + MINUTE

    take(database, message(told(b"ann", name="VIPs"), told(b"ann")))
    first = feed_row(database)
    take(database, message(told(b"ann", name="Best"), told(name="")), now=later)

    assert (first.name, first.first_at, first.last_at) == ("VIPs", NOW, NOW)
    last = feed_row(database)
    assert (last.id, last.name, last.first_at, last.last_at) == (
        first.id,
        "Best",
        NOW,
        later,
    )


def test_a_feed_that_a_sync_reads_is_there_before_anything_arrives(
    database: Database,
) -> None:
    with database.begin() as connection:
        inbox.ensure(connection, [VIP, CHURN], NOW)
        inbox.ensure(connection, [VIP], NOW + MINUTE)
        inbox.ensure(connection, [], NOW)

    row = feed_row(database)
    assert (row.feed, row.first_at, row.last_at) == (VIP, NOW, None)
    assert (row.name, row.list_id, row.pruned_to, row.reported) == ("", None, 0, None)
    with database.read() as connection:
        every = [each.feed for each in inbox.feeds(connection)]
        assert every == [CHURN, VIP]
        assert inbox.feeds(connection, "other") == []
        assert inbox.find(connection, ELSEWHERE) is None


def test_a_list_keeps_the_id_it_was_first_given(database: Database) -> None:
    with database.begin() as connection:
        first = inbox.name_list(connection, VIP, "VIPs", "list-1", NOW)
        again = inbox.name_list(connection, VIP, "Best", "list-2", NOW)

    with database.read() as connection:
        found = inbox.by_list_id(connection, "engage", "list-1")
        assert inbox.by_list_id(connection, "other", "list-1") is None
        assert inbox.by_list_id(connection, "engage", "list-2") is None
    assert (first.name, first.list_id) == ("VIPs", "list-1")
    assert (again.id, again.name, again.list_id) == (first.id, "Best", "list-1")
    assert found == again


def test_sizes_and_silence_are_remembered(database: Database) -> None:
    take(database, message(told(b"ann")))
    row = feed_row(database)

    with database.begin() as connection:
        inbox.note_size(connection, row.id, 42, NOW)
        inbox.note_silence(connection, row.id, NOW + MINUTE)

    noted = feed_row(database)
    assert (noted.reported, noted.reported_at) == (42, NOW)
    assert noted.silent_at == NOW + MINUTE


# ---- reading -------------------------------------------------------------------------


def test_words_above_a_position_are_those_written_since(database: Database) -> None:
    take(database, message(told(b"ann", b"bob")))
    read_to = position(database)

    take(
        database,
        message(told(b"ann", inside=False, at=NOW + MINUTE)),
        message(told(b"eve")),
        message(told(b"bob", inside=False, at=NOW - MINUTE)),
    )

    assert members(database, after=read_to) == {b"ann": False, b"eve": True}
    assert members(database, after=position(database)) == {}


def test_words_newer_than_a_list_are_those_and_the_deleted(database: Database) -> None:
    take(
        database,
        message(told(b"old", at=NOW - MINUTE), told(b"same", at=NOW)),
        message(told(b"new", inside=False, at=NOW + MINUTE)),
        deletion(b"gone", NOW - 60 * MINUTE),
    )

    assert members(database, newer_than=NOW) == {b"new": False, b"gone": False}


def test_words_are_read_in_blocks(database: Database) -> None:
    many = words.BLOCK * 2 + 1
    take(database, message(told(*(b"user-%d" % number for number in range(many)))))

    with database.read() as connection:
        row = inbox.find(connection, VIP)
        assert row is not None
        sizes = [len(a) + len(b) for a, b in inbox.words(connection, row.id)]

    assert sum(sizes) == many
    assert max(sizes) <= words.BLOCK


def test_the_backlog_says_what_words_would_bring(database: Database) -> None:
    take(database, message(told(b"before", at=NOW - 5 * MINUTE)))
    read_to = position(database)
    take(
        database,
        message(told(b"ann"), told(b"bob", inside=False, at=NOW + MINUTE)),
        message(told(b"eve", at=NOW - MINUTE), told(b"x", feed=CHURN)),
    )
    feed_id = feed_row(database).id

    with database.read() as connection:
        some = inbox.backlog(connection, feed_id, after=read_to)
        none = inbox.backlog(connection, feed_id, after=inbox.position(connection))

    assert (some.people, some.entered, some.exited) == (3, 2, 1)
    assert (some.oldest, some.newest) == (NOW - MINUTE, NOW + MINUTE)
    assert (none.people, none.entered, none.exited, none.oldest) == (0, 0, 0, None)


def test_nothing_is_said_of_somebody_unheard_of(database: Database) -> None:
    take(database, message(told(b"ann", at=NOW - MINUTE)))
    feed_id = feed_row(database).id

    with database.read() as connection:
        known = inbox.word_of(connection, feed_id, b"ann")
        unknown = inbox.word_of(connection, feed_id, b"bob")

    assert known == (True, NOW - MINUTE, NOW)
    assert unknown is None


def test_counts_of_results_add_up(database: Database) -> None:
    with database.begin() as connection:
        inbox.tally(connection, "engage", {"accepted": 2, "anonymous": 1}, NOW)
        inbox.tally(connection, "engage", {"accepted": 3, "none": 0}, NOW + MINUTE)
        inbox.tally(connection, "other", {"accepted": 5}, NOW)
        inbox.tally(connection, "silent", {}, NOW)

    with database.read() as connection:
        assert inbox.tallies(connection) == {
            "engage": {"accepted": (5, NOW + MINUTE), "anonymous": (1, NOW)},
            "other": {"accepted": (5, NOW)},
        }


# ---- pruning -------------------------------------------------------------------------


def test_an_old_word_goes_once_every_reader_has_made_a_plan_of_it(
    database: Database,
) -> None:
    take(database, message(told(b"read")))
    read_to = position(database)
    take(database, message(told(b"unread")))
    much_later = NOW + timedelta(days=400)

    dropped = prune(database, much_later, {VIP: read_to})

    assert dropped == 1
    assert members(database) == {b"unread": True}
    assert prune(database, much_later, {VIP: read_to}) == 0


def test_a_word_that_was_read_stays_as_long_as_a_late_list_may_come(
    database: Database,
) -> None:
    take(database, message(told(b"ann")))
    everything = {VIP: position(database)}

    kept = prune(database, NOW + KEEP, everything)
    dropped = prune(database, NOW + KEEP + MINUTE, everything)

    assert (kept, dropped) == (0, 1)


def test_the_word_of_a_deletion_stays_longer(database: Database) -> None:
    take(database, message(told(b"bob")), deletion(b"ann"))
    everything = {VIP: position(database)}

    prune(database, NOW + KEEP + MINUTE, everything)
    while_listed = members(database)
    prune(database, NOW + KEEP_DELETED + MINUTE, everything)

    assert while_listed == {b"ann": False}
    assert members(database) == {}


def test_what_nobody_reads_goes_when_it_is_old_and_that_is_noted(
    database: Database,
) -> None:
    take(database, message(told(b"ann"), told(b"bob", feed=CHURN)))
    highest = {row[0]: row[-1] for row in rows(database)}
    take(database, message(told(b"eve")), now=NOW + KEEP)

    prune(database, NOW + KEEP + MINUTE, {CHURN: 0})

    assert members(database) == {b"eve": True}
    assert members(database, CHURN) == {b"bob": True}
    row = feed_row(database)
    assert row.pruned_to == highest[row.id]
    assert feed_row(database, CHURN).pruned_to == 0


def test_pruning_goes_in_steps_until_nothing_is_left(database: Database) -> None:
    ids = [b"user-%d" % number for number in range(pruning.STEP + 7)]
    take(database, message(told(*ids), message_id="m1"))
    take(database, message(told(b"x", feed=CHURN), message_id="m2"))
    later = NOW + KEEP + MINUTE
    everything = dict.fromkeys((VIP, CHURN), position(database))

    steps = [prune(database, later, everything) for _ in range(3)]

    assert steps == [pruning.STEP, 7 + 1 + 2, 0]
    assert rows(database) == []


def test_old_words_go_though_a_word_seems_to_come_from_the_future(
    database: Database,
) -> None:
    take(database, message(told(b"future")), now=NOW + timedelta(days=365))
    take(database, message(told(b"old")))

    prune(database, NOW + KEEP + MINUTE, {VIP: position(database)})

    assert members(database) == {b"future": True}


def test_a_message_is_known_for_as_long_as_its_sender_may_repeat_it(
    database: Database,
) -> None:
    again = message(told(b"ann", at=NOW - MINUTE), message_id="m1")
    take(database, again)

    prune(database, NOW + KEEP)
    while_kept = take(database, again)
    prune(database, NOW + KEEP + MINUTE)
    afterwards = take(database, again)

    assert (while_kept.duplicates, afterwards.duplicates) == (1, 0)


# ---- several replicas ----------------------------------------------------------------


def together(*actions: Callable[[], object]) -> None:
    """Run these at the same time; raises what one of them raised."""
    with ThreadPoolExecutor(max_workers=len(actions)) as pool:
        for running in [pool.submit(action) for action in actions]:
            running.result(timeout=120)


class Follower:
    """Reads what was written since it last read, by the position it saw then."""

    def __init__(self, database: Database) -> None:
        self.seen: list[bytes] = []
        self._database = database
        self._read_to = 0

    def read(self) -> None:
        with self._database.read() as connection:
            row = inbox.find(connection, VIP)
            highest = inbox.position(connection)
            assert row is not None
            for entered, _ in inbox.words(connection, row.id, after=self._read_to):
                self.seen.extend(entered)
        self._read_to = highest

    def read_until(self, done: Callable[[], bool]) -> None:
        while not done():
            self.read()
        self.read()


def test_who_read_up_to_a_position_never_misses_a_word_with_a_smaller_one(
    postgres_store: Database,
) -> None:
    rounds, finished = 60, list[str]()
    take(postgres_store, message(told()))
    follower = Follower(postgres_store)

    def write(who: str) -> None:
        try:
            for number in range(rounds):
                ids = [f"{who}-{number}-{each}".encode() for each in range(7)]
                take(postgres_store, message(told(*ids), told(*ids, feed=CHURN)))
        finally:
            finished.append(who)

    together(
        partial(write, "a"),
        partial(write, "b"),
        partial(follower.read_until, lambda: len(finished) == 2),
    )

    assert len(follower.seen) == len(set(follower.seen)) == 2 * rounds * 7


def test_a_message_that_two_replicas_get_at_once_is_taken_once(
    postgres_store: Database,
) -> None:
    meet, takings = threading.Barrier(2, timeout=60), list[Taken]()

    def deliver() -> None:
        for number in range(20):
            again = message(told(b"ann"), message_id=f"m{number}")
            meet.wait()
            takings.append(take(postgres_store, again))

    together(deliver, deliver)

    assert sum(each.messages for each in takings) == 20
    assert sum(each.duplicates for each in takings) == 20


def test_storing_and_pruning_at_once_is_no_deadlock(postgres_store: Database) -> None:
    """One lock comes first: each locks rows in an order of its own."""
    ids = [b"user-%d" % number for number in range(200)]
    take(postgres_store, message(told(*ids)))

    def store(some: list[bytes]) -> None:
        for _ in range(25):
            take(postgres_store, message(told(*some, at=None)))

    def drop() -> None:
        for _ in range(25):
            prune(postgres_store, NOW + KEEP + MINUTE)

    together(partial(store, ids), partial(store, ids[::-1]), drop)

    store(ids)
    assert members(postgres_store) == dict.fromkeys(ids, True)


def test_naming_lists_and_storing_at_once_is_no_deadlock(
    postgres_store: Database,
) -> None:
    """The writer does both in one transaction, as they come."""
    take(postgres_store, message(told(b"ann")))

    def name_and_store(key: str) -> None:
        for _ in range(50):
            with postgres_store.begin() as connection:
                inbox.name_list(connection, VIP, "VIP", key, NOW)
                inbox.take(connection, [message(told(b"ann", at=None))], NOW)

    def store() -> None:
        for _ in range(50):
            take(postgres_store, message(told(b"ann", at=None)))

    together(partial(name_and_store, "one"), partial(name_and_store, "two"), store)

    assert feed_row(postgres_store).list_id in {"one", "two"}


def test_bytes_decide_between_ties_whatever_language_the_database_speaks(
    postgres_store: Database,
) -> None:
    """In a dictionary "a" comes before "B", in bytes "B" before "a"."""
    with postgres_store.begin() as connection:
        connection.execute(
            text('ALTER TABLE inbox ALTER COLUMN tie TYPE text COLLATE "unicode"')
        )
    take(postgres_store, message(told(b"ann", tie="a")))

    take(postgres_store, message(told(b"ann", inside=False, tie="B")))

    assert members(postgres_store) == {b"ann": True}
