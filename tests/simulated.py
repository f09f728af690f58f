"""The simulator as a process: where the product finds it, and how tests drive it."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

PROJECT = Path(__file__).parents[1]
PATIENCE = 60.0
"""Real seconds after which something that was to happen did not."""


@dataclass(frozen=True)
class Simulator:
    """A running simulator: where the product finds it, and how tests drive it."""

    origins: Mapping[str, str]
    """amplitude, storage, segment, partner, public and control."""
    control: httpx.Client

    @property
    def amplitude_url(self) -> str:
        """Where Amplitude is."""
        return self.origins["amplitude"]

    def post(self, path: str, body: Any) -> Any:
        """A control call that must work."""
        return self.control.post(path, json=body).raise_for_status().json()

    def get(self, path: str) -> Any:
        """A control read that must work."""
        return self.control.get(path).raise_for_status().json()

    def users(self, ids: Iterable[str]) -> None:
        """Let these users exist."""
        text = "\n".join(ids)
        headers = {"content-type": "text/plain"}
        answer = self.control.post("/_sim/users", content=text, headers=headers)
        answer.raise_for_status()

    def fault(self, endpoint: str, kind: str, **more: Any) -> None:
        """Script one fault; it comes after those that were scripted before."""
        self.post("/_sim/faults", {"endpoint": endpoint, "kind": kind, **more})

    def no_faults(self) -> None:
        """Behave again."""
        self.control.delete("/_sim/faults").raise_for_status()

    def cohorts(self) -> list[dict[str, Any]]:
        """Every cohort of the project, with its true number of members."""
        found: list[dict[str, Any]] = self.get("/_sim/cohorts")["cohorts"]
        return found

    def cohort_id(self) -> str:
        """The only cohort there is."""
        (cohort,) = self.cohorts()
        return str(cohort["id"])

    def members(self, cohort_id: str = "") -> set[str]:
        """Who is in a cohort, in truth; in the only one, if none is named."""
        where = f"/_sim/cohorts/{cohort_id or self.cohort_id()}/members"
        return set(self.get(where)["ids"])

    def cohort(self, cohort_id: str, **more: Any) -> dict[str, Any]:
        """Make a dynamic cohort; `members=` names people, `generate=` a crowd."""
        made: dict[str, Any] = self.post(
            "/_sim/cohorts",
            {"id": cohort_id, "name": f"Cohort {cohort_id}", "type": "redshift"} | more,
        )
        return made

    def change(self, cohort_id: str, **more: Any) -> None:
        """`add=`, `remove=`, `members=` …: the cohort is computed anew by that.

        At another second than before: two computations within one look like one.
        """
        self.post("/_sim/clock", {"advance": 1})
        answer = self.control.patch(f"/_sim/cohorts/{cohort_id}", json=more)
        answer.raise_for_status()

    def with_trait(self, trait: str, *, value: bool = True) -> set[str]:
        """Whose trait has this value at Segment."""
        answer = self.control.get(
            "/_sim/segment/members",
            params={"trait": trait, "value": str(value).lower()},
        )
        return set(answer.raise_for_status().json()["ids"])

    def audience(self, key: str, **more: Any) -> dict[str, Any]:
        """Make an audience of Engage; `members=` names people or a crowd."""
        made: dict[str, Any] = self.post("/_sim/engage/audiences", {"key": key} | more)
        return made

    def move(self, key: str, **more: Any) -> dict[str, Any]:
        """`enter=`, `leave=`, `size=` …: an audience changes."""
        answer = self.control.patch(f"/_sim/engage/audiences/{key}", json=more)
        moved: dict[str, Any] = answer.raise_for_status().json()
        return moved

    def engage_sender(self, sender_id: str, **settings: Any) -> None:
        """Make Engage send an `audience=` to a `url=`."""
        body = {"id": sender_id, "kind": "engage"} | settings
        self.post("/_sim/senders", body)

    def amplitude_sender(self, sender_id: str, **settings: Any) -> None:
        """Make Amplitude push a `cohort=` to a `url=`."""
        body = {"id": sender_id, "kind": "amplitude"} | settings
        self.post("/_sim/senders", body)

    def push(self, sender_id: str, **how: Any) -> dict[str, Any]:
        """Let a sender push; its result, when all retries are over."""
        result: dict[str, Any] = self.post(f"/_sim/senders/{sender_id}/push", how)
        return result

    def downloads(self, app_id: int = 187520) -> dict[str, Any]:
        """What a project downloaded, and the most in any window."""
        found: dict[str, Any] = self.get("/_sim/stats")["projects"][str(app_id)]
        return found

    def log(self, endpoint: str, since: int = 0) -> list[dict[str, Any]]:
        """The requests of one endpoint, in order, with what was sent."""
        path = f"/_sim/log?ids=1&endpoint={endpoint}&since={since}"
        entries: list[dict[str, Any]] = self.get(path)["entries"]
        return entries

    def last(self) -> int:
        """The number of the newest request, to ask for later ones only."""
        return int(self.get("/_sim/log")["last"])

    def sent(self, operation: str, since: int = 0) -> list[str]:
        """Every id that a membership request asked to ADD or REMOVE, as often."""
        return [
            one
            for entry in self.log("membership", since)
            for part in entry["sent"]
            if part["operation"] == operation
            for one in part["ids"]
        ]


@contextmanager
def simulating(*options: str) -> Iterator[Simulator]:
    """A simulator process that ends with the test process, however that ends."""
    command = [sys.executable, "-m", "syncd.simulator", "--stop-on-eof", *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT
    ) as process:
        assert process.stdout is not None
        origins = json.loads(process.stdout.readline())["origins"]
        with httpx.Client(base_url=origins["control"], timeout=PATIENCE) as control:
            yield Simulator(origins, control)
        process.terminate()
