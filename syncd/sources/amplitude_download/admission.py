"""May this download be had? The rows are read, judged and written in one transaction.

The decision is `clients/quota`; here is what it needs to know, and what people are told
when the month runs low. The request is durable before it is sent: whatever dies
afterwards, it is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd import events
from syncd.clients import quota
from syncd.clients.amplitude_answers import Cohort
from syncd.clients.amplitude_job import Usage
from syncd.clients.quota import Admitted, Denied, Later, Reading, Spend, Wish
from syncd.clock import Clock
from syncd.errors import DeliveryError
from syncd.events import Event, emit
from syncd.sources import Postponed
from syncd.sources.amplitude_download.errand import Errand, lost_after
from syncd.sources.amplitude_download.faults import is_rate_limit, unavailable
from syncd.store import fetches, quotas
from syncd.store.database import Connection
from syncd.store.fetches import Fetch, FetchState


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The request may be sent; its row is durable."""

    fetch_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Somebody else asked for this cohort in between: look again."""


def admit(
    errand: Errand, cohort: Cohort, history: Sequence[Fetch]
) -> Granted | Moved | Later | Postponed:
    """Ask for one download; `history` is what the gate saw, newest first."""
    answered = _read_quota(errand)
    if isinstance(answered, Postponed):
        return answered
    reading, known = answered
    rules, now = errand.settings.rules, errand.clock.now()
    with errand.question.database.begin() as connection:
        spends = _locked_spends(errand, connection, reading, known)
        if _newest(errand, connection) != [each.id for each in history[:1]]:
            return Moved()
        wish = _wish(errand, cohort, history)
        verdict = quota.decide(wish, rules, reading, spends, now)
        answer = _carry_out(errand, connection, cohort, verdict)
        spent = quota.used(reading, spends) + isinstance(answer, Granted)
        news = _news(errand, connection, reading, spent, now)
    for event in news:
        _tell(errand, event, reading, spent, now)
    return answer


def _read_quota(errand: Errand) -> tuple[Reading, list[Spend]] | Postponed:
    """The month as the vendor counts it, or by our own count where it does not say;
    and our requests as they were before that. Postponed by a 429.

    Read before every decision, since other tools spend the same budget (contract 4.5).
    What had been answered before the reading is part of it; the rest may be missing.
    """
    settings, now = errand.settings, errand.clock.now()
    with errand.question.database.read() as connection:
        known = known_spends(connection, settings.project, errand.clock)
    try:
        usage = errand.client.usage()
    except DeliveryError as error:
        if is_rate_limit(error):
            return _asked_too_often(error, now)
        raise unavailable(error, code="source.quota_unknown") from error
    return reading_of(usage, settings.limit, known, now), known


def _asked_too_often(error: DeliveryError, now: datetime) -> Postponed:
    wait = error.retry_after
    until = now + timedelta(seconds=wait) if wait is not None else None
    message = f"the month's downloads could not be asked for: {error}"
    return Postponed(reason="rate", message=message, until=until)


def reading_of(
    usage: Usage | None, limit: int, known: Sequence[Spend], now: datetime
) -> Reading:
    """What the month is known to be; `known` are our requests before it was asked.

    `limit` is the plan's, for an account whose usage cannot be read.
    """
    if usage is None:
        resets_at = quota.next_month(now)
        return Reading(limit=limit, used=0, resets_at=resets_at, estimated=True)
    return Reading(
        limit=usage.limit,
        used=usage.used,
        resets_at=usage.resets_at,
        estimated=False,
        included=frozenset(each.id for each in known if each.answered),
    )


def _locked_spends(
    errand: Errand, connection: Connection, reading: Reading, known: Sequence[Spend]
) -> list[Spend]:
    """Lock the project, then read its requests: nobody decides beside us."""
    now = errand.clock.now()
    quotas.remember(
        connection,
        errand.settings.project,
        limit=reading.limit,
        used=quota.used(reading, known),
        resets_at=reading.resets_at,
        estimated=reading.estimated,
        now=now,
    )
    return known_spends(connection, errand.settings.project, errand.clock)


def known_spends(connection: Connection, project: str, clock: Clock) -> list[Spend]:
    """The project's requests of the last `quota.HISTORY`."""
    now = clock.now()
    rows = fetches.of_project(connection, project, now - quota.HISTORY)
    return as_spends(rows, now, lost_after(clock))


