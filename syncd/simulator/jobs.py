"""Download jobs of a project: a request id, a snapshot, when it is done (R9, R10).

Nothing runs here: a job is done as soon as the clock has passed its end, and `Project`
sees to it whenever somebody asks. Times are epoch seconds of the virtual clock.
"""

import asyncio
import secrets
import string
from array import array
from collections.abc import Collection
from dataclasses import dataclass, field

from syncd.simulator.cohorts import Cohort
from syncd.simulator.csv_body import Style

LIFETIME = 604_800.0
"""Request ids are valid for 7 days from the 202."""
LINK_LIFETIME = 60.0
"""Storage links are valid for one minute from the 302."""
LETTERS = string.ascii_letters + string.digits
FAILED = "JOB FAILED"


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One accepted request."""

    id: str
    cohort_id: str
    count_group: str
    requested: float
    ends: float
    recomputes: bool
    """When done it moves `lastComputed` of a dynamic cohort."""
    failure: str | int | None = None
    """How it ends instead: a status word, or an HTTP status of the status call."""
    members: Collection[int] | None = None
    """The snapshot; None: it is taken at the end."""
    done: bool = False
    rendered: tuple[Style, bytes] | None = None
    """The file as it was last asked for, so that asking again is cheap."""
    rendering: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def ready(self) -> bool:
        """There is a file."""
        return self.done and self.failure is None

    def take(self, cohort: Cohort) -> None:
        """Take the snapshot: of the truth if it recomputes, else of what is known."""
        seen = cohort.members if self.recomputes else cohort.computed
        # The set of a dynamic cohort is replaced and never changed, so that it can be
        # kept as it is; others change in place.
        self.members = seen if cohort.dynamic else array("q", seen)

    def finish(self, cohort: Cohort | None) -> None:
        """The clock has passed the end; None: the cohort is gone."""
        self.done = True
        taken = self.requested if self.members is not None else self.ends
        if self.members is None:
            if cohort is None:
                self.failure = self.failure or FAILED
                return
            self.take(cohort)
        if self.failure is None and self.recomputes and cohort is not None:
            if isinstance(self.members, set) and (cohort.last_computed or 0) <= taken:
                cohort.recompute(taken, self.members)


class Jobs:
    """All jobs of one project."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._links: dict[str, tuple[Job, float]] = {}

    def add(self, job: Job) -> None:
        """Keep a new one; those that expired long ago are dropped."""
        self._jobs = {
            key: one
            for key, one in self._jobs.items()
            if job.requested - one.requested < 2 * LIFETIME
        }
        self._links = {
            token: link
            for token, link in self._links.items()
            if link[0].id in self._jobs
        }
        self._jobs[job.id] = job

    def find(self, request_id: str, moment: float) -> Job | None:
        """The job behind a request id; None if unknown or expired."""
        job = self._jobs.get(request_id)
        return job if job and moment - job.requested <= LIFETIME else None

    def cohort_of(self, request_id: str) -> str | None:
        """Whose cohort a request id is about, also an expired one."""
        job = self._jobs.get(request_id)
        return job.cohort_id if job else None

    def running(self, moment: float) -> int:
        """Jobs in progress."""
        return sum(one.ends > moment for one in self._jobs.values() if not one.done)

    def ended(self, moment: float) -> list[Job]:
        """Jobs whose end has passed and nobody has seen to, in order."""
        jobs = (job for job in self._jobs.values() if not job.done)
        return sorted(
            (job for job in jobs if job.ends <= moment), key=lambda job: job.ends
        )

    def link(self, job: Job, moment: float) -> str:
        """A fresh token for the file of a job."""
        token = secrets.token_hex(32)
        self._links[token] = (job, moment)
        return token

    def linked(self, token: str) -> tuple[Job, float] | None:
        """The job of a token, and when the token was made."""
        return self._links.get(token)


def new_request_id() -> str:
    """Short and opaque, as recorded ones; not from the seed, so that a restarted
    simulator does not know the ids of the one before."""
    return "".join(secrets.choice(LETTERS) for _ in range(8))
