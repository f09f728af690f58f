"""The daemon while the disk of its store is full: senders are told, and it heals alone.

A real process, real sockets: what is pushed while there is no room is refused with 503
and taken when it is sent again; readiness says so; due runs fail with the reason.
"""

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from syncd.cli.exit_codes import ExitCode
from tests.installed import Installation, Running
from tests.knocking import Answer, identify, knocking, people
from tests.reliability.storing.disks import Disk, small_disk
from tests.simulated import PATIENCE, Simulator


@pytest.fixture
def disk() -> Iterator[Disk]:
    with small_disk() as made:
        yield made


@pytest.fixture
def engage(
    installation: Installation, simulator: Simulator, disk: Disk
) -> Installation:
    """A sync `vip` fed by webhooks alone, on a small disk."""
    url = f"sqlite:///{disk.folder / 'syncd.db'}"
    installation.config["store"]["url"] = url
    installation.inbox()
    del installation.config["connections"]["engage"]["snapshot"]
    installation.sync("vip")
    simulator.users(people(300))
    return installation


def status(daemon: Running, path: str) -> int:
    try:
        with urllib.request.urlopen(f"{daemon.url('admin')}{path}") as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def until(holds: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.1)):
        if holds():
            return
        pause.wait(0.1)
    raise AssertionError("it did not happen")


def push(daemon: Running, names: list[str]) -> list[Answer]:
    with knocking(daemon) as at:
        return [at.engage(identify(name)) for name in names]


def test_on_a_full_disk_senders_are_told_and_what_they_repeat_is_taken(
    engage: Installation, simulator: Simulator, disk: Disk
) -> None:
    daemon = engage.start("serve")
    early, late = people(20), people(20, 20)
    assert {each.status for each in push(daemon, early)} == {200}
    assert engage.run("vip").code == ExitCode.OK
    since = simulator.last()

    disk.fill()
    refused = push(daemon, late)
    ran = engage.run("vip")
    ready_full = status(daemon, "/-/ready")

    assert {each.status for each in refused} == {503}
    assert ready_full == 503
    # The log may still take a first small transaction: then a run begins, and fails.
    assert ran.code in (ExitCode.UNAVAILABLE, ExitCode.FAILED), ran.err
    assert "disk is full" in ran.err
    assert simulator.log("membership", since) == []

    disk.free()
    taken = push(daemon, late)
    again = engage.run("vip")

    assert {each.status for each in taken} == {200}
    assert again.code == ExitCode.OK, again.err
    assert simulator.members() == set(early + late)
    until(lambda: status(daemon, "/-/ready") == 200)
    assert daemon.stop() == 0
    assert "person-" not in daemon.text


def test_a_start_on_a_full_disk_is_refused_clearly_and_works_with_room(
    engage: Installation, disk: Disk
) -> None:
    disk.fill()
    first = engage.syncd("run", "vip")
    disk.free()
    there = engage.syncd("run", "vip")
    disk.fill()
    later = engage.syncd("run", "vip")
    disk.free()
    healed = engage.syncd("run", "vip")

    assert there.code == healed.code == ExitCode.TRY_LATER  # nothing was pushed so far
    for each in (first, later):
        assert each.code == ExitCode.UNAVAILABLE, each.err
        assert "No space left" in each.err or "disk" in each.err
        assert "next:" in each.err
