"""Whether a download is needed. Pure: the free list, and what was downloaded before.

The signal is `lastComputed` (contract section 5). It is compared with what was listed
when the last download's job had ended, since our own read may move it; with "not
equal", since it may go backwards; and where it moves without anybody entering or
leaving, the downloads become rarer by themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise, takewhile

from syncd.clients.amplitude_answers import Cohort
from syncd.sources.amplitude_download.refusal import never_computed, refusal
from syncd.store.fetches import RESUMABLE, Fetch, FetchState

KEPT_FOR = timedelta(days=7) - timedelta(hours=1)
"""A request and its file live seven days (contract section 3); an hour to be sure."""
UNSEEN_JOB_AT_MOST = timedelta(minutes=10)
"""Where nobody saw the job end: the process had died, and all that is known is that it
took less than until now. Ten times as long as a job takes (contract 4.3); to be wrong
costs one download, where an hour would hide a change until the next.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who wants the list, and when."""

    sync: str
    mark: str | None
    """Of the list that the sync's last plan was made from."""
    again: bool
    """The list is wanted even if unchanged, as long as it is free."""
    by_person: bool
    period: timedelta | None
    max_staleness: timedelta
    lost_after: timedelta
    """A request without an answer for so long never gets one."""
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Unneeded:
    """The last plan was made from this very state of the cohort."""

    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """The file of this request still stands for the present: read it again, free."""

    fetch: Fetch


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """This request was paid for and not read to its end: go on with it, free."""

    fetch: Fetch


@dataclass(frozen=True, slots=True, kw_only=True)
class Await:
    """Another sync is asking for this cohort right now: see what it gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointless:
    """A new one is wanted, but the last ones were of no use: not yet."""

    message: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Only a new download can tell."""

    last: Fetch | None
    """The last one that was read whole."""


Verdict = Unneeded | Reuse | Resume | Await | Pointless | Wanted


def gate(cohort: Cohort, history: Sequence[Fetch], asker: Asker) -> Verdict:
    """What to do about this cohort; `history` is its requests, newest first."""
    last = _last_read(history)
    if last is not None and _is_current(last, cohort, asker):
        known = asker.mark is not None and asker.mark == mark_of(cohort)
        readable = last.request_id is not None and _is_kept(last, asker.now)
        if known and not (asker.again and readable):
            return Unneeded(since=cohort.last_computed)
        if readable:
            return Reuse(fetch=last)
    return _about_open(history, last, asker) or _about_new(cohort, history, last, asker)


def mark_of(cohort: Cohort) -> str | None:
    """The state the cohort is listed in, as a source's mark."""
    return mark(cohort.id, cohort.last_computed)


def mark(cohort_id: str, computed: datetime | None) -> str | None:
    """`cohort_id@epoch`; None for a cohort that was never computed."""
    return None if computed is None else f"{cohort_id}@{int(computed.timestamp())}"


def stands_for(
    fetch: Fetch, listed: Cohort, *, seen: bool, now: datetime
) -> datetime | None:
    """The `lastComputed` that a file stands for, given the list at the job's end.

    It is the listed one, which the job itself may have moved (trap 2). What is computed
    later is not in the file, and the next look at the list will find it.

    `seen`: we were there when the job ended. If nobody was for long, the cohort may
    have been computed again since. Then a time much later than the request is not the
    job's. This alone compares the vendor's clock with ours; one that is wrong costs a
    download at most.
    """
    computed, latest = listed.last_computed, fetch.asked_at + UNSEEN_JOB_AT_MOST
    if not seen and now > latest and computed is not None and computed > latest:
        return fetch.computed_before
    return computed


def _last_read(history: Sequence[Fetch]) -> Fetch | None:
    done = (each for each in history if each.state is FetchState.COMPLETED)
    return next(done, None)


def _is_current(last: Fetch, cohort: Cohort, asker: Asker) -> bool:
    age = asker.now - last.asked_at
    return last.computed_after == cohort.last_computed and age < asker.max_staleness


def _is_kept(fetch: Fetch, now: datetime) -> bool:
    return now - fetch.asked_at < KEPT_FOR


def _about_open(
    history: Sequence[Fetch], last: Fetch | None, asker: Asker
) -> Resume | Await | None:
    """What newer requests than the last file are under way."""
    newer = [each for each in history if last is None or each.id > last.id]
    for fetch in newer:
        age = asker.now - fetch.asked_at
        fresh = _is_kept(fetch, asker.now) and age < asker.max_staleness
        if fetch.state in RESUMABLE and fresh:
            return Resume(fetch=fetch)
    for fetch in newer:
        # One sync runs once at a time: its own unanswered request is a dead process's.
        others = fetch.state is FetchState.ASKING and fetch.sync != asker.sync
        if others and asker.now - fetch.asked_at < asker.lost_after:
            return Await()
    return None


