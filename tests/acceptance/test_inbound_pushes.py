"""What Amplitude pushes ends right, whatever happens to it: nobody lost, no download.

The real daemon and the simulator as Amplitude: four threads, eight retries. Between
them, where answers are to be lost, a small proxy.
"""

import itertools
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from syncd.cli.exit_codes import ExitCode
from tests.installed import Ended, Installation, Running
from tests.knocking import (
    PUSH_KEY,
    PUSH_SECRET,
    Answer,
    assert_nothing_leaked,
    knocking,
    people,
    tables,
    words,
)
from tests.simulated import PATIENCE, Simulator

LISTS = "/in/amplitude/lists"
IN_TIME = 1.0
"""Seconds, in which a webhook is to be answered."""


NEVER = {"via": "push", "relist_every": "never"}
"""Nothing but what is pushed."""


@pytest.fixture
def pushed(installation: Installation) -> Installation:
    """The cohort `c1`, pushed to us, goes into a partner's list: Segment is paced."""
    installation.config["defaults"]["guard"] = {"max_exit": "60%"}
    installation.push()
    partner = {"connection": "partner-lists"}
    installation.cohort_sync("adopters", "c1", from_=NEVER, to=partner)
    return installation


def sender(simulator: Simulator, url: str, **settings: Any) -> None:
    """Amplitude's destination `p`: lists, unless told otherwise."""
    simulator.amplitude_sender(
        "p", url=url, **({"cohort": "c1", "api_key": PUSH_KEY} | settings)
    )


def ran(installation: Installation) -> Ended:
    """A run of every sync that ended well."""
    ended = installation.run()
    assert ended.code == ExitCode.OK, ended.out + ended.err
    assert_nothing_leaked(ended.out, ended.err)
    return ended


def members(simulator: Simulator) -> set[str]:
    """Who is in the partner's only list."""
    (made,) = simulator.get("/_sim/partner/lists")["lists"]
    return set(simulator.get(f"/_sim/partner/lists/{made['id']}/members")["ids"])


def downloads(simulator: Simulator) -> int:
    """How many were spent."""
    projects = simulator.get("/_sim/stats")["projects"]
    return int(projects.get("187520", {}).get("month", 0))


def told(installation: Installation, key: str = "c1") -> dict[str, str]:
    """The newest word about each person of a cohort."""
    return {
        person: word
        for (_, found, _, person), word in words(installation.database).items()
        if found == key
    }


def inside(installation: Installation) -> set[str]:
    """Who is in the cohort `c1`, as far as was pushed."""
    return {person for person, word in told(installation).items() if word == "in"}


# ---- a list --------------------------------------------------------------------------


def test_four_parallel_batches_of_10000_are_40000_members(
    pushed: Installation, simulator: Simulator
) -> None:
    simulator.cohort("c1", members=people(40_000))
    daemon = pushed.start("serve")
    sender(simulator, daemon.url() + LISTS)

    result = simulator.push("p")
    run = ran(pushed).run

    assert result["outcome"] == "success"
    assert result["max_in_flight"] == 4
    assert result["statuses"] == {"200": 5}
    assert run["entered"] == 40_000
    assert members(simulator) == set(people(40_000))
    assert downloads(simulator) == 0
    assert_nothing_leaked(daemon.text)


def test_exits_while_entries_are_under_way_and_all_of_it_again_three_times(
    pushed: Installation, simulator: Simulator
) -> None:
    simulator.cohort("c1", members=people(8_000))
    daemon = pushed.start("serve")
    sender(
        simulator,
        daemon.url() + LISTS,
        batch_size=500,
        removes_wait=False,
        shuffle=True,
        duplicates=0.5,
    )
    assert simulator.push("p")["outcome"] == "success"
    ran(pushed)

    simulator.change("c1", add=people(4_000, 8_000), remove=people(3_000))
    mixed = simulator.push("p")
    run = ran(pushed).run
    for _ in range(3):
        assert simulator.push("p", full=True)["outcome"] == "success"
    again = ran(pushed).run

    assert mixed["outcome"] == "success"
    assert (run["entered"], run["exited"]) == (4_000, 3_000)
    assert (again["entered"], again["exited"]) == (0, 0)
    assert inside(pushed) == members(simulator) == set(people(9_000, 3_000))
    assert downloads(simulator) == 0
    assert_nothing_leaked(daemon.text)


