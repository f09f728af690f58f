"""Marked ids, keys, bodies and headers go through every path; no output holds one.

The real daemon at debug level, both directions, every door, faults that echo what was
sent, a store that breaks under it; then every command, as text and as JSON. Whatever
must stay secret here has one word in it, so one search finds it, however it is spelled.
"""

import http.client
import io
import json
import logging
import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from syncd import events, log
from syncd.clock import Clock
from syncd.events import emit
from syncd.web.control_address import socket_path
from tests.installed import Ended, Installation, Running, log_lines
from tests.knocking import FACTOR, PUSH_KEY, SECRET, Knocking, identify, knocking
from tests.simulated import Simulator

MARK = "kanarie7q"
"""In every id, e-mail, body, header and wrong key of these tests."""
KEYS = (
    *("demo-api-key", "demo-secret-key", "demo-write-key", "demo-partner-key"),
    *(SECRET, FACTOR, PUSH_KEY, "demo-push-secret-of-thirty-two-bytes"),
)
WRONG_KEY = f"{MARK}-wrong-key-0123456789abcdef"

KNOWN = [f"{MARK}-{number:03}@mark.example" for number in range(40)]
STRANGERS = [f"{MARK}-stranger-{number}" for number in range(8)]
UNUSABLE = [f" {MARK}-space", f"{MARK}-tab\tin", f"{MARK}-{'x' * 1100}"]
ECHO = {
    "error": f"no user {KNOWN[20]} ({quote(KNOWN[21])}), key demo-api-key",
    "invalid_ids": KNOWN[20:23],
    "authorization": f"Basic {b64encode(b'demo-api-key:demo-secret-key').decode()}",
}
"""What a vendor may say that echoes all it was told: ids that entered, and keys."""


ADDS = {"membership": {"operation": "ADD"}}
"""Filters of a fault: it echoes who entered, so it must meet their request."""


def spellings(word: str) -> set[str]:
    """The ways in which a word turns up: plain, in capitals, hex, base64."""
    raw = word.encode()
    found = {word, word.upper(), raw.hex(), raw.hex().upper(), word[::-1]}
    for before in range(3):
        whole = b64encode(bytes(before) + raw).decode().rstrip("=")
        # Without the characters that depend on what stands around it.
        last = len(whole) - ((len(raw) + before) % 3 > 0)
        found.add(whole[(0, 2, 3)[before] : last])
    return found


HIDDEN = [each for word in (MARK, *KEYS) for each in spellings(word)]


def assert_silent(**texts: str) -> None:
    """None of it stands in any of these outputs."""
    for name, text in texts.items():
        for each in HIDDEN:
            at = text.find(each)
            assert at < 0, f"{name}: {text[max(0, at - 300) : at + 120]}"


def said(ended: Ended) -> str:
    return ended.out + ended.err


@pytest.fixture
def world(installation: Installation, simulator: Simulator) -> Installation:
    """Both directions, every kind of destination, every door."""
    installation.config["defaults"]["delivery"]["batch_size"] = 10
    installation.sync("vip")
    simulator.post("/_sim/config", {"job_seconds": 0})
    simulator.cohort("c1", members=KNOWN[:20])
    installation.cohort_sync("trait", "c1")
    for name in ("partner-lists", "partner-properties"):
        to = {"connection": name} | ({"trait": "p"} if "prop" in name else {})
        installation.cohort_sync(name, "c1", to=to)
    simulator.users(KNOWN)
    installation.audience([*KNOWN[:20], *STRANGERS, *UNUSABLE])
    return installation


def test_no_run_and_no_fault_shows_an_id_or_a_key(
    world: Installation, simulator: Simulator
) -> None:
    outputs: dict[str, str] = {"first": said(world.run())}

    key = json.dumps({"error": "the key demo-api-key:demo-secret-key is unknown"})
    simulator.fault("partner_property", "status", calls=[1], status=400, body=key)
    # Few downloads: only four may be started in a real minute.
    echo = {"body": json.dumps(ECHO), "status": 400}
    for endpoint in ("membership", "partner_add"):
        simulator.fault(endpoint, "status", calls=[1], **echo, **ADDS.get(endpoint, {}))
    simulator.change("c1", members=KNOWN[5:30])
    world.audience([*KNOWN[4:30], *STRANGERS])
    outputs["echoed"] = said(world.run())
    simulator.no_faults()
    for kind in ("html_200", "missing_result", "waf_403"):
        simulator.fault("membership", kind, calls=[1])
        world.audience([*KNOWN[4:30], f"{MARK}-new-{kind}"])
        outputs[kind] = said(world.run("vip"))
        simulator.no_faults()
    simulator.fault("list", "status", calls=[1], status=400, body=key)
    outputs["list"] = said(world.run("trait"))

    assert_silent(**outputs)
    told = log_lines("".join(outputs.values()).splitlines())
    assert {"batch.sent", "run.finished"} <= {line["event"] for line in told}
    for line in told:
        assert_sentences_are_whole(line)


