"""What a request asks of the `segment` origin, as log and fault scripts know it."""

import hashlib
from typing import Any

from syncd.simulator.calls import Call

BATCH, IDENTIFY = "segment_batch", "segment_identify"
SETTINGS, UNKNOWN = "segment_settings", "unknown"
NAMES = (BATCH, IDENTIFY, SETTINGS)
WRITES = frozenset({BATCH, IDENTIFY})
PATHS = {"/v1/batch": (BATCH, "POST"), "/v1/identify": (IDENTIFY, "POST")}
SETTINGS_PATH = ("/v1/projects/", "/settings")


def endpoint_of(path: str) -> tuple[str, str]:
    """Endpoint name, and the method it wants."""
    if settings_key(path) is not None:
        return SETTINGS, "GET"
    return PATHS.get(path, (UNKNOWN, ""))


def settings_key(path: str) -> str | None:
    """The write key in the path of the credential check."""
    before, after = SETTINGS_PATH
    if path.startswith(before) and path.endswith(after):
        return path[len(before) : -len(after)]
    return None


def shown_path(path: str) -> str:
    """A path for the log: the credential check has the key in it."""
    return "{writeKey}".join(SETTINGS_PATH) if settings_key(path) is not None else path


def segment_call(
    *,
    method: str,
    path: str,
    authorization: str | None,
    body: bytes,
    said: list[dict[str, Any]],
) -> Call:
    """A call for log and faults; `said` are the different things its events say."""
    pairs = [pair for one in said for pair in one["traits"].items()]
    operations = {"ADD" if value is True else "REMOVE" for _, value in pairs}
    names = {name for name, _ in pairs}
    return Call(
        method=method,
        path=shown_path(path),
        endpoint=endpoint_of(path)[0],
        query={},
        authorization=authorization,
        body=None,
        body_sha256=hashlib.sha256(body).hexdigest(),
        cohort_id=None,
        operation="MIXED" if len(operations) > 1 else next(iter(operations), None),
        name=next(iter(names)) if len(names) == 1 else None,
        sent=(),
    )
