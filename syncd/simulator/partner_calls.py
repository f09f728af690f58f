"""What a request asks of the `partner` origin, as log and fault scripts know it.

`cohort_id` of a log entry is the list's id here.
"""

import hashlib
import re
from typing import Any

import orjson

from syncd.simulator.calls import Call, Sent

LISTS, ADD, REMOVE = "partner_lists", "partner_add", "partner_remove"
PROPERTY, UNKNOWN = "partner_property", "unknown"
NAMES = (LISTS, ADD, REMOVE, PROPERTY)
WRITES = frozenset(NAMES)
MEMBERS_PATH = re.compile(r"/lists/([^/]+)/(add|remove)")
TEST_CALL_PATH = "/api/v1/integration/amplitude/cohort"
"""The path of the page's test call; served beside the configured one."""


class PartnerCall(Call):
    """A call whose traffic is counted by list."""

    __slots__ = ()

    @property
    def locks(self) -> str | None:
        """The list that an add or a remove is about; others may be there too."""
        return self.cohort_id


def partner_call(
    *,
    method: str,
    path: str,
    authorization: str | None,
    body: bytes,
    ids_key: str,
    property_path: str,
) -> PartnerCall:
    """Read a request as far as it can be read; the handlers judge."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    fields = parsed if isinstance(parsed, dict) else {}
    endpoint, list_id, sent = UNKNOWN, None, list[Sent]()
    if path == "/lists":
        endpoint = LISTS
        sent = [Sent("CREATE", "", [])] if fields else []
    elif found := MEMBERS_PATH.fullmatch(path):
        endpoint, list_id = f"partner_{found[2]}", found[1]
        sent = [Sent(found[2].upper(), ids_key, _list(fields.get(ids_key)))]
    elif path in (property_path, TEST_CALL_PATH):
        endpoint, sent = PROPERTY, _sent(fields)
    operations = {part.operation for part in sent}
    return PartnerCall(
        method=method,
        path=path,
        endpoint=endpoint,
        query={},
        authorization=authorization,
        body=parsed,
        body_sha256=hashlib.sha256(body).hexdigest(),
        cohort_id=list_id,
        operation="MIXED" if len(operations) > 1 else next(iter(operations), None),
        name=_name(endpoint, fields, sent),
        sent=tuple(sent),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _sent(fields: dict[str, Any]) -> list[Sent]:
    """The users of a property update by value and trait, as if they were lists."""
    parts: dict[tuple[str, str], list[Any]] = {}
    updates = _list(fields["batch"]) if "batch" in fields else [fields]
    for update in updates:
        traits = update.get("traits") if isinstance(update, dict) else None
        for name, value in (traits if isinstance(traits, dict) else {}).items():
            operation = "ADD" if value is True else "REMOVE"
            parts.setdefault((operation, name), []).append(update.get("userId"))
    return [Sent(operation, name, ids) for (operation, name), ids in parts.items()]


def _name(endpoint: str, fields: dict[str, Any], sent: list[Sent]) -> str | None:
    """The name of a list to be, or the one trait of a property update."""
    if endpoint == LISTS:
        name = fields.get("name")
        return name if isinstance(name, str) else None
    traits = {part.id_type for part in sent}
    return traits.pop() if endpoint == PROPERTY and len(traits) == 1 else None
