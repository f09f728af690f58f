"""What a daemon asks of the system for its threads."""

import platform
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.installed import Installation, Running

HEAP = 64 * 2**20
"""What glibc sets aside for each further arena, and where that begins: 64-bit Linux."""
_REGION = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ 00:00 0\s*$")


def further_arenas(process: int) -> int:
    """Heaps of arenas beside the main one: 64 MiB, a part in use and the rest not."""
    lines = Path(f"/proc/{process}/maps").read_text(encoding="utf-8").splitlines()
    found = [match for line in lines if (match := _REGION.match(line))]
    regions = [(int(one[1], 16), int(one[2], 16), one[3]) for one in found]
    return sum(
        one[0] % HEAP == 0
        and two[1] - one[0] == HEAP
        and one[1] == two[0]
        and (one[2], two[2]) == ("rw-p", "---p")
        for one, two in pairwise(regions)
    )


@pytest.fixture
def daemon(installation: Installation) -> Running:
    """Of more threads than arenas."""
    installation.inbox()
    installation.sync("vip", schedule="every 1h")
    installation.audience(["ana"])
    return installation.start("serve")


def test_all_threads_of_a_daemon_share_two_arenas(daemon: Running) -> None:
    assert platform.libc_ver()[0] == "glibc", "elsewhere there is nothing to share"
    assert daemon.reached("daemon.started")
    assert daemon.url("admin")

    threads = len(list(Path(f"/proc/{daemon.process.pid}/task").iterdir()))
    arenas = further_arenas(daemon.process.pid)
    assert daemon.stop() == 0

    assert threads > 4
    assert arenas == 1
