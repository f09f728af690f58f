"""Whatever comes and goes, whatever is lost on the way: told once, reminded, resolved.

A small model of one channel: each minute some syncs are in trouble, some are paused; a
message arrives or does not, and sometimes the process dies after it arrived and before
that was noted.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.model import Condition
from syncd.notify import Channel, Kind, News, Seen
from syncd.notify.conditions import is_closed, observe, wanted
from syncd.notify.messages import LASTED, SHORT, Message, Scene, due

BEGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
STEP = timedelta(minutes=1)
REPEAT = timedelta(minutes=12)
SYNCS = ("a", "b", "c")
KINDS = (Kind.HELD, Kind.FAILING)
TROUBLES = [(kind, sync) for kind in KINDS for sync in SYNCS]


@dataclass(frozen=True)
class Minute:
    """What happens in one step."""

    troubles: frozenset[tuple[Kind, str]]
    paused: frozenset[str]
    arrives: bool
    dies: bool


@dataclass
class Model:
    """One channel with its rows, and everything that arrived."""

    channel: Channel
    rows: dict[str, Condition] = field(default_factory=dict)
    arrived: list[tuple[datetime, Message]] = field(default_factory=list)
    noted: set[tuple[str, datetime]] = field(default_factory=set)
    """Conditions of which a message was noted, by key and beginning."""
    now: datetime = BEGIN

    def live(self, minute: Minute) -> None:
        """One look, as `app.notifying` has them."""
        self.now += STEP
        found = [seen(*each) for each in sorted(minute.troubles)]
        visible = [each for each in found if each.sync not in minute.paused]
        unsure = {f"{kind}/{sync}" for kind in Kind for sync in minute.paused}
        sight = wanted(self.channel, visible, {}, unsure)
        rows = [row for row in self.rows.values() if not is_closed(row)]
        changes = observe(self.channel, rows, sight, self.now)
        for key in changes.drop:
            del self.rows[key]
        self.rows |= {row.key: row for row in changes.put}
        scene = Scene(
            instance="test",
            page="",
            seen=sight.seen,
            syncs=frozenset(SYNCS),
            now=self.now,
        )
        rows = [row for row in self.rows.values() if not is_closed(row)]
        for message in due(self.channel, rows, scene):
            if minute.arrives:
                self.arrived.append((self.now, message))
            if minute.arrives and not minute.dies:
                self._note(message)

    def _note(self, message: Message) -> None:
        for item in message.items:
            told = max(self.now, item.row.resolved_at or self.now)
            row = self.rows[item.row.key]
            assert row.told_at == item.row.told_at
            self.rows[row.key] = replace(row, told_at=told)
            self.noted.add((row.key, row.opened_at))

    def told(self) -> dict[str, list[tuple[News, datetime]]]:
        """Condition -> what its receivers keep of it: the first of each id."""
        known, kept = set(), defaultdict(list)
        for at, message in self.arrived:
            if message.id not in known:
                known.add(message.id)
                for item in message.items:
                    kept[item.row.key].append((message.news, at))
        return kept


def seen(kind: Kind, sync: str) -> Seen:
    return Seen(
        kind=kind,
        subject=sync,
        sync=sync,
        cause="same",
        headline=f"{sync} is {kind}",
        command="syncd status",
        code="state.held",
    )


minutes = st.builds(
    Minute,
    troubles=st.frozensets(st.sampled_from(TROUBLES), max_size=4),
    paused=st.frozensets(st.sampled_from(SYNCS), max_size=1),
    arrives=st.integers(0, 3).map(bool),
    dies=st.just(False),
)
stretches = st.lists(st.tuples(minutes, st.integers(1, 15)), min_size=1, max_size=12)
"""What goes on for some minutes, then something else."""


def lived(stretches: list[tuple[Minute, int]], channel: Channel) -> Model:
    model = Model(channel)
    for minute, count in stretches:
        for _ in range(count):
            model.live(minute)
    return model


CHANNEL = Channel(name="ops", kinds=frozenset(KINDS), repeat_every=REPEAT)
QUIET = Minute(frozenset(), frozenset(), arrives=True, dies=False)


@settings(max_examples=150, deadline=None)
@given(stretches)
def test_each_condition_opens_once_is_reminded_and_is_resolved_once(
    stretches: list[tuple[Minute, int]],
) -> None:
    model = lived([*stretches, (QUIET, 5)], CHANNEL)

    for key, said in model.told().items():
        words = [news for news, _ in said]
        assert words[0] is News.OPENED, key
        assert words[-1] is News.RESOLVED, key
        for before, after in pairwise(words):
            assert (before is News.RESOLVED) == (after is News.OPENED), key
        for (_, before_at), (news, at) in pairwise(said):
            assert news is not News.REMINDED or at - before_at >= REPEAT
    assert all(is_closed(row) for row in model.rows.values())


@settings(max_examples=100, deadline=None)
@given(stretches)
def test_what_passes_by_itself_is_never_told(
    stretches: list[tuple[Minute, int]],
) -> None:
    model = lived(stretches, CHANNEL)

    for at, message in model.arrived:
        lasted = LASTED.get(message.kind, SHORT)
        for item in message.items:
            if message.news is News.OPENED:
                assert at - item.row.opened_at >= lasted
            if message.news is News.RESOLVED:
                assert item.row.resolved_at is not None
                assert at - item.row.resolved_at >= SHORT


@settings(max_examples=100, deadline=None)
@given(stretches, st.integers(0, 40))
def test_a_death_between_sending_and_noting_repeats_but_loses_nothing(
    stretches: list[tuple[Minute, int]], death: int
) -> None:
    lives = [each for each, count in stretches for _ in range(count)]
    model = Model(CHANNEL)

    for number, minute in enumerate([*lives, *[QUIET] * 5]):
        model.live(replace(minute, arrives=True, dies=number == death))

    said: dict[tuple[str, datetime], list[News]] = defaultdict(list)
    for _, message in model.arrived:
        for item in message.items:
            said[item.row.key, item.row.opened_at].append(message.news)
    assert all(words[0] is News.OPENED for words in said.values())
    # Only what ended before its first message was noted may go without an end.
    assert {name for name, words in said.items() if words[-1] is not News.RESOLVED} <= (
        said.keys() - model.noted
    )
    assert all(is_closed(row) for row in model.rows.values())


def test_what_is_sent_again_after_a_death_has_the_same_id() -> None:
    troubles = frozenset({(Kind.HELD, "a"), (Kind.HELD, "b")})
    held = Minute(troubles, frozenset(), arrives=True, dies=False)
    model = lived([(held, 1)], CHANNEL)

    for dies in (True, True, False):
        model.live(replace(held, dies=dies))
    model.live(held)
    for dies in (False, True, False, False):
        model.live(replace(QUIET, dies=dies))

    ids = [(message.news, message.id) for _, message in model.arrived]
    assert [news for news, _ in ids] == [News.OPENED] * 3 + [News.RESOLVED] * 2
    assert len(set(ids)) == 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.frozensets(st.sampled_from(SYNCS), min_size=1), max_size=6))
def test_a_paused_sync_is_neither_told_nor_reminded_nor_resolved(
    troubled: list[frozenset[str]],
) -> None:
    everybody = frozenset((Kind.HELD, sync) for sync in SYNCS)
    before = Minute(everybody, frozenset(), arrives=True, dies=False)
    model = lived([(before, 3)], CHANNEL)
    told = len(model.arrived)

    for each in troubled:
        trouble = frozenset((Kind.HELD, sync) for sync in each)
        paused = Minute(trouble, frozenset(SYNCS), arrives=True, dies=False)
        for _ in range(20):
            model.live(paused)

    assert told == 1
    assert len(model.arrived) == told


def test_three_of_one_cause_that_come_together_are_one_message() -> None:
    everybody = frozenset((Kind.FAILING, sync) for sync in SYNCS)
    together = Minute(everybody, frozenset(), arrives=True, dies=False)

    model = lived([(together, 8), (QUIET, 3)], CHANNEL)

    said = [(each.news, len(each.items)) for _, each in model.arrived]
    assert said == [(News.OPENED, 3), (News.RESOLVED, 3)]


def test_who_does_not_want_the_end_is_not_told_of_it() -> None:
    held = Minute(frozenset({(Kind.HELD, "a")}), frozenset(), arrives=True, dies=False)
    channel = replace(CHANNEL, tells_resolved=False, repeat_every=None)

    model = lived([(held, 40), (QUIET, 5), (held, 3)], channel)

    assert [each.news for _, each in model.arrived] == [News.OPENED, News.OPENED]


def test_a_clock_that_is_set_back_does_not_hide_the_end() -> None:
    held = Minute(frozenset({(Kind.HELD, "a")}), frozenset(), arrives=True, dies=False)
    model = lived([(held, 3)], CHANNEL)

    model.now -= timedelta(hours=1)
    for _ in range(70):
        model.live(QUIET)

    assert [each.news for _, each in model.arrived] == [News.OPENED, News.RESOLVED]


def test_a_sync_that_is_stale_because_it_is_held_is_told_as_held_alone() -> None:
    stale, held = seen(Kind.STALE, "a"), seen(Kind.HELD, "a")
    masked = {stale.name: frozenset({Kind.HELD})}
    pager = Channel(name="pager", kinds=frozenset({Kind.STALE}))
    everything = Channel(name="ops")

    assert set(wanted(everything, [stale, held], masked).seen) == {held.name}
    assert set(wanted(pager, [stale, held], masked).seen) == {stale.name}
    assert stale.name in wanted(everything, [stale, held], masked).unsure
