"""Whatever a download meets, nobody is removed by it and nothing is paid for twice.

The *fleet* has one cohort per fault on a fast clock, beside one daemon. First all
traits are true, then every cohort changes and meets its fault, then the faults are gone
and every sync runs again. It is told once (a fixture); the tests look at it.

What is killed, and what the quota stops, is in `test_downloads_resumed`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.installed import Installation, Running
from tests.simulated import Simulator, simulating

SPEED = 500
MEMBERS = 120
LINKED = 1200
"""Members of a cohort whose file is behind a link (more than 1,000, contract R12)."""
MOVING = 5
"""Who leaves a cohort when it changes; as many enter."""
ASTRAY_RUNS = 2
"""Runs more of a sync whose file's link leads astray: as many as end the reading of a
broken file."""


def people(cohort: str, first: int = 0) -> list[str]:
    """The members; ids that can be found in an output if they ever leak."""
    size = LINKED if cohort in BEHIND_A_LINK else MEMBERS
    return [f"person-{cohort}-{number:05d}" for number in range(first, first + size)]


def now(cohort: str) -> list[str]:
    """Who is in a cohort once it has changed."""
    return people(cohort, first=MOVING)


# ---- what may happen ----------------------------------------------------------------

Event = Callable[[Simulator, str], object]


@dataclass(frozen=True)
class Trouble:
    """What one cohort of the fleet meets, and what is to come of it."""

    name: str
    reason: str
    words: str
    """A part of the message for people."""
    fault: Mapping[str, Any] | None = None
    endpoint: str = "file"
    outcome: str = "failed"
    hint: str = ""
    """A part of what they are told to do."""
    happens: Event | None = None
    """Instead of a fault: what becomes of the cohort."""
    mended: Event | None = None
    paid: int = 1
    """Counted requests for the change, until the trait is right again."""


def status(code: int, **more: Any) -> dict[str, Any]:
    return {"kind": "status", "status": code} | more


def plain(text: str) -> dict[str, Any]:
    """A file as a body of its own, in place of the true one."""
    return status(200, format="text", body=text)


def leads_to(location: str) -> dict[str, Any]:
    return {"kind": "redirect", "location": location}


def deleted(simulator: Simulator, cohort: str) -> None:
    simulator.control.delete(f"/_sim/cohorts/{cohort}").raise_for_status()


def made(**values: Any) -> Event:
    return lambda simulator, cohort: simulator.cohort(
        cohort, members=now(cohort), **values
    )


def made_anew(**values: Any) -> Event:
    """Another cohort under the same id."""

    def happens(simulator: Simulator, cohort: str) -> None:
        deleted(simulator, cohort)
        made(**values)(simulator, cohort)

    return happens


def changed(**values: Any) -> Event:
    return lambda simulator, cohort: simulator.change(cohort, **values)


def refilled(simulator: Simulator, cohort: str) -> None:
    simulator.change(cohort, members=now(cohort))


BROKEN, SILENT = "source.broken_file", "source.unavailable"
FOREIGN = "source.foreign_link"
AGAIN = "the next run reads the file again, which is free"
TRUNCATED = {"kind": "truncated", "length": "sent"}
SHORT = {"kind": "short", "keep": 0.5}
PARTNER = "http://127.0.0.1:{partner}/lists?X-Amz-Signature=s3cr3t"
"""Another origin on loopback, which is none of the storage's."""
BODIES = (
    Trouble("zero-byte", BROKEN, "it is empty", {"kind": "zero_byte"}, hint=AGAIN),
    Trouble("html", BROKEN, "it is a page", {"kind": "html_200"}, hint=AGAIN),
    Trouble("cut-gzip", BROKEN, "gzip is cut off", TRUNCATED, hint=AGAIN),
    Trouble("cut-gzip-stored", BROKEN, "gzip is cut off", TRUNCATED, "storage"),
    Trouble("cut-off", SILENT, "cut the connection", TRUNCATED | {"length": "full"}),
    Trouble(
        "reset-stored",
        SILENT,
        "cut the connection",
        {"kind": "reset", "when": "mid"},
        "storage",
    ),
    Trouble("no-header", "source.no_column", "'user_id'", {"kind": "no_header"}),
    Trouble(
        "no-column",
        "source.no_column",
        "0 columns 'user_id' among its 2",
        plain('"amplitude_id","e_mail"\n"1","a@b.example"\n'),
    ),
    Trouble(
        "group-file",
        "source.group",
        "lists groups, not people",
        plain('"\tgroup_value"\n"\tacme"\n'),
        hint="only cohorts of users",
    ),
    Trouble("half", "source.short", "60 rows, the list counts 120", SHORT, hint=AGAIN),
    Trouble("half-stored", "source.short", "600 rows", SHORT, "storage", hint=AGAIN),
)
LINKS = (
    Trouble(
        "foreign-host",
        FOREIGN,
        "leads to storage.example: it is none of",
        leads_to("https://storage.example/elsewhere?X-Amz-Signature=s3cr3t"),
        hint="`storage_hosts`: syncd check",
    ),
    Trouble(
        "plain-http",
        FOREIGN,
        "only https",
        leads_to("http://bucket.s3.amazonaws.com/elsewhere"),
    ),
    Trouble("loopback", FOREIGN, "leads to 127.0.0.1", leads_to(PARTNER)),
)
ANSWERS = (
    Trouble("file-500", SILENT, "answered 500", status(500, format="html")),
    Trouble("stored-503", SILENT, "answered 503", status(503), "storage"),
    Trouble("firewall", SILENT, "Forbidden", {"kind": "waf_403"}, hint="the network"),
    Trouble(
        "job-failed",
        SILENT,
        "the job ended with 'JOB FAILED'",
        status(200, body={"async_status": "JOB FAILED"}),
        "status",
        paid=2,
    ),
    Trouble("job-unknown", SILENT, "answered 404", status(404), "status", paid=2),
    Trouble("polls-500", SILENT, "answered 500", status(500), "status"),
    Trouble(
        "turned-away",
        "rate",
        "turned 3 requests away",
        status(429),
        "request",
        outcome="skipped",
    ),
    Trouble("request-500", SILENT, "answered 500", status(500), "request"),
    Trouble(
        "request-404",
        "source.not_found",
        "answered 404",
        status(404),
        "request",
        hint="was the cohort deleted?",
    ),
)
COHORTS = (
    Trouble(
        "archived",
        "source.archived",
        "is archived",
        hint="unarchive it in Amplitude",
        happens=changed(archived=True),
        mended=changed(archived=False),
    ),
    Trouble(
        "gone",
        "source.not_found",
        "lists no cohort gone",
        hint="was it deleted or hidden?",
        happens=deleted,
        mended=made(),
    ),
    Trouble(
        "grouped",
        "source.group",
        "counts org name, not people",
        hint="count group is User",
        happens=made_anew(count_group="org name"),
        mended=made_anew(),
    ),
    Trouble(
        "never-computed",
        "not_ready",
        "was never computed: open it in Amplitude",
        outcome="skipped",
        happens=made_anew(computed=False),
        mended=changed(recompute=True),
    ),
    Trouble(
        "emptied",
        "guard.empty_source",
        "the source is empty, 120 people would leave",
        outcome="held",
        happens=changed(members=[]),
        mended=refilled,
        paid=2,
    ),
)
TROUBLES = {each.name: each for each in (*BODIES, *LINKS, *ANSWERS, *COHORTS)}