def assert_sentences_are_whole(line: dict[str, Any]) -> None:
    """No `<field>` is left in a sentence: whoever emits gives all that it names."""
    if line["event"] != "library.logged":
        assert "<" not in line["msg"], line
    if line["level"] in {"warning", "error"}:
        assert line["next"].startswith("syncd ")
        assert line["help"].startswith("syncd explain ")


def test_wrong_keys_are_in_no_output(world: Installation) -> None:
    for name in ("api_key", "secret_key", "write_key", "partner_key"):
        world.secret(name, WRONG_KEY)

    outputs = {
        "run": said(world.run()),
        "status": said(world.syncd("status")),
        "cohorts": said(world.syncd("cohorts", "-vv")),
        "plan": said(world.syncd("plan", "-vv", "--max-downloads", "1")),
    }

    assert_silent(**outputs)


# ---- the daemon ----------------------------------------------------------------------


@pytest.fixture
def doors(world: Installation) -> Iterator[tuple[Running, Knocking]]:
    """A daemon that all senders push to."""
    world.inbox()
    world.push()
    del world.config["connections"]["engage"]["snapshot"]
    daemon = world.start("serve")
    with knocking(daemon) as at:
        yield daemon, at


def bodies() -> Iterator[Any]:
    """Bodies for Engage's door: taken, left out, and of every kind of refusal."""
    yield identify(KNOWN[0])
    yield [identify(each) for each in KNOWN[:5]]
    yield identify(KNOWN[1], "maybe")
    yield identify(KNOWN[2], timestamp="2001-01-01T00:00:00Z")
    yield {"type": "identify", "anonymousId": f"{MARK}-anonymous"}
    yield {"type": f"{MARK}-type", "userId": KNOWN[3]}
    yield {"type": "identify", "userId": KNOWN[3], "traits": {MARK: MARK}}
    yield {"type": "delete", "userId": KNOWN[4], "timestamp": MARK}
    yield f'{{"{MARK}": '.encode()
    yield f'{{"{MARK}": 1, "{MARK}": 2}}'.encode()
    yield f'["{MARK}", NaN]'.encode()
    yield b"\xff\xfe" + MARK.encode()


def knock_everywhere(at: Knocking) -> list[int]:
    """Every door, with proof and without; the statuses that came back."""
    found = [at.engage(body) for body in bodies()]
    wrong = {"X-Signature": MARK.encode().hex()[:40], "X-Syncd-Key": WRONG_KEY}
    found += [at.engage(identify(KNOWN[0]), **wrong)]
    found += [at.engage(identify(KNOWN[0]), path=f"/in/engage/{MARK}")]
    made = at.amplitude("/lists", {"name": "[Amplitude] Cohort c1: c1"})
    found += [made]
    number = made.body["listId"] if made.status == 200 else MARK
    for verb, ids in (("add", KNOWN[:9]), ("remove", KNOWN[:3]), (MARK, [MARK])):
        found += [at.amplitude(f"/lists/{number}/{verb}", {"userIds": ids})]
    found += [at.amplitude(f"/lists/{MARK}/add", {"userIds": [MARK]})]
    traits = {"[Amplitude] Cohort c1: c1": True, f"{MARK}-trait": True}
    person = {"type": "identify", "traits": traits, "userId": KNOWN[7]}
    found += [at.amplitude("/properties", {"batch": [person, {MARK: MARK}]})]
    hook = {"cohort_id": "c1", "cohort_name": "Cohort c1", "in_cohort": True}
    people = [{"user_id": each} for each in KNOWN[:4]]
    found += [at.webhook(hook | {"users": people, "message_id": f"{MARK}::1"})]
    found += [at.webhook({"users": MARK})]
    found += [at.ask(f"/{MARK}?key={WRONG_KEY}", MARK.encode())]
    bearer = {"Authorization": f"Bearer {WRONG_KEY}", "X-Email": f"{MARK}@mark.example"}
    found += [at.ask("/in/amplitude/lists", b"{}", bearer)]
    return [answer.status for answer in found]


def seen_from_outside(daemon: Running) -> dict[str, str]:
    """What monitoring and strangers are answered by the admin server."""
    address = daemon.url("admin").removeprefix("http://")
    pages = {}
    for path in ("/healthz", "/readyz", "/metrics", f"/{MARK}"):
        with closing(http.client.HTTPConnection(address, timeout=10)) as client:
            client.request("GET", path, headers={"Authorization": f"Bearer {MARK}"})
            answer = client.getresponse()
            pages[path] = f"{answer.getheaders()} {answer.read().decode()}"
    return pages


def asked_over_the_socket(world: Installation, at: Knocking) -> dict[str, str]:
    """What the daemon answers to commands with strange fields in them."""
    from syncd.clients.http import HttpClient  # one user of the product's own client

    with HttpClient.over_unix_socket(
        socket_path(world.database), clock=Clock(), deadline=30
    ) as client:
        strange = {"sync": "nobody", "actor": "joe", "via": "cli", "odd": MARK}
        bodies_ = [b"{", json.dumps(strange).encode(), json.dumps([MARK]).encode()]
        answers = [
            client.request("POST", f"/v1/{verb}", body=body, max_bytes=1 << 20)
            for verb in ("run", "approve", "fetch")
            for body in bodies_
        ]
    return {f"socket {n}": each.body.decode() for n, each in enumerate(answers)}


