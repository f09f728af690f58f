"""The demo's story: what happens to the audiences, told while it happens.

Each chapter changes something in the warehouse or decides something, waits until the
daemon has dealt with it, and shows what the daemon did about it.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from syncd.cli import demo_proof
from syncd.cli.demo_amplitude import FakeAmplitude
from syncd.cli.demo_processes import DemoFailed, Processes
from syncd.cli.demo_proof import Proof, prove
from syncd.cli.demo_watch import Records, Watch, all_of
from syncd.cli.demo_world import Audience, World
from syncd.cli.exit_codes import ExitCode
from syncd.cli.output import Column, Output
from syncd.cli.words import number, plural, signed
from syncd.model import Outcome
from syncd.store.runs import Run

SHRINK = 0.6
"""Share of the members that disappears: the guard holds from 20 % on."""
MOVES = 2
"""Hours in which a few people move."""

COLUMNS = (
    Column(title="SYNC"),
    Column(title="DUE", drop=2),
    Column(title="BEFORE", right=True),
    Column(title="", drop=1),
    Column(title="AFTER", right=True),
    Column(title="ENTERED", right=True),
    Column(title="EXITED", right=True),
    Column(title="UNMATCHED", right=True, drop=3),
    Column(title="REQUESTS", right=True),
    Column(title="OUTCOME"),
)


class Story:
    """The demo from the first sync to the proof."""

    def __init__(
        self,
        *,
        out: Output,
        world: World,
        watch: Watch,
        records: Records,
        amplitude: FakeAmplitude,
        processes: Processes,
    ) -> None:
        self._out = out
        self._world = world
        self._watch = watch
        self._records = records
        self._amplitude = amplitude
        self._processes = processes
        self._shown: set[str] = set()
        self.runs: list[Run] = []
        """Every run that was shown, in that order."""

    def first_sync(self) -> None:
        """Everybody is sent, once."""
        self._heading("2. The first sync sends everybody")
        self._say("The daemon waits for the next full hour, then both syncs run.")
        since = self._watch.clock.origin or self._watch.clock.now()
        self._until_all_ran_well("the first syncs", self._world.audiences, since)
        self._show_runs()
        strangers = len(self._world.strangers)
        self._say(
            f"Amplitude does not know {strangers} of these people. They are "
            "listed as unmatched,",
            "and offered again after 1 hour, 2 hours, 4 hours …",
        )

    def people_move(self) -> None:
        """Later runs send only who entered and who exited."""
        self._heading("3. People move; only they are sent")
        appeared = self._world.audiences[0].strangers[0]
        self._amplitude.know([appeared])
        self._say("One of the unmatched people signs up at Amplitude.")
        before = self._amplitude.ids_received()
        for hour in range(MOVES):
            for each in self._world.audiences:
                entering, leaving = self._world.move(each, self._watch.clock.now())
                self._say(f"{each.key}: {entering} enter, {leaving} leave.")
            self._until_all_ran_well(f"move {hour + 1}", self._world.audiences)
            self._show_runs()
        main = self._world.audiences[0]
        self._watch.until(
            "the person who signed up to be matched",
            lambda: appeared not in self._unmatched(main) or None,
        )
        self._show_runs()
        received = self._amplitude.ids_received() - before
        people = sum(len(each.members) for each in self._world.audiences)
        self._say(
            f"Amplitude received {plural(received, 'id')} for all of this, not "
            f"{number(people)} every hour."
        )

    def guards_hold(self) -> None:
        """Both audiences lose most of their members: one was meant, one was not."""
        meant, mistaken = self._world.audiences
        self._heading(f"4. Both audiences lose {SHRINK:.0%}; nothing is sent")
        now = self._watch.clock.now()
        for each in (meant, mistaken):
            count = self._world.shrink(each, SHRINK, now)
            self._say(f"{each.key}: {number(count)} of its members are gone.")
        held = [self._until_held(each) for each in (meant, mistaken)]
        self._show_runs()
        self._say("The guard holds both plans until a person decides:")
        self._quote("show", held[0].short_id)
        self._say(f"{meant.key} was cleaned up: that was meant.")
        self._quote("approve", held[0].short_id, "--reason", "demo: it is meant")
        self._say(f"{mistaken.key} was a broken query. It is repaired first.")
        self._world.repair(mistaken, self._watch.clock.now())
        self._quote("reject", held[1].short_id, "--reason", "demo: a broken query")
        self._until_all_ran_well("the runs after the decisions", (meant, mistaken))
        self._show_runs()

    def proofs(self) -> list[Proof]:
        """After one more run of each: are audience and cohort equal?"""
        self._heading("5. Audience and cohort, compared person by person")
        found = [
            prove(
                self._world,
                each,
                self._records,
                self._amplitude,
                self._watch.clock.now(),
            )
            for each in self._world.audiences
        ]
        demo_proof.show(self._out, found)
        return found

    # ---- real commands ---------------------------------------------------------------

    def _quote(self, verb: str, *arguments: str) -> None:
        """A real command and what it prints."""
        words = [f'"{each}"' if " " in each else each for each in arguments]
        self._out.line()
        self._out.line(f"   $ syncd {verb} {' '.join(words)}", style="bold")
        done = self._processes.command(verb, *arguments)
        for line in done.stdout.splitlines():
            self._out.line(f"   {line}".rstrip())
        self._out.line()
        if done.returncode != ExitCode.OK:
            raise DemoFailed(f"syncd {verb} ended with {done.returncode}")

    # ---- waiting ---------------------------------------------------------------------

    def _until_all_ran_well(
        self, what: str, audiences: Sequence[Audience], since: datetime | None = None
    ) -> None:
        """Until each had a run that began since then (now) and left nothing to do."""
        start = since or self._watch.clock.now()
        well = self._records.ended_well
        self._watch.until(
            what, lambda: all_of([well(each.sync, start) for each in audiences])
        )

    def _until_held(self, audience: Audience) -> Run:
        what = f"the guard to hold {audience.sync}"
        return self._watch.until(what, partial(self._records.held, audience.sync))

    def _unmatched(self, audience: Audience) -> set[str]:
        return self._records.unmatched(self._records.binding(audience.sync))

    # ---- telling ---------------------------------------------------------------------

    def _heading(self, text: str) -> None:
        self._out.line()
        self._out.line(text, style="bold")

    def _say(self, *lines: str) -> None:
        for line in lines:
            self._out.line(f"   {line}")
        self._out.stdout.flush()

    def _show_runs(self) -> None:
        """What ran since the last table; runs with nothing to do are only counted."""
        new = [
            run
            for each in self._world.audiences
            for run in self._records.runs(each.sync)
            if run.id not in self._shown
        ]
        self._shown |= {run.id for run in new}
        new.sort(key=lambda run: (run.started_at, run.id))
        telling = [run for run in new if run.outcome is not Outcome.NO_CHANGE]
        self.runs += telling
        if telling:
            self._out.table(COLUMNS, [_row(run) for run in telling], indent=3)
        if idle := len(new) - len(telling):
            self._say(f"({plural(idle, 'run')} found nothing to do and sent nothing)")
        self._out.stdout.flush()


def _row(run: Run) -> list[str]:
    numbers = run.summary
    before = int(numbers.get("members_before", 0))
    after = numbers.get("members_after")
    outcome = str(run.outcome)
    if run.outcome is Outcome.HELD:
        after = before
        outcome = f"held: {signed(-numbers.get('to_exit', 0))} not sent"
    return [
        run.sync,
        f"{run.slot:%a %H:%M}" if run.slot else run.trigger.replace("_", " "),
        number(before),
        "→",
        number(after) if after is not None else "?",
        signed(numbers.get("entered", 0)),
        signed(-numbers.get("exited", 0)),
        number(numbers.get("unmatched", 0)),
        number(numbers.get("requests", 0)),
        outcome,
    ]
