"""`syncd detach`: let a sync's target go, as it is or emptied first.

What goes is named first, with its numbers. Emptying removes everybody whom syncd put
there, so it wants the sync's name typed out.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from syncd.cli.configured import load
from syncd.cli.engine import asking, me
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Output
from syncd.cli.run import exit_code, tell
from syncd.cli.store import opened
from syncd.config.settings import Loaded, Settings
from syncd.errors import SyncdError
from syncd.report.words import moment, number
from syncd.sync.detach import Left, targets_of


class NotAgreed(SyncdError):
    """Nobody said yes."""

    code = "detach.unconfirmed"


@verb("detach", reads=True)
@click.argument("name", metavar="SYNC")
@click.option(
    "--empty",
    is_flag=True,
    help="First remove everybody whom syncd put into the target.",
)
@click.option("--reason", required=True, help="Why; kept in the audit trail.")
def detach(frame: Frame, name: str, empty: bool, reason: str) -> ExitCode | None:
    """Stop keeping the target of SYNC equal, and forget what is stored about it.

    The target stays as it is, or is emptied first. The history of runs stays. A sync
    that is still in the configuration is left paused: its next run would be a first
    sync. Take it out of the file, or `syncd resume` it to begin anew. A sync that was
    taken out of the file is cleaned up in the same way.

    With --empty it is paused before the first request. Cut off or partly refused, the
    same command goes on; until everybody is out, and no request that got no answer may
    put them back, nothing is forgotten.
    """
    if not reason.strip():
        raise click.UsageError("Give a reason: it is what others see.")
    loaded = load(frame)
    left = _targets(frame, loaded.settings, name)
    for line in _lines(name, left, empty=empty):
        frame.out.message(line)
    people = sum(each.members + each.uncertain for each in left if not each.former)
    _agree(frame, name, people, empty=empty)
    body = {"sync": name, "reason": reason, **me()}
    if empty:
        body["empty"] = str(people)
    with asking(frame, loaded) as ask:
        done = dict(ask("detach", body))
    return _told(frame, loaded, name, done)


def _targets(frame: Frame, settings: Settings, name: str) -> Sequence[Left]:
    with opened(settings) as database, database.read() as connection:
        return targets_of(connection, name, frame.clock.now())


# ---- before -------------------------------------------------------------------------


def _lines(name: str, left: Sequence[Left], *, empty: bool) -> list[str]:
    if not left:
        return [f"{name}: nothing is stored about a target"]
    lines = []
    for each in left:
        fate = "would be removed" if empty and not each.former else "stay there"
        lines.append(f"{name}: {_named(each)}: {_people(each)} {fate}")
    return lines


def _named(each: Left) -> str:
    made = f" ({each.external_id})" if each.external_id is not None else ", never made"
    return (
        f"{each.connection} {each.name}{'' if each.external_id == each.name else made}"
    )


def _people(each: Left) -> str:
    doubt = f" and {number(each.uncertain)} without a proven answer"
    people = _count(each.members)
    return f"{people}{doubt if each.uncertain else ''}"


def _agree(frame: Frame, name: str, people: int, *, empty: bool) -> None:
    """Raise `NotAgreed` unless a person or `--yes` agrees."""
    words = "forget what is stored about the target"
    if empty:
        words = f"remove {_count(people)} and {words}"
    if empty and not frame.yes:
        typed = frame.may_ask() and click.prompt(
            f"This will {words}. Type the sync's name to go on", err=True
        )
        agreed = typed == name
    else:
        agreed = frame.confirm(f"This will {words}. Continue?")
    if not agreed:
        flag = " --empty" if empty else ""
        hint = f'syncd detach {name}{flag} --reason "..." --yes{frame.config_flags()}'
        raise NotAgreed(f"This would {words}.", hint=hint)


# ---- after --------------------------------------------------------------------------


def _told(
    frame: Frame, loaded: Loaded, name: str, done: Mapping[str, Any]
) -> ExitCode | None:
    ended = done["run"]
    if frame.as_json:
        frame.out.json("detach", {"sync": name, **done})
    else:
        if ended is not None:
            tell(frame.out, ended)
        _tell(frame.out, name, done)
        if done["again_at"] is not None:
            _tell_when(frame, loaded.settings, name, done["again_at"])
    if ended is None:
        return None
    if done["again_at"] is not None:
        return ExitCode.TRY_LATER
    return exit_code([dict(ended)])


def _tell(out: Output, name: str, done: Mapping[str, Any]) -> None:
    emptied, targets = done["run"] is not None, done["targets"]
    if done["again_at"] is not None:
        return
    if not targets:
        out.line(
            f"{name} stays as it is, and paused: not everybody is out. The same "
            "command goes on."
            if emptied
            else f"{name} has no target that anything is stored about"
        )
        return
    for each in (Left(**target) for target in targets):
        what = "emptied" if emptied and not each.former else f"{_people(each)} stay"
        out.line(f"{name} let go of {_named(each)}: {what}")
    if done["paused"]:
        out.line(
            f"  paused: take {name} out of the file, or begin anew with: "
            f"syncd resume {name}"
        )


def _tell_when(
    frame: Frame, settings: Settings, name: str, again_at: str | datetime
) -> None:
    """Everybody is out, and may be put back yet."""
    # From the daemon as JSON, from this process as it is.
    at = datetime.fromisoformat(again_at) if isinstance(again_at, str) else again_at
    zone = next(each.timezone for each in settings.syncs if each.name == name)
    until = moment(at, frame.clock.now(), zone, seconds=True)
    frame.out.line(
        f"{name} is emptied and paused, but a request without an answer may put people "
        f"back until {until}. Give the same command again after that: it removes them "
        "and lets go."
    )


def _count(people: int) -> str:
    return "1 person" if people == 1 else f"{number(people)} people"
