"""`syncd demo`: the real command, the real daemon, the fake Amplitude, to the end."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from syncd import config
from syncd.cli.demo_cohort_proof import CohortProof
from syncd.cli.demo_ending import Ending
from syncd.cli.demo_proof import Proof
from syncd.cli.demo_pushes import Push
from syncd.cli.demo_spending import Spending
from syncd.cli.demo_vendors import FakeVendors
from syncd.cli.demo_world import SECRETS, World
from syncd.clock import Clock
from syncd.errors import SyncdError
from tests.simulated import Simulator

PEOPLE = 3_000
OTHER_TOOL = {"name": "Amplitude Cohort Sync", "version": "1.0.0"}
ORIGIN = "http://127.0.0.1:1"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
USUAL_PORTS = (8080, 8081)
"""Where a daemon listens that is told nothing else."""


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "syncd", "demo", "--people", str(PEOPLE), *args]


def environ(scratch: Path) -> dict[str, str]:
    """A bare environment whose temporary folder is `scratch`."""
    path = str(Path(__file__).parents[2])
    scratch.mkdir(exist_ok=True)
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "TMPDIR": str(scratch)}


def alive_with(text: str) -> list[int]:
    """Processes of this machine whose command line names `text`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            dead = (entry / "stat").read_text().rpartition(") ")[2].startswith("Z")
        except (OSError, ValueError):
            continue
        if entry.name.isdigit() and text in line and not dead:
            found.append(int(entry.name))
    return found


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    never, deadline = threading.Event(), time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        never.wait(0.05)


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Read the demo's words until `text` comes."""
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if text in line:
            return
    pytest.fail(f"the demo ended without saying {text!r}, but: {told}")


def rows(told: str, first: str) -> list[list[str]]:
    """The lines of tables that begin with this word, in columns."""
    pattern = rf"^ +({re.escape(first)}  .*)$"
    return [re.split(" {2,}", line) for line in re.findall(pattern, told, re.MULTILINE)]


def runs(told: str, sync: str) -> list[list[str]]:
    """The rows of one sync in the tables of runs: its name, when it was due, …"""
    return [row for row in rows(told, sync) if len(row) > 3]


def pushes(told: str, about: str) -> list[list[str]]:
    """The rows about one audience or cohort in the tables of pushes."""
    found = rows(told, "Engage") + rows(told, "Amplitude")
    return [row for row in found if row[1] == about]


def sums(told: str, sync: str) -> tuple[int, int]:
    """How many entered and exited in all runs of a sync.

    A run may begin while the requests of one push are arriving, so one change can be
    told in two rows.
    """
    told_of = runs(told, sync)
    entered, exited = (
        [int(row[n].replace(",", "")) for row in told_of] for n in (5, 6)
    )
    return sum(entered), sum(exited)


