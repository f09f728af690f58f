"""The part of the control origin that makes Engage's audiences and profiles.

    GET    /_sim/engage                        {"spaces": [id], "audiences": n}
    POST   /_sim/engage                        {"token": of the Public API,
                                               "spaces": [id]}, any of them
    GET    /_sim/engage/audiences              {"audiences": [AUDIENCE]}
    POST   /_sim/engage/audiences              {"key", "name", "id", "space", "members":
                                               PROFILES, "warehouse": path, "status",
                                               "enabled"}; only the key is needed ->
                                               AUDIENCE
    GET    /_sim/engage/audiences/{id}         AUDIENCE; the key does as id everywhere
    PATCH  /_sim/engage/audiences/{id}         {"enter", "leave", "again_in",
                                               "again_out": PROFILES, "name", "status",
                                               "enabled", "size": number or null,
                                               "freeze_size": bool} -> AUDIENCE
    DELETE /_sim/engage/audiences/{id}         {"deleted": id}
    GET    /_sim/engage/audiences/{id}/members ?as=user_id|profile|anonymous_id
                                               &format=text
    POST   /_sim/engage/audiences/{id}/compare expected user ids (lines or JSON)
    POST   /_sim/engage/profiles               [{"profile": key, "user_ids": [],
                                               "anonymous_ids": []}] -> {"profiles": n}

PROFILES: keys of profiles, or a crowd {"user_ids": [], "prefix", "first", "count",
"anonymous": n}. A key that nobody described is the user id of a profile with one
anonymous id beside it; those of `anonymous` have an anonymous id only.
AUDIENCE: {"id", "key", "name", "space", "status", "enabled", "members_count" (the
truth, profiles), "size" (as the Public API says), "changes" (entries and exits so far),
"warehouse"}.
`again_in` and `again_out` tell of an entry or exit even if nothing changes by it. A
warehouse file is made if it is not there, and follows every change from then on.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd.simulator import warehouse
from syncd.simulator.control_crowds import described, named
from syncd.simulator.control_io import (
    ControlError,
    read_object,
    reply,
    simulator_of,
    strings,
)
from syncd.simulator.control_members import compare_reply, members_reply
from syncd.simulator.engage_world import Audience, Change, EngageWorld, Profile

TEXTS = ("key", "name", "id", "space", "warehouse", "status")
PEOPLE = ("members", "enter", "leave", "again_in", "again_out")
STATUSES = (
    *("Backfilling", "Computing", "Disabled", "Error", "Failed", "Live", "Locked"),
    *("Not Computing", "Preparing", "Awaiting Destinations"),
)


def _world(request: Request) -> EngageWorld:
    return simulator_of(request).engage


def audience_of(request: Request) -> Audience:
    """The audience of the path, by id or key. Raises ControlError 404."""
    wanted = request.path_params["audience_id"]
    for one in _world(request).audiences.values():
        if wanted in (one.id, one.key):
            return one
    raise ControlError(f"no audience {wanted}", status=404)


async def engage(request: Request) -> Response:
    """Show or change what holds for all audiences."""
    world = _world(request)
    if request.method == "POST":
        body = await read_object(request)
        if unknown := set(body) - {"token", "spaces"}:
            raise ControlError(f"Engage has no {', '.join(sorted(unknown))}")
        if not isinstance(body.get("token", ""), str):
            raise ControlError("token must be a text")
        world.token = body.get("token", world.token)
        world.spaces |= dict.fromkeys(strings(body, "spaces"))
    return reply({"spaces": list(world.spaces), "audiences": len(world.audiences)})


async def audiences(request: Request) -> Response:
    """Make one, or show all."""
    world = _world(request)
    if request.method == "POST":
        return reply(_show(await _create(request, await read_object(request))))
    return reply({"audiences": [_show(one) for one in world.audiences.values()]})


def _show(audience: Audience) -> dict[str, Any]:
    names = ("id", "key", "name", "space", "status", "enabled", "warehouse")
    return {name: getattr(audience, name) for name in names} | {
        "members_count": len(audience.members),
        "size": audience.shown_size,
        "changes": len(audience.journal),
    }


async def _create(request: Request, body: dict[str, Any]) -> Audience:
    world, moment = _world(request), simulator_of(request).clock.moment()
    _check(body, {*TEXTS, "members", "enabled"})
    key = body.get("key", "")
    if not warehouse.KEY.fullmatch(key):
        raise ControlError("key must be a snake_case key")
    audience = Audience(
        id=body.get("id") or world.new_id(key),
        key=key,
        name=body.get("name") or key.replace("_", " ").title(),
        space=body.get("space") or next(iter(world.spaces)),
        created_at=moment,
        updated_at=moment,
        status=body.get("status", "Live"),
        enabled=body.get("enabled", True),
        warehouse=body.get("warehouse", ""),
    )
    if audience.id in world.audiences:
        raise ControlError("this audience id is in use")
    members = _profiles(world, body.get("members"), "members")
    world.audiences[audience.id] = audience
    world.spaces.setdefault(audience.space)
    await _mirror(world, audience, audience.change(members, [], moment=moment))
    return audience


def _check(body: dict[str, Any], known: set[str]) -> None:
    if unknown := set(body) - known:
        raise ControlError(f"an audience has no {', '.join(sorted(unknown))}")
    for name in TEXTS:
        if not isinstance(body.get(name, ""), str):
            raise ControlError(f"{name} must be a text")
    for name in ("enabled", "freeze_size"):
        if not isinstance(body.get(name, True), bool):
            raise ControlError(f"{name} must be true or false")
    if body.get("status", "Live") not in STATUSES:
        raise ControlError(f"status must be one of {', '.join(STATUSES)}")
    size = body.get("size")
    if size is not None and (type(size) is not int or size < 0):
        raise ControlError("size must be a number from 0, or null")


async def audience(request: Request) -> Response:
    """Show, change or delete one."""
    world, found = _world(request), audience_of(request)
    if request.method == "DELETE":
        del world.audiences[found.id]
        return reply({"deleted": found.id})
    if request.method == "PATCH":
        body = await read_object(request)
        _check(body, {*PEOPLE[1:], "name", "status", "enabled", "size", "freeze_size"})
        people = {name: _profiles(world, body.get(name), name) for name in PEOPLE[1:]}
        _edit(found, body)
        await _mirror(world, found, _move(request, found, people))
    return reply(_show(found))


def _edit(found: Audience, body: dict[str, Any]) -> None:
    for name in ("name", "status", "enabled"):
        setattr(found, name, body.get(name, getattr(found, name)))
    if "freeze_size" in body:
        found.size = len(found.members) if body["freeze_size"] else None
    if "size" in body:
        found.size = body["size"]


def _move(
    request: Request, found: Audience, people: dict[str, list[str]]
) -> list[Change]:
    moment = simulator_of(request).clock.moment()
    return [
        *found.change(people["enter"], people["leave"], moment=moment),
        *found.change(
            people["again_in"], people["again_out"], moment=moment, again=True
        ),
    ]


def _profiles(world: EngageWorld, value: Any, name: str) -> list[str]:
    """The keys of PROFILES; those of `anonymous` are made."""
    crowd = described(value, name)
    if crowd.get("duplicates"):
        raise ControlError("profiles have no duplicates")
    keys = list(named(crowd))
    for number in range(crowd.get("anonymous", 0)):
        key = f"anonymous-{number:06d}"
        world.name_profile(key, Profile((), (key,)))
        keys.append(key)
    return keys


async def _mirror(
    world: EngageWorld, audience: Audience, changes: list[Change]
) -> None:
    """Let the audience's warehouse file follow; in a thread, as files are slow."""
    if audience.warehouse:
        newest = {change.profile: change for change in changes}
        moved = [(world.profile(one), newest[one]) for one in newest]
        await asyncio.to_thread(_write, Path(audience.warehouse), audience.key, moved)


