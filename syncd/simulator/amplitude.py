"""The `amplitude` origin: Amplitude's cohort API (contract sections 1, 2, 4 and 10).

When a request is answered, and what faults do to it, is told in `stage`; here stands
what can be asked and who answers it.
"""

from contextlib import AbstractContextManager

from syncd.simulator.answers import (
    Answer,
    Outcome,
    Refusal,
    envelope,
    json_answer,
    refuse,
)
from syncd.simulator.auth import authenticate, known_key
from syncd.simulator.calls import ENDPOINTS, Call
from syncd.simulator.listing import list_cohorts, usage
from syncd.simulator.membership import membership
from syncd.simulator.stage import Turn, Visit, serve
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
        entry = sim.log.open(
            call,
            at=sim.clock.now(),
            key=known_key(sim.world, call.authorization),
            ids=sim.switches.record_ids,
        )
        visit = Visit(entry, sim.traffic.begin(call, line), sim.traffic)
        await serve(sim, Asked(sim, call).turn(), line, visit)


class Asked:
    """One request. It keeps the world it came to, also when that is reset."""

    def __init__(self, simulator: Simulator, call: Call) -> None:
        self._sim, self._world, self._busy = simulator, simulator.world, simulator.busy
        self._call = call
        self._project: Project | None = None

    def turn(self) -> Turn:
        """What the stage needs to know of it."""
        return Turn(
            call=self._call,
            enter=self._enter,
            act=self._act,
            answer=lambda outcome: json_answer(200, outcome.body),
            refuse=self._refuse,
            error_body=envelope,
        )

    def _enter(self) -> AbstractContextManager[None]:
        """Authenticate, then hold the cohort (R23). Raises Refusal."""
        self._project = authenticate(self._world, self._call.authorization)
        return self._busy.hold(self._project.app_id, self._call.cohort_id)

    def _refuse(self, refusal: Refusal) -> Answer:
        return refuse(refusal, retry_after=self._sim.switches.retry_after)

    def _act(self) -> Outcome:
        """Carry out one authenticated call. Raises Refusal."""
        sim, call, project = self._sim, self._call, self._project
        assert project is not None  # noqa: S101 - `enter` comes first
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
                return upload(self._world, project, sim.switches, call.body, now)
            case "membership":
                return membership(project, sim.switches, call.body, sim.clock.epoch())
            case _:
                raise Refusal(404, "Not Found")
