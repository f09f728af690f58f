"""One run in detail: what it came to, and what a person may decide about it."""

from dataclasses import asdict, dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from syncd.clock import Clock
from syncd.config.feeds import fed_by
from syncd.config.settings import Settings
from syncd.errors import SyncdError
from syncd.report.runs import run_document, zone_of
from syncd.report.standing import is_alive, progress, waits
from syncd.report.words import moment
from syncd.store import installation, ledger, pauses, runs
from syncd.store.database import Connection
from syncd.store.installation import Action
from syncd.store.latest_runs import RAN
from syncd.store.pauses import Pause
from syncd.store.runs import Run

_LOOK_BACK = 200
"""Runs of the sync in which related ones are looked for."""

_SHARES = 7
"""How many exit shares are shown, to tell the usual from this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OneRun:
    """Everything that is shown about a run."""

    run: Run
    now: datetime
    zone: str
    team: str
    """Who to ask about the sync; empty when nobody is named."""
    flags: str
    """`-c` flags for the commands that are shown."""
    alive: bool
    """Some process works on it now."""
    share: float | None
    """How much of what it sends was answered, 0 to 1."""
    waits: bool
    """Its plan waits for a person."""
    actions: list[Action]
    """What people decided about its plan, or about the plan it sends."""
    failures: list[tuple[str, str, int]]
    """(error type, the vendor's words, how often), most frequent first."""
    exit_shares: list[float]
    """Of the newest plans of the sync up to this one, oldest first."""
    sent_by: Run | None
    """The run that sent its plan after it was approved."""
    fed_by: str
    """`inbox engage-main`: where events come from; empty where whole lists do alone."""
    pause: Pause | None = None
    """Who paused the sync, if it is paused now."""

    @property
    def plan(self) -> str | None:
        """What became of a held plan; None for a run that held none."""
        if self.run.plan_hash is None:
            return None
        if self.waits:
            return "waiting"
        decided = {"approve": "approved", "reject": "rejected"}
        verbs = [decided[each.verb] for each in self.actions if each.verb in decided]
        return verbs[-1] if verbs else "expired"

    def choices(self) -> list[tuple[str, str, str]]:
        """(when, the command, what it does) for a plan that waits."""
        run, flags = self.run.short_id, self.flags
        return [
            (
                "It was meant:",
                f'syncd approve {run}{flags} --reason "..."',
                "sends exactly this plan",
            ),
            (
                "It was not:",
                f'syncd reject {run}{flags} --reason "..."',
                "drops it; the next run compares again",
            ),
        ]

    def at(self, t: datetime) -> str:
        """An instant in the sync's zone."""
        return moment(t, self.now, self.zone)


class UnknownRun(SyncdError):
    """No run is called like this."""

    code = "run.unknown"


class AmbiguousRun(UnknownRun):
    """More than one run ends like this."""


class NoRunYet(SyncdError):
    """The sync is known, and nothing of it ran."""

    code = "run.none"


def find_run(
    connection: Connection, settings: Settings, which: str, *, flags: str
) -> Run:
    """The run of an id or of its ending; the newest one of a sync's name.

    Raises `UnknownRun`, `AmbiguousRun`, and `NoRunYet` for a sync.
    """
    names = [sync.name for sync in settings.syncs]
    newest = _newest(connection, which)
    if newest is not None:
        return newest
    if which in names:
        raise NoRunYet(f"{which} has not run yet", hint=f"syncd run {which}{flags}")
    found = runs.find(connection, which.lower())
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousRun(
            f"more than one run ends with '{which}': "
            f"{', '.join(run.id for run in found)}, …",
            hint="Type more of it.",
        )
    near = get_close_matches(which, names, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else "syncd runs lists them."
    raise UnknownRun(f"no run and no sync '{which}'", hint=hint)


def _newest(connection: Connection, sync: str) -> Run | None:
    """The newest run of a sync that began, ended or not."""
    found = runs.latest(connection, sync_name=sync, outcomes=RAN)
    found += runs.unfinished(connection, sync)
    return max(found, key=lambda run: (run.started_at, run.id), default=None)


def one_run(
    connection: Connection, settings: Settings, run: Run, clock: Clock, *, flags: str
) -> OneRun:
    """Everything about this run. `flags` stand behind each command that is shown."""
    now = clock.now()
    recent = runs.latest(connection, sync_name=run.sync, limit=_LOOK_BACK)
    teams = (sync.team for sync in settings.syncs if sync.name == run.sync)
    alive = is_alive(connection, run, clock.wall())
    return OneRun(
        run=run,
        now=now,
        zone=zone_of(settings, run.sync),
        team=next(teams, ""),
        flags=flags,
        alive=alive,
        share=progress(connection, run) if alive else None,
        waits=waits(run, now) is not None,
        actions=installation.actions(connection, run.summary.get("approves", run.id)),
        failures=ledger.failures(connection, run.id),
        exit_shares=_exit_shares(run, recent),
        sent_by=next((r for r in recent if r.summary.get("approves") == run.id), None),
        fed_by=_fed_by(settings, run),
        pause=pauses.in_force(connection, run.sync, now),
    )


def _fed_by(settings: Settings, run: Run) -> str:
    """Where the sync's events come from, as configured today."""
    for sync in settings.syncs:
        door = fed_by(sync)
        if sync.name == run.sync and door is not None:
            return f"{door} {sync.source.connection}"
    return ""


def _exit_shares(run: Run, recent: list[Run]) -> list[float]:
    """Of the newest plans up to this one, oldest first; an approval is no new plan."""
    shares = [
        float(each.summary["exit_ratio"])
        for each in recent
        if (each.started_at, each.id) <= (run.started_at, run.id)
        and "exit_ratio" in each.summary
        and "approves" not in each.summary
    ]
    return shares[:_SHARES][::-1]


# --- JSON -----------------------------------------------------------------------------


def one_run_document(page: OneRun) -> dict[str, Any]:
    """What `show --json` says."""
    return {
        "now": page.now,
        "run": run_document(page.run, page.now, alive=page.alive),
        "share": page.share,
        "fed_by": page.fed_by or None,
        "paused": asdict(page.pause) if page.pause is not None else None,
        "plan": page.plan,
        "choices": [command for _, command, _ in page.choices()] if page.waits else [],
        "decisions": [
            {
                "at": each.at,
                "verb": each.verb,
                "actor": each.actor,
                "via": each.via,
                "reason": each.reason,
            }
            for each in page.actions
        ],
        "sent_by": page.sent_by.id if page.sent_by else None,
        "failures": [
            {"error_type": kind, "message": words, "count": count}
            for kind, words, count in page.failures
        ],
        "exit_shares": page.exit_shares,
    }
