"""The bodies of vendor page 1, field by field (contract amplitude.md 7.2, 7.3). Pure.

Strict on purpose: a field that the page does not have, or a field of the page that is
missing, is a 400 whose text begins with its name.
"""

from dataclasses import dataclass
from typing import Any

from syncd.simulator.answers import Refusal

MAX_IDS = 10_000
"""Users per request: the default of Amplitude's partner portal."""
CONTEXT = {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}}


@dataclass(frozen=True, slots=True)
class Update:
    """One property update."""

    user_id: str
    trait: str
    value: bool


def bad(field: str, problem: str) -> Refusal:
    """A 400 that names the field."""
    return Refusal(400, f"{field}: {problem}", metadata={"field": field})


def read_creation(body: Any) -> str:
    """The name of a list to be made. Raises Refusal."""
    fields = _fields(body, {"name", "context"})
    _check_context(fields["context"])
    return _text(fields["name"], "name")


def read_ids(body: Any, ids_key: str) -> list[str]:
    """The user ids of an add or a remove. Raises Refusal."""
    fields = _fields(body, {ids_key, "context"})
    _check_context(fields["context"])
    ids = _some(fields[ids_key], ids_key)
    return [_text(one, f"{ids_key}[{place}]") for place, one in enumerate(ids)]


def read_updates(body: Any, *, test_call: bool) -> list[Update]:
    """The updates of a single or a batch body. Raises Refusal.

    `test_call`: the page's test call, a single update, has no context.
    """
    if isinstance(body, dict) and "batch" in body:
        updates = _some(_fields(body, {"batch"})["batch"], "batch")
        return [_update(one, f"batch[{at}]", False) for at, one in enumerate(updates)]
    return [_update(body, "", test_call)]


def _update(body: Any, where: str, test_call: bool) -> Update:
    prefix = f"{where}." if where else ""
    wanted = {"type", "traits", "userId", "context"}
    if test_call and isinstance(body, dict) and "context" not in body:
        wanted.remove("context")
    fields = _fields(body, wanted, where)
    if fields["type"] != "identify":
        raise bad(f"{prefix}type", "must be identify")
    if "context" in wanted:
        _check_context(fields["context"], prefix)
    traits = fields["traits"]
    if not isinstance(traits, dict) or len(traits) != 1:
        raise bad(f"{prefix}traits", "must be an object with one trait")
    ((name, value),) = traits.items()
    if type(value) is not bool:
        raise bad(f"{prefix}traits.{name}", "must be true or false")
    user_id = _text(fields["userId"], f"{prefix}userId")
    return Update(user_id, _text(name, f"{prefix}traits"), value)


def _fields(body: Any, wanted: set[str], where: str = "") -> dict[str, Any]:
    prefix = f"{where}." if where else ""
    if not isinstance(body, dict):
        raise bad(where or "body", "must be a JSON object")
    for name in sorted(wanted - set(body)):
        raise bad(f"{prefix}{name}", "is missing")
    for name in sorted(set(body) - wanted):
        raise bad(f"{prefix}{name}", "is unexpected")
    return body


def _check_context(context: Any, prefix: str = "") -> None:
    """`context` must be the page's, to the letter."""
    inner = _fields(context, {"integration"}, f"{prefix}context")["integration"]
    where = f"{prefix}context.integration"
    fields = _fields(inner, {"name", "version"}, where)
    for name, value in CONTEXT["integration"].items():
        if fields[name] != value:
            raise bad(f"{where}.{name}", f"must be {value}")


def _some(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise bad(field, "must be a list")
    if not value:
        raise bad(field, "must not be empty")
    if len(value) > MAX_IDS:
        raise bad(field, f"has {len(value)} entries, at most {MAX_IDS}")
    return value


def _text(value: Any, field: str) -> str:
    if type(value) is not str or not value:
        raise bad(field, "must be a text that is not empty")
    return value
