"""`POST /api/3/cohorts/upload` (R16, R17): create a cohort, or replace one's content.

Never creates an empty cohort, never creates users, and is not idempotent: two equal
creations make two cohorts.
"""

from dataclasses import dataclass
from typing import Any

from syncd.simulator.answers import Outcome, Refusal
from syncd.simulator.cohorts import USER, Cohort, describe_uploaded
from syncd.simulator.idlists import Matched, check_count, check_ids, match
from syncd.simulator.people import People
from syncd.simulator.switches import TOUCHABLE, Switches
from syncd.simulator.world import Project, World

ID_TYPES = ("BY_AMP_ID", "BY_USER_ID")
SAMPLE = 10
"""Most ids in `invalid_ids_sample`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A well-formed request body."""

    name: str
    owner: str
    published: bool
    count_group: str
    id_type: str
    ids: list[str]
    skip_save: bool
    skip_invalid_ids: bool
    existing_cohort_id: str | None


def upload(
    world: World, project: Project, switches: Switches, body: Any, now: int
) -> Outcome:
    """Check everything, then create or replace. After a Refusal nothing changed."""
    request = _read(body, project)
    if switches.check_owner and request.owner not in project.owners:
        raise Refusal(400, "Unknown owner")
    target = _target(project, request, switches)
    matched = _match(request, _people(project, request.count_group))
    metadata = {
        "matched": len(matched.known),
        "totals": len(request.ids),
        "invalid_ids_sample": matched.unknown[:SAMPLE],
    }
    if request.skip_save:
        body = {"cohortId": None, "cohortsById": {}, "metadata": metadata}
        return Outcome(body=body, skipped=len(matched.unknown))
    if target is None:
        target = _create(world, project, request, now)
    before = target.members
    target.members = matched.known
    target.touch(now, frozenset(TOUCHABLE))
    return Outcome(
        body={
            "cohortId": target.id,
            "cohortsById": {target.id: describe_uploaded(target)},
            "metadata": metadata,
        },
        changed=True,
        cohort_id=target.id,
        added=len(matched.known - before),
        removed=len(before - matched.known),
        skipped=len(matched.unknown),
    )


def _read(body: Any, project: Project) -> Upload:
    if not isinstance(body, dict):
        raise Refusal(400, "The body must be a JSON object")
    _check_app(body.get("app_id"), project)
    id_type = _required(body, "id_type", str)
    if id_type not in ID_TYPES:
        raise Refusal(400, "Invalid id_type, must be one of BY_AMP_ID, BY_USER_ID")
    ids = check_ids(body.get("ids"), "ids")
    check_count(len(ids))
    return Upload(
        name=_required(body, "name", str),
        owner=_required(body, "owner", str),
        published=_required(body, "published", bool),
        count_group=_optional(body, "cg", str, USER),
        id_type=id_type,
        ids=ids,
        skip_save=_optional(body, "skip_save", bool, False),
        skip_invalid_ids=_optional(body, "skip_invalid_ids", bool, True),
        existing_cohort_id=_optional(body, "existing_cohort_id", str, None),
    )


def _check_app(value: Any, project: Project) -> None:
    # Documented as an integer; Segment's destination sends a string and works.
    if value is None or value == "":
        raise Refusal(400, "Missing required field app_id")
    if isinstance(value, bool) or str(value) != str(project.app_id):
        raise Refusal(400, "Invalid app_id")


def _required(body: dict[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if value is None or value == "":
        raise Refusal(400, f"Missing required field {name}")
    if not isinstance(value, kind):
        raise Refusal(400, f"Invalid {name}")
    return value


def _optional(body: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise Refusal(400, f"Invalid {name}")
    return value


def _target(project: Project, request: Upload, switches: Switches) -> Cohort | None:
    """The cohort to replace; None when one is to be created."""
    if request.existing_cohort_id is None:
        return None
    cohort = project.cohorts.get(request.existing_cohort_id)
    if cohort is None:
        raise Refusal(404, "Cohort not found")
    if cohort.archived:
        raise Refusal(switches.archived_status, "Cohort is archived")
    if cohort.dynamic:
        raise Refusal(switches.replace_dynamic_status, "Cohort is not an upload")
    if cohort.count_group != request.count_group:
        raise Refusal(400, "Group does not match the cohort's count group")
    return cohort


def _people(project: Project, count_group: str) -> People:
    if count_group not in project.people:
        raise Refusal(400, "Unknown group")
    return project.people[count_group]


def _match(request: Upload, people: People) -> Matched:
    matched = match(request.ids, people, by_number=request.id_type == "BY_AMP_ID")
    if matched.unknown and not request.skip_invalid_ids:
        raise Refusal(
            400, "Invalid ids in the request", metadata={"invalid_ids": matched.unknown}
        )
    if not matched.known:
        sample = matched.unknown[:SAMPLE]
        raise Refusal(
            400, "No valid ids in the request", metadata={"invalid_ids_sample": sample}
        )
    return matched


def _create(world: World, project: Project, request: Upload, now: int) -> Cohort:
    cohort = Cohort(
        id=world.new_cohort_id(),
        app_id=project.app_id,
        name=request.name,
        owners=[request.owner],
        count_group=request.count_group,
        published=request.published,
        created_at=now,
    )
    project.cohorts[cohort.id] = cohort
    return cohort
