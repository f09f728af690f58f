"""The demo's two processes: the real commands, in the background.

Each has a session of its own, so that a Ctrl-C on the terminal reaches only the demo,
which stops them in the right order. Each is started with `--stop-on-eof` and holds the
end of a pipe: should the demo die without a word, the pipe closes and they end too.
"""

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from syncd.cli.exit_codes import ExitCode
from syncd.errors import SyncdError

GRACE = 15.0
"""Real seconds a process gets to end; the daemon itself takes at most 8."""
COMMAND_PATIENCE = 60.0
"""Real seconds a command may take."""
_PREFIX = "SYNCD_"
_STOP = (signal.SIGTERM, signal.SIGHUP)


class DemoFailed(SyncdError):
    """The story did not go as told."""

    code = "demo"


class Processes:
    """Everything the demo started. Leaving the context stops it, newest first."""

    def __init__(self, environ: Mapping[str, str], config: Path) -> None:
        """`environ` is the demo's own; nothing of it that is meant for syncd leaks."""
        self.environ = {
            name: value for name, value in environ.items() if name[:6] != _PREFIX
        }
        self._config = config
        self._started: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _STOP:
            self._before[number] = signal.signal(number, _end)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A second Ctrl-C must not leave anything behind; the end is near anyway.
        self._before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in _STOP:
            signal.signal(number, signal.SIG_IGN)
        self.stop()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def start(self, name: str, arguments: Sequence[str], output: Path) -> int:
        """Start `syncd …` in the background; its words go to a file. Its pid."""
        with output.open("ab") as file:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "syncd", *arguments, "--stop-on-eof"],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self.environ,
                start_new_session=True,
            )
        self._started.append((name, process))
        return process.pid

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Carry out `syncd …` with the demo's configuration and wait for its end.

        Raises `DemoFailed` when it takes too long.
        """
        try:
            return subprocess.run(  # noqa: S603 - our own program
                [sys.executable, "-m", "syncd", *arguments, "-c", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self.environ | {"NO_COLOR": "1"},
                text=True,
                timeout=COMMAND_PATIENCE,
            )
        except subprocess.TimeoutExpired:
            raise DemoFailed(
                f"syncd {arguments[0]} took longer than {COMMAND_PATIENCE:.0f} s"
            ) from None

    def ended(self) -> str | None:
        """The name of a process that is gone though nobody stopped it."""
        for name, process in self._started:
            if process.poll() is not None:
                return name
        return None

    def stop(self) -> dict[str, int]:
        """Ask each to end, newest first, and wait; returns their exit codes."""
        codes = {}
        while self._started:
            name, process = self._started[-1]
            process.terminate()
            try:
                codes[name] = process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait(GRACE)
            if process.stdin is not None:
                process.stdin.close()
            self._started.pop()
        return codes


def _end(number: int, _: object) -> None:
    """Leave through every `with` on the way out."""
    raise click.exceptions.Exit(ExitCode.TERMINATED)
