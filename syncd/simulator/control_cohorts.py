"""The part of the control origin that makes and reads cohorts.

The calls are listed in `control`. The true members are readable here in every shape a
safety check needs.
"""

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from syncd.simulator.cohorts import USER, Cohort, describe
from syncd.simulator.control_io import (
    ControlError,
    project_of,
    read_object,
    read_people,
    reply,
    simulator_of,
    strings,
)
from syncd.simulator.people import People
from syncd.simulator.switches import TOUCHABLE
from syncd.simulator.world import Project

FLAGS = ("archived", "hidden", "published")
PIECE = 10_000
"""Members written at a time, so that the loop can serve others in between."""


def _cohort(request: Request) -> tuple[Project, Cohort]:
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
        return reply(_show(_create(request, body)))
    projects = simulator_of(request).world.projects.values()
    chosen = [project_of(request)] if "project" in request.query_params else projects
    shown = [_show(one) for project in chosen for one in project.cohorts.values()]
    return reply({"cohorts": shown})


def _show(cohort: Cohort) -> dict[str, Any]:
    return describe(cohort) | {
        "members_count": len(cohort.members),
        "sync_metadata": cohort.sync_metadata,
    }


def _create(request: Request, body: dict[str, Any]) -> Cohort:
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
    _edit(project, cohort, {key: body[key] for key in body if key not in NOT_EDITED})
    if body.get("computed", True):
        cohort.touch(now, frozenset(TOUCHABLE))
    project.cohorts[cohort.id] = cohort
    return cohort


NOT_EDITED = frozenset({"id", "count_group", "computed"})
EDITABLE = frozenset(
    {"name", "type", "owners", "sync_metadata", "members", "add", "remove", *FLAGS}
)


async def cohort(request: Request) -> Response:
    """Show, edit or delete one cohort, as its owner would in the web page."""
    project, found = _cohort(request)
    if request.method == "DELETE":
        del project.cohorts[found.id]
        return reply({"deleted": found.id})
    if request.method == "PATCH":
        body = await read_object(request)
        _edit(project, found, body)
        touched = (
            TOUCHABLE if {"members", "add", "remove"} & set(body) else TOUCHABLE[:1]
        )
        found.touch(simulator_of(request).clock.epoch(), frozenset(touched))
    return reply(_show(found))


def _edit(project: Project, cohort: Cohort, body: dict[str, Any]) -> None:
    """Set fields, then members. Raises ControlError before anything is changed."""
    if unknown := set(body) - EDITABLE:
        raise ControlError(f"a cohort has no {', '.join(sorted(unknown))}")
    for name in FLAGS:
        if not isinstance(body.get(name, True), bool):
            raise ControlError(f"{name} must be true or false")
    lists = {
        name: strings(body, name) for name in ("owners", "members", "add", "remove")
    }
    for name in FLAGS:
        setattr(cohort, name, body.get(name, getattr(cohort, name)))
    cohort.name = str(body.get("name", cohort.name))
    cohort.kind = str(body.get("type", cohort.kind))
    cohort.sync_metadata = list(body.get("sync_metadata", cohort.sync_metadata))
    if "owners" in body:
        cohort.owners = lists["owners"]
    people = project.everybody(cohort.count_group)
    if "members" in body:
        cohort.members = _keys(people, lists["members"])
    cohort.members |= _keys(people, lists["add"])
    cohort.members -= _keys(people, lists["remove"])


def _keys(people: People, names: list[str]) -> set[int]:
    people.add(names)
    keys = (people.id_of(name) for name in names)
    return {key for key in keys if key is not None}


async def members(request: Request) -> Response:
    """The true members, streamed and in no order."""
    project, found = _cohort(request)
    people = project.everybody(found.count_group)
    as_number = request.query_params.get("as", "user_id") == "amplitude_id"
    if request.query_params.get("format", "json") == "text":
        lines = _lines(people, found.members, as_number)
        return StreamingResponse(lines, media_type="text/plain; charset=utf-8")
    ids = _shown(people, list(found.members), as_number)
    anonymous = 0 if as_number else len(found.members) - len(ids)
    shown = {"cohort_id": found.id, "count": len(found.members)}
    return reply(shown | {"anonymous": anonymous, "ids": ids})


def _shown(people: People, keys: list[int], as_number: bool) -> list[str]:
    if as_number:
        return [str(key) for key in keys]
    names = (people.name_of(key) for key in keys)
    return [name for name in names if name is not None]


async def _lines(
    people: People, keys: set[int], as_number: bool
) -> AsyncIterator[bytes]:
    frozen = list(keys)
    for place in range(0, len(frozen), PIECE):
        shown = _shown(people, frozen[place : place + PIECE], as_number)
        yield "".join(f"{one}\n" for one in shown).encode()


async def compare(request: Request) -> Response:
    """Person by person: who should be in the cohort and is not, and the reverse."""
    project, found = _cohort(request)
    people = project.everybody(found.count_group)
    expected = set(strings(await read_people(request), "user_ids"))
    actual = {people.name_of(key) or str(key) for key in found.members}
    missing, extra = expected - actual, actual - expected
    return reply(
        {
            "equal": not missing and not extra,
            "expected": len(expected),
            "actual": len(actual),
            "missing": len(missing),
            "extra": len(extra),
            "missing_sample": sorted(missing)[:10],
            "extra_sample": sorted(extra)[:10],
        }
    )


ROUTES = [
    Route("/_sim/cohorts", cohorts, methods=["GET", "POST"]),
    Route("/_sim/cohorts/{cohort_id}", cohort, methods=["GET", "PATCH", "DELETE"]),
    Route("/_sim/cohorts/{cohort_id}/members", members, methods=["GET"]),
    Route("/_sim/cohorts/{cohort_id}/compare", compare, methods=["POST"]),
]
