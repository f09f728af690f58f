"""Answers in JSON, and the one shape of every refusal."""

from collections.abc import Mapping
from typing import Any

import orjson

from syncd.sources.door import Refused, Reply

RETRY_AFTER = 5
"""Seconds; with every 503. Segment and Amplitude repeat a 503, and no other 4xx or 5xx
both of them (reliability.md, E11)."""
_UNAVAILABLE = 503
_UNAUTHORIZED = 401
_NOT_ALLOWED = 405
_CLOSE = (b"connection", b"close")

Scope = Mapping[str, Any]
Receive = Any
Send = Any
"""As ASGI has them: plain dicts and coroutine functions."""


def unavailable(message: str, *, code: str) -> Refused:
    """Not now: nothing is wrong with the request, and nothing of it was stored."""
    return Refused(
        _UNAVAILABLE, message, code=code, hint="the same request again, in a moment"
    )


def refusal(refused: Refused) -> Reply:
    """The answer to a request that is not taken."""
    headers: dict[str, str] = {}
    if refused.status == _UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER)
    if refused.status == _NOT_ALLOWED:
        headers["Allow"] = "POST"
    if refused.status == _UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Basic realm="syncd"'
    return Reply(
        status=refused.status,
        body=error_body(refused.code, str(refused), refused.hint),
        headers=headers,
    )


def error_body(code: str, message: str, hint: str = "") -> dict[str, Any]:
    """What went wrong, by a stable code and in words for people."""
    return {"error": {"code": code, "message": message, "hint": hint}}


async def send_reply(send: Send, reply: Reply, *, close: bool) -> None:
    """Write it; with `close` the connection ends after it."""
    body = orjson.dumps(reply.body)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    for name, value in reply.headers.items():
        headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    if close:
        headers.append(_CLOSE)
    start = {"type": "http.response.start", "status": reply.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
