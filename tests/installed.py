"""An installation as an operator has it, in which the real command is run."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.canaries import Output, leaks
from tests.simulated import PATIENCE, PROJECT, Simulator


def log_lines(text: Iterable[str]) -> list[dict[str, Any]]:
    """The log events among the lines."""
    return [json.loads(line) for line in text if line.startswith('{"ts"')]


@dataclass(frozen=True)
class Ended:
    """A command that came to its end."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What `--json` printed."""
        return json.loads(self.out)

    @property
    def run(self) -> dict[str, Any]:
        """The only run of `syncd run` or `syncd approve`."""
        content = self.document
        (only,) = content["runs"] if "runs" in content else [content["run"]]
        return dict(only)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        return [
            line for line in log_lines(self.err.splitlines()) if line["event"] == name
        ]


@dataclass
class Running:
    """A command in progress, whose output is read as it comes."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.ended = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                with self.news:
                    self.lines.append(line)
                    self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    @property
    def text(self) -> str:
        """Everything it said so far."""
        return "".join(self.lines)

    def events(self, name: str, **values: Any) -> list[dict[str, Any]]:
        """The log lines of one event that carry these values."""
        return [
            line
            for line in log_lines(list(self.lines))
            if line["event"] == name and values.items() <= line.items()
        ]

    def reached(
        self, name: str, count: int = 1, timeout: float = PATIENCE, **values: Any
    ) -> bool:
        """Wait for the count-th such line; False if the command ended without it."""
        mark = f'"event":"{name}"'
        with self.news:
            seen = self.news.wait_for(
                lambda: (
                    (
                        sum(mark in line for line in self.lines) >= count
                        and len(self.events(name, **values)) >= count
                    )
                    or self.ended
                ),
                timeout,
            )
        assert seen, f"no {name} within {timeout} s:\n{self.text[-4000:]}"
        return len(self.events(name, **values)) >= count

    def url(self, server: str = "inbound") -> str:
        """Where a daemon's `inbound` or `admin` server listens."""
        assert self.reached("web.listening", server=server), self.text[-4000:]
        (line,) = self.events("web.listening", server=server)
        return f"http://{line['address']}"

    def kill(self) -> bool:
        """SIGKILL; False if it had ended by itself."""
        self.process.kill()
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        return code == -signal.SIGKILL

    def stop(self) -> int:
        """SIGTERM, and how it ended."""
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        return code


