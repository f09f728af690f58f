"""A person's word that nothing pushed to a sync is missing, after a failover.

Where no whole list is ever read, nobody else can say so: its sender sent everybody
again, or nothing was under way in the moments that were lost. Nothing is read or sent,
so it is done though a pause is on. What is at the target is another matter
(`sync.failing_over`).
"""

from syncd.model import Outcome, Trigger
from syncd.store import failovers, installation, leases
from syncd.sync.resync import NotResyncable, Wish, action, say
from syncd.sync.run import run
from syncd.sync.spec import Report, Spec
from syncd.sync.steps import Parts, Run

HEARD = "resync.heard"
"""Reason of such a run: it compared nothing."""
_VERB = "resync heard"


def vouch(parts: Parts, spec: Spec, wish: Wish) -> Report | None:
    """Take what was pushed for complete, in a run with trigger `resync`.

    Raises `NotResyncable` where nothing is pushed to the sync, `Busy`,
    `WaitsForPerson`. The run fails where nothing is in doubt.
    """
    if spec.fed is None:
        raise _not_heard(spec.name, "nothing is pushed to it: it reads whole lists")

    def story(begun: Run) -> None:
        _settle(begun, wish)
        report = begun.report
        report.outcome, report.reason = Outcome.SKIPPED, HEARD
        report.message = "what was pushed to it counts as complete"
        say(begun, wish, _VERB)

    return run(parts, spec, Trigger.RESYNC, story=story, even_paused=True)


def _settle(begun: Run, wish: Wish) -> None:
    parts, name = begun.parts, begun.spec.name
    with parts.database.begin() as connection:
        leases.check(connection, begun.lease, parts.clock.wall())
        at = failovers.unheard(connection, name)
        if at is None:
            raise _not_heard(name, "nothing that was pushed to it is in doubt")
        if at >= begun.report.started_at:
            # Nobody can have meant a failover that was noticed just now.
            raise _not_heard(name, "the database failed over again just now")
        failovers.heard(connection, name, at)
        installation.record(connection, action(begun, wish, _VERB))


def _not_heard(name: str, why: str) -> NotResyncable:
    return NotResyncable(
        f"{name}: {why}", code="resync.not_heard", hint=f"syncd status {name}"
    )