PASSING: Mapping[str, dict[str, Any]] = {
    "polls-429": status(429, calls=list(range(1, 10)), endpoint="status"),
    "request-429": status(429, calls=[1], endpoint="request"),
    "other-job": {"kind": "wrong_request", "calls": [1, 2], "endpoint": "status"},
    "empty-once": {"kind": "zero_byte", "calls": [1], "endpoint": "file"},
    # The link is made first, and answered when it is too old to be followed.
    "link-expired": {
        "kind": "wrong_cohort",
        "calls": [1],
        "endpoint": "file",
        "delay": 90 / SPEED,
    },
}
"""Faults that a run gets over by itself."""
BEHIND_A_LINK = {"cut-gzip-stored", "reset-stored", "half-stored", "stored-503"} | {
    "link-expired"
}
NAMES = (*TROUBLES, *PASSING)


# ---- the story ----------------------------------------------------------------------


@dataclass
class Fleet:
    """All that happened to the fleet."""

    simulator: Simulator
    installation: Installation
    daemon: Running
    outputs: list[str] = field(default_factory=list)
    """What every command said."""
    before: dict[str, set[str]] = field(default_factory=dict)
    """Whose trait was true after the first run, by cohort."""
    hit: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What `syncd run` said of each sync while the faults were there."""
    kept: dict[str, set[str]] = field(default_factory=dict)
    """Whose trait was true then."""
    removed: dict[str, set[str]] = field(default_factory=dict)
    """Whose was false then."""
    healed: dict[str, dict[str, Any]] = field(default_factory=dict)
    after: dict[str, set[str]] = field(default_factory=dict)
    paid: Counter[str] = field(default_factory=Counter)
    """Counted requests since the first run, by cohort."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    """What was asked while the faults were there."""

    def run(self, *names: str) -> dict[str, dict[str, Any]]:
        """Syncs once, every one by default, by the daemon."""
        ended = self.installation.run(*names)
        self.outputs += [ended.out, ended.err]
        return {each["sync"]: each for each in ended.document["runs"]}

    def reject(self, name: str) -> None:
        ended = self.installation.syncd(
            "reject", self.hit[name]["id"], "--reason", "a mistake"
        )
        assert ended.code == 0, ended.err
        self.outputs += [ended.out, ended.err]

    def traits(self, *, value: bool = True) -> dict[str, set[str]]:
        return {name: self.simulator.with_trait(name, value=value) for name in NAMES}

    def answers(self, name: str, endpoint: str) -> list[int]:
        """The statuses a cohort's calls were answered while the faults were there."""
        return [
            each["status"]
            for each in self.calls
            if (each["cohort_id"], each["endpoint"]) == (name, endpoint)
        ]