def test_one_push_feeds_the_trait_and_the_partner(
    pushed: Installation, simulator: Simulator
) -> None:
    pushed.cohort_sync("trait", "c1", from_=NEVER)
    simulator.cohort("c1", members=people(900))
    daemon = pushed.start("serve")
    sender(simulator, daemon.url() + LISTS)
    simulator.push("p")
    ran(pushed)
    simulator.change("c1", add=people(20, 900), remove=people(40))
    simulator.push("p")
    ran(pushed)

    assert members(simulator) == set(people(880, 40))
    assert simulator.with_trait("trait") == set(people(880, 40))
    assert simulator.with_trait("trait", value=False) == set(people(40))
    assert downloads(simulator) == 0
    assert_nothing_leaked(daemon.text)


def test_one_name_made_four_times_at_once_is_one_list(pushed: Installation) -> None:
    daemon = pushed.start("serve")
    together = threading.Barrier(4)

    def create(number: int) -> Answer:
        with knocking(daemon) as at:
            together.wait(PATIENCE)
            return at.amplitude("/lists", {"name": f"[Amplitude] Name {number}: made"})

    ids: list[set[str]] = []
    for _ in range(5):
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(create, range(4)))
        assert [each.status for each in answers] == [200] * 4
        ids.append({each.body["response"]["listId"] for each in answers})

    assert len(set.union(*ids)) == 1
    (made,) = (
        row for row in tables(pushed.database, ["feed"])["feed"] if "made" in row
    )
    assert set.union(*ids) < set(made)


# ---- answers that are lost, a daemon that is killed ----------------------------------


