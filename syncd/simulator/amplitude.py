"""The `amplitude` origin: Amplitude's cohort API (contract sections 1, 2, 4 and 10).

When a request is answered, and what faults do to it, is told in `stage`; here stands
what can be asked and who answers it.
"""

from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

from syncd.simulator.answers import (
    Answer,
    Outcome,
    OverLimit,
    Refusal,
    envelope,
    json_answer,
    refuse,
)
from syncd.simulator.auth import authenticate, known_project
from syncd.simulator.calls import DOWNLOADS, METHODS, Call
from syncd.simulator.downloads import (
    Desk,
    admit,
    check_concurrency,
    file,
    request,
    status,
)
from syncd.simulator.listing import list_cohorts, usage
from syncd.simulator.log import Entry
from syncd.simulator.membership import membership
from syncd.simulator.playing import Visit
from syncd.simulator.shapes import RATE_LIMIT
from syncd.simulator.stage import Turn, serve
from syncd.simulator.state import Simulator
from syncd.simulator.upload import upload
from syncd.simulator.wire import Line, Receive, Scope, Send
from syncd.simulator.world import Project


class AmplitudeApi:
    """The ASGI application of the origin."""

    def __init__(self, simulator: Simulator) -> None:
        self._sim = simulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        line = Line(scope, receive, send)
        call = await line.call()
        if call is None:
            return
        sim = self._sim
        sim.settle()
        owner = known_project(sim.world, call.authorization)
        call = _about(owner, call)
        entry = sim.log.open(
            call,
            at=sim.clock.now(),
            key=owner.api_key if owner else None,
            ids=sim.switches.record_ids,
        )
        flight = sim.traffic.begin(call, line, owner.app_id if owner else None)
        if owner is not None:
            stats = sim.downloads[owner.app_id]
            stats.see(sim.traffic.concurrent(owner.app_id))
        asked = Asked(sim, call, entry)
        await serve(
            sim, asked.turn(), line, Visit(entry, partial(sim.traffic.end, flight))
        )
        asked.count_failure()


def _about(owner: Project | None, call: Call) -> Call:
    """Name the cohort of a status or file call too, for the log and the faults."""
    if owner is None or call.request_id is None:
        return call
    cohort_id = owner.jobs.cohort_of(call.request_id)
    return replace(call, cohort_id=cohort_id) if cohort_id else call


def _scripted(status: int, details: str) -> dict[str, Any]:
    """The body of a scripted status; a 429 in its recorded words."""
    return envelope(status, RATE_LIMIT if status == 429 else details)


class Asked:
    """One request. It keeps the world it came to, also when that is reset."""

    def __init__(self, simulator: Simulator, call: Call, entry: Entry) -> None:
        self._sim, self._world, self._busy = simulator, simulator.world, simulator.busy
        self._call, self._entry = call, entry
        self._project: Project | None = None

    def turn(self) -> Turn:
        """What the stage needs to know of it."""
        return Turn(
            call=self._call,
            enter=self._enter,
            act=self._act,
            answer=lambda outcome: json_answer(outcome.status, outcome.body),
            refuse=self._refuse,
            error_body=_scripted,
        )

    def _enter(self) -> AbstractContextManager[None]:
        """Authenticate, judge, then hold the cohort (R4, R6, R23). Raises Refusal."""
        call = self._call
        self._project = project = authenticate(self._world, call.authorization)
        if call.method != METHODS.get(call.endpoint, call.method):
            raise Refusal(405, "Method Not Allowed")
        if call.endpoint == "request":
            admit(self._desk(project), call.cohort_id or "")
            if not self._sim.switches.download_locks_cohort:
                return self._busy.hold(project.app_id, None)
        elif call.endpoint in DOWNLOADS:
            check_concurrency(self._desk(project))
        return self._busy.hold(project.app_id, call.locks)

    def _desk(self, project: Project) -> Desk:
        sim = self._sim
        return Desk(
            project=project,
            switches=sim.switches,
            stats=sim.downloads[project.app_id],
            moment=sim.clock.moment(),
            concurrent=sim.traffic.concurrent(project.app_id),
            storage_url=sim.origins["storage"],
        )

    def _refuse(self, refusal: Refusal) -> Answer:
        if isinstance(refusal, OverLimit) and self._project is not None:
            self._entry.limit = refusal.limit
            self._sim.downloads[self._project.app_id].refused[refusal.limit] += 1
        return refuse(refusal, retry_after=self._sim.switches.retry_after)

    def count_failure(self) -> None:
        """R7: a download request that came to nothing counts too, by a switch."""
        sim, entry = self._sim, self._entry
        if self._call.endpoint != "request" or not sim.switches.count_failed_requests:
            return
        if entry.counted or entry.limit == "month" or (entry.status or 0) < 400:
            return
        try:
            project = authenticate(self._world, self._call.authorization)
        except Refusal:
            return
        entry.counted = True
        project.quota.count(sim.clock.moment())
        sim.downloads[project.app_id].failed_counted += 1

    def _act(self) -> Outcome:
        """Carry out one authenticated call. Raises Refusal."""
        sim, call, project = self._sim, self._call, self._project
        assert project is not None  # noqa: S101 - `enter` comes first
        project.settle(sim.clock.moment())
        match call.endpoint:
            case "list":
                sync_info = call.query.get("includeSyncInfo", "").lower() == "true"
                return list_cohorts(project, sim.switches, sync_info=sync_info)
            case "usage":
                return usage(project.quota, sim.clock.moment())
            case "upload":
                now = sim.clock.epoch()
                return upload(self._world, project, sim.switches, call.body, now)
            case "membership":
                return membership(project, sim.switches, call.body, sim.clock.epoch())
            case _:
                return self._download(project)

    def _download(self, project: Project) -> Outcome:
        call, desk = self._call, self._desk(project)
        match call.endpoint:
            case "request":
                return request(desk, call.cohort_id or "")
            case "status":
                return status(desk, call.request_id or "")
            case "file":
                return file(desk, call.request_id or "")
            case _:
                raise Refusal(404, "Not Found")