def assemble(fleet: Fleet) -> None:
    """Every cohort; the first run makes all traits true."""
    for name in NAMES:
        fleet.simulator.cohort(name, members=people(name))
    first = fleet.run()
    assert {each["outcome"] for each in first.values()} == {"success"}
    fleet.before = fleet.traits()


def strike(fleet: Fleet) -> None:
    """Every cohort changes and meets its fault."""
    simulator, since = fleet.simulator, fleet.simulator.last()
    port = simulator.origins["partner"].rpartition(":")[2]
    for name in NAMES:
        simulator.change(name, members=now(name))
    for name, each in TROUBLES.items():
        if each.happens is not None:
            each.happens(simulator, name)
        if each.fault is not None:
            fault = dict(each.fault)
            if "location" in fault:
                fault["location"] = fault["location"].replace("{partner}", port)
            simulator.fault(each.endpoint, cohort_id=name, **fault)
    for name, passing in PASSING.items():
        simulator.fault(cohort_id=name, **passing)
    fleet.hit = fleet.run()
    for _ in range(ASTRAY_RUNS):
        fleet.run("foreign-host")
    fleet.kept, fleet.removed = fleet.traits(), fleet.traits(value=False)
    fleet.calls = simulator.get(f"/_sim/log?since={since}")["entries"]


