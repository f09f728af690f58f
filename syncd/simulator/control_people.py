"""The part of the control origin that makes people and projects.

The calls are listed in `control`.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd.simulator.cohorts import USER
from syncd.simulator.control_io import (
    ControlError,
    project_of,
    read_object,
    read_people,
    reply,
    simulator_of,
    strings,
)
from syncd.simulator.people import Added, People
from syncd.simulator.quota import Quota, Spender
from syncd.simulator.world import Project

SHORTEST = 1
"""Seconds between two spendings: a month of them is worked off in one go."""


async def users(request: Request) -> Response:
    """Create, show or delete people (R21: cohort calls never create any)."""
    project = project_of(request)
    group = request.query_params.get("count_group", USER)
    people = project.everybody(group)
    if request.method == "POST":
        added = _add_people(people, await read_people(request))
        shown = {"created": added.created, "existing": added.existing}
        return reply(shown | {"refused": added.refused, "total": len(people)})
    if request.method == "DELETE":
        body = await read_people(request)
        names = strings(body, "user_ids") if "user_ids" in body else None
        deleted = project.remove_people(group, names)
        return reply({"deleted": deleted, "total": len(people)})
    found = _lookup(people, request.query_params.getlist("user_id"))
    pairs = [{"user_id": name, "amplitude_id": key} for name, key in found.items()]
    return reply({"total": len(people), "users": pairs})


def _add_people(people: People, body: dict[str, Any]) -> Added:
    added = people.add(strings(body, "user_ids"))
    numbered = body.get("users", [])
    if not isinstance(numbered, list) or not all(
        isinstance(one, dict) for one in numbered
    ):
        raise ControlError("users must be a list of objects")
    for one in numbered:
        number, name = one.get("amplitude_id"), one.get("user_id")
        if number is None:
            extra = people.add([str(name)])
            added.created += extra.created
            added.existing += extra.existing
        elif not str(number).isdigit():
            raise ControlError("amplitude_id must be a number")
        else:
            created = people.add_numbered(int(number), name)
            added.created += created
            added.existing += not created
    anonymous = body.get("anonymous", 0)
    if type(anonymous) is not int or anonymous < 0:
        raise ControlError("anonymous must be a number from 0")
    people.add_anonymous(anonymous)
    added.created += anonymous
    return added


def _lookup(people: People, names: list[str]) -> dict[str, str]:
    """User id -> Amplitude ID as text, of those who exist."""
    found = ((name, people.id_of(name)) for name in names)
    return {name: str(number) for name, number in found if number is not None}


async def lookup(request: Request) -> Response:
    """Amplitude IDs of many people."""
    body = await read_people(request)
    group = request.query_params.get("count_group", USER)
    people = project_of(request).everybody(group)
    return reply({"amplitude_ids": _lookup(people, strings(body, "user_ids"))})


async def projects(request: Request) -> Response:
    """Show or add projects."""
    world = simulator_of(request).world
    if request.method == "POST":
        body = await read_object(request)
        app_id = body.get("app_id")
        if type(app_id) is not int:
            raise ControlError("app_id must be a number")
        fresh = Project(
            app_id=app_id, api_key="", secret_key="", region=world.region, owners=[]
        )
        _edit_project(request, fresh, body)
        return reply(_show_project(request, fresh))
    shown = [_show_project(request, one) for one in world.projects.values()]
    return reply({"projects": shown})


async def project(request: Request) -> Response:
    """Edit one project."""
    found = project_of(request)
    _edit_project(request, found, await read_object(request))
    return reply(_show_project(request, found))


def _edit_project(request: Request, edited: Project, body: dict[str, Any]) -> None:
    world, now = simulator_of(request).world, simulator_of(request).clock.moment()
    if body.get("region", "us") not in ("us", "eu"):
        raise ControlError("region must be us or eu")
    for name in ("downloads_used", "download_limit"):
        if type(body.get(name, 0)) is not int:
            raise ControlError(f"{name} must be a number")
    owners = strings(body, "owners")
    api_key = str(body.get("api_key", edited.api_key))
    try:
        world.check_key(edited.app_id, api_key)
    except ValueError as error:
        raise ControlError(str(error)) from error
    edited.api_key = api_key
    edited.secret_key = str(body.get("secret_key", edited.secret_key))
    edited.region = body.get("region", edited.region)
    edited.owners = owners or edited.owners
    edited.quota.limit = body.get("download_limit", edited.quota.limit)
    if "downloads_used" in body:
        edited.quota.set_used(now, body["downloads_used"])
    if "spend" in body:
        _spend(edited.quota, body["spend"], now)
    world.projects[edited.app_id] = edited


def _spend(quota: Quota, spend: Any, now: float) -> None:
    """The second spender: at once, on a schedule from now on, or not any more."""
    if spend is None:
        quota.spender = None
        return
    count = spend.get("count") if isinstance(spend, dict) else None
    if type(count) is not int or count < 1 or set(spend) - {"count", "every"}:
        raise ControlError('spend must be {"count": n from 1, "every": seconds}')
    every = spend.get("every")
    if every is None:
        quota.spend(now, count)
    elif type(every) not in (int, float) or every < SHORTEST:
        raise ControlError(f"every must be a number of seconds from {SHORTEST}")
    else:
        quota.spender = Spender(every=every, count=count, due=now + every)


def _show_project(request: Request, shown: Project) -> dict[str, Any]:
    quota = shown.quota
    return {
        "app_id": shown.app_id,
        "api_key": shown.api_key,
        "region": shown.region,
        "owners": shown.owners,
        "downloads_used": quota.used(simulator_of(request).clock.moment()),
        "download_limit": quota.limit,
        "downloads_by_month": dict(quota.months),
        "spent_elsewhere": quota.elsewhere,
        "spend": quota.spender,
        "users": len(shown.everybody(USER)),
        "cohorts": len(shown.cohorts),
    }


ROUTES = [
    Route("/_sim/users", users, methods=["GET", "POST", "DELETE"]),
    Route("/_sim/users/lookup", lookup, methods=["POST"]),
    Route("/_sim/projects", projects, methods=["GET", "POST"]),
    Route("/_sim/projects/{app_id}", project, methods=["PATCH"]),
]