class Installation:
    """A folder as an operator has it: `syncd.json`, secrets, audiences, the store.

    JSON is YAML too. `config` may be changed at will; it is written anew for each
    command. Retries are fast, requests have a deadline of one second.
    """

    def __init__(self, folder: Path, simulator: Simulator, stack: ExitStack) -> None:
        self.folder = folder
        self.simulator = simulator
        self._stack = stack
        self.database = folder / "syncd.db"
        self.config = _document(folder, simulator)
        self._secrets: dict[str, list[str]] = {}
        self._names: list[str] = []
        self._said: list[tuple[str, Ended | Running]] = []
        # The first one in is the last one out: when nothing runs any more.
        stack.callback(self._assert_silent)
        for name in ("secrets", "audiences"):
            (folder / name).mkdir()
        self.secret("api_key", "demo-api-key")
        self.secret("secret_key", "demo-secret-key")

    def secret(self, name: str, value: str) -> None:
        """Write a secret's file."""
        path = self.folder / "secrets" / name
        path.touch(mode=0o600)
        path.write_text(value, encoding="utf-8")
        self._secrets.setdefault(name, []).append(value)

    def sync(self, name: str = "vip", **changes: Any) -> dict[str, Any]:
        """Configure one more sync, of the audience of that name."""
        to = {"connection": "amplitude", "cohort": f"Cohort {name}"}
        made = {
            "name": name,
            "owner": "growth",
            "from": {"connection": "engage", "audience": name},
            "to": to | changes.pop("to", {}),
            "schedule": "manual",
        }
        self.config["syncs"].append(made | changes)
        return dict(self.config["syncs"][-1])

    def cohort_sync(self, name: str, cohort_id: str, **changes: Any) -> dict[str, Any]:
        """Configure a sync that reads this cohort, by default into a trait `name`.

        `to={"connection": "partner-lists"}` or `"partner-properties"` sends it there.
        """
        project = self.config["connections"]["amplitude"]
        project["storage_origin"] = self.simulator.origins["storage"]
        to = changes.pop("to", {"connection": "segment", "trait": name})
        self._connect(to["connection"])
        made = {
            "name": name,
            "owner": "growth",
            "from": {"connection": "amplitude", "cohort_id": cohort_id}
            | changes.pop("from_", {}),
            "to": to,
            "schedule": "manual",
        }
        self.config["syncs"].append(made | changes)
        return dict(self.config["syncs"][-1])

    def _connect(self, name: str) -> None:
        """Add the connection a cohort's sync writes to."""
        origins = self.simulator.origins
        shapes: dict[str, dict[str, Any]] = {
            "segment": {
                "type": "engage",
                "write_key_file": "write_key",
                "base_url": origins["segment"],
            },
            "partner-lists": {
                "type": "list_api",
                "api_key_file": "partner_key",
                "base_url": origins["partner"],
            },
            "partner-properties": {
                "type": "property_api",
                "api_key_file": "partner_key",
                "base_url": origins["partner"],
                "path": "/property",
            },
        }
        self.secret("write_key", "demo-write-key")
        self.secret("partner_key", "demo-partner-key")
        self.config["connections"].setdefault(name, shapes[name])

    def inbox(self, **changes: Any) -> None:
        """Let Engage push to the connection `engage`, signed and with a second factor.

        Without a snapshot, unless the test leaves that where it is.
        """
        self.secret("webhook_secret", "s3cr3t-key")
        self.secret("second_factor", "demo-second-factor")
        self.config["connections"]["engage"]["inbox"] = {
            "secret_file": "webhook_secret",
            "second_factor": {"header": "X-Syncd-Key", "file": "second_factor"},
        } | changes

    def push(self, **changes: Any) -> None:
        """Let Amplitude push to the connection `amplitude`, in all three ways."""
        self.secret("push_key", "demo-push-key")
        self.secret("push_secret", "demo-push-secret-of-thirty-two-bytes")
        self.config["connections"]["amplitude"]["push"] = {
            "api_key_file": "push_key",
            "webhook_secret_file": "push_secret",
        } | changes

    def audience(self, ids: Iterable[str], name: str = "vip") -> None:
        """Put a CSV as Engage exports it in the place of the last one, at once."""
        path = self.folder / "audiences" / f"{name}.csv"
        rows = "".join(f"{one}\n" for one in ids)
        path.with_suffix(".new").write_text(f"user_id\n{rows}", encoding="utf-8")
        path.with_suffix(".new").replace(path)

    def command(self, verb: str, *args: str) -> list[str]:
        """The command line of a verb with this configuration."""
        path = self.folder / "syncd.json"
        path.write_text(json.dumps(self.config), encoding="utf-8")
        return [sys.executable, "-m", "syncd", verb, "-c", str(path), *args]

    def syncd(self, verb: str, *args: str) -> Ended:
        """Run a command to its end."""
        ended = subprocess.run(
            self.command(verb, *args),
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,
            env=_environment(),
            cwd=self.folder,
        )
        return self.overheard(verb, ended)

    def run(self, *syncs: str) -> Ended:
        """`syncd run`, with everything it can say."""
        return self.syncd("run", "--json", "-vv", *syncs)

    def start(self, verb: str, *args: str) -> Running:
        """Start a command; it is killed at the end of the test if it still runs."""
        return self.begin(verb, self.command(verb, *args))

    def begin(self, verb: str, command: list[str]) -> Running:
        """The same, where the command line is the test's own."""
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_environment(),
            cwd=self.folder,
        )
        running = Running(process)
        self._stack.callback(running.kill)
        self._said.append((verb, running))
        return running

    def overheard(self, verb: str, done: subprocess.CompletedProcess[str]) -> Ended:
        """A command that the test started by itself takes part in the scan."""
        told = Ended(done.returncode, done.stdout, done.stderr)
        self._said.append((verb, told))
        return told

    def named(self, names: Iterable[str]) -> None:
        """What a sender called its lists: no find, though people are called so, too."""
        self._names += names

    def told(self) -> list[str]:
        """Places at which its processes told a secret or a member id, or wrote a
        secret into a file."""
        words = json.dumps([self.config, self._names], ensure_ascii=False)
        outputs = [each for verb, told in self._said for each in _outputs(verb, told)]
        return leaks(self.folder, self.database, outputs, self._secrets, words)

    def _assert_silent(self) -> None:
        """At the end of every test."""
        found = self.told()
        assert not found, "\n".join(["what must stay hidden was told:", *found])


def _outputs(verb: str, told: Ended | Running) -> list[Output]:
    """Both streams of a command, or the one of a command in progress."""
    texts = {"output": told.text} if isinstance(told, Running) else {}
    if isinstance(told, Ended):
        texts = {"stdout": told.out, "stderr": told.err}
    return [
        Output(name=f"syncd {verb}: {name}", verb=verb, text=text)
        for name, text in texts.items()
    ]


def _document(folder: Path, simulator: Simulator) -> dict[str, Any]:
    delivery = {"first_delay": "10ms", "max_delay": "80ms"}
    return {
        "version": 1,
        "instance": "test",
        "secrets_dir": str(folder / "secrets"),
        "store": {"url": f"sqlite:///{folder / 'syncd.db'}"},
        "connections": {
            "engage": {
                "type": "engage",
                "snapshot": {
                    "type": "files",
                    "path": str(folder / "audiences" / "{audience}.csv"),
                },
            },
            "amplitude": {
                "type": "amplitude",
                "region": "us",
                "app_id": 187520,
                "api_key_file": "api_key",
                "secret_key_file": "secret_key",
                "owner": "growth-ops@acme.example",
                "base_url": simulator.amplitude_url,
                "request_deadline": "1s",
            },
        },
        "defaults": {"jitter": "0m", "delivery": delivery},
        "syncs": [],
        "web": {
            "inbound": {"listen": "127.0.0.1:0"},
            "admin": {"listen": "127.0.0.1:0"},
        },
        "log": {"format": "json", "level": "debug"},
    }


def _environment() -> dict[str, str]:
    """Without the caller's wishes; the product is the one beside these tests."""
    return {"PATH": os.defpath, "PYTHONPATH": str(PROJECT)}
