"""`syncd approve` and `syncd reject`: a person's word on a held plan."""

import click

from syncd.cli.configured import load
from syncd.cli.engine import asking, me
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.run import exit_code, tell

_RUN = click.argument("run_id", metavar="RUN")
_REASON = click.option("--reason", required=True, help="Why; kept in the audit trail.")


@verb("approve", reads=True)
@_RUN
@_REASON
def approve(frame: Frame, run_id: str, reason: str) -> ExitCode | None:
    """Send exactly the plan that run RUN holds, once."""
    with asking(frame, load(frame)) as ask:
        ended = dict(ask("approve", {"run": run_id, "reason": reason, **me()})["run"])
    if frame.as_json:
        frame.out.json("approve", {"run": ended})
    else:
        tell(frame.out, ended)
    return exit_code([ended])


@verb("reject")
@_RUN
@_REASON
def reject(frame: Frame, run_id: str, reason: str) -> ExitCode | None:
    """Drop the plan that run RUN holds; the next run compares again."""
    with asking(frame, load(frame)) as ask:
        ask("reject", {"run": run_id, "reason": reason, **me()})
    frame.out.line(f"{run_id} rejected; nothing was sent, the baseline stays.")
    return None
