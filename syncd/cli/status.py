"""`syncd status`: is anything wrong, with what, since when, and what to do now."""

from collections.abc import Sequence

import click

from syncd.cli import status_page
from syncd.cli.configured import chosen, load
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.store import on_its_clock, opened
from syncd.report.overview import overview, overview_document
from syncd.report.standing import Standing
from syncd.report.states import State

_CONDITIONS = (
    State.HELD,
    State.FAILING,
    State.STALE,
    State.LATE,
    State.PENDING,
    State.PAUSED,
)


class States(click.ParamType[tuple[State, ...]]):
    """States, separated by commas."""

    name = "states"

    def convert(
        self,
        value: str | tuple[State, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[State, ...]:
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in value.split(",")]
        for word in words:
            if word not in _CONDITIONS:
                known = ", ".join(_CONDITIONS)
                self.fail(f"'{word}' is none of {known}.", param, ctx)
        return tuple(State(word) for word in words)


@verb("status", reads=True)
@click.argument("names", metavar="[SYNC]...", nargs=-1)
@click.option(
    "--fail-on",
    type=States(),
    default=(),
    metavar="STATES",
    help="Exit 6 when a sync is in one of these states: stale,failing,held.",
)
def status(
    frame: Frame, names: tuple[str, ...], fail_on: tuple[State, ...]
) -> ExitCode:
    """Show the state, freshness and next run of each sync; worst first."""
    settings = load(frame).settings
    syncs = chosen(settings, names)
    with opened(settings) as database, database.read() as connection:
        clock = on_its_clock(frame, connection).clock
        seen = overview(connection, settings, syncs, clock)
    if frame.as_json:
        frame.out.json("status", overview_document(seen))
    else:
        status_page.show(frame, seen)
    met = any(_meets(one, fail_on) for one in seen.standings)
    return ExitCode.CONDITION_MET if met else ExitCode.OK


def _meets(one: Standing, wanted: Sequence[State]) -> bool:
    """A held or failing sync may be stale too: whoever watches that is told."""
    return one.state in wanted or (State.STALE in wanted and one.overdue is not None)
