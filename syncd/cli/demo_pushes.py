"""What the demo's vendors push to the daemon, and how fast that gets through.

Engage tells of one audience by webhook: signed batches that carry a second factor, in
no order, some events twice. Amplitude pushes one cohort as it does to any partner: it
makes a list, adds with four requests at once, then removes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from syncd.cli.demo_audiences import Audience
from syncd.cli.demo_cohorts import Cohort
from syncd.cli.demo_vendors import FakeVendors, Sent
from syncd.cli.demo_watch import Records, Watch
from syncd.cli.demo_world import PUSH_KEY, WEBHOOK_KEY, WEBHOOK_SECRET
from syncd.cli.output import Column, Output
from syncd.errors import SyncdError
from syncd.model import Outcome
from syncd.report.words import number, span
from syncd.store.runs import Run

AT_ONCE = 4
"""Requests by which Amplitude adds everybody; each may hold 10,000 ids (vendor page 1),
so here they are made smaller."""
_BATCH = 4_000
"""Events in one webhook at most (contract, segment.md H2)."""
_TWICE = 0.2
"""Share of Engage's events that are sent twice."""
_COLUMNS = (
    Column(title="PUSHED BY"),
    Column(title="ABOUT"),
    Column(title="REQUESTS", right=True),
    Column(title="AT ONCE", right=True),
    Column(title="SENT", right=True),
    Column(title="TWICE", right=True),
    Column(title="STORED AFTER", right=True),
    Column(title="ACKNOWLEDGED", right=True),
)


@dataclass(slots=True, kw_only=True)
class Push:
    """One change that was pushed. Spans are real time, since the sending began."""

    vendor: str
    about: str
    """The audience or the cohort."""
    sync: str
    """Which sync it feeds."""
    began_at: datetime
    """When the vendor began to send, on the fast clock."""
    requests: int
    items: int
    """Events or ids, those that came twice counted twice."""
    at_once: int
    twice: int
    """Of these, what syncd had stored already and did not store again."""
    stored: timedelta
    """Until every request was answered, which is after everything is durable."""
    acknowledged: timedelta | None = None
    """Until the destination said yes to the last of it; None: it was not sent."""
    held: bool = False
    """A guard held what came of it."""

    def fate(self) -> str:
        """When it was acknowledged, or why it was not."""
        if self.acknowledged is not None:
            return span(self.acknowledged)
        return "held" if self.held else "no change"

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "by": self.vendor,
            "about": self.about,
            "requests": self.requests,
            "sent": self.items,
            "twice": self.twice,
            "stored_seconds": round(self.stored.total_seconds(), 3),
            "acknowledged_seconds": None
            if self.acknowledged is None
            else round(self.acknowledged.total_seconds(), 3),
            "held": self.held,
        }


class Pushes:
    """Lets the vendors push, and keeps account of it."""

    def __init__(self, vendors: FakeVendors, records: Records, watch: Watch) -> None:
        self._vendors = vendors
        self._records = records
        self._watch = watch
        self._shown = 0
        self._listed: set[str] = set()
        """Syncs whose list was made."""
        self.all: list[Push] = []
        """In the order in which they were made."""

    def connect(self, url: str, about: Iterable[Audience | Cohort]) -> None:
        """Point each vendor's destinations at the daemon's doors below `url`."""
        for each in about:
            match each:
                case Audience(by_webhook=True):
                    self._vendors.connect(each.sync, _webhook(each, url))
                case Cohort(pushed=True):
                    self._vendors.connect(each.sync, _list_push(each, url))
                case _:
                    pass

    def push(self, each: Audience | Cohort) -> Push:
        """Let the vendor tell what changed since its last push; returns once all of it
        is answered."""
        of_engage = isinstance(each, Audience)
        connection = "engage" if of_engage else "amplitude"
        before = self._records.seen_twice(connection)
        began_at = self._watch.clock.now()
        sent = self._send(each.sync)
        stored = self._since(began_at, self._watch.clock.now())
        made = Push(
            vendor="Engage" if of_engage else "Amplitude",
            about=each.key if isinstance(each, Audience) else each.name,
            sync=each.sync,
            began_at=began_at,
            requests=sent.requests,
            # Making the list is a request, and counted as an item, that names nobody.
            items=sent.items - self._makes_list(each),
            at_once=sent.at_once,
            twice=self._records.seen_twice(connection) - before,
            stored=stored,
        )
        self.all.append(made)
        return made

    def show(self, out: Output) -> None:
        """The pushes since the last table, and what became of each."""
        new, self._shown = self.all[self._shown :], len(self.all)
        if not new:
            return
        for each in new:
            self._follow(each)
        out.table(_COLUMNS, [_row(each) for each in new], indent=3)

    def _send(self, sender: str) -> Sent:
        try:
            return self._vendors.push(sender)
        except SyncdError:
            # Who is not there cannot take anything: that is the better reason.
            self._watch.require_all("what was pushed to be taken")
            raise

    def _makes_list(self, each: Audience | Cohort) -> bool:
        """Whether its next push is Amplitude's first of a cohort; asked once a push."""
        if isinstance(each, Audience) or each.sync in self._listed:
            return False
        self._listed.add(each.sync)
        return True

    def _follow(self, push: Push) -> None:
        """Look up what the runs since then did about it."""
        runs = self._records.runs(push.sync)
        since = [run for run in runs if _finished(run) > push.began_at]
        push.held = any(run.outcome is Outcome.HELD for run in since)
        sending = [_finished(run) for run in since if _moved(run)]
        if sending:
            push.acknowledged = self._since(push.began_at, max(sending))

    def _since(self, start: datetime, end: datetime) -> timedelta:
        """Real time between two moments of the fast clock."""
        return (end - start) / self._watch.clock.speed


def _webhook(audience: Audience, url: str) -> dict[str, Any]:
    """Engage's destination: an Actions webhook for who enters and leaves from now on,
    as the first list is read from the warehouse."""
    return {
        "kind": "engage",
        "audience": audience.key,
        "url": f"{url}/in/engage",
        "historical": False,
        "flavour": "actions_batch",
        "batch_size": _BATCH,
        "secret": WEBHOOK_SECRET,
        "headers": {"X-Syncd-Key": WEBHOOK_KEY},
        "duplicates": _TWICE,
        "shuffle": True,
    }


def _list_push(cohort: Cohort, url: str) -> dict[str, Any]:
    """Amplitude's destination: a list-based integration."""
    return {
        "kind": "amplitude",
        "cohort": cohort.id,
        "url": f"{url}/in/amplitude/lists",
        "api_key": PUSH_KEY,
        "mode": "list",
        "batch_size": -(-len(cohort.members) // AT_ONCE),
    }


def _finished(run: Run) -> datetime:
    """Runs in progress are never looked at."""
    return run.finished_at or run.started_at


def _moved(run: Run) -> bool:
    """Whether it changed anything at the destination."""
    return bool(run.summary.get("entered", 0) or run.summary.get("exited", 0))


def _row(push: Push) -> list[str]:
    return [
        push.vendor,
        push.about,
        number(push.requests),
        number(push.at_once),
        number(push.items),
        number(push.twice),
        span(push.stored),
        push.fate(),
    ]
