"""`POST /api/3/cohorts/membership` (R18-R22): add and remove members of a cohort.

Adding a member again and removing a stranger are no errors and not skipped; only ids
of people who do not exist are skipped. Users are never created here (R21).
"""

from dataclasses import dataclass
from typing import Any

from syncd.simulator.answers import Outcome, Refusal
from syncd.simulator.cohorts import USER, Cohort
from syncd.simulator.idlists import Matched, check_count, check_ids, match
from syncd.simulator.people import People
from syncd.simulator.switches import Switches
from syncd.simulator.world import Project

OPERATIONS = ("ADD", "REMOVE")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of `memberships`, well formed and looked up."""

    operation: str
    id_type: str
    matched: Matched


def membership(project: Project, switches: Switches, body: Any, now: int) -> Outcome:
    """Check everything, then apply in order. After a Refusal nothing changed."""
    if not isinstance(body, dict):
        raise Refusal(400, "The body must be a JSON object")
    cohort = _cohort(project, body, switches)
    entries = _entries(body, project.everybody(cohort.count_group), switches)
    skipped = sum(len(entry.matched.unknown) for entry in entries)
    if skipped and not _skips(body):
        raise _invalid_ids(cohort, entries, switches)
    added = removed = 0
    for entry in entries:
        before = len(cohort.members)
        if entry.operation == "ADD":
            cohort.members |= entry.matched.known
        else:
            cohort.members -= entry.matched.known
        added += max(0, len(cohort.members) - before)
        removed += max(0, before - len(cohort.members))
    if added or removed:
        cohort.touch(now, switches.touches())
    return Outcome(
        body={
            "cohort_id": cohort.id,
            "memberships_result": [_result(entry, switches) for entry in entries],
        },
        changed=True,
        cohort_id=cohort.id,
        added=added,
        removed=removed,
        skipped=skipped,
    )


def _cohort(project: Project, body: dict[str, Any], switches: Switches) -> Cohort:
    cohort_id = body.get("cohort_id")
    if not isinstance(cohort_id, str) or not cohort_id:
        raise Refusal(400, "Missing required field cohort_id")
    cohort = project.cohorts.get(cohort_id)
    if cohort is None:
        raise Refusal(404, "Cohort not found")
    if cohort.archived:
        raise Refusal(switches.archived_status, "Cohort is archived")
    if cohort.dynamic:
        raise Refusal(switches.membership_dynamic_status, "Cohort is not an upload")
    if (body.get("count_group") or USER) != cohort.count_group:
        raise Refusal(400, "count_group does not match the cohort's count group")
    return cohort


def _entries(body: dict[str, Any], people: People, switches: Switches) -> list[Entry]:
    memberships = body.get("memberships")
    if not isinstance(memberships, list) or not memberships:
        raise Refusal(400, "memberships must be a list and must not be empty")
    parts = [_check_entry(part, switches) for part in memberships]
    check_count(sum(len(ids) for _, _, ids in parts))
    return [
        Entry(operation, id_type, match(ids, people, by_number=id_type != "BY_NAME"))
        for operation, id_type, ids in parts
    ]


def _check_entry(part: Any, switches: Switches) -> tuple[str, str, list[str]]:
    if not isinstance(part, dict):
        raise Refusal(400, "memberships must hold JSON objects")
    operation, id_type = part.get("operation"), part.get("id_type")
    if operation not in OPERATIONS:
        raise Refusal(400, "Invalid operation, must be one of ADD, REMOVE")
    accepted = ["BY_ID", "BY_NAME"]
    if switches.accept_by_amp_id:
        accepted.append("BY_AMP_ID")
    if id_type not in accepted:
        raise Refusal(400, f"Invalid id_type, must be one of {', '.join(accepted)}")
    return operation, id_type, check_ids(part.get("ids"), "ids")


def _skips(body: dict[str, Any]) -> bool:
    value = body.get("skip_invalid_ids", True)
    if not isinstance(value, bool):
        raise Refusal(400, "Invalid skip_invalid_ids")
    return value


def _result(entry: Entry, switches: Switches) -> dict[str, Any]:
    result: dict[str, Any] = {"skipped_ids": entry.matched.unknown}
    if not switches.omit_result_id_type:
        result["id_type"] = entry.id_type
    result["operation"] = entry.operation
    return result


def _invalid_ids(cohort: Cohort, entries: list[Entry], switches: Switches) -> Refusal:
    return Refusal(
        400,
        "Invalid ids in the request",
        metadata={
            "cohort_id": cohort.id,
            "memberships_result": [_result(entry, switches) for entry in entries],
        },
    )
