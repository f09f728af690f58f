"""`GET /api/3/cohorts` (R5) and `GET /api/3/cohorts/usage` (R7).

Neither costs quota, and the list never recomputes a cohort.
"""

from datetime import datetime

from syncd.simulator.answers import Outcome
from syncd.simulator.cohorts import Cohort, describe
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


def usage(project: Project, now: datetime) -> Outcome:
    """Downloads of this calendar month (UTC); `resets_at` has no zone suffix (R7)."""
    year, month = divmod(now.year * 12 + now.month, 12)
    return Outcome(
        body={
            "rest_download": {
                "limit": project.download_limit,
                "usage": project.downloads_in(now),
                "resets_at": f"{year:04d}-{month + 1:02d}-01T00:00:00",
            }
        }
    )
