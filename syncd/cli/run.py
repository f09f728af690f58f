"""`syncd run`: run syncs now, one after the other, and say how each ended."""

from collections.abc import Mapping
from typing import Any

import click

from syncd.cli.configured import chosen, load
from syncd.cli.engine import Ask, asking, me
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Output
from syncd.errors import SyncdError
from syncd.report.words import number, plural, unchanged_words

_COUNTED = ("ok", "partial", "failed", "held")
_KINDS = {
    "success": "ok",
    "no_change": "ok",
    "partial": "partial",
    "held": "held",
    "interrupted": "partial",
    "skipped": "skipped",
}

_REFUSED = {"sync.held": "held", "sync.paused": "skipped"}
"""Code of a refusal → the outcome that it is shown as."""


@verb("run", reads=True)
@click.argument("syncs", nargs=-1, metavar="[SYNC]...")
@click.option("--dry-run", is_flag=True, help="The same as: syncd plan.")
def run(frame: Frame, syncs: tuple[str, ...], dry_run: bool) -> ExitCode | None:
    """Run syncs now. Without names: every enabled sync.

    A running daemon is asked to do it; otherwise it is done here.
    """
    if dry_run:
        # Not at the top: most runs need none of what makes a preview.
        from syncd.cli.plan import show_plans

        return show_plans(frame, syncs)
    loaded = load(frame)
    names = [sync.name for sync in chosen(loaded.settings, syncs) if sync.enabled]
    with asking(frame, loaded) as ask:
        ended = [_one(frame.out, ask, name) for name in names]
    if frame.as_json:
        frame.out.json("run", {"runs": ended})
    else:
        frame.out.line(_closing(ended))
    return exit_code(ended)


def _one(out: Output, ask: Ask, name: str) -> dict[str, Any]:
    try:
        answer = ask("run", {"sync": name, **me()})["run"]
    except SyncdError as error:
        outcome = _REFUSED.get(error.code, "failed")
        ended = {
            "sync": name,
            "outcome": outcome,
            "reason": error.code,
            "message": str(error),
            "hint": error.hint,
        }
    else:
        ended = dict(answer or {"sync": name, "outcome": "skipped", "reason": "slot"})
    tell(out, ended)
    return ended


def tell(out: Output, ended: Mapping[str, Any]) -> None:
    """The run's lines, in the shape of operations.md section 9."""
    name, outcome = ended["sync"], ended["outcome"]
    short = str(ended.get("id", ""))[-8:]
    out.message(f"{name}  {short}".rstrip())
    if "unchanged_since" in ended:
        out.message(f"  source    {unchanged_words(ended['unchanged_since'])}")
    if "members" in ended:
        out.message(
            f"  compared  {number(ended['members'])} people   "
            f"+{number(ended['to_enter'])} -{number(ended['to_exit'])}"
        )
    if ended.get("requests"):
        out.message(
            f"  delivered +{number(ended['entered'])} -{number(ended['exited'])}   "
            f"{plural(ended['requests'], 'request')}, {ended['retries']} repeated"
        )
    for reason, count in ended.get("not_accepted", {}).items():
        out.message(f"            {number(count)} {reason}")
    why = f": {ended['message']}" if ended.get("message") else ""
    out.message(f"  {outcome}{why}")
    if ended.get("notice"):
        out.message(f"  {ended['notice']}")
    if ended.get("hint"):
        out.message(f"  next: {ended['hint']}")
    elif outcome == "held" and short:
        out.message(f"  next: syncd show {short}")


def _closing(ended: list[dict[str, Any]]) -> str:
    kinds = [_KINDS.get(each["outcome"], "failed") for each in ended]
    shown = [*_COUNTED, *(["skipped"] if "skipped" in kinds else [])]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in shown)
    entered = sum(each.get("entered", 0) for each in ended)
    exited = sum(each.get("exited", 0) for each in ended)
    return (
        f"{plural(len(ended), 'sync')}: {counts} · "
        f"{number(entered)} entered, {number(exited)} exited"
    )


def exit_code(ended: list[dict[str, Any]]) -> ExitCode:
    kinds = {_KINDS.get(each["outcome"], "failed") for each in ended}
    if {each.get("reason") for each in ended} == {"sync.busy"}:
        return ExitCode.TRY_LATER
    if "failed" in kinds:
        return ExitCode.FAILED
    if "held" in kinds:
        return ExitCode.HELD
    if "partial" in kinds:
        return ExitCode.PARTIAL
    return ExitCode.TRY_LATER if "skipped" in kinds else ExitCode.OK
