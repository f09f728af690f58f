"""The fake vendors as the demo sees them from outside: their control origin."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from syncd.clients.http import HttpClient
from syncd.clock import Clock
from syncd.errors import SyncdError

LARGEST_COHORT = 200_000
"""Members of the largest cohort that the demo may make."""
_DEADLINE = 60.0
"""Real seconds of a call: a push ends with the answer to its last retry."""
_LARGEST = 256 << 20
"""Bytes of an answer: every member of a cohort."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """A cohort as Amplitude last computed it."""

    named: set[str]
    """Members with a user id."""
    anonymous: int
    """Members without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What the fake Amplitude counted so far."""

    ids: int
    """Ids in all requests that write cohorts."""
    lists: int
    """Calls of the free list."""
    downloads: Mapping[str, int]
    """Cohort id -> downloads that count for the month."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a vendor sent to us at once, and how that went."""

    requests: int
    items: int
    """Events or ids; those that were sent twice count twice."""
    at_once: int
    """Most requests in flight at a time."""
    retried: int
    """Requests that were sent again, since they were not taken at first."""


class FakeVendors:
    """What nobody could ask the real ones: make people, read everything as it is."""

    def __init__(self, control: str, clock: Clock) -> None:
        """`control` is the origin of the control calls."""
        self._client = HttpClient(control, clock=clock, deadline=_DEADLINE)

    def close(self) -> None:
        self._client.close()

    # ---- Amplitude -------------------------------------------------------------------

    def know(self, people: Iterable[str]) -> None:
        """From now on Amplitude knows these people."""
        self._call(
            "POST",
            "/_sim/users",
            body="\n".join(people).encode(),
            headers={"content-type": "text/plain"},
        )

    def answer_inline(self) -> None:
        """Let every download come from Amplitude itself, without a link to storage.

        A link lives for a minute of the fast clock, 33 ms of real time: on a busy
        machine it is dead before anybody can follow it.
        """
        self._json("POST", "/_sim/config", {"inline_max_rows": 2 * LARGEST_COHORT})

    def make_cohort(
        self, cohort_id: str, name: str, members: list[str], *, anonymous: int
    ) -> None:
        """A computed cohort, defined by behaviour: what people did, not an upload."""
        crowd = {"user_ids": members, "anonymous": anonymous}
        made = {"id": cohort_id, "name": name, "type": "redshift", "members": crowd}
        self._json("POST", "/_sim/cohorts", made)

    def change_cohort(
        self, cohort_id: str, *, add: list[str], remove: list[str]
    ) -> None:
        """People enter and leave a cohort, which is computed anew."""
        edit = {"add": add, "remove": remove}
        self._json("PATCH", f"/_sim/cohorts/{cohort_id}", edit)

    def members(self, cohort_id: str) -> set[str]:
        """Who is in the cohort, in truth."""
        return self._people(f"/_sim/cohorts/{cohort_id}/members?format=text")

    def computed(self, cohort_id: str) -> Computed:
        """Who was in the cohort when it was last computed: what a download names."""
        path = f"/_sim/cohorts/{cohort_id}/members?computed=1"
        shown = self._json("GET", path)
        return Computed(named=set(shown["ids"]), anonymous=shown["anonymous"])

    def traffic(self) -> Traffic:
        """All counters so far."""
        stats = self._json("GET", "/_sim/stats")
        (project,) = stats["projects"].values()
        return Traffic(
            ids=stats["ids_sent"],
            lists=stats["by_endpoint"].get("list", 0),
            downloads=project["counted_by_cohort"],
        )

    def download_limit(self) -> int:
        """Downloads a month that Amplitude grants."""
        (project,) = self._json("GET", "/_sim/projects")["projects"]
        return int(project["download_limit"])

    # ---- Engage ----------------------------------------------------------------------

    def make_audience(self, key: str, members: list[str], warehouse: Path) -> None:
        """An audience, in a warehouse file, too, which follows every change."""
        made = {"key": key, "members": members, "warehouse": str(warehouse)}
        self._json("POST", "/_sim/engage/audiences", made)

    def change_audience(
        self, key: str, *, enter: Sequence[str] = (), leave: Sequence[str] = ()
    ) -> None:
        """People enter and leave an audience. That is in the warehouse at once; a
        webhook is told by `push`."""
        edit = {"enter": list(enter), "leave": list(leave)}
        self._json("PATCH", f"/_sim/engage/audiences/{key}", edit)

    def in_audience(self, key: str) -> set[str]:
        """Who is in the audience by Engage's own word."""
        return self._people(f"/_sim/engage/audiences/{key}/members?format=text")

    # ---- what they send to us --------------------------------------------------------

    def connect(self, sender: str, settings: Mapping[str, Any]) -> None:
        """Make a sender, which pushes when it is told to."""
        self._json("POST", "/_sim/senders", {"id": sender} | dict(settings))

    def push(self, sender: str) -> Sent:
        """Let it send what changed since the last time; waits for the last answer.

        Raises `SyncdError` when not everything was taken.
        """
        result = self._json("POST", f"/_sim/senders/{sender}/push")
        if result["outcome"] != "success":
            why = result.get("error") or result["refusals"] or result["statuses"]
            raise SyncdError(f"{sender} could not push: {why}", code="demo.simulator")
        return Sent(
            requests=result["requests"],
            items=result["sent"],
            at_once=result["max_in_flight"],
            retried=result["retried"],
        )

    # ---- Segment and the partner -----------------------------------------------------

    def with_trait(self, trait: str, *, value: bool) -> set[str]:
        """Whose trait has this value at Segment."""
        asked = f"trait={quote(trait)}&value={str(value).lower()}&format=text"
        return self._people(f"/_sim/segment/members?{asked}")

    def on_list(self, list_id: str) -> set[str]:
        """Who is on the partner's list."""
        return self._people(f"/_sim/partner/lists/{quote(list_id)}/members?format=text")

    # ---- how it is asked -------------------------------------------------------------

    def _people(self, path: str) -> set[str]:
        return set(self._call("GET", path).decode().splitlines())

    def _json(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        sent: dict[str, Any] = {} if body is None else {"body": orjson.dumps(body)}
        answer: dict[str, Any] = orjson.loads(self._call(method, path, **sent))
        return answer

    def _call(self, method: str, path: str, **more: Any) -> bytes:
        answer = self._client.request(method, path, max_bytes=_LARGEST, **more)
        if not answer.ok:
            raise SyncdError(
                f"the fake vendors answered {answer.status} to {method} {path}",
                code="demo.simulator",
            )
        return answer.body
