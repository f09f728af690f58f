"""How the demo's story is told: headings, sentences, tables of runs, real commands."""

from collections.abc import Sequence

from syncd.cli.demo_processes import DemoFailed, Processes
from syncd.cli.demo_watch import Records
from syncd.cli.exit_codes import ExitCode
from syncd.cli.output import Column, Output
from syncd.model import Outcome
from syncd.report.words import number, plural, signed
from syncd.store.runs import Run

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


class Teller:
    """Says what happens, as short as it stays clear."""

    def __init__(
        self, out: Output, records: Records, processes: Processes, syncs: Sequence[str]
    ) -> None:
        """`syncs`: whose runs are told, by name."""
        self.out = out
        self._records = records
        self._processes = processes
        self._syncs = syncs
        self._shown: set[str] = set()
        self.runs: list[Run] = []
        """Every run that was shown, in that order."""

    def heading(self, text: str) -> None:
        """A chapter begins."""
        self.out.line()
        self.out.line(text, style="bold")

    def say(self, *lines: str) -> None:
        """Sentences, one on each line."""
        for line in lines:
            self.out.line(f"   {line}".rstrip())
        self.out.stdout.flush()

    def show_runs(self) -> None:
        """What ran since the last table; runs that changed nothing are only counted."""
        new = [
            run
            for each in self._syncs
            for run in self._records.runs(each)
            if run.id not in self._shown
        ]
        self._shown |= {run.id for run in new}
        new.sort(key=lambda run: (run.started_at, run.id))
        telling = [run for run in new if not _is_idle(run) and not _is_asking(run)]
        self.runs += telling
        if telling:
            self.out.table(COLUMNS, [_row(run) for run in telling], indent=3)
        asking = sum(map(_is_asking, new))
        if idle := len(new) - len(telling) - asking:
            self.say(f"({plural(idle, 'run')} found nothing to do and sent nothing)")
        if asking:
            self.say(
                f"({plural(asking, 'run')} offered unmatched people again, in vain)"
            )
        self.out.stdout.flush()

    def quote(self, verb: str, *arguments: str) -> None:
        """A real command and what it prints. Raises `DemoFailed` when it fails."""
        words = [f'"{each}"' if " " in each else each for each in arguments]
        self.out.line()
        self.out.line(f"   $ syncd {verb} {' '.join(words)}", style="bold")
        done = self._processes.command(verb, *arguments)
        self.say(*done.stdout.splitlines(), "")
        if done.returncode != ExitCode.OK:
            raise DemoFailed(f"syncd {verb} ended with {done.returncode}")


def _is_idle(run: Run) -> bool:
    return run.outcome is Outcome.NO_CHANGE


def _is_asking(run: Run) -> bool:
    """Whether all it did was to offer people again who are still unknown there."""
    moved = run.summary.get("entered", 0) or run.summary.get("exited", 0)
    return run.outcome is Outcome.SUCCESS and not moved


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
