"""Fault scripts (R24): which call of which endpoint goes wrong, and how.

A script names an endpoint, optional filters, and which of the matching calls since it
was set are hit. Playing a fault is the business of `shapes` (wrong answers) and `wire`
(broken connections). In JSON, with everything but `kind` optional:

    {"kind": ..., "endpoint": "list|usage|upload|membership|request|status|file|
     storage|segment_batch|segment_identify|segment_settings|partner_lists|
     partner_add|partner_remove|partner_property|unknown|any", "request_id": ...,
     "cohort_id": ..., "operation": "ADD|REMOVE|CREATE|REPLACE", "name": ...,
     "calls": [1, 2], "probability": 0.05, "delay": real seconds, OPTIONS}

A status or file call is about the cohort of its download. `short` and `no_header` leave
a redirect alone: large files are spoilt at the endpoint `storage`.

A fault comes before authentication. The first due one is played; every matching one
counts the call. Kinds (`apply`: carry the request out first):

    status          any status: the contract's envelope, HTML, text or a given body
    hang_before     nothing is carried out; silence for `seconds`, then closed
    hang_after      carried out, then the same silence (an ambiguous success)
    reset           TCP reset: `before` any byte, or `mid` answer
    drip            the true answer, `chunk` bytes every `interval` seconds
    truncated       half an answer; Content-Length of the `full` one or as `sent`
    short           the true file without its last rows: `keep` is the share that stays
    no_header       the true file without its header
    zero_byte       200 without a body
    html_200        200 with a login page
    waf_403         403 in the firewall's words, without the envelope
    redirect        `status` 302 to `location`
    wrong_cohort    the true answer under another cohort's id
    wrong_request   the true answer under another request id
    missing_result  the true answer without its result
    late_commit     `status` or `hang` first; the effect lands `after` real seconds
                    (null: when `/_sim/late` is posted)
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from syncd.simulator.calls import NAMES, Call
from syncd.simulator.partner_calls import NAMES as PARTNER
from syncd.simulator.public_calls import NAMES as PUBLIC
from syncd.simulator.segment_calls import NAMES as SEGMENT

OTHERS = (*SEGMENT, *PARTNER, *PUBLIC)
"""Endpoints of the origins beside Amplitude's."""

KINDS: Mapping[str, Mapping[str, Any]] = {
    "status": {
        "status": 500,
        "retry_after": None,
        "format": "json",
        "body": None,
        "apply": False,
    },
    "hang_before": {"seconds": 30.0},
    "hang_after": {"seconds": 30.0},
    "reset": {"when": "before", "apply": False},
    "drip": {"interval": 0.5, "chunk": 1},
    "truncated": {"length": "full", "gzip": False},
    "zero_byte": {"apply": False},
    "html_200": {"apply": False},
    "waf_403": {"apply": False},
    "redirect": {
        "status": 302,
        "location": "https://storage.example/elsewhere",
        "apply": False,
    },
    "wrong_cohort": {"cohort_id_answer": "zzzzzzz"},
    "wrong_request": {"request_id_answer": "zzzzzz"},
    "short": {"keep": 0.5},
    "no_header": {},
    "missing_result": {},
    "late_commit": {"answer": "status", "status": 503, "seconds": 30.0, "after": 1.0},
}
"""Every kind with its options and their defaults."""

ALWAYS_APPLIED = frozenset(
    {"hang_after", "drip", "truncated", "wrong_cohort", "missing_result"}
    | {"wrong_request", "short", "no_header"}
)
"""Kinds that spoil the answer of a request that was carried out."""

CHOICES = {
    "format": ("json", "html", "text"),
    "when": ("before", "mid"),
    "length": ("full", "sent"),
    "answer": ("status", "hang"),
}
NULLABLE = frozenset({"retry_after", "body", "after"})
FILTERS = ("cohort_id", "request_id", "operation", "name")
COMMON = frozenset(
    {"kind", "endpoint", "cohort_id", "request_id", "operation", "name", "calls"}
    | {"probability", "delay"}
)


