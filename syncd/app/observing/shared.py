"""What is wrong with what several syncs share: credentials, the month's downloads."""

from collections.abc import Collection, Iterator
from datetime import datetime

from syncd.app.observing.known import Known, ends
from syncd.app.reading import DAYS_OF_FORECAST
from syncd.clients import quota
from syncd.config.forecast import ProjectForecast, forecast
from syncd.config.settings import SyncSettings
from syncd.notify import Kind, Seen
from syncd.report.words import dated, number, plural
from syncd.store import quotas
from syncd.store.database import Connection


def stopped(known: Known, running: Collection[SyncSettings]) -> Iterator[Seen]:
    for name in sorted(known.stopped):
        users = tuple(sync.name for sync in running if name in ends(sync))
        if users:
            yield Seen(
                kind=Kind.CONNECTION_STOPPED,
                subject=name,
                concerns=users,
                cause="",
                headline=f"{name} is stopped: its credentials are refused; "
                f"{plural(len(users), 'sync')} cannot run",
                context=("it is tried again every 15 minutes",),
                usual="a key that was rotated or revoked, another region",
                command="syncd doctor",
                code="connection.stopped",
            )


def low_quotas(connection: Connection, known: Known) -> Iterator[Seen]:
    for project in forecast(known.settings):
        read = quotas.get(connection, project.project)
        if read is not None and read.resets_at > known.now:
            reading = quota.Reading(
                limit=read.limit,
                used=read.used,
                resets_at=read.resets_at,
                estimated=read.estimated,
            )
            yield from _quota(project, reading, known.now)


def _quota(
    project: ProjectForecast, reading: quota.Reading, now: datetime
) -> Iterator[Seen]:
    demand = project.total / DAYS_OF_FORECAST
    gone = quota.is_exhausted(reading, reading.used, project.reserve)
    if not gone and not quota.is_low(reading, reading.used, demand, now):
        return
    name = project.connections[0]
    used = f"{number(reading.used)} of {number(reading.limit)} downloads are used"
    until = dated(reading.resets_at, "UTC")
    expected = quota.forecast(reading, reading.used, demand, now)
    more = (
        f"schedules download nothing until {until}"
        if gone
        else f"{number(expected)} are expected by {until}"
    )
    yield Seen(
        kind=Kind.QUOTA,
        subject=name,
        concerns=tuple(each.name for each in project.syncs),
        cause="",
        headline=f"{name}: {used}, {more}",
        usual="a schedule that asks for more than the month has, other tools",
        command="syncd quota",
        code="quota.exhausted" if gone else "quota.low",
    )
