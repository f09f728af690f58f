"""The part of the control origin that lets a cohort change by itself (R15).

The calls are listed in `control`.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd.simulator.behaviour import Script, Step
from syncd.simulator.cohorts import Cohort
from syncd.simulator.control_cohorts import cohort_of
from syncd.simulator.control_crowds import crowd
from syncd.simulator.control_io import (
    ControlError,
    instant,
    read_object,
    reply,
    simulator_of,
)
from syncd.simulator.people import People

STEP = frozenset({"at", "members", "add", "remove", "recompute"})
SHORTEST = 1
"""Seconds between two recomputes."""


async def behaviour(request: Request) -> Response:
    """Give a cohort a script instead of the one it had, show it, or end it."""
    project, found = cohort_of(request)
    if request.method == "DELETE":
        found.script = None
    if request.method == "POST":
        body = await read_object(request)
        if unknown := set(body) - {"steps", "recompute_every"}:
            raise ControlError(f"a behaviour has no {', '.join(sorted(unknown))}")
        steps, every = body.get("steps", []), body.get("recompute_every")
        if not isinstance(steps, list):
            raise ControlError("steps must be a list")
        if every is not None and (type(every) not in (int, float) or every < SHORTEST):
            raise ControlError(f"recompute_every must be seconds from {SHORTEST}")
        people = project.everybody(found.count_group)
        made = [await _step(people, one) for one in steps]
        since = simulator_of(request).clock.moment()
        found.script = Script(made, every=every, since=since)
        found.settle(since)
    return reply(_show(found))


async def _step(people: People, step: Any) -> Step:
    if not isinstance(step, dict) or set(step) - STEP or "at" not in step:
        raise ControlError(f"a step has at, and of {', '.join(sorted(STEP))}")
    if not isinstance(step.get("recompute", False), bool):
        raise ControlError("recompute must be true or false")
    try:
        at = instant(step["at"]).timestamp()
    except (TypeError, ValueError) as error:
        raise ControlError(f"at: {error}") from error
    members = step.get("members")
    return Step(
        at=at,
        members=None if members is None else await crowd(people, members, "members"),
        add=await crowd(people, step.get("add"), "add"),
        remove=await crowd(people, step.get("remove"), "remove"),
        recompute=step.get("recompute", False),
    )


def _show(cohort: Cohort) -> dict[str, Any]:
    return {
        "id": cohort.id,
        "steps_left": cohort.script.left if cohort.script else 0,
        "recompute_every": cohort.script.every if cohort.script else None,
        "members_count": len(cohort.members),
        "computed_count": len(cohort.computed),
        "lastComputed": cohort.last_computed,
        "size": cohort.size,
    }


ROUTES = [
    Route(
        "/_sim/cohorts/{cohort_id}/behaviour",
        behaviour,
        methods=["GET", "POST", "DELETE"],
    ),
]
