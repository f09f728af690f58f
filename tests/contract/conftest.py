"""A real simulator process per test module, put back to its start for every test."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest

APP_ID = 187520
CREDENTIALS = ("demo-api-key", "demo-secret-key")


@dataclass
class Sim:
    """Both origins of a running simulator, as a test wants to speak to them."""

    api: httpx.Client
    """The amplitude origin, with the right credentials."""
    control: httpx.Client
    amplitude_url: str
    control_url: str

    def post(self, path: str, body: Any) -> Any:
        """A control call that must work."""
        return self.control.post(path, json=body).raise_for_status().json()

    def get(self, path: str) -> Any:
        """A control read that must work."""
        return self.control.get(path).raise_for_status().json()

    def users(self, *ids: str) -> None:
        """Let these users exist."""
        self.post("/_sim/users", {"user_ids": list(ids)})

    def amplitude_ids(self, *ids: str) -> dict[str, str]:
        """Their Amplitude IDs."""
        found = self.post("/_sim/users/lookup", {"user_ids": list(ids)})
        return dict(found["amplitude_ids"])

    def cohort(self, name: str = "VIP", **fields: Any) -> str:
        """Make a cohort by hand; returns its id."""
        return str(self.post("/_sim/cohorts", {"name": name, **fields})["id"])

    def members(self, cohort_id: str) -> set[str]:
        """Who is in it, in truth."""
        return set(self.get(f"/_sim/cohorts/{cohort_id}/members")["ids"])

    def listed(self, cohort_id: str) -> Any:
        """The cohort as the API's list shows it."""
        cohorts = self.api.get("/api/3/cohorts").raise_for_status().json()["cohorts"]
        return next(one for one in cohorts if one["id"] == cohort_id)

    def upload(self, ids: Any, **fields: Any) -> httpx.Response:
        """Upload with everything required; a field given as None is left out."""
        body = {
            "name": "[Segment] VIP",
            "app_id": APP_ID,
            "id_type": "BY_USER_ID",
            "ids": ids,
            "owner": "growth-ops@acme.example",
            "published": True,
        } | fields
        given = {name: value for name, value in body.items() if value is not None}
        return self.api.post("/api/3/cohorts/upload", json=given)

    def change(
        self, cohort_id: str, operation: str, ids: Iterable[str], **fields: Any
    ) -> httpx.Response:
        """One membership call with one entry; `id_type` may be given."""
        entry = {
            "ids": list(ids),
            "id_type": fields.pop("id_type", "BY_NAME"),
            "operation": operation,
        }
        body = {"cohort_id": cohort_id, "skip_invalid_ids": True} | fields
        return self.api.post(
            "/api/3/cohorts/membership", json={**body, "memberships": [entry]}
        )

    def log(self) -> list[dict[str, Any]]:
        """The request log with what was sent."""
        entries: list[dict[str, Any]] = self.get("/_sim/log?ids=1")["entries"]
        return entries


@pytest.fixture(scope="module")
def simulator_process() -> Iterator[Sim]:
    """A simulator without service time, alive as long as the module."""
    command = [sys.executable, "-m", "syncd.simulator", "--latency", "0"]
    with subprocess.Popen(
        [*command, "--stop-on-eof"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        origins = orjson.loads(process.stdout.readline())["origins"]
        amplitude, control = origins["amplitude"], origins["control"]
        with (
            httpx.Client(base_url=amplitude, auth=CREDENTIALS, timeout=10) as api,
            httpx.Client(base_url=control, timeout=30) as driver,
        ):
            yield Sim(api, driver, amplitude, control)
        process.terminate()


@pytest.fixture
def sim(simulator_process: Sim) -> Sim:
    """The simulator as it was when it started."""
    simulator_process.post("/_sim/reset", {})
    return simulator_process
