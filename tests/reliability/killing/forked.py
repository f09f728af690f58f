"""The real command as a child of a warm process, for tests that start it very often.

A start costs some 30 ms of a CPU instead of 700. `killing/failpoints.py` is the
process; here is what a test sees of it: an `Installation` whose commands are such
children, and may be told at which passage of which point they are to kill themselves.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import IO

from tests.installed import Ended, Installation
from tests.simulated import PATIENCE, PROJECT, Simulator

LOOK = 0.02
"""Seconds between two looks at a log."""

Passage = tuple[str, int]
"""A point, and which time it is passed, from 1."""


class Warm:
    """A running `tests.reliability.killing.failpoints`."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        self._process, self._path = process, path

    def start(self, errand: dict[str, object]) -> "Child":
        """Fork a command."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(2 * PATIENCE)
        client.connect(str(self._path))
        client.sendall(f"{dumps(errand)}\n".encode())
        lines = client.makefile("rb")
        return Child(client, lines, int(lines.readline()))


@dataclass
class Child:
    """A command in progress, or ended."""

    _client: socket.socket
    _lines: IO[bytes]
    pid: int
    code: int | None = None
    """As `subprocess` has it: negative for a signal; None while it runs."""

    def has_ended(self, patience: float = 0) -> bool:
        """Whether it has ended, or does so within so many seconds."""
        if self.code is None:
            ready = select.poll()
            ready.register(self._client, select.POLLIN)
            if not ready.poll(patience * 1000):
                return False
        self.wait()
        return True

    def wait(self) -> int:
        """Until it ends; how it did."""
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(int(self._lines.readline()))
            self._lines.close()
            self._client.close()
        return self.code

    def stop(self) -> int:
        """SIGTERM, and how it ended."""
        self._signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> bool:
        """SIGKILL; False if it had ended by itself."""
        self._signal(signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def _signal(self, number: int) -> None:
        if self.code is None:
            # Its parent has not told us of its end: the pid is still its own.
            os.kill(self.pid, number)


@contextmanager
def warmed() -> Iterator[Warm]:
    """A process that forks commands; it ends with the block, and with the test's."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fp-")))
        process = stack.enter_context(
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.reliability.killing.failpoints",
                    str(folder / "door"),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=PROJECT,
                env={"PATH": os.defpath, "PYTHONPATH": str(PROJECT)},
            )
        )
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        yield Warm(process, folder / "door")
        process.stdin.close()
        process.wait(PATIENCE)


class Stage(Installation):
    """An installation whose commands are children of a warm process.

    What they said, and which points they passed, lies beside the store.
    """

    def __init__(
        self, folder: Path, simulator: Simulator, stack: ExitStack, warm: Warm
    ) -> None:
        super().__init__(folder, simulator, stack)
        self._children = stack
        self._warm = warm
        self._count = 0

    def fork(
        self,
        verb: str,
        *args: str,
        kill: Passage | None = None,
        linger: float = 0,
        stdin: Sequence[str] = (),
    ) -> "Forked":
        """Start a command; it is killed at the end of the case if it still runs.

        `linger` are seconds that it spends at the passage before it kills itself.
        """
        self._count += 1
        files = {
            name: str(self.folder / f"{self._count}.{name}")
            for name in ("out", "err", "trace", "stdin")
        }
        for name in ("out", "err", "trace"):
            Path(files[name]).touch()
        Path(files["stdin"]).write_text("\n".join(stdin), encoding="utf-8")
        child = self._warm.start(
            {
                "argv": self.command(verb, *args)[3:],
                "cwd": str(self.folder),
                "kill": kill,
                "linger": linger,
                **files,
            }
        )
        self._children.callback(child.kill)
        return Forked(child, {name: Path(path) for name, path in files.items()})

    def syncd(
        self,
        verb: str,
        *args: str,
        kill: Passage | None = None,
        stdin: Sequence[str] = (),
    ) -> "Ended":
        """Run a command to its end, whichever that is."""
        return self.fork(verb, *args, kill=kill, stdin=stdin).ended()


@dataclass(frozen=True)
class Forked:
    """A forked command and what it leaves."""

    child: Child
    files: dict[str, Path]

    def ended(self) -> Ended:
        """Wait for its end."""
        code = self.child.wait()
        return Ended(code, self.text("out"), self.text("err"))

    def text(self, name: str) -> str:
        """What it said so far: `out` or `err`."""
        return self.files[name].read_text(encoding="utf-8")

    def reaches(self, event: str) -> bool:
        """Wait for a line of the log; False if it ends without it."""
        mark = f'"event":"{event}"'
        for _ in range(round(PATIENCE / LOOK)):
            # Asked before the look: what it said last is seen then.
            ended = self.child.has_ended(LOOK)
            if mark in self.said:
                return True
            if ended:
                return False
        raise AssertionError(f"no {event} within {PATIENCE} s: {self.said[-3000:]}")

    @property
    def said(self) -> str:
        """Both streams."""
        return self.text("out") + self.text("err")

    @property
    def passages(self) -> list[Passage]:
        """What it passed so far, in order."""
        lines = self.text("trace").splitlines()
        pairs = [line.partition(" ") for line in lines]
        return [(point, int(number)) for number, _, point in pairs]
