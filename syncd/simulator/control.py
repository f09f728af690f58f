"""The `control` origin: how tests and the demo drive the simulator, `/_sim/`.

JSON in and out, no credentials (it listens on loopback only). A bad body answers 400
`{"error": "..."}`, an unknown cohort or project 404. `?project=APP_ID` picks the
project wherever people or cohorts are touched; without it the first one, 187520.

    GET    /_sim/health                  {"ok": true, "now": ISO}
    POST   /_sim/reset                   {} everything, or {"only": [PART, ...]}
    GET    /_sim/clock                   {"now", "epoch", "speed", "frozen"}
    POST   /_sim/clock                   {"set": ISO or epoch, "advance": seconds,
                                          "freeze": bool, "speed": N}, any of them
    GET    /_sim/config                  all switches (switches.py)
    POST   /_sim/config                  {"switch": value, ...}
    GET    /_sim/latency                 {"membership": 0.2, ...}: real seconds
    POST   /_sim/latency                 any subset, or {"all": seconds}
    POST   /_sim/users[?count_group=G]   lines of user ids, or JSON {"user_ids": []},
                                         {"users": [{"user_id", "amplitude_id"}]},
                                         {"anonymous": 5} ->
                                         {"created", "existing", "refused", "total"}
    GET    /_sim/users[?user_id=a&...]   {"total", "users": [...]}: those asked for
    POST   /_sim/users/lookup            {"user_ids": []} -> {"amplitude_ids": {}}
    DELETE /_sim/users                   {"user_ids": []}; no body: all
    GET    /_sim/cohorts                 {"cohorts": [COHORT]}
    POST   /_sim/cohorts                 {"name", "type", "members", "owners", "id",
                                          "archived", "hidden", "published",
                                          "count_group", "computed"} -> COHORT;
                                         "generate" is "members" for a crowd
    GET    /_sim/cohorts/{id}            COHORT
    PATCH  /_sim/cohorts/{id}            {"name", "type", "owners", "archived",
                                          "hidden", "published", "sync_metadata",
                                          "members", "generate", "add", "remove",
                                          "recompute"} -> COHORT. A dynamic cohort is
                                         computed anew, unless "recompute" is false
    DELETE /_sim/cohorts/{id}            {"deleted": id}
    POST   /_sim/cohorts/{id}/behaviour  {"steps": [{"at": ISO or epoch, "members",
                                          "add", "remove": PEOPLE,
                                          "recompute": bool}],
                                          "recompute_every": seconds or null}, instead
                                         of what it had (behaviour.py); also GET, DELETE
    GET    /_sim/cohorts/{id}/members    ?format=json|text &as=user_id|amplitude_id
                                         &computed=1: as of the last computation
    POST   /_sim/cohorts/{id}/compare    [?computed=1] expected user ids (lines or
                                         JSON) ->
                                         {"equal", "expected", "actual", "missing",
                                          "extra", "missing_sample", "extra_sample"}
    GET    /_sim/projects                {"projects": [PROJECT]}, without secrets
    POST   /_sim/projects                {"app_id", "api_key", "secret_key", "region",
                                          "owners"} -> PROJECT
    PATCH  /_sim/projects/{app_id}       {"api_key", "secret_key", "region", "owners",
                                          "downloads_used", "download_limit",
                                          "spend": {"count": n} at once,
                                          {"count": n, "every": seconds} from now on,
                                          null no more} (the second spender) -> PROJECT
    POST   /_sim/faults                  FAULT or [FAULT, ...] (faults.py)
    GET    /_sim/faults                  {"faults": [...]} with `seen` and `played`
    DELETE /_sim/faults                  removes all, ends running silences
    GET    /_sim/late                    {"pending": n} late commits
    POST   /_sim/late                    lets all of them land: {"applied": n}
    GET    /_sim/log                     ?since=SEQ &ids=1 &endpoint= &cohort_id= ->
                                         {"entries": [...], "last": SEQ} (log.py)
    DELETE /_sim/log                     {"forgotten": n}
    GET    /_sim/stats                   counters (traffic.py), "leaks": n, "projects":
                                         {app_id: what it downloaded} (quota.py)
    GET    /_sim/leaks                   {"leaks": [{"at", "origin", "path", "header",
                                          "what"}]}: credentials gone astray (leaks.py)

The calls below `/_sim/segment`, `/_sim/partner`, `/_sim/engage` (audiences) and
`/_sim/senders` (webhooks and pushes) are told in `control_segment`, `control_partner`,
`control_engage` and `control_senders`.

PART: world (projects, users, cohorts), segment, partner, engage, senders, faults, log
(and stats), config, latency, clock.
COHORT: the object of the API's list plus `members_count`, the true number,
`computed_count`, that of the last computation, and `sync_metadata`.
PEOPLE: user ids or a crowd, wherever members are named (control_crowds.py). Members
that are no users yet are created, as an event would.
"""

from datetime import timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd.simulator import (
    control_behaviour,
    control_cohorts,
    control_engage,
    control_partner,
    control_people,
    control_segment,
    control_senders,
)
from syncd.simulator.control_io import (
    ControlError,
    error_handlers,
    instant,
    read_object,
    reply,
    simulator_of,
)
from syncd.simulator.state import PARTS, Simulator


