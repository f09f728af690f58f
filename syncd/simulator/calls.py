"""What a request asks for, read before anything is decided about it.

The log, the fault scripts and the per-cohort exclusivity need the endpoint, the cohort
and the operation even of a request that will be refused, so reading is lenient here:
what is malformed is simply missing. The handlers judge.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

import orjson

ENDPOINTS = {
    "/api/3/cohorts": ("list", "GET"),
    "/api/3/cohorts/usage": ("usage", "GET"),
    "/api/3/cohorts/upload": ("upload", "POST"),
    "/api/3/cohorts/membership": ("membership", "POST"),
}
"""Path -> endpoint name (as fault scripts, latency and the log know it) and method."""

DOWNLOAD_PATHS = (
    ("request", re.compile(r"/api/5/cohorts/request/(?P<cohort_id>[^/]+)")),
    ("status", re.compile(r"/api/5/cohorts/request-status/(?P<request_id>[^/]+)")),
    ("file", re.compile(r"/api/5/cohorts/request/(?P<request_id>[^/]+)/file")),
)
"""Endpoint name -> path; all take GET."""

DOWNLOADS = tuple(name for name, _ in DOWNLOAD_PATHS)
METHODS = dict(ENDPOINTS.values()) | dict.fromkeys(DOWNLOADS, "GET")
NAMES = tuple(METHODS)
WRITES = frozenset({"upload", "membership"})
LOCKING = WRITES | {"request"}
"""Endpoints whose requests keep others off their cohort (R23)."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One list of ids in a writing request."""

    operation: str
    id_type: str
    ids: list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read."""

    method: str
    path: str
    endpoint: str
    """One of NAMES, or `unknown`."""
    query: dict[str, str]
    authorization: str | None = field(repr=False)
    body: Any = field(repr=False)
    """The parsed JSON body; None if there is none or it is no JSON."""
    body_sha256: str
    cohort_id: str | None
    """The cohort a writing or downloading request is about; None for one it creates."""
    request_id: str | None = None
    """The download a status, file or storage request is about."""
    operation: str | None
    """ADD, REMOVE, MIXED; CREATE, REPLACE, VALIDATE; None if it does not write."""
    name: str | None
    """The cohort name of an upload."""
    sent: tuple[Sent, ...]

    @property
    def locks(self) -> str | None:
        """The cohort that it wants for itself (R23)."""
        return None if self.endpoint in ("status", "file") else self.cohort_id

    @property
    def id_count(self) -> int:
        """Ids in the request, over all entries."""
        return sum(len(part.ids) for part in self.sent)


def read_call(
    *,
    method: str,
    path: str,
    query: dict[str, str],
    authorization: str | None,
    body: bytes,
    endpoint: str | None = None,
) -> Call:
    """Read a request as far as it can be read; `endpoint` where the path says none."""
    place = _place(path) if endpoint is None else {"endpoint": endpoint}
    endpoint = place["endpoint"]
    parsed = _parse(body)
    fields = parsed if isinstance(parsed, dict) and endpoint in WRITES else {}
    sent = _membership(fields) if endpoint == "membership" else _upload(fields)
    key = "cohort_id" if endpoint == "membership" else "existing_cohort_id"
    operations = {part.operation for part in sent}
    return Call(
        method=method,
        path=path,
        endpoint=endpoint,
        query=query,
        authorization=authorization,
        body=parsed,
        body_sha256=hashlib.sha256(body).hexdigest(),
        cohort_id=place.get("cohort_id") or _text(fields.get(key)),
        request_id=place.get("request_id"),
        operation="MIXED" if len(operations) > 1 else next(iter(operations), None),
        name=_text(fields.get("name")),
        sent=sent,
    )


def _place(path: str) -> dict[str, str]:
    """The endpoint of a path of Amplitude's API, and the ids in it."""
    for name, pattern in DOWNLOAD_PATHS:
        if found := pattern.fullmatch(path):
            return {"endpoint": name, **found.groupdict()}
    return {"endpoint": ENDPOINTS.get(path, ("unknown", ""))[0]}


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _ids(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _membership(fields: dict[str, Any]) -> tuple[Sent, ...]:
    return tuple(
        Sent(
            str(entry.get("operation")),
            str(entry.get("id_type")),
            _ids(entry.get("ids")),
        )
        for entry in _ids(fields.get("memberships"))
        if isinstance(entry, dict)
    )


def _upload(fields: dict[str, Any]) -> tuple[Sent, ...]:
    if not fields:
        return ()
    operation = "REPLACE" if fields.get("existing_cohort_id") else "CREATE"
    if fields.get("skip_save") is True:
        operation = "VALIDATE"
    return (Sent(operation, str(fields.get("id_type")), _ids(fields.get("ids"))),)
