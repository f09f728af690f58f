"""The part of the control origin that makes and reads cohorts.

The calls are listed in `control`. The true members are readable here in every shape a
safety check needs.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd.simulator.cohorts import USER, Cohort, describe
from syncd.simulator.control_crowds import crowd
from syncd.simulator.control_io import (
    ControlError,
    project_of,
    read_object,
    reply,
    simulator_of,
    strings,
)
from syncd.simulator.control_members import compare_reply, members_reply
from syncd.simulator.switches import TOUCHABLE
from syncd.simulator.world import Project

MEMBERS = ("members", "generate", "add", "remove")
FLAGS = ("archived", "hidden", "published")


def cohort_of(request: Request) -> tuple[Project, Cohort]:
    """A cohort is found in any project: cohort ids are never used twice."""
    wanted = request.path_params["cohort_id"]
    for project in simulator_of(request).world.projects.values():
        if wanted in project.cohorts:
            return project, project.cohorts[wanted]
    raise ControlError(f"no cohort {wanted}", status=404)


async def cohorts(request: Request) -> Response:
    """Create one, or show all of all projects (of one with `?project=`)."""
    if request.method == "POST":
        body = await read_object(request)
        return reply(_show(await _create(request, body)))
    projects = simulator_of(request).world.projects.values()
    chosen = [project_of(request)] if "project" in request.query_params else projects
    shown = [_show(one) for project in chosen for one in project.cohorts.values()]
    return reply({"cohorts": shown})


def _show(cohort: Cohort) -> dict[str, Any]:
    return describe(cohort) | {
        "members_count": len(cohort.members),
        "computed_count": len(cohort.computed),
        "sync_metadata": cohort.sync_metadata,
    }


async def _create(request: Request, body: dict[str, Any]) -> Cohort:
    world, project = simulator_of(request).world, project_of(request)
    now = simulator_of(request).clock.epoch()
    if not isinstance(body.get("name"), str):
        raise ControlError("name must be a string")
    cohort = Cohort(
        id=str(body.get("id") or world.new_cohort_id()),
        app_id=project.app_id,
        name=body["name"],
        owners=list(project.owners),
        count_group=body.get("count_group", USER),
        created_at=now,
        last_mod=now,
    )
    if any(cohort.id in other.cohorts for other in world.projects.values()):
        raise ControlError("this cohort id is in use")
    edits = {key: body[key] for key in body if key not in NOT_EDITED}
    await _edit(project, cohort, edits)
    if body.get("computed", True):
        cohort.touch(now, frozenset(TOUCHABLE))
    project.cohorts[cohort.id] = cohort
    return cohort


NOT_EDITED = frozenset({"id", "count_group", "computed"})
EDITABLE = frozenset(
    {"name", "type", "owners", "sync_metadata", "recompute", *MEMBERS, *FLAGS}
)


async def cohort(request: Request) -> Response:
    """Show, edit or delete one cohort, as its owner would in the web page."""
    project, found = cohort_of(request)
    if request.method == "DELETE":
        del project.cohorts[found.id]
        return reply({"deleted": found.id})
    if request.method == "PATCH":
        body = await read_object(request)
        await _edit(project, found, body)
        found.touch(simulator_of(request).clock.epoch(), _touched(found, body))
    return reply(_show(found))


def _touched(cohort: Cohort, body: dict[str, Any]) -> frozenset[str]:
    """Which times and sizes an edit moves: of a dynamic cohort, a change of members
    leaves `lastMod` alone (contract section 5)."""
    changed = not set(MEMBERS).isdisjoint(body)
    edited = bool(set(body) - {"recompute", *MEMBERS})
    touched = {"lastMod"} if edited or (changed and not cohort.dynamic) else set()
    if body.get("recompute", changed):
        touched |= {"lastComputed", "size"}
    return frozenset(touched)


async def _edit(project: Project, cohort: Cohort, body: dict[str, Any]) -> None:
    """Set fields, then members. Raises ControlError before anything is changed."""
    if unknown := set(body) - EDITABLE:
        raise ControlError(f"a cohort has no {', '.join(sorted(unknown))}")
    for name in (*FLAGS, "recompute"):
        if not isinstance(body.get(name, True), bool):
            raise ControlError(f"{name} must be true or false")
    owners = strings(body, "owners")
    people = project.everybody(cohort.count_group)
    crowds = {
        name: await crowd(people, body[name], name) for name in MEMBERS if name in body
    }
    for name in FLAGS:
        setattr(cohort, name, body.get(name, getattr(cohort, name)))
    cohort.name = str(body.get("name", cohort.name))
    cohort.kind = str(body.get("type", cohort.kind))
    cohort.sync_metadata = list(body.get("sync_metadata", cohort.sync_metadata))
    if "owners" in body:
        cohort.owners = owners
    base = crowds.get("members", crowds.get("generate", cohort.members))
    if crowds:
        cohort.members = (base | crowds.get("add", set())) - crowds.get("remove", set())


def _asked(request: Request, cohort: Cohort) -> set[int]:
    computed = request.query_params.get("computed", "") in ("1", "true")
    return cohort.computed if computed else cohort.members


async def members(request: Request) -> Response:
    """The true members, or those of the last computation; in no order."""
    project, found = cohort_of(request)
    people = project.everybody(found.count_group)
    keys = _asked(request, found)
    if request.query_params.get("as", "user_id") == "amplitude_id":
        ids = [str(key) for key in keys]
    else:
        ids = [name for name in people.names(keys) if name is not None]
    if request.query_params.get("format", "json") == "text":
        return members_reply(request, ids, {})
    shown = {"cohort_id": found.id, "count": len(keys)}
    return reply(shown | {"anonymous": len(keys) - len(ids), "ids": ids})


async def compare(request: Request) -> Response:
    """Person by person: who should be in the cohort and is not, and the reverse."""
    project, found = cohort_of(request)
    people = project.everybody(found.count_group)
    keys = _asked(request, found)
    actual = {people.name_of(key) or str(key) for key in keys}
    return await compare_reply(request, actual)


ROUTES = [
    Route("/_sim/cohorts", cohorts, methods=["GET", "POST"]),
    Route("/_sim/cohorts/{cohort_id}", cohort, methods=["GET", "PATCH", "DELETE"]),
    Route("/_sim/cohorts/{cohort_id}/members", members, methods=["GET"]),
    Route("/_sim/cohorts/{cohort_id}/compare", compare, methods=["POST"]),
]
