"""The part of the control origin that makes sources and reads what Segment holds.

`?space=` picks the space, by default that of the first source, `demo`. Trait names
are query parameters, as they hold spaces, brackets and anything else.

    GET    /_sim/segment                  COUNTERS, with traffic
    GET    /_sim/segment/sources          {"sources": [SOURCE]}, without write keys
    POST   /_sim/segment/sources          {"id", "write_key", "region", "space"}: make
                                          or change one -> SOURCE
    DELETE /_sim/segment/sources/{id}     its write key is unknown from now on
    GET    /_sim/segment/traits           {"traits": [{"name", "true", "false",
                                          "other"}]}: people by value
    GET    /_sim/segment/members?trait=T  ids whose value is true (&value=false: false);
                                          &format=text: lines, else
                                          {"trait", "value", "count", "ids"}
    POST   /_sim/segment/compare?trait=T  expected ids (lines or JSON) against those
                                          with true (&value=false), as for cohorts
    GET    /_sim/segment/user?user_id=U   {"traits": {T: {"value", "timestamp",
                                          "message_id"}}, "integrations"}
    GET    /_sim/segment/events?user_id=U {"events": [EVENT]} in order of arrival, also
                                          of requests that failed
    GET    /_sim/segment/dropped          ?reason= &limit=1000 -> {"total", "by_reason",
                                          "dropped": [EVENT]}, newest last

SOURCE: {"id", "region", "space"}. EVENT: {"request" (seq of the log), "received_at",
"place" in its batch, "user_id", "message_id", "timestamp" as stored, "outcome", "type",
"traits", "context", "integrations"}. Outcomes: segment_history.OUTCOMES.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd.simulator.control_io import ControlError, read_object, reply, simulator_of
from syncd.simulator.control_members import compare_reply, members_reply
from syncd.simulator.segment_history import OUTCOMES
from syncd.simulator.segment_world import SegmentWorld, Source


def _world(request: Request) -> SegmentWorld:
    return simulator_of(request).segment


def _space(request: Request) -> str:
    """The space asked for. Raises ControlError 404."""
    spaces = _world(request).spaces()
    wanted = request.query_params.get("space") or next(iter(spaces), "")
    if wanted not in spaces:
        raise ControlError(f"no space {wanted}", status=404)
    return wanted


def _asked(request: Request, name: str) -> str:
    """A query parameter that must be there."""
    value = request.query_params.get(name)
    if not value:
        raise ControlError(f"?{name}= is missing")
    return value


async def counters(request: Request) -> Response:
    """Everything that is counted."""
    traffic = simulator_of(request).segment_traffic.stats()
    names = ("by_endpoint", "by_status", "in_flight", "max_in_flight")
    return reply(_world(request).counters() | {name: traffic[name] for name in names})


async def sources(request: Request) -> Response:
    """Show, make or change sources."""
    world = _world(request)
    if request.method == "POST":
        return reply(_show(_edit(world, await read_object(request))))
    return reply({"sources": [_show(one) for one in world.sources.values()]})


def _edit(world: SegmentWorld, body: dict[str, Any]) -> Source:
    if unknown := set(body) - {"id", "write_key", "region", "space"}:
        raise ControlError(f"a source has no {', '.join(sorted(unknown))}")
    for name, value in body.items():
        if not isinstance(value, str) or not value:
            raise ControlError(f"{name} must be a text")
    source_id = body.get("id", "demo")
    old = world.sources.get(source_id)
    write_key = body.get("write_key", old.write_key if old else None)
    if write_key is None:
        raise ControlError("a new source needs a write_key")
    taken = world.by_key(write_key)
    if taken is not None and taken.id != source_id:
        raise ControlError("write_key is in use by another source")
    region = body.get("region", old.region if old else world.region)
    if region not in ("us", "eu"):
        raise ControlError("region must be us or eu")
    space = body.get("space", old.space if old else source_id)
    made = Source(id=source_id, write_key=write_key, region=region, space=space)
    world.sources[source_id] = made
    return made


def _show(source: Source) -> dict[str, Any]:
    return {"id": source.id, "region": source.region, "space": source.space}


async def source(request: Request) -> Response:
    """Take a source away."""
    wanted = request.path_params["source_id"]
    if _world(request).sources.pop(wanted, None) is None:
        raise ControlError(f"no source {wanted}", status=404)
    return reply({"deleted": wanted})


async def traits(request: Request) -> Response:
    """People by trait and value."""
    world, space = _world(request), _space(request)
    shown = []
    for name in world.trait_names(space):
        by_value = Counter(_word(value) for _, value in world.values(space, name))
        counts = {word: by_value[word] for word in ("true", "false", "other")}
        shown.append({"name": name, **counts})
    return reply({"traits": shown})


def _word(value: Any) -> str:
    if type(value) is not bool:
        return "other"
    return "true" if value else "false"


def _holders(request: Request) -> Iterator[str]:
    """The users whose value of `?trait=` is `?value=`."""
    world, space, trait = _world(request), _space(request), _asked(request, "trait")
    word = request.query_params.get("value", "true")
    if word not in ("true", "false"):
        raise ControlError("value must be true or false")
    wanted = word == "true"
    return (name for name, value in world.values(space, trait) if value is wanted)


async def members(request: Request) -> Response:
    """The users with a value, in no order."""
    value = request.query_params.get("value", "true")
    head = {"trait": request.query_params.get("trait"), "value": value}
    return members_reply(request, _holders(request), head)


async def compare(request: Request) -> Response:
    """Expected users against those with a value."""
    return await compare_reply(request, set(_holders(request)))


async def user(request: Request) -> Response:
    """One user's traits, and the `integrations` of the newest event."""
    world, user_id = _world(request), _asked(request, "user_id")
    rows = world.history.rows_of(user_id)
    said = world.history.said(rows[-1]) if rows else {"integrations": {}}
    return reply(
        {
            "user_id": user_id,
            "traits": world.traits_of(_space(request), user_id),
            "integrations": said["integrations"],
        }
    )


async def events(request: Request) -> Response:
    """Everything that came about one user."""
    history = _world(request).history
    rows = history.rows_of(_asked(request, "user_id"))
    return reply({"events": list(history.show_all(rows))})


async def dropped(request: Request) -> Response:
    """What was answered with 200 and thrown away."""
    world, query = _world(request), request.query_params
    reason, limit = query.get("reason"), query.get("limit", "1000")
    if reason is not None and reason not in OUTCOMES:
        raise ControlError(f"reason must be one of {', '.join(OUTCOMES[3:])}")
    if not limit.isdigit():
        raise ControlError("limit must be a number")
    rows = [
        row for row in world.dropped if reason in (None, world.history.outcome(row))
    ]
    newest = rows[len(rows) - min(int(limit), len(rows)) :]
    return reply(
        {
            "total": len(world.dropped),
            "by_reason": world.counters()["dropped"],
            "dropped": list(world.history.show_all(newest)),
        }
    )


ROUTES = [
    Route("/_sim/segment", counters, methods=["GET"]),
    Route("/_sim/segment/sources", sources, methods=["GET", "POST"]),
    Route("/_sim/segment/sources/{source_id}", source, methods=["DELETE"]),
    Route("/_sim/segment/traits", traits, methods=["GET"]),
    Route("/_sim/segment/members", members, methods=["GET"]),
    Route("/_sim/segment/compare", compare, methods=["POST"]),
    Route("/_sim/segment/user", user, methods=["GET"]),
    Route("/_sim/segment/events", events, methods=["GET"]),
    Route("/_sim/segment/dropped", dropped, methods=["GET"]),
]
