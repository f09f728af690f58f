"""The law of the inbox: whatever the order and the grouping, the newest word holds.

Against a model that knows words and no store. Words without a time are newest by
arrival, so for them only the grouping must not matter.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.model import Feed, IdType, Message, Told
from syncd.store import inbox
from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.migrate import migrate

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PEOPLE = [b"ann", b"bob", "жук".encode()]
EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    # One store for all examples: each has a connection (so feeds) of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
connections = count()

Said = tuple[bytes, bool, bool, int | None, str]
"""(person, inside, deleted, minutes, tie) of a word about the only feed."""


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "postgresql":
        opened = Database(request.getfixturevalue("postgres_database"))
    else:
        path = tmp_path / "state" / "syncd.db"
        create_file(path)
        opened = Database(f"sqlite:///{path}")
    migrate(opened)
    yield opened
    opened.close()


def words(minutes: st.SearchStrategy[int | None]) -> st.SearchStrategy[list[Said]]:
    one = st.tuples(
        st.sampled_from(PEOPLE),
        st.booleans(),
        st.integers(0, 4).map(lambda drawn: drawn == 0),
        minutes,
        st.sampled_from(["", "B", "a", "é"]),
    )
    return st.lists(one, max_size=12)


def message_of(said: Said, feed: Feed) -> Message:
    person, inside, deleted, minutes, tie = said
    at = None if minutes is None else NOW + timedelta(minutes=minutes)
    if deleted:
        return Message(
            connection=feed.connection,
            id="",
            deleted=((person, feed.id_type),),
            deleted_at=at,
        )
    told = Told(feed=feed, ids=[person], inside=inside, at=at, tie=tie)
    return Message(connection=feed.connection, id="", told=(told,))


def model(said: list[Said]) -> dict[bytes, bool]:
    """One word after the other, by the rules spelled out, no clever rank."""
    held: dict[bytes, tuple[bool, bool, int, str]] = {}
    for person, inside, deleted, minutes, tie in said:
        new = (inside and not deleted, deleted, minutes or 0, "" if deleted else tie)
        old = held.get(person)
        if old is None or minutes is None or _is_newer(new, old):
            held[person] = new
    return {person: word[0] for person, word in held.items()}


def _is_newer(
    new: tuple[bool, bool, int, str], old: tuple[bool, bool, int, str]
) -> bool:
    _, deleted, minutes, tie = new
    _, was_deleted, old_minutes, old_tie = old
    if minutes != old_minutes:
        return minutes > old_minutes
    if deleted or was_deleted:
        return deleted
    return tie.encode() >= old_tie.encode()


def stored(
    store: Database, said: list[Said], cuts: list[int], times: int = 1
) -> dict[bytes, bool]:
    """What the inbox holds after these words, committed in groups cut at `cuts`."""
    name = f"engage-{next(connections)}"
    feed = Feed(connection=name, key="vip", id_type=IdType.USER_ID)
    messages = [message_of(each, feed) for each in said]
    edges = [0, *sorted(cut % (len(said) + 1) for cut in cuts), len(said)]
    with store.begin() as connection:
        inbox.ensure(connection, [feed], NOW)
    for first, last in pairwise(edges):
        for _ in range(times):
            with store.begin() as connection:
                inbox.take(connection, messages[first:last], NOW)
    found: dict[bytes, bool] = {}
    with store.read() as connection:
        row = inbox.find(connection, feed)
        assert row is not None
        for entered, exited in inbox.words(connection, row.id):
            found |= dict.fromkeys(entered, True) | dict.fromkeys(exited, False)
    return found


CUTS = st.lists(st.integers(0, 12), max_size=4)


@given(said=words(st.none() | st.integers(-3, 3)), cuts=CUTS)
@EXAMPLES
def test_the_newest_word_holds_however_words_are_grouped(
    store: Database, said: list[Said], cuts: list[int]
) -> None:
    assert stored(store, said, cuts) == model(said)


@given(said=words(st.integers(-3, 3)), cuts=CUTS, data=st.data())
@EXAMPLES
def test_words_with_a_time_may_arrive_in_any_order(
    store: Database, said: list[Said], cuts: list[int], data: st.DataObject
) -> None:
    # Of two that only the order of arrival tells apart, the sender sends but one.
    distinct = list(
        {
            (person, deleted, at, tie): (person, inside, deleted, at, tie)
            for person, inside, deleted, at, tie in said
        }.values()
    )
    shuffled = data.draw(st.permutations(distinct))

    assert stored(store, shuffled, cuts) == model(distinct)


@given(said=words(st.integers(-3, 3)), cuts=CUTS)
@EXAMPLES
def test_three_deliveries_of_every_word_are_as_one(
    store: Database, said: list[Said], cuts: list[int]
) -> None:
    distinct = list({(each[0], *each[2:]): each for each in said}.values())

    assert stored(store, distinct, cuts, times=3) == model(distinct)
