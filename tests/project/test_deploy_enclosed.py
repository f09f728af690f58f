"""The daemon as an engine or Kubernetes runs it: PID 1, nothing writable but its data.

Namespaces of Linux are enough for that; deploy/image-check does it with the image.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.installed import Installation, Running
from tests.simulated import PATIENCE, Simulator

ENCLOSED = r"""
data=$1; shift
mount --make-rprivate /
mount --bind "$data" "$data"
mount -t tmpfs -o size=16m tmpfs "$data/tmp"
mount -o remount,bind,ro /
if touch /written 2>/dev/null; then exit 99; fi
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
"""
"""`$1` stays writable, with a folder in memory inside it; the rest is the command."""

UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("unshare") is None,
        reason="only root makes namespaces, with unshare",
    ),
]


@pytest.fixture
def installed(
    simulator: Simulator, new_installation: Callable[..., Installation]
) -> Installation:
    """Its store lies in a folder of its own; everything else is only read."""
    made = new_installation(simulator)
    data = made.folder / "data"
    (data / "tmp").mkdir(parents=True)
    made.config["store"]["url"] = f"sqlite:///{data / 'syncd.db'}"
    made.config["defaults"]["guard"] = {"max_exit": "100%"}
    made.sync("vip")
    return made


def enclosed(installation: Installation) -> subprocess.Popen[str]:
    """Start the daemon in there; the process is the one outside that waits for it."""
    data = installation.folder / "data"
    command = ["bash", "-euc", ENCLOSED, "enclosed", str(data)]
    return subprocess.Popen(
        [*UNSHARE, *command, *installation.command("serve")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            "PATH": os.defpath,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "TMPDIR": str(data / "tmp"),
        },
        cwd="/",
    )


def children(outside: subprocess.Popen[Any]) -> list[int]:
    """Out here, the number of what is PID 1 in there; nothing once it ended."""
    try:
        told = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in told.split()]


def said(pid: int, key: str) -> list[str]:
    """What the kernel tells of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return line.split()[1:]
    raise KeyError(key)


def zombies(namespace: str) -> list[int]:
    """Processes of this PID namespace that ended and that nobody waited for."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            same = os.readlink(process / "ns/pid") == namespace
            if same and said(int(process.name), "State")[0] == "Z":
                found.append(int(process.name))
        except OSError:
            continue  # it ended while we looked
    return found


def test_as_pid_1_on_a_read_only_root_it_syncs_and_ends_with_0(
    installed: Installation, simulator: Simulator
) -> None:
    ids = [f"user-{number}" for number in range(200)]
    simulator.users(ids)
    installed.audience(ids)
    outside = enclosed(installed)
    daemon = Running(outside)

    try:
        assert daemon.reached("daemon.started"), daemon.text
        (inside,) = children(outside)
        run = installed.run("vip")
        health = installed.syncd("healthcheck")
        namespace = os.readlink(f"/proc/{inside}/ns/pid")
        left_over = zombies(namespace)
        identity = said(inside, "NSpid")[-1], int(said(inside, "CapEff")[0], 16)
        os.kill(inside, signal.SIGTERM)
        code = outside.wait(PATIENCE)
    finally:
        for child in children(outside):
            os.kill(child, signal.SIGKILL)
        daemon.kill()

    assert identity == ("1", 0)
    assert run.code == 0, run.err
    assert simulator.members() == set(ids)
    assert health.code == 0, health.out
    assert left_over == []
    assert code == 0, daemon.text
    (stopped,) = daemon.events("daemon.stopped")
    assert stopped["duration_ms"] < 8_000
