"""The `storage` origin: pre-signed links to exported files, as S3 serves them (R13).

An origin of its own, so that a client that sends Amplitude's credentials along is found
out: it gets S3's 400, and the leak is recorded for `/_sim/leaks`.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from xml.sax.saxutils import escape

from syncd.simulator.answers import Answer, Outcome, Refusal, envelope, json_answer
from syncd.simulator.calls import Call
from syncd.simulator.downloads import file_body
from syncd.simulator.jobs import LINK_LIFETIME, Job
from syncd.simulator.playing import Visit
from syncd.simulator.stage import Turn, serve
from syncd.simulator.state import Simulator
from syncd.simulator.wire import Line, Receive, Scope, Send
from syncd.simulator.world import Project

XML = "application/xml"
ONE_MECHANISM = (
    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
    "Signature query string parameter or the Authorization header should be specified"
)
NO_MATCH = (
    "The request signature we calculated does not match the signature you provided."
)


class StorageOrigin:
    """The ASGI application of the origin."""

    def __init__(self, simulator: Simulator) -> None:
        self._sim = simulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        line = Line(scope, receive, send)
        call = await line.call(endpoint="storage")
        if call is None:
            return
        sim = self._sim
        sim.settle()
        link = _link(sim, call)
        if link is not None:
            job = link.job
            call = replace(call, cohort_id=job.cohort_id, request_id=job.id)
        entry = sim.log.open(call, at=sim.clock.now(), key=None, ids=False)
        leaked = sim.leaks.look(
            sim.world,
            origin="storage",
            at=entry.at,
            path=call.path,
            sent=[*line.headers(), *call.query.items()],
        )
        turn = Turn(
            call=call,
            enter=nullcontext,
            act=partial(_act, sim, call, link, leaked),
            answer=_no_json,
            refuse=_refuse,
            error_body=envelope,
        )
        await serve(sim, turn, line, Visit(entry))


@dataclass(frozen=True, slots=True)
class Link:
    """What a token opens."""

    project: Project
    job: Job
    issued: float
    """Epoch seconds."""


class StorageRefusal(Refusal):
    """S3 says no, in its own words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, message)
        self.code = code


def _link(sim: Simulator, call: Call) -> Link | None:
    token = call.query.get("X-Amz-Signature", "")
    for project in sim.world.projects.values():
        found = project.jobs.linked(token)
        if found is not None and call.path.endswith(f"/{found[0].id}.csv"):
            return Link(project, *found)
    return None


def _act(sim: Simulator, call: Call, link: Link | None, leaked: bool) -> Outcome:
    """Hand the file out. Raises StorageRefusal."""
    if leaked:
        raise StorageRefusal(400, "InvalidArgument", ONE_MECHANISM)
    if call.method != "GET":
        raise StorageRefusal(405, "MethodNotAllowed", "The method is not allowed")
    if link is None:
        raise StorageRefusal(403, "SignatureDoesNotMatch", NO_MATCH)
    if sim.clock.moment() - link.issued > LINK_LIFETIME:
        raise StorageRefusal(403, "AccessDenied", "Request has expired")
    people = link.project.everybody(link.job.count_group)
    render = partial(file_body, link.job, people, sim.switches, inline=False)
    return Outcome(body={}, render=render)


def _no_json(outcome: Outcome) -> Answer:
    return json_answer(outcome.status, outcome.body)


def _refuse(refusal: Refusal) -> Answer:
    code = refusal.code if isinstance(refusal, StorageRefusal) else "InternalError"
    return _error(refusal.status, code, refusal.details)


def _error(status: int, code: str, message: str) -> Answer:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    )
    return Answer(status, body.encode(), XML)
