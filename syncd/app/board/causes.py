"""Why things failed lately, and whose it is: theirs, ours, yours, or people's."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from syncd import help as runbook
from syncd.model import Outcome
from syncd.report.words import number, plural
from syncd.store import history
from syncd.store.database import Connection
from syncd.store.history import Stop, Trouble
from syncd.web.pages.views import Cause

WEEK = timedelta(days=7)
_MOST = 8
"""Lines; whatever is rarer is on the page of its run."""

THEIRS, OURS, YOURS, PEOPLE = "theirs", "ours", "yours", "people"
_WHOSE = {
    THEIRS: "rate_limited timeout connect tls dns reset http_5xx bad_response quota "
    "unavailable interrupted not_ready_in_time never_computed stale short "
    "broken_file rate not_ready",
    OURS: "store lease_lost cancelled internal process_died shutdown spool",
    PEOPLE: "unknown_user invalid_id",
}
_BY_WORD = {word: whose for whose, words in _WHOSE.items() for word in words.split()}


def whose(code: str) -> str:
    """Who can do something about it. What nobody else can is yours: keys, a file, a
    guard's decision."""
    return _BY_WORD.get(code.rpartition(".")[2], YOURS)


def causes(connection: Connection, now: datetime) -> Iterator[Cause]:
    """Of the last 7 days: runs that stopped, requests that failed, people left out."""
    since = now - WEEK
    lines = [_stopped(each) for each in history.stops(connection, since)]
    lines += [_failed(each) for each in history.troubles(connection, since)]
    yield from lines[:_MOST]
    sent = history.sent(connection, since)
    if sent.unmatched:
        yield _people("unknown at the destination", sent.unmatched, "member.rejected")
    if sent.rejected:
        yield _people("rejected", sent.rejected, "member.rejected")


def _stopped(stop: Stop) -> Cause:
    count = plural(stop.runs, "run")
    if stop.outcome is Outcome.HELD:
        count += f", {number(stop.waiting)} waiting" if stop.waiting else ", decided"
    else:
        count += f" {stop.outcome}"
    code = stop.reason or stop.outcome.value
    return Cause(whose=whose(code), what=code, count=count, code=_helped(code))


def _failed(trouble: Trouble) -> Cause:
    kind = trouble.error_type
    what = f"{kind} ({trouble.status})" if trouble.status else kind
    recovered = "all recovered"
    if trouble.recovered < trouble.runs:
        recovered = f"{number(trouble.recovered)} recovered"
    requests, runs = plural(trouble.requests, "request"), plural(trouble.runs, "run")
    code = f"delivery.{kind}" if runbook.find(f"delivery.{kind}") else kind
    count = f"{requests} in {runs}, {recovered}"
    return Cause(whose=whose(kind), what=what, count=count, code=_helped(code))


def _people(what: str, count: int, code: str) -> Cause:
    noun = "time" if count == 1 else "times"
    return Cause(
        whose=PEOPLE, what=what, count=f"{number(count)} {noun}", code=_helped(code)
    )


def _helped(code: str) -> str:
    return code if runbook.find(code) else ""
