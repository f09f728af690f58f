"""`syncd help`: the pages that belong to no verb."""

from difflib import get_close_matches
from typing import NoReturn

import click

from syncd import help as runbook
from syncd.cli.exit_codes import MEANINGS, ExitCode
from syncd.cli.explain import show_all
from syncd.cli.frame import Frame, verb
from syncd.cli.main import VERBS, overview, syncd
from syncd.cli.output import Column


@verb("help")
@click.argument("topic", required=False)
def help_(frame: Frame, topic: str | None) -> None:
    """Show the overview, the page of a verb, `exit-codes`, or what a code means."""
    if topic is None:
        frame.out.line(overview().rstrip())
    elif topic == "exit-codes":
        _exit_codes(frame)
    else:
        _verb_page(frame, topic)


def _exit_codes(frame: Frame) -> None:
    frame.out.table(
        [
            Column(title="CODE", right=True),
            Column(title="MEANING"),
            Column(title="REACTION"),
        ],
        [[str(int(code)), *MEANINGS[code]] for code in ExitCode],
    )
    frame.out.line("Treat any other code as a failure.")


def _verb_page(frame: Frame, name: str) -> None:
    root = click.get_current_context().find_root()
    command = syncd.get_command(root, name)
    if command is not None:
        page = click.Context(command, info_name=name, parent=root)
        frame.out.line(command.get_help(page))
        return
    show_all(frame.out, runbook.find(name) or _nothing_about(name))


def _nothing_about(name: str) -> NoReturn:
    topics = ["exit-codes", *VERBS]
    close = get_close_matches(name, topics, n=1) or runbook.nearest(name)
    raise click.UsageError(f"No help on '{name}'. Did you mean '{close[0]}'?")
