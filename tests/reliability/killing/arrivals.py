"""What is pushed to a daemon, cut at every passage of its way into the store.

One request at a time, of every kind that is taken: single events of Engage, arrays of
them, lists of Amplitude and its cohort webhooks. Each is a commit of its own, so what
had a 2xx by the time of the kill must be in the store, and an answer that comes before
its commit is seen at the first kill before a commit.
"""

import json
import threading
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from typing import Any

from tests.installed import log_lines
from tests.knocking import Answer, Knocking, identify
from tests.reliability.killing.beside import rows
from tests.reliability.killing.cutting import Play, Story, people
from tests.reliability.killing.forked import Forked, Passage

CROWD = people(60)
COHORT = "c1"
COMPUTED = 1_790_000_000
"""Epoch seconds: when Amplitude computed the cohort."""

BUSY = 50
"""Times that a request is sent again."""
LINGER = 0.2
"""Seconds in which an answer that was given too early is sure to get out."""

WORDS = """
SELECT f.key, w.member_id, w.inside FROM inbox w JOIN feed f ON f.id = w.feed_id
"""

Word = tuple[str, str, bool]
"""(key, person, inside)"""


@dataclass(frozen=True)
class Delivery:
    """One request, and what the store must hold once it was acknowledged."""

    send: Callable[[Knocking, str], Answer]
    """Given the id of the list, where one was made."""
    words: tuple[Word, ...] = ()


def engage(*events: tuple[str, bool]) -> Delivery:
    """An event of Engage, or an array of several."""
    made = [identify(person, inside) for person, inside in events]
    content: Any = made if len(made) > 1 else made[0]
    return Delivery(
        lambda at, _: at.engage(content),
        tuple(("vip", person, inside) for person, inside in events),
    )


def create() -> Delivery:
    """Amplitude makes its list."""
    return Delivery(lambda at, _: at.amplitude("/lists", {"name": f"Cohort: {COHORT}"}))


def change(ids: list[str], *, inside: bool) -> Delivery:
    """Amplitude adds people to its list, or removes them."""
    verb = "add" if inside else "remove"
    return Delivery(
        lambda at, made: at.amplitude(f"/lists/{made}/{verb}", {"userIds": ids}),
        tuple((COHORT, person, inside) for person in ids),
    )


def hook(ids: list[str], *, inside: bool) -> Delivery:
    """A cohort webhook."""
    message = {
        "cohort_id": COHORT,
        "cohort_name": "Cohort c1",
        "in_cohort": inside,
        "computed_time": str(COMPUTED),
        "message_id": f"m-{inside}",
        "users": [{"user_id": person} for person in ids],
    }
    return Delivery(
        lambda at, _: at.webhook(message),
        tuple((COHORT, person, inside) for person in ids),
    )


DELIVERIES = (
    engage((CROWD[0], True)),
    engage((CROWD[1], False)),
    engage(*((person, True) for person in CROWD[2:8])),
    create(),
    change(CROWD[20:30], inside=True),
    change(CROWD[30:34], inside=False),
    hook(CROWD[40:48], inside=True),
    engage((CROWD[0], True)),
    hook(CROWD[50:53], inside=False),
    engage((CROWD[8], True), (CROWD[9], False)),
)
"""The last but two says again what the first one said."""
WORDS_SAID = {word for each in DELIVERIES for word in each.words}


class Arrivals(Story):
    """A daemon takes what is pushed, and is killed meanwhile."""

    name = "webhooks"

    def arrange(self, play: Play) -> None:
        """One sync is fed by Engage, one by Amplitude."""
        stage = play.stage
        stage.inbox()
        del stage.config["connections"]["engage"]["snapshot"]
        stage.sync()
        stage.push()
        stage.cohort_sync(
            "adopters",
            COHORT,
            from_={"via": "push", "relist_every": "never"},
            to={"connection": "partner-lists"},
        )
        play.simulator.users(CROWD)
        play.simulator.cohort(COHORT, members=[])
        play.notes["acknowledged"] = set()

    def act(self, play: Play, kill: Passage | None) -> Forked:
        """Serve, and take what comes."""
        daemon = play.stage.fork("serve", kill=kill, linger=LINGER)
        if daemon.reaches("daemon.started"):
            with suppress(OSError, HTTPException):
                deliver(play, daemon)
            if not daemon.child.has_ended(0.05):
                daemon.child.stop()
        daemon.child.wait()
        return daemon

    def judge(self, play: Play) -> None:
        """I-12: what was acknowledged is there. Nothing is that nobody said."""
        held = words(play)
        told = [DELIVERIES[number].words for number in play.notes["acknowledged"]]
        lost = {word for each in told for word in each} - held
        assert lost == set(), f"{len(lost)} acknowledged words are lost"
        assert held <= WORDS_SAID

    def finish(self, play: Play) -> None:
        """Who had no answer asks again; then both targets are as was said."""
        ended = self.act(play, None)
        assert ended.child.code == 0, ended.said[-3000:]
        assert len(play.notes["acknowledged"]) == len(DELIVERIES)
        assert words(play) == WORDS_SAID
        play.run()
        (cohort,) = (c for c in play.simulator.cohorts() if c["id"] != COHORT)
        assert play.simulator.members(cohort["id"]) == inside("vip", WORDS_SAID)
        (made,) = play.simulator.get("/_sim/partner/lists")["lists"]
        there = play.simulator.get(f"/_sim/partner/lists/{made['id']}/members")
        assert set(there["ids"]) == inside(COHORT, WORDS_SAID)


def deliver(play: Play, daemon: Forked) -> None:
    """Send what has no 2xx yet, in order, each once; note those that get one."""
    acknowledged: set[int] = play.notes["acknowledged"]
    lines = log_lines(daemon.said.splitlines())
    (address,) = (
        line["address"]
        for line in lines
        if line["event"] == "web.listening" and line["server"] == "inbound"
    )
    with closing(Knocking(f"http://{address}")) as at:
        for number, delivery in enumerate(DELIVERIES):
            if number in acknowledged:
                continue
            answer = accepted(delivery, at, play.notes.get("list", ""))
            acknowledged.add(number)
            if "listId" in answer.text:
                play.notes["list"] = json.loads(answer.text)["listId"]


def accepted(delivery: Delivery, at: Knocking, made: str) -> Answer:
    """Sent again while the daemon is too busy, as every sender does."""
    answer = delivery.send(at, made)
    for _ in range(BUSY):
        if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
            break
        threading.Event().wait(LINGER)
        answer = delivery.send(at, made)
    assert answer.status == HTTPStatus.OK, answer
    return answer


def words(play: Play) -> set[Word]:
    """What the store holds of both feeds."""
    found = rows(play.url, WORDS)
    return {(key, person, bool(within)) for key, person, within in found}


def inside(key: str, said: Iterable[Word]) -> set[str]:
    """Who is in, by these words."""
    return {person for which, person, within in said if which == key and within}