def _write(path: Path, key: str, moved: list[tuple[Profile, Change]]) -> None:
    if not path.exists():
        warehouse.create(path)
    for entered, write in ((True, warehouse.enter), (False, warehouse.leave)):
        chosen = [(who, change) for who, change in moved if change.entered is entered]
        ids = [one for who, _ in chosen for one in who.user_ids]
        if ids:
            at = datetime.fromtimestamp(max(one.at for _, one in chosen) / 1000, UTC)
            write(path, key, ids, at=at)


async def members(request: Request) -> Response:
    """Who is in, in truth; in no order."""
    found, shape = audience_of(request), request.query_params.get("as", "user_id")
    if shape not in ("user_id", "profile", "anonymous_id"):
        raise ControlError("as must be user_id, profile or anonymous_id")
    ids = sorted(_ids(_world(request), found, shape))
    return members_reply(request, ids, {"audience": found.id})


def _ids(world: EngageWorld, found: Audience, shape: str) -> Iterator[str]:
    for key in found.members:
        profile = world.profile(key)
        match shape:
            case "profile":
                yield key
            case "user_id":
                yield from profile.user_ids
            case _:
                yield from profile.anonymous_ids


async def compare(request: Request) -> Response:
    """Expected user ids against the truth."""
    found = audience_of(request)
    return await compare_reply(request, _world(request).user_ids(found))


async def profiles(request: Request) -> Response:
    """Say which identifiers some profiles have."""
    world, body = _world(request), await read_object(request, or_list=True)
    rows = body if isinstance(body, list) else [body]
    for row in rows:
        if set(row) - {"profile", "user_ids", "anonymous_ids"}:
            raise ControlError("a profile has profile, user_ids, anonymous_ids")
        if not isinstance(row.get("profile"), str) or not row["profile"]:
            raise ControlError("profile must be a text")
        user_ids, anonymous = strings(row, "user_ids"), strings(row, "anonymous_ids")
        world.name_profile(row["profile"], Profile(tuple(user_ids), tuple(anonymous)))
    return reply({"profiles": len(rows)})


ROUTES = [
    Route("/_sim/engage", engage, methods=["GET", "POST"]),
    Route("/_sim/engage/profiles", profiles, methods=["POST"]),
    Route("/_sim/engage/audiences", audiences, methods=["GET", "POST"]),
    Route(
        "/_sim/engage/audiences/{audience_id}",
        audience,
        methods=["GET", "PATCH", "DELETE"],
    ),
    Route("/_sim/engage/audiences/{audience_id}/members", members, methods=["GET"]),
    Route("/_sim/engage/audiences/{audience_id}/compare", compare, methods=["POST"]),
]