@dataclass(slots=True, kw_only=True)
class Fault:
    """One script."""

    id: int
    kind: str
    endpoint: str
    """An endpoint name, or `any`."""
    filters: dict[str, str]
    """Equal values wanted of a call, by FILTERS."""
    calls: list[int] | None
    """1-based, among matching calls since the script was set; None: every one."""
    probability: float | None
    """None: certain. Drawn from the simulator's seed."""
    delay: float
    """Real seconds before the fault's answer."""
    options: dict[str, Any]
    seen: int = 0
    """Matching calls so far."""
    played: int = 0

    @property
    def applies(self) -> bool:
        """The request is carried out before the fault is played."""
        return self.kind in ALWAYS_APPLIED or self.options.get("apply") is True

    def matches(self, call: Call) -> bool:
        """The script is about this call."""
        if self.endpoint not in ("any", call.endpoint):
            return False
        return all(getattr(call, name) == value for name, value in self.filters.items())

    def due(self, dice: random.Random) -> bool:
        """Count a matching call; True if it is one to be hit."""
        self.seen += 1
        if self.calls is not None and self.seen not in self.calls:
            return False
        return self.probability is None or dice.random() < self.probability


class Faults:
    """All scripts, in the order of setting."""

    def __init__(self, *, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - repeatable, guards nothing
        self._faults: list[Fault] = []
        self._last_id = 0

    def set(self, scripts: list[dict[str, Any]]) -> None:
        """Add scripts, all or none. Raises ValueError naming what is wrong."""
        first = self._last_id + 1
        made = [read_fault(first + place, one) for place, one in enumerate(scripts)]
        self._faults += made
        self._last_id += len(made)

    def take(self, call: Call) -> Fault | None:
        """The fault to play on this call: the first due one; each match is counted."""
        due = [one for one in self._faults if one.matches(call) and one.due(self._dice)]
        if not due:
            return None
        due[0].played += 1
        return due[0]

    def all(self) -> list[Fault]:
        """Every script with its counts."""
        return list(self._faults)


def read_fault(number: int, script: dict[str, Any]) -> Fault:
    """A script from JSON. Raises ValueError."""
    if script.get("kind") not in KINDS:
        raise ValueError(f"a fault needs a kind out of {', '.join(KINDS)}")
    kind = script["kind"]
    given = {name: value for name, value in script.items() if name not in COMMON}
    for name, value in given.items():
        _check_option(kind, name, value)
    endpoint = script.get("endpoint", "any")
    if endpoint not in (*NAMES, "storage", *OTHERS, "unknown", "any"):
        raise ValueError(f"no endpoint {endpoint!r}")
    calls = script.get("calls")
    if calls is not None and not _is_list_of_ints(calls):
        raise ValueError("calls must be a list of numbers from 1, or null")
    return Fault(
        id=number,
        kind=kind,
        endpoint=endpoint,
        filters={name: str(script[name]) for name in FILTERS if script.get(name)},
        calls=calls,
        probability=_number(script, "probability", None),
        delay=_number(script, "delay", 0.0) or 0.0,
        options={**KINDS[kind], **given},
    )


def _check_option(kind: str, name: str, value: Any) -> None:
    if name not in KINDS[kind]:
        raise ValueError(f"fault {kind} has no option {name!r}")
    if name in ("body", "retry_after") or (value is None and name in NULLABLE):
        return
    if name in CHOICES and value not in CHOICES[name]:
        raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}")
    wanted = type(KINDS[kind][name])
    if type(value) is not wanted and not (wanted is float and type(value) is int):
        raise ValueError(f"{name} must be a {wanted.__name__}")


def _is_list_of_ints(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)


def _number(script: dict[str, Any], name: str, default: float | None) -> float | None:
    value = script.get(name, default)
    if value is not None and type(value) not in (int, float):
        raise ValueError(f"{name} must be a number")
    return value
