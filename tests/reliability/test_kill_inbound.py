"""SIGKILL while events arrive: what was acknowledged is in effect, to the last event.

A sender in a process of its own pushes signed events, shuffled and some of them twice,
and repeats what is not answered. The daemon is killed again and again at random
moments and started anew. After each kill, before the next start, the store holds a
word about each person that is as new as the newest acknowledged one; at the end it
holds exactly what the model says, and so does the cohort.

The second test does the same with everything that is pushed several people at a time:
arrays of events, Amplitude's lists and its cohort webhooks, mixed.
"""

import random
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from syncd.cli.exit_codes import ExitCode
from tests.installed import Installation, Running
from tests.knocking import knocking
from tests.pushing import Errand, Event, Outcome, Pushing, ending, newest, pushing
from tests.reliability.killing.parcels import (
    HOOKED,
    LISTED,
    Parcel,
    Posting,
    model,
    said,
)
from tests.simulated import Simulator

SEED = 20261122
LONG = 20
"""Kills from which on it is the long form; in the short one there are `FEW`, or for
Postgres and batches `FEWER`."""
MANY = 100_000
FEW, FEWER = 3, 2
LOOK = 0.005
"""Seconds between two looks at what was acknowledged."""
PATIENCE = 600.0

WORDS = """
SELECT w.member_id, w.inside, w.at, w.tie FROM inbox w
JOIN feed f ON f.id = w.feed_id WHERE f.key = 'vip' AND f.id_type = 'user_id'
"""
MESSAGES = "SELECT message_id FROM message WHERE connection = 'engage'"
ALL_WORDS = """
SELECT f.key, w.member_id, w.inside, w.at FROM inbox w
JOIN feed f ON f.id = w.feed_id WHERE f.id_type = 'user_id'
"""


@pytest.fixture
def port() -> Iterator[int]:
    """A port that the daemon gets each time, and nobody else meanwhile.

    Held by a socket that is bound and does not listen: otherwise a sender that
    connects while no daemon is there might be given it, and meet itself.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture(params=["sqlite", "postgres"])
def engage(
    installation: Installation, port: int, request: pytest.FixtureRequest
) -> Installation:
    """A sync `vip` that is fed by webhooks alone, on either store."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_database")
        installation.config["store"]["url"] = url
    installation.inbox()
    del installation.config["connections"]["engage"]["snapshot"]
    installation.config["web"]["inbound"]["listen"] = f"127.0.0.1:{port}"
    installation.config["defaults"]["guard"] = {"max_exit": "100%"}
    installation.sync("vip")
    return installation


def errand_of(engage: Installation, port: int, *, long: bool, few: int) -> Errand:
    """100,000 events, or a few; five about each person on average."""
    events = MANY if long else few
    yesterday = datetime.now(UTC) - timedelta(days=1)
    return Errand(
        port=port,
        marks=str(engage.folder / "marks"),
        people=events // 5,
        events=events,
        seed=SEED,
        since=int(yesterday.timestamp()),
    )


# ---- what the store holds -----------------------------------------------------------


@contextmanager
def reading(engage: Installation) -> Iterator[Any]:
    """The store beside the product."""
    url = engage.config["store"]["url"]
    if url.startswith("sqlite"):
        address = f"file:{engage.database}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            yield connection
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection


def words(connection: Any) -> dict[str, Event]:
    """The newest word about each person."""
    return {
        person: Event(person, bool(inside), _seconds(at), tie)
        for person, inside, at, tie in connection.execute(WORDS)
    }


def all_words(connection: Any) -> dict[tuple[str, str], tuple[bool, int]]:
    """By (key, person): whether inside, and since when. A list has no time."""
    return {
        (key, person): (bool(inside), 0 if key == LISTED else _seconds(at))
        for key, person, inside, at in connection.execute(ALL_WORDS)
    }


def _seconds(at: str | datetime) -> int:
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


def lost(engage: Installation, sender: Pushing) -> list[Event]:
    """Acknowledged events that are not in effect: their person's word is older, or
    their message is unknown."""
    acknowledged = sender.acknowledged
    with reading(engage) as connection:
        held = words(connection)
        noted = {message_id for (message_id,) in connection.execute(MESSAGES)}
    return [
        event
        for event in acknowledged
        if event.id not in noted
        or event.person not in held
        or held[event.person].rank < event.rank
    ]


def invented(engage: Installation, sender: Pushing) -> set[Event]:
    """Words in the store that nobody said."""
    with reading(engage) as connection:
        return set(words(connection).values()) - set(sender.events)


def lost_words(engage: Installation, sender: Posting) -> list[Event]:
    """Acknowledged words that are not in effect, whatever they came in."""
    wanted = model(sender.taken)
    with reading(engage) as connection:
        held = all_words(connection)
    return [
        event
        for word, event in wanted.items()
        if word not in held
        or held[word][1] < event.at
        or (word[0] == LISTED and held[word][0] is not event.inside)
    ]


def invented_words(engage: Installation, sender: Posting) -> set[Any]:
    """Words in the store that nobody said."""
    uttered = {
        (word, (event.inside, event.at))
        for parcel in sender.parcels
        for event in parcel.events
        for word in said(Parcel(parcel.kind, (event,)))
    }
    with reading(engage) as connection:
        return set(all_words(connection).items()) - uttered


# ---- the kills ----------------------------------------------------------------------


