"""What an answer proves where a vendor defines little of it, and what silence does.

Pure: an `Answer` or its absence in, a value or an error out. An id leaves *uncertain*
only by what is believed here (invariant I-4), so doubt is an error.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from syncd.clients.http import Answer, Kind, TransportError
from syncd.clients.refusals import is_page
from syncd.errors import DeliveryError, Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The vendor took the whole request."""

    status: int
    request_id: str
    """The vendor's own id of the request; empty where it names none."""


def accepted_by_object(answer: Answer, call: str) -> Accepted:
    """Believe a 2xx whose body is a JSON object that reports no failure."""
    content = _json(answer, call)
    if not isinstance(content, dict):
        raise bad_response(answer, call, "it is no JSON object")
    return _unless_denied(answer, call, content)


def accepted_by_status(answer: Answer, call: str) -> Accepted:
    """Believe a 2xx, for a vendor that defines no body for it (vendor page 1).

    Nothing, plain words and JSON that reports no failure will do. A page will not: it
    comes from something in between (a login, a maintenance note); nor will JSON that
    was cut off.
    """
    body = answer.body.strip()
    if not body:
        return _accepted(answer)
    if is_page(body):
        raise bad_response(answer, call, "it is a web page")
    if body[:1] in (b"{", b"[") or _says_json(answer):
        return _unless_denied(answer, call, _json(answer, call))
    return _accepted(answer)


def bad_response(
    answer: Answer, call: str, why: str, *, fault: Fault = Fault.PASSING, hint: str = ""
) -> DeliveryError:
    """The error for a 2xx that proves nothing."""
    return DeliveryError(
        f"the answer ({answer.status}) to {call} proves nothing: {why}",
        fault=fault,
        error_type="bad_response",
        status=answer.status,
        hint=hint,
    )


_UNANSWERED: Mapping[Kind, tuple[Fault, str]] = {
    "timeout": (Fault.PASSING, "timeout"),
    "connect": (Fault.PASSING, "connect"),
    "dns": (Fault.PASSING, "connect"),
    "reset": (Fault.PASSING, "connect"),
    "too_large": (Fault.PASSING, "bad_response"),
    # Never retried and never bypassed: it stops the connection like a refused key.
    "tls": (Fault.CREDENTIALS, "tls"),
}


def unanswered(error: TransportError) -> DeliveryError:
    """The error for a request that got no answer: its effect is unknown, if it left."""
    fault, error_type = _UNANSWERED[error.kind]
    hint = ""
    if error.kind == "tls":
        hint = (
            "name the private authority with `ca_file` on the connection: syncd check"
        )
    return DeliveryError(
        str(error), fault=fault, error_type=error_type, hint=hint, sent=error.sent
    )


def _json(answer: Answer, call: str) -> Any:
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        pass
    # Raised out here: the library's error carries the body, which may name people.
    raise bad_response(answer, call, "it is not JSON")


def _says_json(answer: Answer) -> bool:
    return "json" in answer.headers.get("content-type", "").lower()


_FAILED = ("error", "fail", "failed", "failure")


def _unless_denied(answer: Answer, call: str, content: Any) -> Accepted:
    """Accepted, unless the body says otherwise than the status."""
    if isinstance(content, dict):
        denied = content.get("success") in (False, "false")
        named = content.get("error") or content.get("errors")
        if denied or named or content.get("status") in _FAILED:
            raise bad_response(answer, call, "it reports a failure")
    return _accepted(answer)


def _accepted(answer: Answer) -> Accepted:
    named = answer.headers.get("x-request-id", "")
    return Accepted(
        status=answer.status,
        request_id=named if re.fullmatch(r"[\w.:=-]{1,100}", named) else "",
    )