def _about_new(
    cohort: Cohort, history: Sequence[Fetch], last: Fetch | None, asker: Asker
) -> Pointless | Wanted:
    """A new download, unless the last ones were paid for in vain."""
    if asker.by_person or asker.period is None:
        return Wanted(last=last)
    in_vain = _in_vain(history)
    if in_vain:
        message = f"its last {len(in_vain)} downloads came to nothing"
        until = in_vain[0].asked_at + _wait(len(in_vain), asker.period, asker)
    elif last is not None and asker.mark == mark(last.cohort_id, last.computed_after):
        alike = _alike(history)
        if _grew_or_shrank(cohort, alike):
            return Wanted(last=last)
        message = (
            f"it was computed again, but its last {len(alike)} downloads brought the"
            " same members"
        )
        until = last.asked_at + _wait(len(alike), asker.period, asker)
    else:
        return Wanted(last=last)  # it never had what the last download brought
    if asker.now >= until:
        return Wanted(last=last)
    return Pointless(
        message=f"{message}: the next one from {shown(until)}", until=until
    )


def _wait(times: int, period: timedelta, asker: Asker) -> timedelta:
    """None after one time, then 2, 4, 8 ... periods, up to the staleness."""
    if times < 2:
        return timedelta(0)
    # The exponent is bounded: the staleness is reached long before 2 ** 20 periods.
    periods: int = 2 ** min(times - 1, 20)
    return min(period * periods, asker.max_staleness)


def _in_vain(history: Sequence[Fetch]) -> list[Fetch]:
    """The newest requests that were paid for, perhaps, and brought no list.

    Where this is asked, one without an answer yet never gets one (`_about_open`).
    """
    paid = (each for each in history if each.state is not FetchState.REFUSED)
    wasted = {FetchState.ENDED, FetchState.LOST, FetchState.ASKING}
    return list(takewhile(lambda each: each.state in wasted, paid))


def _alike(history: Sequence[Fetch]) -> list[Fetch]:
    """Downloads in a row, from the newest on, that brought the same members although
    the cohort had been computed anew in between (contract section 5, trap 2)."""
    done = [each for each in history if each.state is FetchState.COMPLETED]
    alike = done[:1]
    for newer, older in pairwise(done):
        if (
            newer.digest != older.digest
            or newer.computed_before == older.computed_after
        ):
            break
        alike.append(older)
    return alike


def _grew_or_shrank(cohort: Cohort, alike: Sequence[Fetch]) -> bool:
    """Whether the free list's size says that this time somebody entered or left.

    Not where the size moved between those downloads too: it counts people without a
    user id, who are none of ours.
    """
    sizes = {each.size for each in alike}
    told = cohort.size is not None and None not in sizes
    return told and len(sizes) == 1 and cohort.size not in sizes


# ---- the same for people ------------------------------------------------------------


class State(StrEnum):
    """What a download of a listed cohort would mean now."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    FREE = "free"
    NEVER_COMPUTED = "never_computed"
    REFUSED = "refused"


def gate_state(
    cohort: Cohort,
    history: Sequence[Fetch],
    *,
    max_staleness: timedelta,
    now: datetime,
    mark: str | None = None,
    writers: Sequence[str] = (),
    linked: bool = False,
) -> tuple[State, str]:
    """What reading this cohort would mean, and what it would cost, in a sentence.

    `mark` is that of the last plan of the sync that reads it, if there is one. Says
    nothing about the quota.
    """
    refused = refusal(cohort, writers=writers, linked=linked)
    if refused is not None:
        return State.REFUSED, refused.message
    if never_computed(cohort):
        return State.NEVER_COMPUTED, "never computed: open it once in Amplitude"
    asker = Asker(
        sync="",
        mark=mark,
        again=False,
        by_person=True,
        period=None,
        max_staleness=max_staleness,
        lost_after=timedelta(0),
        now=now,
    )
    match gate(cohort, history, asker):
        case Unneeded(since=since):
            return State.UNCHANGED, f"unchanged since {shown(since)}"
        case Reuse(fetch=fetch):
            return State.FREE, f"free: the file of {shown(fetch.asked_at)} is current"
        case Resume(fetch=fetch):
            return State.FREE, f"free: it was asked for at {shown(fetch.asked_at)}"
        case _:
            return State.CHANGED, _why_changed(cohort, history)


def _why_changed(cohort: Cohort, history: Sequence[Fetch]) -> str:
    last = _last_read(history)
    if last is None:
        return "never downloaded: it costs 1"
    if last.computed_after == cohort.last_computed:
        return (
            f"unchanged, but its list is of {shown(last.asked_at)}: a new one costs 1"
        )
    return f"changed at {shown(cohort.last_computed)}: a download costs 1"


def shown(at: datetime | None) -> str:
    """An instant for people; `an unknown time` where the vendor names none."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at else "an unknown time"
