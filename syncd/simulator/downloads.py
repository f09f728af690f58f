"""Get a cohort in three calls: request, status, file (R6-R12, contract 4.2-4.4).

Only the request costs quota, and only when it is answered 202.
"""

from dataclasses import dataclass
from functools import partial

from syncd.simulator.answers import Answer, Outcome, OverLimit, Refusal
from syncd.simulator.cohorts import USER, Cohort
from syncd.simulator.csv_body import Style, render, style_of
from syncd.simulator.jobs import Job, new_request_id
from syncd.simulator.people import People
from syncd.simulator.quota import MINUTE, TEN_MINUTES, DownloadStats
from syncd.simulator.switches import Switches
from syncd.simulator.world import Project

IN_PROGRESS, COMPLETED = "JOB INPROGRESS", "JOB COMPLETED"
RATE = "Too Many Requests: Exceeded rate limit"
CONCURRENT = "Too Many Requests: Exceeded concurrent limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One authenticated call, and all it is judged by."""

    project: Project
    switches: Switches
    stats: DownloadStats
    moment: float
    """Now, in epoch seconds."""
    concurrent: int
    """Requests of the project in flight, this one included."""
    storage_url: str

    def job(self, request_id: str) -> Job:
        """R10: the job of a request id of this project. Raises Refusal."""
        job = self.project.jobs.find(request_id, self.moment)
        if job is None:
            raise Refusal(self.switches.expired_status, "Request not found")
        return job


def request(desk: Desk, cohort_id: str) -> Outcome:
    """Start a job. Raises Refusal; then nothing was started or counted."""
    cohort = admit(desk, cohort_id)
    switches, project, moment = desk.switches, desk.project, desk.moment
    job = Job(
        id=new_request_id(),
        cohort_id=cohort.id,
        count_group=cohort.count_group,
        requested=moment,
        ends=moment + switches.job_seconds,
        recomputes=switches.download_recomputes and cohort.dynamic,
        failure=switches.job_failure,
    )
    if switches.snapshot_at == "request":
        job.take(cohort)
    project.jobs.add(job)
    project.quota.start(moment)
    project.quota.count(moment)
    desk.stats.count(moment, cohort.id)
    running = project.jobs.running(moment)
    desk.stats.most_running = max(desk.stats.most_running, running)
    return Outcome(
        status=202,
        body={"request_id": job.id, "cohort_id": cohort.id},
        changed=True,
        cohort_id=cohort.id,
        request_id=job.id,
        counted=True,
    )


def admit(desk: Desk, cohort_id: str) -> Cohort:
    """R6, in its order, up to the cohort's lock. Raises Refusal."""
    switches = desk.switches
    cohort = desk.project.cohorts.get(cohort_id)
    if cohort is None:
        raise Refusal(switches.unknown_cohort_status, "Cohort not found")
    if switches.download_archived_status and cohort.archived:
        raise Refusal(switches.download_archived_status, "Cohort is archived")
    if switches.group_download_status and cohort.count_group != USER:
        raise Refusal(switches.group_download_status, "Not a cohort of users")
    if len(cohort.members) > switches.max_download_size:
        raise Refusal(switches.too_large_status, "Cohort is too large to download")
    check_pace(desk)
    check_concurrency(desk)
    return cohort


def check_pace(desk: Desk) -> None:
    """The month, ten minutes, one minute, running jobs. Raises OverLimit."""
    switches, moment, quota = desk.switches, desk.moment, desk.project.quota
    if quota.used(moment) >= quota.limit:
        details = "Too Many Requests: Exceeded the monthly limit of cohort downloads"
        raise OverLimit("month", details, status=switches.quota_status)
    if quota.started_within(TEN_MINUTES, moment) >= switches.per_10_minutes:
        raise OverLimit("ten_minutes", f"{RATE} of cohort downloads per 10 minutes")
    if quota.started_within(MINUTE, moment) >= switches.per_minute:
        raise OverLimit("minute", f"{RATE} of cohort downloads per minute")
    if desk.project.jobs.running(moment) >= switches.running_jobs:
        raise OverLimit("running", f"{CONCURRENT} of running cohort downloads")


def check_concurrency(desk: Desk) -> None:
    """All calls of the project in flight. Raises OverLimit."""
    if desk.concurrent > desk.switches.concurrent_requests:
        raise OverLimit("concurrent", f"{CONCURRENT} of requests")


def status(desk: Desk, request_id: str) -> Outcome:
    """How far a job is; free."""
    job = desk.job(request_id)
    if job.done and isinstance(job.failure, int):
        raise Refusal(job.failure, "Job failed")
    word = str(job.failure or COMPLETED) if job.done else IN_PROGRESS
    return Outcome(
        status=200 if job.done else 202,
        body={
            "request_id": job.id,
            "cohort_id": job.cohort_id,
            "async_status": word,
        },
        cohort_id=job.cohort_id,
        request_id=job.id,
    )


def file(desk: Desk, request_id: str) -> Outcome:
    """The file of a job that is done, or where it lies; free."""
    job = desk.job(request_id)
    if not job.ready:
        raise Refusal(desk.switches.file_early_status, "File is not ready")
    return Outcome(
        body={},
        cohort_id=job.cohort_id,
        request_id=job.id,
        render=partial(_file_answer, desk, job),
    )


async def _file_answer(desk: Desk, job: Job) -> Answer:
    switches = desk.switches
    rows = len(job.members or ())
    if switches.always_redirect or rows > switches.inline_max_rows:
        token = desk.project.jobs.link(job, desk.moment)
        place = f"{desk.storage_url}/cohort-exports/{job.id}.csv"
        query = f"X-Amz-Expires=60&X-Amz-Signature={token}"
        headers = (("location", f"{place}?{query}"),)
        return Answer(302, b"", switches.file_content_type, headers)
    return await file_body(
        job, desk.project.everybody(job.count_group), switches, inline=True
    )


async def file_body(
    job: Job, people: People, switches: Switches, *, inline: bool
) -> Answer:
    """200 with the file, rendered once per style."""
    style = style_of(switches, job.count_group)
    body = await _body(job, people, style)
    encoded = style.zipped == 2 or switches.gzip == "encoding"
    headers = (("content-encoding", "gzip"),) if encoded else ()
    kind = switches.file_content_type if inline else switches.storage_content_type
    return Answer(200, body, kind, headers)


async def _body(job: Job, people: People, style: Style) -> bytes:
    async with job.rendering:
        if job.rendered is None or job.rendered[0] != style:
            job.rendered = (style, await render(job.members or (), people, style))
        return job.rendered[1]
