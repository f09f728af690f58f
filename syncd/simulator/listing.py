"""`GET /api/3/cohorts` (R5) and `GET /api/3/cohorts/usage` (R7).

Neither costs quota, and the list never recomputes a cohort.
"""

from syncd.simulator.answers import Outcome
from syncd.simulator.cohorts import Cohort, describe
from syncd.simulator.quota import Quota, resets_at
from syncd.simulator.switches import Switches
from syncd.simulator.world import Project


def list_cohorts(project: Project, switches: Switches, *, sync_info: bool) -> Outcome:
    """All cohorts of the project that the list shows, oldest first."""
    shown = []
    for cohort in project.cohorts.values():
        if not _listed(cohort, switches):
            continue
        entry = describe(cohort)
        if sync_info:
            entry["syncMetadata"] = list(cohort.sync_metadata)
        shown.append(entry)
    return Outcome(body={"cohorts": shown})


def _listed(cohort: Cohort, switches: Switches) -> bool:
    if cohort.archived and not switches.list_includes_archived:
        return False
    return switches.list_includes_hidden or not cohort.hidden


def usage(quota: Quota, moment: float) -> Outcome:
    """Downloads of this calendar month (UTC); `resets_at` has no zone suffix (R7)."""
    return Outcome(
        body={
            "rest_download": {
                "limit": quota.limit,
                "usage": quota.used(moment),
                "resets_at": resets_at(moment),
            }
        }
    )
