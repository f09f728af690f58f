"""What a heartbeat service is told of each run: begun, ended well, ended badly. Pure.

As healthchecks.io takes it ("Pinging API"): `/start`, `/fail`, tied together by `rid`.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from syncd.model import Outcome
from syncd.store.runs import OK, Run

TRIES = 5
WAITING = 100
"""Pings of one sync that wait at most; the oldest go first."""
_FIRST_WAIT = timedelta(seconds=10)
_SAID = (
    "members_before members_after entered exited sent accepted unmatched rejected "
    "waiting dead batches requests retries phase_ms"
).split()
"""What of a run's numbers is told: no text of anybody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """One request to come."""

    sync: str
    suffix: str
    """`/start`, `/fail`, or nothing for a good end."""
    run_id: str
    body: bytes
    tries: int = 0
    due_at: datetime | None = None
    """None: at once."""


@dataclass(slots=True)
class Follower:
    """Which runs of one sync were told, and which pings wait."""

    sync: str
    begun: str | None = None
    """The newest run whose start was told, or that was there before us."""
    ended: str | None = None
    waiting: deque[Ping] = field(default_factory=lambda: deque(maxlen=WAITING))

    def begin(self, recent: Iterable[Run]) -> None:
        """What had ended before this process looked is nobody's news."""
        for run in recent:
            if run.outcome is not None:
                self.begun = max(self.begun or "", run.id)
                self.ended = max(self.ended or "", run.id)

    def follow(self, recent: Iterable[Run]) -> None:
        """Note the pings for what is new, oldest first. Ids of runs sort by time."""
        for run in sorted(recent, key=lambda each: each.id):
            if run.outcome is Outcome.SKIPPED:
                continue
            if run.id > (self.begun or ""):
                self.waiting.append(_ping(run, "/start"))
                self.begun = run.id
            if run.outcome is not None and run.id > (self.ended or ""):
                self.waiting.extend(_end(run))
                self.ended = run.id

    def pass_over(self, recent: Iterable[Run]) -> None:
        """Another replica tells of what is new now; only whose start we told is ours
        to the end."""
        for run in sorted(recent, key=lambda each: each.id):
            if run.outcome is None or run.id <= (self.ended or ""):
                continue
            if run.id == self.begun and run.outcome is not Outcome.SKIPPED:
                self.waiting.extend(_end(run))
            self.begun, self.ended = max(self.begun or "", run.id), run.id

    def next(self, now: datetime) -> Ping | None:
        """The ping to send now; one that failed keeps later ones waiting."""
        ping = self.waiting[0] if self.waiting else None
        if ping is None or (ping.due_at is not None and now < ping.due_at):
            return None
        return ping

    def arrived(self) -> None:
        """The first one that waits was taken."""
        self.waiting.popleft()

    def failed(self, now: datetime) -> bool:
        """It was not: try again later; True once that is given up."""
        ping = self.waiting.popleft()
        tries = ping.tries + 1
        if tries >= TRIES:
            return True
        wait = _FIRST_WAIT * 2 ** (tries - 1)
        self.waiting.appendleft(replace(ping, tries=tries, due_at=now + wait))
        return False


def path_of(path: str, ping: Ping) -> str:
    """The path of an address with what this ping says: `/UUID/start?rid=…`."""
    before, mark, query = path.partition("?")
    more = f"{query}&" if mark and query else ""
    return f"{before.rstrip('/')}{ping.suffix}?{more}rid={ping.run_id}"


def _end(run: Run) -> Iterator[Ping]:
    """How a run ended; nothing of one that was cut off and goes on."""
    if run.outcome is not Outcome.INTERRUPTED:
        yield _ping(run, "" if run.outcome in OK else "/fail")


def _ping(run: Run, suffix: str) -> Ping:
    return Ping(
        sync=run.sync, suffix=suffix, run_id=run.id, body=orjson.dumps(_line(run))
    )


def _line(run: Run) -> Mapping[str, Any]:
    """The canonical line of a run, in numbers and codes."""
    numbers = {key: run.summary[key] for key in _SAID if key in run.summary}
    return {
        "sync": run.sync,
        "run_id": run.id,
        "trigger": run.trigger,
        "outcome": run.outcome,
        "reason": run.reason,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        **numbers,
    }