def _newest(errand: Errand, connection: Connection) -> list[int]:
    settings = errand.settings
    newest = fetches.of_cohort(
        connection, settings.project, settings.cohort_id, limit=1
    )
    return [each.id for each in newest]


def as_spends(
    rows: Sequence[Fetch], now: datetime, lost_after: timedelta
) -> list[Spend]:
    """The project's requests as the limits see them."""
    return [_spend(row, now, row.asked_at + lost_after) for row in rows]


def _spend(row: Fetch, now: datetime, lost_at: datetime) -> Spend:
    silent = row.state in {FetchState.ASKING, FetchState.LOST}
    return Spend(
        id=row.id,
        sync=row.sync,
        cohort_id=row.cohort_id,
        at=min(now, lost_at) if row.state is FetchState.ASKING else row.asked_at,
        answered=not silent or now >= lost_at,
        confirmed=row.state
        in {*fetches.RESUMABLE, FetchState.COMPLETED, FetchState.ENDED},
        running=silent or row.state is FetchState.RUNNING,
        refused=row.state is FetchState.REFUSED,
    )


def _wish(errand: Errand, cohort: Cohort, history: Sequence[Fetch]) -> Wish:
    paid = [each for each in history if each.state is not FetchState.REFUSED]
    done = [each for each in paid if each.state is FetchState.COMPLETED]
    return Wish(
        sync=errand.question.sync,
        by_person=errand.question.by_person,
        last_at=paid[0].asked_at if paid else None,
        size_moved=not done or done[0].size != cohort.size,
    )


def _carry_out(
    errand: Errand,
    connection: Connection,
    cohort: Cohort,
    verdict: Admitted | Later | Denied,
) -> Granted | Later | Postponed:
    """Write down what was decided, as far as it is to be remembered."""
    match verdict:
        case Later():
            return verdict
        case Denied(reason=reason, message=message, until=until):
            return Postponed(reason=reason, message=message, until=until)
        case Admitted():
            return _begin(errand, connection, cohort)


def _begin(errand: Errand, connection: Connection, cohort: Cohort) -> Granted:
    question = errand.question
    fetch_id = fetches.begin(
        connection,
        project=errand.settings.project,
        cohort_id=cohort.id,
        name=cohort.name,
        computed_before=cohort.last_computed,
        size_before=cohort.size,
        sync=question.sync,
        run_id=question.run_id,
        by_person=question.by_person,
        now=errand.clock.now(),
    )
    quotas.spend(connection, errand.settings.project)
    return Granted(fetch_id=fetch_id)


# ---- what people are told -----------------------------------------------------------


def _news(
    errand: Errand,
    connection: Connection,
    reading: Reading,
    spent: int,
    now: datetime,
) -> list[Event]:
    """What is worth a line now: low once a day, exhausted once a month.

    Nothing of a month that ended between its reading and the lock: others have begun
    the next one, and it would be told of the old one twice.
    """
    project, rules = errand.settings.project, errand.settings.rules
    if reading.resets_at <= errand.clock.now():
        return []
    if quota.is_exhausted(reading, spent, rules.reserve):
        first = quotas.exhaust(connection, project, now)
        return [events.QUOTA_EXHAUSTED] if first else []
    if quota.is_low(reading, spent, rules.demand, now):
        first = quotas.warn(connection, project, now)
        return [events.QUOTA_LOW] if first else []
    return []


def _tell(
    errand: Errand, event: Event, reading: Reading, spent: int, now: datetime
) -> None:
    rules, project = errand.settings.rules, errand.settings.project
    if event is events.QUOTA_LOW:
        emit(
            events.QUOTA_LOW,
            project=project,
            used=spent,
            limit=reading.limit,
            forecast=quota.forecast(reading, spent, rules.demand, now),
            estimated=reading.estimated,
            resets_at=reading.resets_at,
        )
        return
    emit(
        events.QUOTA_EXHAUSTED,
        project=project,
        used=spent,
        limit=reading.limit,
        reserve=rules.reserve,
        estimated=reading.estimated,
        resets_at=reading.resets_at,
    )
