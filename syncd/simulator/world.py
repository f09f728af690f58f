"""What exists: projects, each with its people and its cohorts.

One key pair is one project (contract section 1). A project lives in one region; on a
simulator of the other region its key is unknown (R3).
"""

import random
from dataclasses import dataclass, field

from syncd.simulator.cohorts import USER, Cohort
from syncd.simulator.jobs import Jobs
from syncd.simulator.people import People
from syncd.simulator.quota import Quota

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(slots=True, kw_only=True)
class Project:
    """One Amplitude project (app)."""

    app_id: int
    api_key: str
    secret_key: str = field(repr=False)
    region: str
    owners: list[str]
    """Login e-mails of the people who may own a cohort."""
    people: dict[str, People] = field(default_factory=lambda: {USER: People()})
    """One table per count group."""
    cohorts: dict[str, Cohort] = field(default_factory=dict)
    """By cohort id, in the order of creation."""
    quota: Quota = field(default_factory=Quota)
    """Of downloads."""
    jobs: Jobs = field(default_factory=Jobs)
    """Downloads in progress and done."""

    def settle(self, moment: float) -> None:
        """Let everything happen that the clock has passed: see before you look."""
        self.quota.settle(moment)
        for job in self.jobs.ended(moment):
            cohort = self.cohorts.get(job.cohort_id)
            if cohort is not None:
                cohort.settle(job.ends)
            job.finish(cohort)
        for cohort in self.cohorts.values():
            cohort.settle(moment)

    def everybody(self, count_group: str) -> People:
        """The table of a count group, made when first asked for."""
        return self.people.setdefault(count_group, People())

    def remove_people(self, count_group: str, names: list[str] | None) -> int:
        """Forget people, also as members. Returns how many existed."""
        gone = self.everybody(count_group).remove(names)
        for cohort in self.cohorts.values():
            if cohort.count_group == count_group:
                cohort.forget(gone)
        return len(gone)


class World:
    """All projects; hands out cohort ids."""

    def __init__(self, *, region: str, seed: int) -> None:
        self.region = region
        self._random = random.Random(seed)  # noqa: S311 - repeatable, guards nothing
        self.projects: dict[int, Project] = {}
        self.projects[187520] = Project(
            app_id=187520,
            api_key="demo-api-key",
            secret_key="demo-secret-key",  # noqa: S106 - opens the simulator only
            region=region,
            owners=["growth-ops@acme.example"],
        )

    def check_key(self, app_id: int, api_key: str) -> None:
        """A key opens one project: raises ValueError when another one has it."""
        for other in self.projects.values():
            if other.api_key == api_key and other.app_id != app_id:
                raise ValueError("api_key is in use by another project")

    def by_key(self, api_key: str) -> Project | None:
        """The project a key opens in this region."""
        for project in self.projects.values():
            if project.api_key == api_key and project.region == self.region:
                return project
        return None

    def new_cohort_id(self) -> str:
        """Eight letters and digits, as recorded ones; never used before."""
        used = {key for project in self.projects.values() for key in project.cohorts}
        while True:
            made = "".join(self._random.choices(ID_LETTERS, k=8))
            if made not in used:
                return made
