"""The fake Amplitude as the demo sees it from outside: its control origin."""

from collections.abc import Iterable
from typing import Any

import orjson

from syncd.clients.http import HttpClient
from syncd.clock import Clock
from syncd.errors import SyncdError

_LARGEST = 256 << 20
"""Bytes of an answer: every member of a cohort."""


class FakeAmplitude:
    """What nobody could ask the real one: make people, read cohorts as they are."""

    def __init__(self, control: str, clock: Clock) -> None:
        """`control` is the origin of the control calls."""
        self._client = HttpClient(control, clock=clock)

    def close(self) -> None:
        self._client.close()

    def know(self, people: Iterable[str]) -> None:
        """From now on these people exist there."""
        self._call(
            "POST",
            "/_sim/users",
            body="\n".join(people).encode(),
            headers={"content-type": "text/plain"},
        )

    def members(self, cohort_id: str) -> set[str]:
        """Who is in the cohort, in truth."""
        answer = self._call("GET", f"/_sim/cohorts/{cohort_id}/members?format=text")
        return set(answer.decode().split())

    def ids_received(self) -> int:
        """How many ids all requests so far carried."""
        stats: dict[str, Any] = orjson.loads(self._call("GET", "/_sim/stats"))
        return int(stats["ids_sent"])

    def _call(self, method: str, path: str, **more: Any) -> bytes:
        answer = self._client.request(method, path, max_bytes=_LARGEST, **more)
        if not answer.ok:
            raise SyncdError(
                f"the fake Amplitude answered {answer.status} to {method} {path}",
                code="demo.simulator",
            )
        return answer.body