def heal(fleet: Fleet) -> None:
    """The faults are gone, and every sync runs again."""
    fleet.simulator.no_faults()
    for name, each in TROUBLES.items():
        if each.mended is not None:
            each.mended(fleet.simulator, name)
        if each.outcome == "held":
            fleet.reject(name)
    fleet.healed, fleet.after = fleet.run(), fleet.traits()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The whole story, told once."""
    origin = datetime.now(UTC).isoformat()
    fast = ("--speed", str(SPEED), "--origin", origin)
    with ExitStack() as stack:
        simulator = stack.enter_context(simulating(*fast, "--latency", "0"))
        installation = Installation(tmp_path_factory.mktemp("fleet"), simulator, stack)
        for name in NAMES:
            installation.cohort_sync(name, name)
        simulator.post("/_sim/config", {"job_seconds": 10})
        daemon = installation.start("serve", *fast)
        assert daemon.reached("daemon.started")
        told = Fleet(simulator, installation, daemon)
        assemble(told)
        since = simulator.last()
        strike(told)
        heal(told)
        requests = simulator.log("request", since)
        told.paid.update(each["cohort_id"] for each in requests if each["counted"])
        assert daemon.stop() == 0
        yield told


# ---- what must hold -----------------------------------------------------------------


@pytest.mark.parametrize("name", TROUBLES)
def test_a_download_that_fails_removes_nobody(fleet, name):
    assert fleet.kept[name] == fleet.before[name] == set(people(name))
    assert fleet.removed[name] == set()


@pytest.mark.parametrize("name", TROUBLES)
def test_the_run_says_what_is_wrong_and_what_to_do(fleet, name):
    expected, said = TROUBLES[name], fleet.hit[name]

    assert (said["outcome"], said["reason"]) == (expected.outcome, expected.reason)
    assert expected.words in said["message"]
    assert expected.hint in said.get("hint", "")


@pytest.mark.parametrize("name", TROUBLES)
def test_the_canonical_line_names_sync_cause_and_next_command(fleet, name):
    expected = TROUBLES[name]
    lines = fleet.daemon.events("run.finished", sync=name, outcome=expected.outcome)

    line = lines[0]
    assert expected.words in line["error"]
    assert line["reason"] == expected.reason
    if expected.outcome == "skipped":  # it heals by itself: nothing is to be done
        assert line["level"] == "info"
        assert fleet.daemon.events("run.skipped", sync=name, reason=expected.reason)
    else:
        assert line["next"] == f"syncd show {line['run_id']}"


@pytest.mark.parametrize("name", TROUBLES)
def test_the_next_good_run_heals(fleet, name):
    assert fleet.healed[name]["outcome"] == "success"
    assert fleet.after[name] == set(now(name))


@pytest.mark.parametrize("name", TROUBLES)
def test_a_change_is_paid_for_once_unless_its_job_is_lost(fleet, name):
    assert fleet.paid[name] == TROUBLES[name].paid


@pytest.mark.parametrize("name", PASSING)
def test_a_passing_fault_is_overcome_within_the_run_without_a_second_request(
    fleet, name
):
    assert fleet.hit[name]["outcome"] == "success"
    assert fleet.kept[name] == fleet.after[name] == set(now(name))
    assert fleet.healed[name]["outcome"] == "no_change"
    assert fleet.paid[name] == 1


def test_polling_goes_on_through_nine_429(fleet):
    answers = fleet.answers("polls-429", "status")

    assert answers[:9] == [429] * 9
    assert answers[-1] == 200


def test_an_expired_link_is_replaced_by_a_new_one_and_not_by_a_new_request(fleet):
    links, fetched = (
        fleet.answers("link-expired", each) for each in ("file", "storage")
    )

    assert set(links) == {302}
    assert len(links) == len(fetched)
    assert (fetched[0], fetched[-1]) == (403, 200)
    assert fleet.answers("link-expired", "request") == [202]


def test_nothing_follows_a_link_that_leads_astray(fleet):
    assert fleet.simulator.get("/_sim/partner")["requests"] == 0
    for each in LINKS:
        assert set(fleet.answers(each.name, "file")) == {302}
        assert fleet.answers(each.name, "storage") == []


def test_a_link_that_leads_astray_never_costs_another_request(fleet):
    refused = fleet.daemon.events("run.finished", sync="foreign-host", reason=FOREIGN)

    assert len(refused) == 1 + ASTRAY_RUNS
    assert fleet.paid["foreign-host"] == 1


def test_the_whole_fleet_stays_within_every_limit(fleet):
    spent = fleet.simulator.downloads()

    assert set(spent["refused"].values()) == {0}
    assert spent["most_in_60_seconds"] <= 4
    assert spent["most_in_10_minutes"] <= 60


def test_nobody_is_named_no_link_is_shown_and_no_credentials_went_astray(fleet):
    for text in (*fleet.outputs, fleet.daemon.text):
        assert "person-" not in text
        assert fleet.simulator.origins["storage"] not in text
        assert not re.search("X-Amz|cohort-exports|s3cr3t|elsewhere", text)
    assert fleet.simulator.get("/_sim/leaks")["leaks"] == []