class Proxy:
    """Stands before the daemon at an address that stays; may keep answers back.

    `forwards` is asked about each answer, by its number from 1, and may take its time;
    where it says no, the connection is cut instead.
    """

    def __init__(self, forwards: Callable[[int], bool]) -> None:
        self._forwards = forwards
        self._numbers = itertools.count(1)
        self._behind = ("", 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def stand_before(self, daemon: Running) -> None:
        """From the next connection on."""
        where = urlsplit(daemon.url())
        self._behind = (where.hostname or "", where.port or 0)

    def close(self) -> None:
        """No more."""
        self._listener.close()
        for each in list(self._open):
            _cut(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._behind)
            except OSError:
                client.close()  # as where nobody listens
                continue
            self._open |= {client, server}
            for way in (self._ask, self._answer):
                threading.Thread(target=way, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while piece := client.recv(1 << 16):
                server.sendall(piece)
        except OSError:
            pass
        _cut(server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while answer := _whole_answer(server):
                if not self._forwards(next(self._numbers)):
                    break
                client.sendall(answer)
        except OSError:
            pass
        _cut(client)
        _cut(server)


def _whole_answer(server: socket.socket) -> bytes:
    """The next answer, head and body; empty at the end of the connection."""
    answer = b""
    while piece := server.recv(1 << 16):
        answer += piece
        head, found, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if found and length and len(body) >= int(length[1]):
            return answer
    return b""


def _cut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    one.close()


@contextmanager
def proxied(forwards: Callable[[int], bool]) -> Iterator[Proxy]:
    proxy = Proxy(forwards)
    try:
        yield proxy
    finally:
        proxy.close()


def test_batches_whose_answers_were_lost_are_sent_again_and_change_nothing(
    pushed: Installation, simulator: Simulator
) -> None:
    # The list's creation, and four adds, are stored before their answers are lost.
    lost = {1, 3, 4, 5, 6, 8}
    simulator.cohort("c1", members=people(4_000))
    daemon = pushed.start("serve")
    with proxied(lambda number: number not in lost) as proxy:
        proxy.stand_before(daemon)
        sender(simulator, proxy.url + LISTS, batch_size=1_000)
        result = simulator.push("p")
    ran(pushed)

    assert result["outcome"] == "success"
    assert result["statuses"] == {"error": len(lost), "200": 5}
    assert inside(pushed) == set(people(4_000))
    assert members(simulator) == set(people(4_000))
    assert len(tables(pushed.database, ["feed"])["feed"]) == 1


def test_a_daemon_killed_among_adds_and_removes_loses_nobody(
    pushed: Installation, simulator: Simulator
) -> None:
    simulator.cohort("c1", members=people(6_000))
    daemons = [pushed.start("serve")]
    killed = threading.Event()

    def forwards(number: int) -> bool:
        if number == 11:
            daemons[0].kill()
            killed.set()
        return number != 11

    with proxied(forwards) as proxy, ExitStack() as stack:
        proxy.stand_before(daemons[0])
        sender(simulator, proxy.url + LISTS, batch_size=1_000, removes_wait=False)
        assert simulator.push("p")["outcome"] == "success"  # answers 1 to 7
        simulator.change("c1", add=people(5_000, 6_000), remove=people(3_000))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        result = pool.submit(simulator.push, "p")
        assert killed.wait(PATIENCE)
        daemons.append(pushed.start("serve"))
        proxy.stand_before(daemons[1])
        second = result.result(PATIENCE)
    ran(pushed)

    assert second["outcome"] == "success"
    assert second["retried"] > 0
    assert inside(pushed) == set(people(8_000, 3_000))
    assert members(simulator) == set(people(8_000, 3_000))
    assert downloads(simulator) == 0
    assert_nothing_leaked(*(each.text for each in daemons))


# ---- properties and webhooks ---------------------------------------------------------

MODES: dict[str, dict[str, Any]] = {
    "property_batch": {"url": "/in/amplitude/properties", "batch_size": 500},
    "property_single": {"url": "/in/amplitude"},
    "webhook": {"url": "/in/amplitude/webhook", "batch_size": 500},
    "webhook_users": {"url": "/in/amplitude/webhook", "batch_size": 500},
}


@pytest.mark.parametrize("mode", MODES)
def test_a_cohort_pushed_in_another_way_becomes_the_list_as_well(
    pushed: Installation, simulator: Simulator, mode: str
) -> None:
    count = 300 if mode == "property_single" else 3_000
    simulator.cohort("c1", members=people(count))
    daemon = pushed.start("serve")
    settings = MODES[mode] | {"mode": mode, "duplicates": 0.5}
    if mode.startswith("webhook"):
        settings |= {"headers": {"X-Syncd-Key": PUSH_SECRET}, "shuffle": True}
    sender(simulator, **(settings | {"url": daemon.url() + settings["url"]}))

    first = simulator.push("p")
    ran(pushed)
    simulator.change("c1", add=people(50, count), remove=people(70))
    second = simulator.push("p")
    run = ran(pushed).run

    assert first["outcome"] == second["outcome"] == "success"
    assert first["p99_ms"] < IN_TIME * 1000
    assert (run["entered"], run["exited"]) == (50, 70)
    assert members(simulator) == set(people(count - 20, 70))
    assert downloads(simulator) == 0
    assert_nothing_leaked(daemon.text)


def message(number: int, ids: list[str], **fields: Any) -> dict[str, Any]:
    """A webhook about the cohort `c1`, computed `number` minutes after the hour."""
    hour = int(time.time()) // 3600 * 3600 - 7200
    defaults: dict[str, Any] = {
        "cohort_name": "Cohort c1",
        "cohort_id": "c1",
        "in_cohort": True,
        "computed_time": str(hour + 60 * number),
        "message_id": f"m-{number}::{fields.get('in_cohort', True)}",
        "users": [{"user_id": each} for each in ids],
    }
    return defaults | fields


def test_webhooks_in_any_order_and_twice_end_as_the_newest_computation_says(
    pushed: Installation,
) -> None:
    daemon = pushed.start("serve")
    one, two, three = people(3)
    story = [
        message(1, [one, two]),
        message(2, [one], in_cohort=False),
        message(2, [three]),
        message(3, [two], in_cohort=False),
        message(4, [two]),
    ]
    ends = {one: "out", two: "in", three: "in"}

    with knocking(daemon) as at:
        for order in itertools.permutations(story):
            # Each order is a cohort of its own, and what was said is said again.
            key = f"c{abs(hash(tuple(map(id, order))))}"
            answer = None
            for told_now in (*order, order[0], order[-1]):
                mine = told_now | {
                    "cohort_id": key,
                    "message_id": f"{key}-{told_now['message_id']}",
                }
                began = time.monotonic()
                answer = at.webhook(mine)
                assert answer.status == 200
                assert time.monotonic() - began < IN_TIME
            assert answer is not None
            assert answer.body["duplicates"] > 0
            assert told(pushed, key) == ends
    assert_nothing_leaked(daemon.text)


def test_a_list_goes_by_arrival_and_a_later_webhook_by_its_computation(
    pushed: Installation, simulator: Simulator
) -> None:
    simulator.cohort("c1")
    daemon = pushed.start("serve")
    with knocking(daemon) as at:
        made = at.amplitude("/lists", {"name": "[Amplitude] Cohort c1: c1"}).body
        for verb in ("add", "remove", "add", "remove", "add"):
            path = f"/lists/{made['listId']}/{verb}"
            assert at.amplitude(path, {"userIds": people(10)}).status == 200
        assert at.webhook(message(1, people(3), in_cohort=False)).status == 200
    ran(pushed)

    assert set(told(pushed)) == set(people(10))
    assert members(simulator) == inside(pushed) == set(people(10))
