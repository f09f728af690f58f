"""Wrong answers of faults: pure, from a script and the real answer to an answer.

What breaks the connection itself is in `wire`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson

from syncd.simulator.answers import HTML, JSON, Answer, envelope, json_answer
from syncd.simulator.csv_body import (
    GZIPPED,
    first_rows,
    gunzipped,
    gzipped,
    without_header,
)

LOGIN_PAGE = (
    b"<!DOCTYPE html><html><head><title>Log in</title></head>"
    b"<body><form action='/login'><input name='username'></form></body></html>"
)
RATE_LIMIT = "Too Many Requests: Exceeded rate limit with query of cost 1800"
"""The recorded text of a 429 (contract section 2)."""

RESULTS = (
    *("memberships_result", "cohortId", "cohorts"),
    *("request_id", "async_status", "rest_download"),
)
"""What a caller of Amplitude's API waits for."""

LIST_ID = ("response", "listId", "list_id", "id")
"""Where a partner's answer to the creation of a list may have the id."""

Options = Mapping[str, Any]


def error_page(status: int) -> Answer:
    """What a load balancer in front of the API says."""
    title = f"{status} {phrase(status)}"
    page = f"<html><head><title>{title}</title></head><body>{title}</body></html>"
    return Answer(status, page.encode(), HTML)


def phrase(status: int) -> str:
    """A status in words."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _status(options: Options, real: Answer | None) -> Answer:
    status, body = options["status"], options.get("body")
    retry_after = options.get("retry_after")
    if options.get("format", "json") == "json":
        details = RATE_LIMIT if status == 429 else phrase(status)
        content = envelope(status, details) if body is None else body
        return json_answer(status, content, retry_after=retry_after)
    headers = () if retry_after is None else (("retry-after", str(retry_after)),)
    if options["format"] == "html":
        page = error_page(status).body if body is None else str(body).encode()
        return Answer(status, page, HTML, headers)
    text = phrase(status) if body is None else str(body)
    return Answer(status, text.encode(), "text/plain; charset=utf-8", headers)


def _zero_byte(options: Options, real: Answer | None) -> Answer:
    return Answer(200, b"")


def _html_200(options: Options, real: Answer | None) -> Answer:
    return Answer(200, LOGIN_PAGE, HTML)


def _waf_403(options: Options, real: Answer | None) -> Answer:
    return json_answer(403, {"code": 403, "error": "Forbidden"})


def _redirect(options: Options, real: Answer | None) -> Answer:
    location = (("location", options["location"]),)
    return Answer(options["status"], b"", HTML, location)


def _wrong_cohort(options: Options, real: Answer | None) -> Answer:
    return _edited(real, _rename, options["cohort_id_answer"])


def _missing_result(options: Options, real: Answer | None) -> Answer:
    return _edited(real, _drop_result, None)


def _wrong_request(options: Options, real: Answer | None) -> Answer:
    return _edited(real, _rename_request, options["request_id_answer"])


def _short(options: Options, real: Answer | None) -> Answer:
    return _refiled(real, partial(first_rows, keep=options["keep"]))


def _no_header(options: Options, real: Answer | None) -> Answer:
    return _refiled(real, without_header)


def _refiled(real: Answer | None, edit: Callable[[bytes], bytes]) -> Answer:
    """The real file, edited and zipped as it was; what is no file passes."""
    if real is None or real.status != 200 or real.content_type == JSON:
        return real or error_page(500)
    zipped, body = 0, real.body
    while body.startswith(GZIPPED):
        zipped, body = zipped + 1, gunzipped(body)
    body = edit(body)
    for _ in range(zipped):
        body = gzipped(body)
    return replace(real, body=body)


def _rename_request(body: dict[str, Any], request_id: Any) -> None:
    if "request_id" in body:
        body["request_id"] = request_id


def _rename(body: dict[str, Any], cohort_id: Any) -> None:
    for name in ("cohort_id", "cohortId"):
        if name in body:
            body[name] = cohort_id


def _drop_result(body: dict[str, Any], _: Any) -> None:
    for name in (*RESULTS, *LIST_ID):
        body.pop(name, None)


def _edited(
    real: Answer | None, edit: Callable[[dict[str, Any], Any], None], value: Any
) -> Answer:
    """The real answer, edited if it is a success; a refusal passes as it is."""
    if real is None or real.status not in (200, 202):
        return real or error_page(500)
    if real.content_type != JSON:
        return real
    body = orjson.loads(real.body)
    edit(body, value)
    return json_answer(real.status, body)


SHAPES: Mapping[str, Callable[[Options, Answer | None], Answer]] = {
    "status": _status,
    "zero_byte": _zero_byte,
    "html_200": _html_200,
    "waf_403": _waf_403,
    "redirect": _redirect,
    "wrong_cohort": _wrong_cohort,
    "missing_result": _missing_result,
    "wrong_request": _wrong_request,
    "short": _short,
    "no_header": _no_header,
}
"""Fault kinds that are an answer."""
