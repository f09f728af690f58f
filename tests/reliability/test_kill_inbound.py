"""SIGKILL while events arrive: what was acknowledged is in effect, to the last event.

A sender in a process of its own pushes signed events, shuffled and some of them twice,
and repeats what is not answered. The daemon is killed again and again at random
moments and started anew. After each kill, before the next start, the store holds a
word about each person that is as new as the newest acknowledged one; at the end it
holds exactly what the model says, and so does the cohort.
"""

import random
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.cli.exit_codes import ExitCode
from tests.installed import Installation, Running
from tests.pushing import Errand, Event, Pushing, newest, pushing
from tests.simulated import Simulator

SEED = 20261122
LONG = 20
"""Kills from which on it is the long form; in the short one there are `FEW`."""
FEW = 3
LOOK = 0.005
"""Seconds between two looks at what was acknowledged."""
PATIENCE = 600.0

WORDS = """
SELECT w.member_id, w.inside, w.at, w.tie FROM inbox w
JOIN feed f ON f.id = w.feed_id WHERE f.key = 'vip' AND f.id_type = 'user_id'
"""
MESSAGES = "SELECT message_id FROM message"


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


@pytest.fixture
def engage(installation: Installation, simulator: Simulator, port: int) -> Installation:
    """A sync `vip` that is fed by webhooks alone."""
    installation.inbox()
    del installation.config["connections"]["engage"]["snapshot"]
    installation.config["web"]["inbound"]["listen"] = f"127.0.0.1:{port}"
    installation.config["defaults"]["guard"] = {"max_exit": "100%"}
    installation.sync("vip")
    return installation


def errand_of(engage: Installation, port: int, kills: int) -> Errand:
    """100,000 events about 20,000 people, or a twentieth of it."""
    parts = 20 if kills >= LONG else 1
    yesterday = datetime.now(UTC) - timedelta(days=1)
    return Errand(
        port=port,
        marks=str(engage.folder / "marks"),
        people=1_000 * parts,
        events=5_000 * parts,
        seed=SEED,
        since=int(yesterday.timestamp()),
    )


# ---- what the store holds -----------------------------------------------------------


@contextmanager
def reading(engage: Installation) -> Iterator[sqlite3.Connection]:
    """The store beside the product."""
    address = f"file:{engage.database}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        yield connection


def words(connection: sqlite3.Connection) -> dict[str, Event]:
    """The newest word about each person."""
    return {
        person: Event(person, bool(inside), _seconds(at), tie)
        for person, inside, at, tie in connection.execute(WORDS)
    }


def _seconds(at: str) -> int:
    return int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp())


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


@pytest.mark.timeout(2 * PATIENCE)
def test_every_acknowledged_event_is_in_effect_whenever_the_daemon_is_killed(
    engage: Installation, simulator: Simulator, port: int, pytestconfig: Any
) -> None:
    asked = pytestconfig.getoption("--kills")
    kills = asked if asked >= LONG else FEW
    errand = errand_of(engage, port, kills)
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

    model = newest(sender.events)
    with reading(engage) as connection:
        assert words(connection) == model
    assert ran.code == ExitCode.OK
    assert simulator.members() == {one for one in model if model[one].inside}
    assert set(outcome.answers) <= {"200", "503"}
    assert outcome.answers["200"] == len(sender.order)
    assert not told(daemon)
    rate = len(sender.order) / (outcome.seconds - outcome.paused)
    print(f"{kills} kills, {rate:,.0f} requests a second meanwhile, {outcome}")
