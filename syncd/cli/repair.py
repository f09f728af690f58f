"""`syncd verify --repair`: what it would do, a person's yes to it, and how it ended."""

from collections.abc import Iterator, Mapping
from typing import Any

from syncd.cli.engine import Ask, me
from syncd.cli.exit_codes import ExitCode, for_error
from syncd.cli.frame import Frame
from syncd.cli.plan_files import NotAgreed
from syncd.cli.run import exit_code, tell
from syncd.errors import SyncdError
from syncd.report.words import number, plural

Result = Mapping[str, Any] | SyncdError
"""What was found or done, or why nothing could be."""


def repaired(
    frame: Frame, ask: Ask, found: Mapping[str, Result], reason: str | None
) -> dict[str, Result]:
    """Have repaired what can be, by sync; one yes is for all of them.

    Raises `NotAgreed` where nobody says it; nothing is sent then.
    """
    wanted = {
        name: each
        for name, each in found.items()
        if isinstance(each, Mapping) and each["missing"] + each["ghosts_ours"]
    }
    if not wanted:
        _tell_nothing(frame, found)
        return {}
    _agree(frame, wanted)
    ended = {}
    for name, each in wanted.items():
        body = {"sync": name, "evidence": each["evidence"], "reason": reason, **me()}
        ended[name] = _ask(ask, body)
        _tell(frame, name, ended[name])
    return ended


def document(ended: Result | None) -> dict[str, Any] | None:
    """The run that repaired a sync, and how many it moved; null where none began."""
    if ended is None:
        return None
    if isinstance(ended, SyncdError):
        error = {"code": ended.code, "message": str(ended), "hint": ended.hint}
        return {"error": error}
    run = ended["run"]
    moved = run or {}
    return {
        "added": moved.get("entered", 0),
        "removed": moved.get("exited", 0),
        "run": run,
    }


def code_of(ended: Result) -> ExitCode:
    """How a repair makes the command end; OK where it sent all it was to send."""
    if isinstance(ended, SyncdError):
        return for_error(ended)
    return exit_code([dict(ended["run"])]) if ended["run"] else ExitCode.OK


def _ask(ask: Ask, body: Mapping[str, Any]) -> Result:
    try:
        return ask("repair", body)
    except SyncdError as error:
        return error


def _agree(frame: Frame, wanted: Mapping[str, Mapping[str, Any]]) -> None:
    for name, each in wanted.items():
        frame.out.message(f"{name}: would {', '.join(_steps(each))}")
    syncs = plural(len(wanted), "sync")
    if frame.confirm(f"This will repair {syncs} as said. Continue?"):
        return
    raise NotAgreed(
        f"This would repair {syncs}; nothing was sent.",
        code="repair.unconfirmed",
        hint=f"syncd verify {' '.join(wanted)} --repair --yes{frame.config_flags()}",
    )


def _tell_nothing(frame: Frame, found: Mapping[str, Result]) -> None:
    """Whom a request may still move is not judged: the next run asserts them again."""
    read = {name: each for name, each in found.items() if isinstance(each, Mapping)}
    if read:
        frame.out.message("Nothing to repair.")
    for name, each in read.items():
        if each["in_flight"]:
            people = plural(each["in_flight"], "id")
            frame.out.message(
                f"{name}: {people} without a proven answer are asserted again by its "
                f"next run: syncd run {name}"
            )


def _steps(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"add {number(found['missing'])} again"
    yield f"remove {number(found['ghosts_ours'])} left by syncd"
    rest = found["ghosts_others"] + found["ghosts_returned"]
    if rest:
        yield f"leave {number(rest)} of others alone"


def _tell(frame: Frame, name: str, ended: Result) -> None:
    out = frame.out
    if isinstance(ended, SyncdError):
        out.message(f"{name}: not repaired: {ended}")
        if ended.hint:
            out.message(f"  next: {ended.hint}{frame.config_flags()}")
    elif ended["run"]:
        tell(out, ended["run"])
    else:
        out.message(f"{name}: nothing to repair")