def killed(daemon: Running, sender: Pushing, dice: random.Random, left: int) -> None:
    """Kill a daemon once it has acknowledged some more, or while it starts.

    `left` are the kills to come with this one. So much is acknowledged until then that
    events are left for the others.
    """
    pause = threading.Event()
    if dice.random() < 0.1:
        pause.wait(dice.uniform(0, 1.5))
    else:
        before = sender.count
        share = (len(sender.order) - before) // (left + 1)
        wanted = before + dice.randint(1, share * 3 // 2)
        while sender.count < wanted:
            assert daemon.process.poll() is None, daemon.text[-4000:]
            pause.wait(LOOK)
        pause.wait(dice.uniform(0, 0.03))
    assert daemon.kill(), daemon.text[-4000:]


def told(daemon: Running) -> bool:
    """Whether a daemon named anybody."""
    return "person-" in daemon.text


def kills_of(config: pytest.Config, few: int) -> tuple[int, bool]:
    """How many, and whether it is the long form."""
    asked: int = config.getoption("--kills")
    return (asked, True) if asked >= LONG else (few, False)


@pytest.mark.timeout(2 * PATIENCE)
def test_every_acknowledged_event_is_in_effect_whenever_the_daemon_is_killed(
    engage: Installation, simulator: Simulator, port: int, pytestconfig: pytest.Config
) -> None:
    on_sqlite = engage.database.name in engage.config["store"]["url"]
    kills, events = (FEW, 5_000) if on_sqlite else (FEWER, 2_000)
    kills, long = kills_of(pytestconfig, kills)
    errand = errand_of(engage, port, long=long, few=events)
    simulator.users(f"person-{number:06d}" for number in range(errand.people))
    dice = random.Random(SEED)  # noqa: S311  # repeatable, guards nothing
    daemon = engage.start("serve")
    assert daemon.reached("web.listening")

    with pushing(errand) as sender:
        for left in range(kills, 0, -1):
            killed(daemon, sender, dice, left)
            assert lost(engage, sender) == []
            assert invented(engage, sender) == set()
            assert not told(daemon)
            daemon = engage.start("serve")
            if left % 3 == 0:
                daemon.url()  # from now on it carries out what `run` asks for
                engage.start("run", "vip")  # and is killed while it does
        outcome = sender.outcome(PATIENCE)
    ran = engage.run("vip")

    newest_word = newest(sender.events)
    with reading(engage) as connection:
        assert words(connection) == newest_word
    assert ran.code == ExitCode.OK
    inside = {one for one, word in newest_word.items() if word.inside}
    assert simulator.members() == inside
    assert set(outcome.answers) <= {"200", "503"}
    assert outcome.answers["200"] == len(sender.order)
    assert not told(daemon)
    print(f"{kills} kills, {rate(sender, outcome)}, {outcome}")


def rate(sender: Pushing, outcome: Outcome) -> str:
    """Requests a second, while a daemon was there."""
    seconds = outcome.seconds - outcome.paused
    return f"{len(sender.order) / seconds:,.0f} requests a second meanwhile"


# ---- several people at a time -------------------------------------------------------


@pytest.fixture
def everything(engage: Installation, simulator: Simulator) -> Installation:
    """Two more syncs: of a cohort that is pushed as a list, and of one by webhooks."""
    engage.push()
    for name, cohort in (("listed", LISTED), ("hooked", HOOKED)):
        simulator.cohort(cohort, members=[])
        engage.cohort_sync(
            name,
            cohort,
            from_={"via": "push", "relist_every": "never"},
            to={"connection": "partner-lists"},
        )
    return engage


@pytest.mark.timeout(2 * PATIENCE)
def test_every_acknowledged_batch_is_in_effect_whenever_the_daemon_is_killed(
    everything: Installation,
    simulator: Simulator,
    port: int,
    pytestconfig: pytest.Config,
) -> None:
    kills, long = kills_of(pytestconfig, FEWER)
    errand = errand_of(everything, port, long=long, few=3_000)
    simulator.users(f"person-{number:06d}" for number in range(errand.people))
    dice = random.Random(SEED)  # noqa: S311  # repeatable, guards nothing
    daemon = everything.start("serve")
    with knocking(daemon) as at:
        made = at.amplitude("/lists", {"name": f"Cohort: {LISTED}"})
    errand = replace(errand, list_id=made.body["listId"])

    sender = Posting(errand)
    with ending(sender):
        for left in range(kills, 0, -1):
            killed(daemon, sender, dice, left)
            assert lost_words(everything, sender) == []
            assert invented_words(everything, sender) == set()
            assert not told(daemon)
            daemon = everything.start("serve")
        outcome = sender.outcome(PATIENCE)
    daemon.stop()
    ran = everything.run()

    wanted = model(sender.parcels)
    with reading(everything) as connection:
        held = all_words(connection)
    assert held == {word: (each.inside, each.at) for word, each in wanted.items()}
    assert ran.code == ExitCode.OK
    assert targets(simulator) == {
        key: {one for (of, one), word in wanted.items() if of == key and word.inside}
        for key in ("vip", LISTED, HOOKED)
    }
    assert set(outcome.answers) <= {"200", "503"}
    assert outcome.answers["200"] == len(sender.order)
    print(f"{kills} kills, {len(sender.events)} words, {rate(sender, outcome)}")
    print(f"  {outcome}")


def targets(simulator: Simulator) -> dict[str, set[str]]:
    """Who is at the destinations, by what feeds them."""
    (cohort,) = (c for c in simulator.cohorts() if c["id"] not in (LISTED, HOOKED))
    found = {"vip": simulator.members(cohort["id"])}
    for made in simulator.get("/_sim/partner/lists")["lists"]:
        where = f"/_sim/partner/lists/{made['id']}/members"
        key = LISTED if LISTED in made["name"] else HOOKED
        found[key] = set(simulator.get(where)["ids"])
    return found
