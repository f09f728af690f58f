"""The control origin, and the process itself."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import pytest

from syncd.simulator.__main__ import options
from syncd.simulator.server import Options, serve

COMMAND = [sys.executable, "-m", "syncd.simulator"]


def test_reset_puts_everything_or_only_the_named_parts_back(sim):
    sim.users("ann-1")
    sim.cohort()
    sim.post("/_sim/config", {"record_ids": False})
    sim.post("/_sim/faults", {"kind": "zero_byte"})
    sim.api.get("/api/3/cohorts")

    sim.post("/_sim/reset", {"only": ["log", "faults"]})
    part = (sim.log(), sim.get("/_sim/faults")["faults"], sim.get("/_sim/users"))
    sim.post("/_sim/reset", {})

    assert part == ([], [], {"total": 2 - 1, "users": []})
    assert sim.get("/_sim/users")["total"] == 0
    assert sim.get("/_sim/cohorts") == {"cohorts": []}
    assert sim.get("/_sim/config")["record_ids"] is True


def test_users_come_as_lines_as_json_and_with_chosen_amplitude_ids(sim):
    lines = sim.control.post(
        "/_sim/users",
        content="ann-1\nbob 2\n\nann-1\n",
        headers={"content-type": "text/plain"},
    ).json()
    chosen = sim.post(
        "/_sim/users",
        {
            "users": [
                {"user_id": "cat-3", "amplitude_id": "42"},
                {"user_id": "ann-1", "amplitude_id": "43"},
            ],
            "anonymous": 3,
        },
    )
    found = sim.get("/_sim/users?user_id=cat-3&user_id=nobody")

    assert lines == {"created": 2, "existing": 1, "refused": 0, "total": 2}
    assert chosen == {"created": 4, "existing": 1, "refused": 0, "total": 6}
    assert found["users"] == [{"user_id": "cat-3", "amplitude_id": "42"}]


def test_deleted_users_leave_their_cohorts(sim):
    cohort_id = sim.cohort(members=["ann-1", "bob-1"])

    answer = sim.control.request(
        "DELETE", "/_sim/users", json={"user_ids": ["ann-1", "nobody"]}
    ).json()

    assert answer == {"deleted": 1, "total": 1}
    assert sim.members(cohort_id) == {"bob-1"}
    assert sim.control.delete("/_sim/users").json() == {"deleted": 1, "total": 0}
    assert sim.members(cohort_id) == set()


def test_a_cohort_can_be_edited_as_its_owner_would(sim):
    cohort_id = sim.cohort("Old", members=["ann-1", "bob-1"], id="fixed123")

    shown = sim.control.patch(
        f"/_sim/cohorts/{cohort_id}",
        json={"name": "New", "archived": True, "remove": ["ann-1"], "add": ["cat-1"]},
    ).json()

    assert cohort_id == "fixed123"
    assert (shown["name"], shown["archived"]) == ("New", True)
    assert (shown["size"], shown["members_count"]) == (2, 2)
    assert sim.members(cohort_id) == {"bob-1", "cat-1"}


def test_members_are_streamed_as_lines_too(sim):
    ids = {f"user-{number}" for number in range(25_000)}
    cohort_id = sim.cohort(members=sorted(ids))

    text = sim.control.get(f"/_sim/cohorts/{cohort_id}/members?format=text").text

    assert len(text.splitlines()) == 25_000
    assert set(text.splitlines()) == ids


def test_compare_names_who_is_missing_and_who_is_too_many(sim):
    cohort_id = sim.cohort(members=["ann-1", "bob-1"])
    path = f"/_sim/cohorts/{cohort_id}/compare"

    equal = sim.post(path, {"user_ids": ["bob-1", "ann-1"]})
    different = sim.control.post(
        path, content="ann-1\ncat-1", headers={"content-type": "text/plain"}
    ).json()

    assert equal["equal"] is True
    assert different == {
        "equal": False,
        "expected": 2,
        "actual": 2,
        "missing": 1,
        "extra": 1,
        "missing_sample": ["cat-1"],
        "extra_sample": ["bob-1"],
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/_sim/config", {"no_such_switch": 1}, 400),
        ("POST", "/_sim/config", {"archived_status": "400"}, 400),
        ("POST", "/_sim/config", {"membership_touches": "owner"}, 400),
        ("POST", "/_sim/latency", {"lunch": 1}, 400),
        ("POST", "/_sim/latency", {"list": -1}, 400),
        ("POST", "/_sim/clock", {"set": "soon"}, 400),
        ("POST", "/_sim/clock", {"advance": "a bit"}, 400),
        ("POST", "/_sim/reset", {"only": ["sun"]}, 400),
        ("POST", "/_sim/users", {"user_ids": "ann-1"}, 400),
        ("POST", "/_sim/users", {"users": [{"amplitude_id": "x"}]}, 400),
        ("POST", "/_sim/users", {"anonymous": -1}, 400),
        ("POST", "/_sim/users?project=99", {"user_ids": []}, 404),
        ("POST", "/_sim/cohorts", {}, 400),
        ("POST", "/_sim/cohorts", {"name": "x", "colour": "red"}, 400),
        ("POST", "/_sim/cohorts", {"name": "x", "archived": "yes"}, 400),
        ("PATCH", "/_sim/cohorts/gone1234", {}, 404),
        ("POST", "/_sim/projects", {"app_id": "x"}, 400),
        ("POST", "/_sim/projects", {"app_id": 9, "api_key": "demo-api-key"}, 400),
        ("PATCH", "/_sim/projects/187520", {"region": "mars"}, 400),
        ("PATCH", "/_sim/projects/187520", {"download_limit": "many"}, 400),
        ("POST", "/_sim/users", {"users": ["ann-1"]}, 400),
        ("GET", "/_sim/log?since=yesterday", None, 400),
        ("POST", "/_sim/reset", [1], 400),
    ],
)
def test_a_wrong_control_call_says_what_is_wrong(sim, method, path, body, status):
    response = sim.control.request(method, path, json=body)

    assert response.status_code == status
    assert response.json()["error"]


def test_a_cohort_id_is_used_once(sim):
    sim.cohort("one", id="same1234")

    response = sim.control.post("/_sim/cohorts", json={"name": "x", "id": "same1234"})

    assert response.status_code == 400


def test_the_control_calls_are_not_on_the_vendor_s_origin(sim):
    response = sim.api.get("/_sim/health")

    assert response.status_code == 404
    assert sim.get("/_sim/health")["ok"] is True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_with_0_even_while_a_request_hangs(number):
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        origins = orjson.loads(process.stdout.readline())["origins"]
        fault = {"kind": "hang_before", "seconds": 60}
        httpx.post(f"{origins['control']}/_sim/faults", json=fault)
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(origins["amplitude"], timeout=0.1)

        process.send_signal(number)

        assert process.wait(timeout=5) == 0


def test_the_end_of_stdin_ends_the_process_when_asked_to(tmp_path: Path):
    ready = tmp_path / "ready.json"
    process = subprocess.run(
        [*COMMAND, "--stop-on-eof", "--ready-file", str(ready), "--region", "eu"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=True,
    )

    line = orjson.loads(process.stdout)
    assert line["event"] == "simulator.ready"
    assert {"amplitude", "storage", "control"} <= set(line["origins"])
    assert line["region"] == "eu"
    assert ready.read_bytes() == process.stdout
    assert b"secret" not in process.stdout
    assert process.stderr == b""


def test_the_simulator_listens_on_loopback_only():
    with pytest.raises(ValueError, match="loopback"):
        serve(Options(host="0.0.0.0"))  # noqa: S104 - it is refused


def test_the_command_line_becomes_options():
    given = options(["--speed", "60", "--origin", "2026-01-01T00:00:00", "--seed", "3"])

    assert given.origin is not None
    assert given.origin.isoformat() == "2026-01-01T00:00:00+00:00"
    assert (given.speed, given.seed, given.latency) == (60, 3, 0.2)
