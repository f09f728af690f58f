"""The `amplitude` origin: Amplitude's cohort API (contract sections 1, 2, 4 and 10).

The story of one request is `_serve`: log it, see whether a fault is scripted, else
answer it. A handler's effect and its answer come together at the end of the service
time, so a client that dies meanwhile leaves an effect that lands after it.
"""

import asyncio
from functools import partial

from syncd.simulator.answers import Answer, Outcome, Refusal, json_answer, refuse
from syncd.simulator.auth import authenticate, known_key
from syncd.simulator.calls import ENDPOINTS, Call
from syncd.simulator.faults import Fault
from syncd.simulator.listing import list_cohorts, usage
from syncd.simulator.log import Entry
from syncd.simulator.membership import membership
from syncd.simulator.playing import Visit, play
from syncd.simulator.state import Simulator
from syncd.simulator.upload import upload
from syncd.simulator.wire import Line, Receive, Scope, Send
from syncd.simulator.world import Project, World


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
        entry = sim.log.open(
            call,
            at=sim.clock.now(),
            key=known_key(sim.world, call.authorization),
            ids=sim.switches.record_ids,
        )
        ended = partial(sim.traffic.end, sim.traffic.begin(call, line))
        visit = Visit(entry, ended)
        await self._serve(call, line, visit)

    async def _serve(self, call: Call, line: Line, visit: Visit) -> None:
        fault = self._sim.faults.take(call)
        if fault is not None:
            visit.entry.fault = fault.kind
            if fault.kind == "late_commit":
                self._commit_later(fault, call, visit.entry)
            carry_out = partial(self._answer, call, visit.entry)
            await play(fault, carry_out, line, visit, self._sim.released)
            return
        answer = await self._answer(call, visit.entry)
        visit.close(answer.status)
        await line.answer(answer)

    async def _answer(self, call: Call, entry: Entry) -> Answer:
        """Authenticate, take the cohort (R23), work, answer."""
        sim, world = self._sim, self._sim.world
        try:
            project = authenticate(world, call.authorization)
            with sim.busy.hold(project.app_id, call.cohort_id):
                seconds = sim.service_times.get(call.endpoint, 0.0)
                if seconds:
                    await asyncio.sleep(seconds)
                outcome = self._act(world, project, call)
        except Refusal as refusal:
            return refuse(refusal, retry_after=sim.switches.retry_after)
        entry.note(outcome, effect="applied")
        return json_answer(200, outcome.body)

    def _act(self, world: World, project: Project, call: Call) -> Outcome:
        """Carry out one authenticated call. Raises Refusal."""
        sim = self._sim
        if call.path in ENDPOINTS and call.method != ENDPOINTS[call.path][1]:
            raise Refusal(405, "Method Not Allowed")
        match call.endpoint:
            case "list":
                sync_info = call.query.get("includeSyncInfo", "").lower() == "true"
                return list_cohorts(project, sim.switches, sync_info=sync_info)
            case "usage":
                return usage(project, sim.clock.now())
            case "upload":
                now = sim.clock.epoch()
                return upload(world, project, sim.switches, call.body, now)
            case "membership":
                return membership(project, sim.switches, call.body, sim.clock.epoch())
            case _:
                raise Refusal(404, "Not Found")

    def _commit_later(self, fault: Fault, call: Call, entry: Entry) -> None:
        """Check the credentials now, let the effect land later, past the lock."""
        world = self._sim.world
        try:
            project = authenticate(world, call.authorization)
        except Refusal:
            return

        def land() -> None:
            try:
                entry.note(self._act(world, project, call), effect="late")
            except Refusal:
                entry.effect = "none"

        entry.effect = "pending"
        self._sim.late.add(land, after=fault.options["after"])
