"""The part of the control origin that makes senders and lets them push.

    GET    /_sim/senders               {"senders": [STATE]}
    POST   /_sim/senders               {"id", "kind": "engage" or "amplitude",
                                       SETTING: value, ...} -> STATE; instead of the
                                       one of this id
    GET    /_sim/senders/{id}          STATE
    PATCH  /_sim/senders/{id}          {SETTING: value, ...} -> STATE
    DELETE /_sim/senders/{id}          {"deleted": id}; what is on its way is given up
    POST   /_sim/senders/{id}/stop     the same, and {"stopped": id}
    POST   /_sim/senders/{id}/push     {"full": bool, "failed": bool, "wait": bool} ->
                                       RESULT when all retries are over; with "wait":
                                       false at once {"started": true}. `full`: tell of
                                       everybody again. `failed` (Engage): once more,
                                       as they were, the requests that were given up
    POST   /_sim/senders/{id}/events   Engage: {"kind", "user_ids": []} -> RESULT; of
                                       delete, trait, group, journey_v1, journey_v2,
                                       test, unmapped (no context.personas)
    POST   /_sim/senders/{id}/raw      {"body": JSON, or "text": bytes as text, or
                                       "base64"; "sign": "body" (default), "first" (of
                                       a JSON array), "none", or "signed": the text to
                                       sign; "headers": {}, "retries": 0} -> RESULT
    POST   /_sim/senders/{id}/hook     Engage: {"hook": "create" (audienceName) or "get"
                                       (externalId), "url", "name", "external_id",
                                       "sign": false} -> RESULT with "external_id",
                                       which later events carry
    GET    /_sim/senders/{id}/sent     ?last=N: {"sent": [{"method", "url", "body",
                                       "tries", "outcome"}]}: every try, newest last, of
                                       the last 50; without headers

SETTING: the fields of sender_settings.EngageSettings or AmplitudeSettings; `url` is
needed. An Engage sender has an `audience` (id or key, control_engage.py), an Amplitude
sender a `cohort` (id) of this simulator.
RESULT: {"outcome": "success" or "failed", "requests", "sent", "accepted", "failed"
(events or ids), "retried" (tries), "statuses": {"200": n, "timeout": n, "error": n}
(tries), "p50_ms", "p99_ms", "max_in_flight", "refusals": [{"status", "text"}], "last":
the same of the newest answer}.
STATE: {"id", "kind", "settings" (secrets as "set"), "busy", "pushes", "totals",
"last_push": RESULT, ...}.
Retries wait 1, 2, 4, … 128 seconds of the simulator's clock: advance it, or run fast.
"""

import binascii
from base64 import b64decode
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd.simulator.amplitude_sender import AmplitudeSender
from syncd.simulator.control_io import (
    ControlError,
    read_object,
    reply,
    simulator_of,
    strings,
)
from syncd.simulator.engage_sender import EngageSender
from syncd.simulator.senders import Sender
from syncd.simulator.signing import stringify

KINDS: dict[str, type[EngageSender] | type[AmplitudeSender]] = {
    "engage": EngageSender,
    "amplitude": AmplitudeSender,
}
SIGNED = ("body", "first", "none")


def _sender(request: Request) -> Sender:
    wanted = request.path_params["sender_id"]
    found = simulator_of(request).senders.get(wanted)
    if found is None:
        raise ControlError(f"no sender {wanted}", status=404)
    return found


def _engage(request: Request) -> EngageSender:
    found = _sender(request)
    if not isinstance(found, EngageSender):
        raise ControlError("only an Engage sender can do this")
    return found


async def senders(request: Request) -> Response:
    """Make one, or show all."""
    simulator = simulator_of(request)
    if request.method == "POST":
        body = await read_object(request)
        key, kind = body.pop("id", ""), body.pop("kind", "")
        if not isinstance(key, str) or not key or kind not in KINDS:
            raise ControlError(f"id must be a text, kind one of {', '.join(KINDS)}")
        try:
            made = KINDS[kind](simulator, key, body)
        except ValueError as error:
            raise ControlError(str(error)) from error
        simulator.senders.put(made)
        return reply(made.state())
    return reply({"senders": [one.state() for one in simulator.senders.all()]})


