"""The part of the control origin that sets the partner up and reads what it holds.

    GET    /_sim/partner                    counters, with traffic by list
    GET    /_sim/partner/setup              {"app_id", "auth", "ids_key",
                                            "property_path"}
    POST   /_sim/partner/setup              any of these, or "api_key"
    GET    /_sim/partner/lists              {"lists": [LIST]}
    DELETE /_sim/partner/lists/{id}         the list is unknown from now on
    GET    /_sim/partner/lists/{id}/members ?format=text: lines, else {"list", "count",
                                            "ids"}
    POST   /_sim/partner/lists/{id}/compare expected ids (lines or JSON), as for cohorts
    GET    /_sim/partner/traits             {"traits": [{"name", "true", "false"}]}
    GET    /_sim/partner/members?trait=T    ids whose value is true (&value=false)
    POST   /_sim/partner/compare?trait=T    expected ids against them
    GET    /_sim/partner/user?user_id=U     {"traits": {T: bool}, "lists": [id]}
    POST   /_sim/partner/people             ids to know (lines or {"user_ids": []});
    DELETE /_sim/partner/people             ids to forget; no body: all -> {"total"}
    GET    /_sim/partner/bodies?last=N      {"bodies": [BODY]}, newest last

LIST: {"id", "name", "members_count", "requests", "max_in_flight", "overlaps"}.
BODY: {"seq", "at", "method", "path", "endpoint", "content_type", "auth" (basic,
headers, none), "body": the text as it came}; the last 50 are kept. Who is known matters
with the switch `partner_knows_everybody` off only.
"""

from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd.simulator.control_io import (
    ControlError,
    read_object,
    read_people,
    reply,
    simulator_of,
    strings,
)
from syncd.simulator.control_members import compare_reply, members_reply
from syncd.simulator.partner_world import PartnerList, PartnerWorld

AUTH = ("basic", "headers", "either")
SETUP = ("api_key", "app_id", "auth", "ids_key", "property_path")


def _world(request: Request) -> PartnerWorld:
    return simulator_of(request).partner


async def counters(request: Request) -> Response:
    """Everything that is counted."""
    world, traffic = _world(request), simulator_of(request).partner_traffic.stats()
    names = ("requests", "by_endpoint", "by_status", "in_flight", "max_in_flight")
    return reply(
        {name: traffic[name] for name in names}
        | {
            "ids_sent": traffic["ids_sent"],
            "by_list": traffic["cohorts"],
            "lists": len(world.lists),
            "traits": len(world.traits),
            "people": len(world.people),
        }
    )


async def setup(request: Request) -> Response:
    """Show or change how the partner's API is set up; the key is never shown."""
    shown = _world(request).setup
    if request.method == "POST":
        body = await read_object(request)
        for name, value in body.items():
            if name not in SETUP:
                raise ControlError(f"a partner has no {name}")
            if not isinstance(value, str) or not value:
                raise ControlError(f"{name} must be a text")
        if body.get("auth", "basic") not in AUTH:
            raise ControlError(f"auth must be one of {', '.join(AUTH)}")
        for name, value in body.items():
            setattr(shown, name, value)
    return reply({name: getattr(shown, name) for name in SETUP if name != "api_key"})


async def lists(request: Request) -> Response:
    """All lists."""
    by_list = simulator_of(request).partner_traffic.stats()["cohorts"]
    none = {"requests": 0, "max_in_flight": 0, "overlaps": 0}
    shown = [
        {"id": one.id, "name": one.name, "members_count": len(one.members)}
        | by_list.get(one.id, none)
        for one in _world(request).lists.values()
    ]
    return reply({"lists": shown})


def _list(request: Request) -> PartnerList:
    wanted = request.path_params["list_id"]
    found = _world(request).lists.get(wanted)
    if found is None:
        raise ControlError(f"no list {wanted}", status=404)
    return found


async def delete_list(request: Request) -> Response:
    """Take a list away, as somebody at the partner might."""
    found = _list(request)
    del _world(request).lists[found.id]
    return reply({"deleted": found.id})


async def list_members(request: Request) -> Response:
    """The true members, in no order."""
    found = _list(request)
    return members_reply(request, found.members, {"list": found.id})


async def list_compare(request: Request) -> Response:
    """Expected users against the members."""
    return await compare_reply(request, _list(request).members)


async def traits(request: Request) -> Response:
    """People by trait and value."""
    shown: list[dict[str, Any]] = []
    for name, values in _world(request).traits.items():
        true = sum(values.values())
        shown.append({"name": name, "true": true, "false": len(values) - true})
    return reply({"traits": shown})


def _holders(request: Request) -> Iterator[str]:
    """The users whose value of `?trait=` is `?value=`."""
    trait = request.query_params.get("trait")
    if not trait:
        raise ControlError("?trait= is missing")
    word = request.query_params.get("value", "true")
    if word not in ("true", "false"):
        raise ControlError("value must be true or false")
    wanted = word == "true"
    values = _world(request).traits.get(trait, {})
    return (user_id for user_id, value in values.items() if value is wanted)


async def members(request: Request) -> Response:
    """The users with a value, in no order."""
    value = request.query_params.get("value", "true")
    head = {"trait": request.query_params.get("trait"), "value": value}
    return members_reply(request, _holders(request), head)


async def compare(request: Request) -> Response:
    """Expected users against those with a value."""
    return await compare_reply(request, set(_holders(request)))


async def user(request: Request) -> Response:
    """What the partner holds of one user."""
    world, user_id = _world(request), request.query_params.get("user_id", "")
    held = [one.id for one in world.lists.values() if user_id in one.members]
    shown: dict[str, Any] = {"user_id": user_id, "traits": world.traits_of(user_id)}
    return reply(shown | {"lists": held})


async def people(request: Request) -> Response:
    """Let people be known, or forget them."""
    world, body = _world(request), await read_people(request)
    names = strings(body, "user_ids")
    if request.method == "POST":
        world.people.update(names)
    elif "user_ids" in body:
        world.people.difference_update(names)
    else:
        world.people.clear()
    return reply({"total": len(world.people)})


async def bodies(request: Request) -> Response:
    """The last bodies, verbatim."""
    last = request.query_params.get("last", "1")
    if not last.isdigit():
        raise ControlError("last must be a number")
    kept = list(_world(request).bodies)
    return reply({"bodies": kept[len(kept) - min(int(last), len(kept)) :]})


ROUTES = [
    Route("/_sim/partner", counters, methods=["GET"]),
    Route("/_sim/partner/setup", setup, methods=["GET", "POST"]),
    Route("/_sim/partner/lists", lists, methods=["GET"]),
    Route("/_sim/partner/lists/{list_id}", delete_list, methods=["DELETE"]),
    Route("/_sim/partner/lists/{list_id}/members", list_members, methods=["GET"]),
    Route("/_sim/partner/lists/{list_id}/compare", list_compare, methods=["POST"]),
    Route("/_sim/partner/traits", traits, methods=["GET"]),
    Route("/_sim/partner/members", members, methods=["GET"]),
    Route("/_sim/partner/compare", compare, methods=["POST"]),
    Route("/_sim/partner/user", user, methods=["GET"]),
    Route("/_sim/partner/people", people, methods=["POST", "DELETE"]),
    Route("/_sim/partner/bodies", bodies, methods=["GET"]),
]
