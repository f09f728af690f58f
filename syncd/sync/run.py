"""A run, top to bottom: the story of one sync from its source to a settled outbox.

    begin      T1: lease, slot, run in progress
    find       where the target is now (free)
    ask        whether the source has anything new, and may be read
    collect    the source into a partitioned snapshot      (no transaction)
    diff       snapshot against acknowledged: a draft      (one read transaction)
    guard      a verdict on the whole draft
    commit     T2: take over open batches, add these, held or open
    deliver    T3 …: acknowledgements, by the delivery pool
    compact    the log into chunks, when it is large or old
    finish     T4: run closed, lease released, one canonical line

A run with trigger `resume` or `approve` reads no source: it sends open batches.
"""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta

from syncd import events
from syncd.errors import StoreError, StoreUnavailable, SyncdError
from syncd.events import emit
from syncd.log import bound
from syncd.model import Found, Outcome, Settled, Settlement, Trigger
from syncd.sources import Listing, Postponed, Pushed, Unchanged
from syncd.store import runs
from syncd.sync import (
    commit,
    credentials,
    landings,
    settling,
    steps,
    telling,
    trouble,
    verdict,
)
from syncd.sync.beginning import begin
from syncd.sync.draft import Draft
from syncd.sync.finding import find_target
from syncd.sync.finish import close_leftovers, close_run
from syncd.sync.snapshot import Interrupted
from syncd.sync.spec import Report, Spec
from syncd.sync.steps import Parts, Run

HOLD_FOR = timedelta(hours=24)
"""A held plan waits this long for a person, then it is dropped."""

Story = Callable[[Run], None]


def run(
    parts: Parts,
    spec: Spec,
    trigger: Trigger,
    *,
    slot: datetime | None = None,
    story: Story | None = None,
    even_paused: bool = False,
) -> Report | None:
    """Run a sync once; None when somebody else already took its slot.

    `even_paused` is for a story that sends nothing, or ends the sync for good.

    Raises `Busy` while another process holds the sync's lease, `Paused` while a person
    paused it, `WaitsForPerson` while a plan of it is held. The caller sees to it
    that one process runs a sync once at a time. Every run that began ends with its
    row closed and its canonical line written.
    """
    begun = begin(parts, spec, trigger, slot, even_paused=even_paused)
    if begun is None:
        return None
    with bound(
        sync=spec.name,
        owner=spec.team,
        run_id=begun.report.run_id,
        trigger=trigger,
        direction=spec.direction,
    ):
        emit(events.RUN_STARTED, due_at=slot, lag_ms=telling.lag_ms(begun))
        parts.writer.keep(begun.lease)
        try:
            _tell(begun, story)
        finally:
            parts.writer.let_go(begun.lease)
            close_run(begun)
    return begun.report


def _story_of(run: Run) -> Story:
    # Batches of another identity must not go where the configuration points today.
    resumes = run.report.trigger is Trigger.RESUME and run.change is None
    return _open_batches if resumes else from_the_source


def _tell(run: Run, story: Story | None) -> None:
    """Carry the story out; whatever stops it becomes the run's outcome."""
    try:
        close_leftovers(run)
        steps.load_binding(run)
        (story or _story_of(run))(run)
    except Interrupted:
        run.report.outcome, run.report.reason = Outcome.INTERRUPTED, "shutdown"
    except SyncdError as error:
        trouble.conclude(run, error)
    except OSError as error:
        full = f"no room for temporary files: {error.strerror}"
        trouble.conclude(run, StoreUnavailable(full, code="spool"))
    except Exception as error:  # noqa: BLE001  # one bug must not take the daemon down
        emit(events.DAEMON_CRASHED, error=type(error).__name__, exc_info=True)
        trouble.conclude(run, SyncdError(f"unexpected {type(error).__name__}"))


# ---- the story ----------------------------------------------------------------------


def from_the_source(run: Run) -> None:
    """Ask, read, compare, judge, commit, deliver."""
    with run.phase("find"):
        credentials.require_open(run)
    if credentials.is_on_trial(run) and not _takes_us_again(run):
        return
    with run.phase("find"):
        found = find_target(run)
    with run.phase("ask"), credentials.of_source(run):
        answer = steps.ask(run)
    match answer:
        case Unchanged(since=since):
            telling.unchanged(run, since)
            _what_is_left(run, found)
        case Postponed():
            _without_a_list(run, answer, found)
        case said:
            from_what_it_says(run, said, found)


def _takes_us_again(run: Run) -> bool:
    """An open batch shows whether a stopped target works; nothing is read before.

    A download would be paid for in vain otherwise.
    """
    if run.change is None:
        _open_batches(run, fresh_attempts=True)
        if run.report.outcome not in runs.OK:
            return False
        run.sent_before = run.report.numbers["batches"]
        steps.load_binding(run)  # what was sent may have been compacted since
    credentials.resume(run)
    return True


