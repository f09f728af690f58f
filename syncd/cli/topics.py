"""`syncd help`: the pages that belong to no verb."""

from difflib import get_close_matches

import click

from syncd.cli.exit_codes import MEANINGS, ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.main import VERBS, overview, syncd
from syncd.cli.output import Column


@verb("help")
@click.argument("topic", required=False)
def help_(frame: Frame, topic: str | None) -> None:
    """Show the overview, the page of a verb, or `exit-codes`."""
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
    if command is None:
        topics = ["exit-codes", *VERBS]
        close = get_close_matches(name, topics, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise click.UsageError(f"No help on '{name}'.{hint}")
    page = click.Context(command, info_name=name, parent=root)
    frame.out.line(command.get_help(page))