async def sender(request: Request) -> Response:
    """Show, change or end one."""
    found = _sender(request)
    if request.method == "DELETE":
        simulator_of(request).senders.end(found.id)
        return reply({"deleted": found.id})
    if request.method == "PATCH":
        try:
            found.change(await read_object(request))
        except ValueError as error:
            raise ControlError(str(error)) from error
    return reply(found.state())


async def stop(request: Request) -> Response:
    """End one, with whatever it is at."""
    found = _sender(request)
    simulator_of(request).senders.end(found.id)
    return reply({"stopped": found.id})


async def push(request: Request) -> Response:
    """Push now; answers when it is over, unless told not to wait."""
    found, body = _sender(request), await read_object(request)
    for name in body:
        if name not in ("full", "failed", "wait") or not isinstance(body[name], bool):
            raise ControlError("full, failed and wait are true or false")
    pushing = found.push(full=body.get("full", False), failed=body.get("failed", False))
    if not body.get("wait", True):
        simulator_of(request).senders.background(pushing)
        return reply({"started": True})
    return await _told(pushing)


async def _told(result: Any) -> Response:
    try:
        return reply(await result)
    except ValueError as error:
        raise ControlError(str(error)) from error


async def events(request: Request) -> Response:
    """Send events that are no membership."""
    found, body = _engage(request), await read_object(request)
    return await _told(found.others(str(body.get("kind")), strings(body, "user_ids")))


async def raw(request: Request) -> Response:
    """Send exact bytes with a chosen signature."""
    found, body = _sender(request), await read_object(request)
    headers, retries = body.get("headers", {}), body.get("retries", 0)
    if not isinstance(headers, dict) or type(retries) is not int:
        raise ControlError("headers must be an object, retries a number")
    content = _content(body)
    signed = _signed(body, content)
    return await _told(
        found.raw(content, signed=signed, headers=headers, retries=retries)
    )


def _content(body: dict[str, Any]) -> bytes:
    try:
        match body:
            case {"text": str(text)}:
                return text.encode()
            case {"base64": str(text)}:
                return b64decode(text, validate=True)
            case {"body": value}:
                return stringify(value)
            case _:
                raise ControlError("body, text or base64 is needed")
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ControlError(str(error)) from error


def _signed(body: dict[str, Any], content: bytes) -> bytes | None:
    if isinstance(body.get("signed"), str):
        return str(body["signed"]).encode()
    match body.get("sign", "body"):
        case "body":
            return content
        case "first":
            return _first(content)
        case "none":
            return None
        case _:
            raise ControlError(f"sign must be one of {', '.join(SIGNED)}")


def _first(content: bytes) -> bytes:
    try:
        return stringify(orjson.loads(content)[0])
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError) as error:
        raise ControlError("the body is no JSON array to sign the first of") from error


async def hook(request: Request) -> Response:
    """Call a create or get hook of the receiver."""
    found, body = _engage(request), await read_object(request)
    wanted, url = body.get("hook"), body.get("url")
    if wanted not in ("create", "get") or not isinstance(url, str):
        raise ControlError("hook must be create or get, url a text")
    name = body.get("name") or _name(found)
    external = body.get("external_id") or found.settings.external_audience_id
    asked = {"audienceName": name} if wanted == "create" else {"externalId": external}
    sign = body.get("sign") is True
    return await _told(found.hook(url, wanted, asked, sign=sign))


def _name(found: EngageSender) -> str:
    try:
        return found.audience().name
    except ValueError as error:
        raise ControlError(str(error)) from error


async def sent(request: Request) -> Response:
    """The newest tries, verbatim."""
    last = request.query_params.get("last", "50")
    if not last.isdigit():
        raise ControlError("last must be a number")
    kept = list(_sender(request).engine.kept)
    return reply({"sent": kept[len(kept) - min(int(last), len(kept)) :]})


ROUTES = [
    Route("/_sim/senders", senders, methods=["GET", "POST"]),
    Route("/_sim/senders/{sender_id}", sender, methods=["GET", "PATCH", "DELETE"]),
    Route("/_sim/senders/{sender_id}/stop", stop, methods=["POST"]),
    Route("/_sim/senders/{sender_id}/push", push, methods=["POST"]),
    Route("/_sim/senders/{sender_id}/events", events, methods=["POST"]),
    Route("/_sim/senders/{sender_id}/raw", raw, methods=["POST"]),
    Route("/_sim/senders/{sender_id}/hook", hook, methods=["POST"]),
    Route("/_sim/senders/{sender_id}/sent", sent, methods=["GET"]),
]