def _what_is_left(run: Run, found: Found | None) -> None:
    """There is nothing new: what is open is sent, and who may be there by a request
    that landed late is asserted again.

    Not where everybody is to be sent again, as the source says and not as we believe:
    what is believed may be damaged, and the upload puts out whom it does not name.
    """
    if not run.anew and landings.are_overdue(run):
        from_what_it_says(run, landings.as_before(run), found)
    else:
        _open_batches(run, fresh_attempts=True)


def _without_a_list(run: Run, why: Postponed, found: Found | None) -> None:
    """The list may not be had now: what is left to do is done all the same.

    Unless it is for another target than the configuration names today.
    """
    report = run.report
    if run.change is None:
        _what_is_left(run, found)
    else:
        report.outcome = Outcome.NO_CHANGE
    if report.outcome not in runs.OK:
        return
    report.outcome, report.reason = Outcome.SKIPPED, why.reason
    # What was open is sent, but the answer is why nothing was read.
    report.phase = "ask"
    report.message = why.message
    emit(
        events.RUN_SKIPPED,
        level=events.Level.WARNING if why.reason == "quota" else None,
        reason=why.reason,
        until=why.until,
        due_at=report.slot,
    )


def from_what_it_says(run: Run, said: Listing | Pushed, found: Found | None) -> None:
    """Read, compare, judge, commit, deliver."""
    parts = run.parts
    with parts.readers.of(run.spec.source_connection):
        with run.phase("collect"), credentials.of_source(run):
            snapshot = steps.collect(run, said)
        with closing(snapshot):
            run.former = landings.former(run)
            if steps.unchanged(run, snapshot) and not landings.are_overdue(run):
                steps.remember_mark(run, snapshot)
                _open_batches(run, fresh_attempts=True)
                return
            with run.phase("diff"), parts.readers.comparing:
                made = steps.compare_with_store(run, snapshot)
    carry_out(run, made, found)


def carry_out(run: Run, made: Draft, found: Found | None) -> None:
    """Judge a draft, store it, and send it unless a guard holds it. Closes it."""
    parts = run.parts
    with closing(made):
        telling.count(run, made)
        with run.phase("guard"):
            trips = verdict.verdict(run, made)
        if trips and not run.spec.hold_on_trip:
            verdict.fail(run, trips)
            return
        with run.phase("commit"):
            until = parts.clock.now() + HOLD_FOR if trips else None
            commit.store_plan(run, made, found, held_until=until)
    if trips:
        verdict.hold(run, made, trips)
    else:
        telling.say_committed(found, made)
        deliver_and_conclude(run)


def _open_batches(run: Run, *, fresh_attempts: bool = False) -> None:
    """Send what is open as it stands; attempts are kept when a run is resumed."""
    credentials.require_open(run)
    count = commit.send_again(run, fresh_attempts=fresh_attempts)
    run.report.numbers["batches"] = count
    if count:
        deliver_and_conclude(run)
    else:
        run.report.outcome = _ended_well(run)


def deliver_and_conclude(run: Run) -> None:
    """Deliver this run's open batches, then say how it ended."""
    with run.phase("deliver"):
        settlement = settling.deliver(run)
    _conclude(run, settlement)
    if settlement.state is Settled.DONE:
        _compact(run)


def _compact(run: Run) -> None:
    """Housekeeping: what goes wrong here takes nothing back from the run."""
    try:
        settling.compact_if_due(run)
    except StoreError as error:
        emit(events.STORE_UNAVAILABLE, operation="compact", error=str(error))


def _conclude(run: Run, settlement: Settlement) -> None:
    report = run.report
    report.reason, report.message = settlement.code, settlement.message
    match settlement.state:
        case Settled.DONE:
            # Dead batches turn this into partial; `finish` counts them.
            report.outcome = _ended_well(run)
        case Settled.WAITING:
            report.outcome = Outcome.PARTIAL
        case Settled.TARGET:
            report.outcome = Outcome.HELD
            emit(events.TARGET_HELD, reason=settlement.message, code=settlement.code)
        case Settled.INTERRUPTED:
            report.outcome = Outcome.INTERRUPTED
        case Settled.CREDENTIALS | Settled.REFUSED | Settled.LOST:
            report.outcome = Outcome.FAILED
            report.error_type = trouble.type_of(settlement)


def _ended_well(run: Run) -> Outcome:
    sent = run.report.numbers.get("batches", 0) + run.sent_before
    return Outcome.SUCCESS if sent else Outcome.NO_CHANGE