def numbers(told: str, pattern: str) -> list[int]:
    """The numbers that a sentence tells."""
    found = re.search(pattern, told)
    assert found is not None, pattern
    return [int(each) for each in found.groups()]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo that keeps its folder at tmp_path/kept, to be disturbed."""
    with subprocess.Popen(
        command("--serve", "--keep", str(tmp_path / "kept")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environ(tmp_path / "scratch"),
    ) as process:
        yield process
        process.kill()
    for left in alive_with(str(tmp_path)):
        os.kill(left, signal.SIGKILL)


# --- the whole story ------------------------------------------------------------------


@pytest.fixture(scope="module")
def taken() -> Iterator[list[int]]:
    """The ports that a daemon listens on by default are taken, by us or by others."""
    with ExitStack() as stack:
        for port in USUAL_PORTS:
            ours = stack.enter_context(socket.socket())
            try:
                ours.bind(("127.0.0.1", port))
                ours.listen()
            except OSError:
                continue
        yield [port for port in USUAL_PORTS if is_taken(port)]


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def told(taken: list[int], tmp_path_factory: pytest.TempPathFactory) -> str:
    """One whole demo as a newcomer starts it; what it told."""
    scratch = tmp_path_factory.mktemp("demo") / "scratch"
    misleading = {"SYNCD_LOG__LEVEL": "nonsense", "SYNCD_CONFIG": "/nowhere.yaml"}
    began = time.monotonic()
    done = subprocess.run(
        command(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        env=environ(scratch) | misleading,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert time.monotonic() - began < 60
    assert list(scratch.iterdir()) == []
    assert alive_with(str(scratch)) == []
    return done.stdout


def test_the_demo_listens_on_ports_that_are_free(taken: list[int], told: str) -> None:
    (inbound,) = numbers(told, r"On http://127\.0\.0\.1:(\d+) it takes what is pushed")

    assert taken == list(USUAL_PORTS)
    assert inbound not in taken


def test_the_demo_compares_audience_and_cohort_person_by_person(told: str) -> None:
    (large,) = rows(told, "power_users")
    (small,) = rows(told, "trial_expiring_7d")

    # in the source, unmatched, acknowledged, at Amplitude, missing, extra
    assert large[1:] == ["1,205", "6", "1,199", "1,199", "0", "0", "equal"]
    assert small[1:] == ["304", "2", "302", "302", "0", "0", "equal"]
    assert "Every cohort is its audience minus the listed unmatched people" in told


def test_the_demo_sends_everybody_once_and_then_only_who_moved(told: str) -> None:
    first, *later = runs(told, "power-users")

    # before, after, entered, exited, unmatched, requests
    assert first[2:] == ["0", "→", "2,993", "+2,993", "0", "7", "4", "success"]
    entered = [row[5] for row in later if row[5] != "0"]
    exited = [row[6] for row in later if row[6] != "0"]
    # 18 enter twice, and once the one whom Amplitude did not know before.
    assert sorted(entered) in (["+18", "+19"], ["+1", "+18", "+18"])
    assert exited == ["-12", "-12", "-1,807"]


def test_the_demo_holds_a_shrunk_audience_then_approves_one_and_rejects_one(
    told: str,
) -> None:
    large, small = runs(told, "power-users"), runs(told, "trial-expiring")

    held = [row for row in large + small if row[-1].startswith("held")]
    approved = [row for row in large if row[1] == "approve"]
    assert [row[-1] for row in held] == ["held: -1,807 not sent", "held: -182 not sent"]
    assert [row[5:7] for row in approved] == [["0", "-1,807"]]
    assert [row[-2:] for row in approved] == [["2", "success"]]
    assert [row[6] for row in small if row[6] != "0"] == ["-3", "-3"]
    assert re.search(r"^ +\$ syncd show [0-9a-f]{8}$", told, re.MULTILINE)
    assert "guard.max_exit: 1,807 of 3,006 people would leave (60.1%" in told
    assert "rejected; nothing was sent, the baseline stays." in told


def test_the_demo_compares_cohort_and_trait_or_list_person_by_person(
    told: str,
) -> None:
    (churn,) = rows(told, "Churn risk")
    (adopters,) = rows(told, "Feature adopters")

    # computed, anonymous, acknowledged, as a, there, missing, extra
    assert churn[1:] == ["627", "25", "602", "trait", "602", "0", "0", "equal"]
    assert adopters[1:] == ["132", "10", "122", "list", "122", "0", "0", "equal"]
    assert "3 people left Churn risk: trait false for each of them, and" in told
    assert "every trait and list is its cohort minus the anonymous people" in told


def test_the_demo_sends_a_cohort_once_and_then_only_who_moved(told: str) -> None:
    churn, adopters = runs(told, "churn-risk"), runs(told, "feature-adopters")

    assert {row[-1] for row in adopters} == {"success"}
    assert adopters[-1][4] == "122"
    assert sums(told, "feature-adopters") == (125, -3)
    # before, after, entered, exited, unmatched, requests
    assert [row[2:] for row in churn] == [
        ["0", "→", "600", "+600", "0", "0", "1", "success"],
        ["600", "→", "602", "+5", "-3", "0", "2", "success"],
    ]


def test_the_demo_is_told_by_webhooks_who_enters_and_leaves(told: str) -> None:
    first, second, gone, back = pushes(told, "trial_expiring_7d")

    # by, about, requests, at once, sent, twice, stored after, acknowledged
    assert [first[4:6], second[4:6]] == [["10", "2"]] * 2
    assert [gone[4:6], back[4:6]] == [["218", "36"]] * 2
    assert {each[0] for each in (first, second, gone, back)} == {"Engage"}
    for each in (first, second):
        assert re.fullmatch(r"[\d.]+ m?s", each[7])
    assert [gone[7], back[7]] == ["held", "no change"]
    assert sums(told, "trial-expiring") == (302 + 5 + 5 - 4, -6)


def test_the_demo_is_pushed_a_cohort_and_downloads_nothing_for_it(told: str) -> None:
    whole, moved = pushes(told, "Feature adopters")

    # A list and four adds; then one add and one remove, one after the other.
    assert (whole[2], whole[4]) == ("5", "120")
    assert 2 <= int(whole[3]) <= 4
    assert moved[2:5] == ["2", "1", "8"]
    for each in (whole, moved):
        assert re.fullmatch(r"[\d.]+ m?s", each[7])
    assert "Feature adopters cost 0 downloads: it is pushed, without its 10" in told
    assert "0 of them for Feature adopters: Amplitude pushes it to us." in told


def test_the_demo_pays_for_changed_cohorts_only(told: str) -> None:
    cost = numbers(told, r"Churn risk cost (\d+) download; (\d+) people in it are anon")
    asked, spent, free = numbers(
        told, r"(\d+) times asked .*, (\d+) downloads; (\d+) times it had not"
    )
    used = numbers(told, r"Used: (\d+) of (\d+) downloads a month, .*; (\d+) by")
    naive, hours = numbers(told, r"hourly daemon: (\d+) \((\d+) hours x 2 cohorts\)")

    assert cost == [1, 25]
    assert spent == 2
    assert free == asked - spent >= 1
    assert used == [2, 500, 2]
    assert naive == 2 * hours > spent


def test_the_demo_shows_the_whole_configuration(told: str) -> None:
    shown = told.partition("here in full:\n")[2].partition("   One daemon,")[0]

    assert 25 <= len(shown.splitlines()) <= 40
    assert shown.count("schedule: hourly") == 2
    assert shown.count("schedule: every 15m") == 2
    assert shown.count("budget: 4/day") == 1
    assert not [each for each in SECRETS.values() if each in told]


def test_the_demo_draws_nothing_that_moves_on_a_pipe(told: str) -> None:
    assert "\x1b" not in told
    assert "\r" not in told
    tables = [line for line in told.splitlines() if " success" in line]
    assert max(map(len, tables)) <= 100
    assert max(map(len, told.partition("here in full:")[0].splitlines())) <= 100


def fetched_page(told: str) -> str:
    """The page for people, at the address that the demo tells."""
    found = re.search(r"Its page for people is (http://127\.0\.0\.1:\d+/)", told)
    assert found is not None, told
    return httpx.get(found[1], timeout=30, trust_env=False).text


def test_the_demo_as_json_is_one_document_and_goes_on_until_ctrl_c_if_asked_to(
    tmp_path: Path,
) -> None:
    kept, here = tmp_path / "kept", environ(tmp_path / "scratch")
    asked = ["status", "--json", "-c", str(kept / "syncd.yaml")]

    with (
        (tmp_path / "stderr").open("w+") as errors,
        subprocess.Popen(
            command("--json", "--serve", "--keep", str(kept)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=here,
        ) as demo,
    ):
        document = first_document(demo, tmp_path / "stderr")
        page = fetched_page((tmp_path / "stderr").read_text())
        status = subprocess.run(
            [sys.executable, "-m", "syncd", *asked],
            capture_output=True,
            text=True,
            timeout=60,
            env=here,
        )
        demo.send_signal(signal.SIGINT)
        rest, _ = demo.communicate(timeout=30)

    assert demo.returncode == 0
    assert rest == ""
    assert alive_with(str(kept)) == []
    check_document(document)
    check_status(json.loads(status.stdout))
    for sync in json.loads(status.stdout)["syncs"]:
        assert f'href="/syncs/{sync["name"]}"' in page
    check_folder(kept, runs=len(document["runs"]))


def first_document(demo: subprocess.Popen[str], errors: Path) -> dict[str, Any]:
    """What the demo prints as JSON; why it ended when it ended without that."""
    assert demo.stdout is not None
    told = ""
    for line in demo.stdout:
        told += line
        if line == "}\n":
            document: dict[str, Any] = json.loads(told)
            return document
    pytest.fail(f"the demo ended without a document: {told}{errors.read_text()}")


def check_document(document: dict[str, Any]) -> None:
    assert document["schema"] == "syncd.demo/1"
    assert document["equal"] is True
    assert [each["cohort"] for each in document["audiences"]] == [1_199, 302]
    assert [each["there"] for each in document["cohorts"]] == [602, 122]
    assert [each["false"] for each in document["cohorts"]] == [3, None]
    assert {each["outcome"] for each in document["runs"]} == {"success", "held"}
    check_downloads(document["downloads"])
    check_pushes(document["pushes"])
    # Every made-up person begins like this; see `check_folder`.
    assert document["audiences"][0]["unmatched"][0].startswith("usr_")


def check_downloads(spent: dict[str, Any]) -> None:
    """The first one, and the one after people moved; none of what is pushed."""
    assert spent["by_cohort"] == {"1a2bc3d": 2}
    assert spent["recorded"] == spent["by_cohort"]
    assert (spent["used"], spent["limit"], spent["of_pushed"]) == (2, 500, 0)
    assert spent["used"] < spent["gates"] <= spent["list_calls"]
    assert spent["naive"] == spent["hours"] * 2


def check_pushes(made: list[dict[str, Any]]) -> None:
    about = [each["about"] for each in made]
    assert about.count("Feature adopters") == 2
    assert about.count("trial_expiring_7d") == 4
    assert sum(each["twice"] for each in made) == 2 + 2 + 36 + 36
    for each in made:
        assert 0 < each["stored_seconds"] < 20
        spent = each["acknowledged_seconds"]
        assert spent is None or each["stored_seconds"] < spent < 20
    assert [each["held"] for each in made].count(True) == 1


def check_status(seen: dict[str, Any]) -> None:
    """The store's times are the daemon's, far ahead of this machine's by now."""
    assert [each["state"] for each in seen["syncs"]] == ["on time"] * 4
    assert datetime.fromisoformat(seen["now"]) - datetime.now(UTC) > timedelta(hours=2)
    for each in seen["syncs"]:
        assert each["last_success_at"] < seen["now"]
        # A run that is due just now may not have begun yet.
        assert each["last_success_at"] < each["next_at"]