def control_app(simulator: Simulator) -> Starlette:
    """The application of the origin. Every endpoint runs on the loop's thread."""
    routes = [
        Route("/_sim/health", health, methods=["GET"]),
        Route("/_sim/reset", reset, methods=["POST"]),
        Route("/_sim/clock", clock, methods=["GET", "POST"]),
        Route("/_sim/config", config, methods=["GET", "POST"]),
        Route("/_sim/latency", latency, methods=["GET", "POST"]),
        Route("/_sim/faults", faults, methods=["GET", "POST", "DELETE"]),
        Route("/_sim/late", late, methods=["GET", "POST"]),
        Route("/_sim/log", request_log, methods=["GET", "DELETE"]),
        Route("/_sim/stats", stats, methods=["GET"]),
        Route("/_sim/leaks", leaks, methods=["GET"]),
        *control_people.ROUTES,
        *control_cohorts.ROUTES,
        *control_behaviour.ROUTES,
        *control_segment.ROUTES,
        *control_partner.ROUTES,
        *control_engage.ROUTES,
        *control_senders.ROUTES,
    ]
    app = Starlette(routes=routes, exception_handlers=error_handlers())
    app.state.simulator = simulator
    return app


async def health(request: Request) -> Response:
    """It answers, so it lives."""
    return reply({"ok": True, "now": simulator_of(request).clock.now().isoformat()})


async def reset(request: Request) -> Response:
    """Put parts of the state back to the start."""
    body = await read_object(request)
    parts = body.get("only", list(PARTS))
    if not isinstance(parts, list) or not set(parts) <= set(PARTS):
        raise ControlError(f"only must be a list out of {', '.join(PARTS)}")
    simulator_of(request).reset(parts)
    return reply({"reset": parts})


async def clock(request: Request) -> Response:
    """Show the clock; freeze, hurry, set and advance it, in this order."""
    shown = simulator_of(request).clock
    if request.method == "POST":
        body = await read_object(request)
        try:
            if "freeze" in body:
                shown.freeze(bool(body["freeze"]))
            if "speed" in body:
                shown.run_at(float(body["speed"]))
            if "set" in body:
                shown.set(instant(body["set"]))
            if "advance" in body:
                shown.advance(timedelta(seconds=body["advance"]))
        except (TypeError, ValueError) as error:
            raise ControlError(str(error)) from error
    now = shown.now()
    state: dict[str, Any] = {"now": now.isoformat(), "epoch": now.timestamp()}
    return reply(state | {"speed": shown.speed, "frozen": shown.frozen})


async def config(request: Request) -> Response:
    """Show or change the switches."""
    switches = simulator_of(request).switches
    if request.method == "POST":
        try:
            switches.change(await read_object(request))
        except ValueError as error:
            raise ControlError(str(error)) from error
    return reply(switches.as_dict())


async def latency(request: Request) -> Response:
    """Show or change the service times, real seconds per endpoint."""
    times = simulator_of(request).service_times
    if request.method == "POST":
        body = await read_object(request)
        for name, value in body.items():
            if name not in (*times, "all"):
                raise ControlError(f"no endpoint {name!r}")
            if type(value) not in (int, float) or value < 0:
                raise ControlError("a latency is a number of seconds from 0")
        for name, value in body.items():
            names = list(times) if name == "all" else [name]
            times.update(dict.fromkeys(names, float(value)))
    return reply(times)


async def faults(request: Request) -> Response:
    """Set, show or remove fault scripts."""
    simulator = simulator_of(request)
    if request.method == "DELETE":
        simulator.clear_faults()
    if request.method == "POST":
        body = await read_object(request, or_list=True)
        scripts = body if isinstance(body, list) else [body]
        try:
            simulator.faults.set(scripts)
        except ValueError as error:
            raise ControlError(str(error)) from error
    return reply({"faults": simulator.faults.all()})


async def late(request: Request) -> Response:
    """Count the late commits to come, or let them land."""
    simulator = simulator_of(request)
    if request.method == "POST":
        return reply({"applied": simulator.late.land_all()})
    return reply({"pending": len(simulator.late)})


async def request_log(request: Request) -> Response:
    """Show or forget what was asked."""
    log = simulator_of(request).log
    if request.method == "DELETE":
        return reply({"forgotten": log.forget()})
    query = request.query_params
    since = query.get("since", "0")
    if not since.isdigit():
        raise ControlError("since must be a sequence number")
    with_ids = query.get("ids", "") in ("1", "true")
    wanted = {name: query[name] for name in ("endpoint", "cohort_id") if name in query}
    entries = [
        entry.as_dict(with_ids=with_ids)
        for entry in log.since(int(since))
        if all(getattr(entry, name) == value for name, value in wanted.items())
    ]
    return reply({"entries": entries, "last": log.last})


async def stats(request: Request) -> Response:
    """Show the counters."""
    simulator = simulator_of(request)
    projects = {
        str(app_id): simulator.downloads[app_id].shown()
        for app_id in simulator.world.projects
    }
    shown = {"projects": projects, "leaks": len(simulator.leaks.found)}
    return reply(simulator.traffic.stats() | shown)


async def leaks(request: Request) -> Response:
    """Show which requests carried credentials where they do not belong."""
    return reply({"leaks": simulator_of(request).leaks.found})
