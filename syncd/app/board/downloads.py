"""How the downloads of each Amplitude project go this month: used, and where to."""

from collections.abc import Iterator
from datetime import datetime

from syncd.app.board.marks import ago
from syncd.app.reading import DAYS_OF_FORECAST
from syncd.clients import quota
from syncd.config.forecast import ProjectForecast, forecast
from syncd.report.overview import Overview
from syncd.report.words import moment
from syncd.store import fetches, quotas
from syncd.store.database import Connection
from syncd.store.fetches import FetchState
from syncd.store.quotas import Quota
from syncd.web.pages.views import Month


def burn_downs(connection: Connection, seen: Overview) -> Iterator[Month]:
    """Of each project that was ever asked about, as last known; asks no vendor."""
    for project in forecast(seen.settings):
        known = quotas.get(connection, project.project)
        if known is not None:
            yield _month(connection, seen, project, known)


def _month(
    connection: Connection, seen: Overview, project: ProjectForecast, known: Quota
) -> Month:
    now = seen.now
    is_over = known.resets_at <= now
    resets_at = quota.next_month(now) if is_over else known.resets_at
    used = 0 if is_over else known.used
    begun = quota.month_before(resets_at)
    reading = quota.Reading(
        limit=known.limit, used=used, resets_at=resets_at, estimated=known.estimated
    )
    demand = project.total / DAYS_OF_FORECAST
    length = resets_at - begun
    times = _asked(connection, project.project, begun)
    spent = [((at - begun) / length, number) for number, at in enumerate(times, 1)]
    elsewhere = max(used - len(times), 0)
    elapsed = min(max((now - begun) / length, 0.0), 1.0)
    return Month(
        project=", ".join(project.connections),
        used=used,
        limit=known.limit,
        reserve=project.reserve,
        forecast=quota.forecast(reading, used, demand, now),
        elapsed=elapsed,
        spent=tuple(_with_others(spent, elsewhere, elapsed)),
        words=_words(seen, known, resets_at, elsewhere),
    )


def _asked(connection: Connection, project: str, begun: datetime) -> list[datetime]:
    """When we asked for downloads that counted, or may have."""
    rows = fetches.of_project(connection, project, begun)
    return sorted(row.asked_at for row in rows if row.state is not FetchState.REFUSED)


def _with_others(
    spent: list[tuple[float, int]], elsewhere: int, elapsed: float
) -> Iterator[tuple[float, int]]:
    """What other tools spent has no times: it is spread over the month so far."""
    last = 0
    for share, ours in spent:
        others = round(elsewhere * min(share / elapsed, 1)) if elapsed else elsewhere
        last = ours + others
        yield share, last
    if len(spent) + elsewhere > last:
        yield elapsed, len(spent) + elsewhere


def _words(seen: Overview, known: Quota, resets_at: datetime, elsewhere: int) -> str:
    parts = [f"asked {ago(known.read_at, seen.now)}"]
    if known.estimated:
        parts = ["estimated, our own count"]
    elif elsewhere:
        parts.append(f"{elsewhere} by other tools")
    resets = moment(resets_at, seen.now, seen.zone)
    return ", ".join([*parts, f"resets {resets}"])