def check_folder(kept: Path, *, runs: int) -> None:
    """Private, with a log that knows people only by hashes, and a tidied-up store."""
    log = (kept / "daemon.log").read_text()
    assert "usr_" not in log
    assert not [each for each in SECRETS.values() if each in log]
    assert log.count('"event":"run.finished"') >= runs
    assert '"event":"daemon.stopped"' in log
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    secrets = list((kept / "secrets").iterdir())
    assert {each.name for each in secrets} == SECRETS.keys()
    assert {stat.S_IMODE(each.stat().st_mode) for each in secrets} == {0o600}
    assert not (kept / "syncd.db-wal").exists()


def test_the_demo_fails_when_people_were_moved_behind_its_back(
    started: subprocess.Popen[str], tmp_path: Path
) -> None:
    wait_for(started, "4. Both audiences lose")
    origins = json.loads((tmp_path / "kept/simulator.json").read_text())["origins"]
    # Some of the first members stay members in the whole story.
    world = World(tmp_path / "same", PEOPLE)
    lose_from_cohort(origins["control"], world.audiences[0].members[1_000])
    lose_from_list(origins, world.cohorts[1].members[50])
    gain_trait(origins["segment"], "usr_elsewhere")

    wait_for(started, "power_users: 1 member missing at Amplitude, 0 too many")
    wait_for(started, "Churn risk: 0 members missing in the trait, 1 too many")
    wait_for(started, "Feature adopters: 1 member missing in the list, 0 too many")
    wait_for(started, "Both processes go on")
    started.send_signal(signal.SIGINT)

    assert started.wait(30) == 1