def test_no_door_and_no_page_of_the_daemon_shows_what_was_pushed(
    world: Installation, doors: tuple[Running, Knocking]
) -> None:
    daemon, at = doors
    statuses = knock_everywhere(at)
    outputs = {name: said(world.syncd("run", name)) for name in ("vip", "trait")}
    outputs |= {"status": said(world.syncd("status", "--json"))}
    outputs |= seen_from_outside(daemon)
    outputs |= asked_over_the_socket(world, at)

    assert daemon.stop() == 0

    assert_silent(log=daemon.text, **outputs)
    assert {200, 400, 401, 404} <= set(statuses)
    refused = daemon.events("inbox.rejected")
    assert refused
    for line in log_lines(daemon.lines):
        assert_sentences_are_whole(line)


def test_a_store_that_breaks_under_the_daemon_names_nobody(
    world: Installation, doors: tuple[Running, Knocking]
) -> None:
    daemon, at = doors
    at.engage(identify(KNOWN[0]))
    with closing(sqlite3.connect(world.database)) as store:
        for table in ("inbox", "message", "binding"):
            store.execute(f"alter table {table} rename to {table}_gone")
        store.commit()

    statuses = [at.engage(identify(each)).status for each in KNOWN[:3]]
    outputs = {
        verb: said(world.syncd(verb, "-vv"))
        for verb in ("run", "status", "runs", "plan", "healthcheck")
    }
    daemon.stop()

    assert all(status >= 500 for status in statuses)
    assert_silent(log=daemon.text, **outputs)


# ---- the commands --------------------------------------------------------------------

READING = ("status", "runs", "quota", "cohorts", "schedule", "check", "healthcheck")


def test_no_command_shows_a_member(world: Installation) -> None:
    world.run()
    world.audience(KNOWN[:1])  # a guard holds it
    world.run()

    outputs = {}
    for form in ("--json", "-vv"):
        for verb in READING:
            outputs[f"{verb} {form}"] = said(world.syncd(verb, form))
        for verb in ("show", "plan"):
            outputs[f"{verb} vip {form}"] = said(world.syncd(verb, form, "vip"))

    assert_silent(**outputs)


def test_a_broken_configuration_shows_no_secret(world: Installation) -> None:
    amplitude = world.config["connections"]["amplitude"]
    amplitude["api_key"] = f"{MARK}-inline"
    amplitude["secret_headers"] = {"X-Key": f"{MARK}-header"}
    world.config["connections"]["partner-lists"]["secret_headers"] = {
        "X-Key": {"value": f"{MARK}-value"}
    }
    world.config["store"]["url"] = f"postgresql://syncd:{MARK}@localhost/syncd"

    outputs = {
        form: said(world.syncd("check", "--format", form))
        for form in ("full", "concise", "github", "json")
    }
    outputs |= {verb: said(world.syncd(verb, "-vv")) for verb in ("run", "status")}
    outputs |= {"json": said(world.syncd("run", "--json"))}

    assert_silent(**outputs)
    assert "secret.inline" in outputs["full"]


# ---- a bug ---------------------------------------------------------------------------


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What this process logs, at debug level."""
    stream = io.StringIO()
    log.configure("json", "debug", Clock(), stream, "test", "0")
    yield stream
    log.configure("json", "critical", Clock(), io.StringIO(), "test", "0")
    logging.captureWarnings(capture=False)


def crash() -> None:
    """An exception as a bug makes it: words, notes, a cause and locals with ids."""
    member = KNOWN[0]
    try:
        raise KeyError(member)
    except KeyError as cause:
        error = ValueError(f"cannot send {member} with {WRONG_KEY}")
        error.add_note(f"while sending {KNOWN[1]}")
        raise error from cause


@pytest.mark.parametrize("form", ["json", "console"])
def test_the_trace_of_a_bug_holds_places_and_no_words(
    logged: io.StringIO, form: str
) -> None:
    log.configure(form, "debug", Clock(), logged, "test", "0")

    try:
        crash()
    except ValueError as error:
        emit(events.DAEMON_CRASHED, error=type(error).__name__, exc_info=True)
        logging.getLogger("library").exception("it failed")

    text = logged.getvalue()
    assert_silent(log=text)
    assert text.count("ValueError") >= 2
    assert Path(__file__).name in text


def test_the_search_finds_a_mark_however_it_is_spelled() -> None:
    basic = b64encode(f"xy:{MARK}-1".encode()).decode()

    for text in (MARK, quote(KNOWN[0]), KNOWN[0].encode().hex(), basic, MARK.upper()):
        with pytest.raises(AssertionError):
            assert_silent(text=f"before {text} after")
