"""The paid request, and waiting for its job. The id is stored before anything else."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.errors import DeliveryError, SourceUnavailable
from syncd.sources.amplitude_download.errand import Errand
from syncd.sources.amplitude_download.faults import (
    is_answered,
    is_gone,
    is_over,
    is_rate_limit,
    unavailable,
)
from syncd.sources.amplitude_download.gate import stands_for
from syncd.store import fetches
from syncd.store.fetches import Fetch, FetchState

FIRST_POLL = timedelta(seconds=5)
LAST_POLL = timedelta(seconds=20)
"""Polls are free, and a job takes 30 to 60 s or more (contract 4.3)."""
FAILURES_IN_A_ROW = 3
"""Errors of the status call, rate limits apart, after which a run gives up."""
KNOWN_AFTER = timedelta(minutes=1)
"""So long a request may be unknown to a vendor that has just accepted it: what one of
its machines has written another one may not read yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedAway:
    """A 429: nothing was started."""

    message: str
    wait: timedelta
    """As long as the vendor asked for; usually it names nothing."""


def request(errand: Errand, fetch_id: int) -> Fetch | TurnedAway:
    """Make the paid request, whose row is durable.

    Raises `SourceUnavailable`, or `DeliveryError` when the credentials are refused.
    """
    question = errand.question
    try:
        request_id = errand.client.request(
            errand.settings.cohort_id, run_id=question.run_id
        )
    except DeliveryError as error:
        _note_failure(errand, fetch_id, error)
        if is_rate_limit(error):
            wait = timedelta(seconds=error.retry_after or 0)
            return TurnedAway(message=str(error), wait=wait)
        code = "source.not_found" if is_gone(error) else ""
        raise unavailable(error, code) from error
    with question.database.begin() as connection:
        fetches.accepted(connection, fetch_id, request_id, errand.clock.now())
        return fetches.get(connection, fetch_id)


def wait(errand: Errand, fetch: Fetch, deadline: datetime) -> Fetch:
    """Poll until the job is complete, and look at once which computation it stands for.

    The request stays resumable unless it is over.
    """
    if fetch.state is not FetchState.RUNNING:
        return fetch
    failures, seen, pauses = 0, False, _pauses()
    while (answer := _poll(errand, fetch)) is not True:
        seen = seen or answer is False
        failures = failures + 1 if isinstance(answer, DeliveryError) else 0
        if isinstance(answer, DeliveryError) and failures == FAILURES_IN_A_ROW:
            raise unavailable(answer) from answer
        until = errand.clock.now() + next(pauses)
        if until > deadline:
            raise SourceUnavailable(
                "the cohort's download is not ready in time; the next run goes on with"
                " the same request",
                code="source.not_ready_in_time",
            )
        errand.pause(until)
    return _complete(errand, fetch, seen=seen)


def _complete(errand: Errand, fetch: Fetch, *, seen: bool) -> Fetch:
    """List the cohort before the file is read, which may take long."""
    listed = errand.listed()
    computed = stands_for(fetch, listed, seen=seen, now=errand.clock.now())
    # The size of a later computation says nothing about this file, and would hide that
    # there is something to fetch.
    size = listed.size if computed == listed.last_computed else None
    with errand.question.database.begin() as connection:
        return fetches.ready(
            connection,
            fetch.id,
            computed_after=computed,
            size=size,
            size_ready=listed.size,
        )


def _poll(errand: Errand, fetch: Fetch) -> bool | DeliveryError | None:
    """Whether the job is complete; None or an error where the vendor does not say.

    Raises when it is over.
    """
    try:
        return errand.client.is_complete(
            fetch.request_id or "", run_id=errand.question.run_id
        )
    except DeliveryError as error:
        if is_rate_limit(error) or _is_not_known_yet(errand, fetch, error):
            return None
        if is_over(error):
            end(errand, fetch, error)
        if is_over(error) or is_answered(error):
            raise unavailable(error) from error
        return error


def _is_not_known_yet(errand: Errand, fetch: Fetch, error: DeliveryError) -> bool:
    return is_gone(error) and errand.clock.now() - fetch.asked_at < KNOWN_AFTER


def end(errand: Errand, fetch: Fetch, error: DeliveryError) -> None:
    """Nothing can be had by this request any more."""
    with errand.question.database.begin() as connection:
        fetches.give_up(connection, fetch.id, str(error), errand.clock.now())


def _note_failure(errand: Errand, fetch_id: int, error: DeliveryError) -> None:
    note = fetches.refused if is_answered(error) else fetches.lost
    with errand.question.database.begin() as connection:
        note(connection, fetch_id, str(error), errand.clock.now())


def _pauses() -> Iterator[timedelta]:
    """5 s, growing by half each time, to 20 s."""
    pause = FIRST_POLL
    while True:
        yield pause
        pause = min(pause * 1.5, LAST_POLL)