def lose_from_cohort(control: str, victim: str) -> None:
    """Somebody edits a cohort at Amplitude."""
    with httpx.Client(base_url=control, trust_env=False) as client:
        listed = client.get("/_sim/cohorts").raise_for_status().json()["cohorts"]
        cohort = next(each for each in listed if "Power users" in each["name"])
        edit = {"remove": [victim]}
        client.patch(f"/_sim/cohorts/{cohort['id']}", json=edit).raise_for_status()


def lose_from_list(origins: dict[str, str], victim: str) -> None:
    """Somebody else uses the partner's API."""
    with httpx.Client(trust_env=False, auth=("demo-partner-key", "")) as client:
        listed = client.get(f"{origins['control']}/_sim/partner/lists").json()["lists"]
        (found,) = [each["id"] for each in listed]
        remove = f"{origins['partner']}/lists/{found}/remove"
        body = {"userIds": [victim], "context": {"integration": OTHER_TOOL}}
        client.post(remove, json=body).raise_for_status()


def gain_trait(segment: str, user_id: str) -> None:
    """Somebody else writes the trait to Segment."""
    event = {
        "type": "identify",
        "userId": user_id,
        "messageId": "not-ours",
        "timestamp": "2026-01-01T00:00:00Z",
        "traits": {"churn_risk": True},
    }
    with httpx.Client(trust_env=False, auth=("demo-write-key", "")) as client:
        client.post(f"{segment}/v1/batch", json={"batch": [event]}).raise_for_status()


# --- when it is disturbed -------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_stopped_demo_leaves_no_process(
    started: subprocess.Popen[str], tmp_path: Path, number: int, code: int
) -> None:
    wait_for(started, "2. The first sync")
    assert len(alive_with(str(tmp_path))) >= 3

    started.send_signal(number)

    assert started.wait(30) == code
    assert alive_with(str(tmp_path)) == []
    assert '"event":"daemon.stopped"' in (tmp_path / "kept/daemon.log").read_text()


def test_a_killed_demo_leaves_no_process(
    started: subprocess.Popen[str], tmp_path: Path
) -> None:
    wait_for(started, "2. The first sync")

    started.kill()

    started.wait(30)
    until(lambda: alive_with(str(tmp_path)) == [])


@pytest.mark.parametrize(
    "moment", ["2. The first sync", "Amplitude pushes Feature adopters"]
)
def test_a_dead_daemon_ends_the_demo_with_its_last_words(
    started: subprocess.Popen[str], tmp_path: Path, moment: str
) -> None:
    wait_for(started, moment)
    (daemon,) = [
        pid for pid in alive_with("syncd serve") if pid in alive_with(str(tmp_path))
    ]

    os.kill(daemon, signal.SIGKILL)

    assert started.stdout is not None
    last = started.stdout.read()
    assert started.wait(30) == 1
    assert "error[demo]: the daemon ended while the demo waited for" in last
    assert "  daemon: {" in last
    assert alive_with(str(tmp_path)) == []


def test_a_folder_with_something_in_it_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep me")

    done = subprocess.run(
        command("--keep", str(tmp_path)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=environ(tmp_path / "scratch"),
    )

    assert done.returncode == 1
    assert "is not empty and was left as it is" in done.stderr
    assert (tmp_path / "mine").read_text() == "keep me"


# --- its parts ------------------------------------------------------------------------


def proof(**sets: set[str]) -> Proof:
    in_step = {
        "source": {"a", "b", "x"},
        "unmatched": {"x"},
        "acknowledged": {"a", "b"},
        "cohort": {"a", "b"},
    }
    return Proof(audience="vip", cohort_id="c1", **(in_step | sets))


def test_a_proof_holds_when_the_cohort_is_the_audience_but_for_the_unmatched() -> None:
    assert proof().holds


@pytest.mark.parametrize(
    "sets",
    [
        {"cohort": {"a"}, "acknowledged": {"a"}},
        {"cohort": {"a", "b", "z"}, "acknowledged": {"a", "b", "z"}},
        {"cohort": {"a", "b", "x"}},
        {"acknowledged": {"a"}},
        {"acknowledged": {"a", "b", "z"}},
        {"unmatched": {"x", "gone"}},
        {"unmatched": set()},
    ],
    ids=lambda sets: ",".join(f"{key}={''.join(sets[key])}" for key in sorted(sets)),
)
def test_a_proof_fails_for_any_person_in_the_wrong_place(
    sets: dict[str, set[str]],
) -> None:
    assert not proof(**sets).holds


def test_a_failed_proof_says_how_many_are_wrong() -> None:
    wrong = proof(cohort={"a", "y", "z"})

    assert wrong.difference() == (
        "vip: 1 member missing at Amplitude, 2 too many, syncd is wrong about 3"
    )


def cohort_proof(**sets: Any) -> CohortProof:
    in_step = {
        "computed": {"a", "b"},
        "acknowledged": {"a", "b"},
        "there": {"a", "b"},
        "gone": {"x"},
        "denied": {"x"},
    }
    given: dict[str, Any] = {"cohort": "VIP", "kind": "trait", "anonymous": 1}
    return CohortProof(**(given | in_step | sets))


def test_a_cohorts_proof_holds_when_everybody_named_is_there() -> None:
    assert cohort_proof().holds
    assert cohort_proof(denied=None, kind="list").holds


@pytest.mark.parametrize(
    "sets",
    [
        {"there": {"a"}, "acknowledged": {"a"}},
        {"there": {"a", "b", "z"}, "acknowledged": {"a", "b", "z"}},
        {"there": {"a", "b", "x"}},
        {"acknowledged": {"a"}},
        {"computed": {"a", "b", "c"}},
        {"denied": set()},
        {"denied": {"x", "stranger"}},
        {"denied": {"x", "a"}},
        {"there": {"a"}, "denied": None},
    ],
    ids=str,
)
def test_a_cohorts_proof_fails_for_any_person_in_the_wrong_place(
    sets: dict[str, Any],
) -> None:
    assert not cohort_proof(**sets).holds


def test_a_failed_cohorts_proof_says_how_many_are_wrong() -> None:
    wrong = cohort_proof(there={"a", "y", "z"}, denied={"x", "b"})

    assert wrong.difference() == (
        "VIP: 1 member missing in the trait, 2 too many, 1 with a wrong false, "
        "syncd is wrong about 3"
    )
    assert wrong.about_gone({"x", "b"}) == (
        "1 people left VIP: trait false for 1 of them, and for 1 others"
    )


def spending(**counts: Any) -> Spending:
    given: dict[str, Any] = {
        "counted": {"c1": 2, "c2": 2},
        "recorded": {"c1": 2, "c2": 2},
        "limit": 500,
        "hours": 12,
        "cohorts": 2,
        "pushed": {"c3": "Adopters"},
        "gates": 24,
        "lists": 40,
    }
    return Spending(**(given | counts))


def test_downloads_are_the_vendors_own_count_beside_a_naive_daemons() -> None:
    told = spending().lines()

    assert told[0] == (
        "Used: 4 of 500 downloads a month, by Amplitude's count; 4 by syncd's."
    )
    assert told[1] == ("0 of them for Adopters: Amplitude pushes it to us.")
    assert told[2] == (
        "A naive hourly daemon: 24 (12 hours x 2 cohorts), and 1,488 a month."
    )


def test_downloads_that_only_one_side_counted_are_a_failure() -> None:
    wrong = spending(recorded={"c1": 1, "c2": 3})

    assert spending().holds
    assert not wrong.holds
    assert spending(recorded={"c1": 2}).difference() == (
        "Amplitude counts 4 downloads, syncd's store 2; 0 were of cohorts that are "
        "pushed"
    )


def test_a_download_of_a_cohort_that_is_pushed_is_a_failure() -> None:
    both = {"c1": 2, "c3": 1}

    wasteful = spending(counted=both, recorded=both)

    assert not wasteful.holds
    assert wasteful.document()["of_pushed"] == 1


def a_push(**more: Any) -> Push:
    given: dict[str, Any] = {
        "vendor": "Engage",
        "about": "vip",
        "sync": "vip",
        "began_at": AT,
        "requests": 1,
        "items": 12,
        "at_once": 1,
        "twice": 2,
        "stored": timedelta(milliseconds=30),
    }
    return Push(**(given | more))


@pytest.mark.parametrize(
    ("push", "fate"),
    [
        (a_push(acknowledged=timedelta(milliseconds=640)), "640 ms"),
        (a_push(acknowledged=timedelta(seconds=1.25)), "1.2 s"),
        (a_push(held=True), "held"),
        (a_push(), "no change"),
    ],
    ids=["acknowledged", "later", "held", "nothing new"],
)
def test_a_push_tells_what_became_of_it(push: Push, fate: str) -> None:
    assert push.fate() == fate


@pytest.mark.parametrize("part", ["audiences", "cohorts", "spending"])
def test_the_demo_ends_well_only_if_every_part_does(part: str) -> None:
    good: dict[str, Any] = {
        "audiences": [proof()],
        "cohorts": [cohort_proof()],
        "spending": spending(),
        "pushes": [],
    }
    bad = {
        "audiences": [proof(), proof(cohort={"a"})],
        "cohorts": [cohort_proof(denied=set())],
        "spending": spending(recorded={}),
    }

    assert Ending(**good).holds
    ending = Ending(**(good | {part: bad[part]}))

    assert not ending.holds
    assert len(ending.wrong) == 1
    assert ending.document()["equal"] is False


@pytest.fixture
def vendors(simulator: Simulator) -> Iterator[FakeVendors]:
    made = FakeVendors(simulator.origins["control"], Clock())
    yield made
    made.close()


def test_moves_keep_the_worlds_count_equal_to_engages_and_the_warehouses(
    vendors: FakeVendors, tmp_path: Path
) -> None:
    world = World(tmp_path, PEOPLE)
    large, small = world.audiences
    for each in world.audiences:
        each.create(vendors, world.warehouse)

    entered, left = large.move(vendors)
    gone = large.shrink(vendors, 0.6)
    shrunk = world.in_warehouse(large)
    back = large.repair(vendors)

    assert (entered, left, gone, back) == (18, 12, 1_804, 1_804)
    assert len(shrunk) == PEOPLE + entered - left - gone
    assert set(large.strangers) <= shrunk
    assert world.in_warehouse(large) == set(large.members)
    assert vendors.in_audience(large.key) == set(large.members)
    assert vendors.in_audience(small.key) == set(small.members)
    assert not set(world.strangers) & set(world.known)


def test_a_push_that_nobody_takes_fails(vendors: FakeVendors, tmp_path: Path) -> None:
    world = World(tmp_path, PEOPLE)
    small = world.audiences[1]
    small.create(vendors, world.warehouse)
    nowhere = {"audience": small.key, "url": "http://127.0.0.1:1", "retries": 0}
    vendors.connect("w", {"kind": "engage", "flavour": "actions_batch"} | nowhere)

    with pytest.raises(SyncdError, match=r"w could not push: \[\{'status': None"):
        vendors.push("w")


@pytest.mark.parametrize("people", [2_000, 200_000])
def test_cohorts_are_made_of_people_amplitude_knows(
    tmp_path: Path, people: int
) -> None:
    world = World(tmp_path, people)
    churn, adopters = world.cohorts

    crowds = [churn.members, churn.newcomers, adopters.members, adopters.newcomers]
    everybody = [one for each in crowds for one in each]

    assert [len(each.members) for each in world.cohorts] == [people // 5, people // 25]
    assert min(map(len, crowds)) >= 10
    assert len(set(everybody)) == len(everybody)
    assert set(everybody) <= set(world.known)


def test_the_worlds_configuration_has_nothing_to_complain_about(tmp_path: Path) -> None:
    world = World(tmp_path, PEOPLE)
    world.write_config(dict.fromkeys(("amplitude", "segment", "partner"), ORIGIN))

    loaded = config.load([world.config], {})

    assert loaded.warnings == ()
    assert [each.name for each in loaded.settings.syncs] == [
        "power-users",
        "trial-expiring",
        "churn-risk",
        "feature-adopters",
    ]
    assert world.syncs == [each.name for each in loaded.settings.syncs]
