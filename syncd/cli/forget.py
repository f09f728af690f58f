"""`syncd forget -`: people leave every cohort and every table; ids come on stdin."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from syncd.app import forgetting
from syncd.cli.configured import load
from syncd.cli.engine import asking, me
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.lines import sentence
from syncd.cli.output import Column, Output
from syncd.cli.person_id import OnlyFromStream, read_ids
from syncd.cli.store import on_its_clock, opened
from syncd.model import IdType
from syncd.report.words import number, plural
from syncd.store import forgotten

NOT_COVERED = (
    "what the destinations keep beside the membership (profiles, events, exports)",
    f"the sources: what they still say in {forgotten.KEEP.days} days counts again",
    "backups of the store, made by `syncd db backup` or anything else",
    "files and warehouses that lists are read from; Amplitude keeps its own files",
    "Postgres' dead rows until its next vacuum, and its archived log",
    "logs: they name people by keyed hashes only",
)
"""What forgetting does not reach; said each time, so that nobody relies on it."""

_STYLES = {
    "clean": "dim",
    "removed": "green",
    "held": "magenta",
    "waits": "yellow",
    "failed": "red",
}
_TOLD = {
    "clean": "holds none of them",
    "held": "held: a person decides",
    "waits": "waits",
    "failed": "not yet",
}
_COLUMNS = (Column(title="SYNC"), Column(title="STATE"), Column(title="WHAT"))


@verb("forget", reads=True)
@click.argument("stdin", metavar="[-]", type=OnlyFromStream(), required=False)
@click.option(
    "--fd",
    type=click.IntRange(0),
    metavar="N",
    help="Read the ids from this file descriptor instead of standard input.",
)
@click.option(
    "--match",
    type=click.Choice([each.value for each in IdType]),
    default=IdType.USER_ID.value,
    show_default=True,
    help="What the ids are. Who has both kinds is forgotten by both.",
)
@click.option("--status", is_flag=True, help="Only say what is still to be done.")
def forget(
    frame: Frame, stdin: str | None, fd: int | None, match: str, status: bool
) -> ExitCode | None:
    """Forget people: they leave every cohort, and nothing of them is kept.

    Ids are read from standard input, one a line, at most 1,000. They are removed by a
    run of each sync that holds them, which a guard may hold like any other; once that
    is acknowledged they are erased from the store. For 30 days no list and no event
    brings them back. The daemon goes on with whatever has to wait.
    """
    if status == (stdin is not None):
        raise click.UsageError("Give either - and ids on standard input, or --status.")
    if status:
        return _status(frame)
    ids = read_ids(frame, fd, forgetting.MOST)
    body = {"ids": "\n".join(ids), "match": match, **me()}
    with asking(frame, load(frame)) as ask:
        answer = ask("forget", body)
    if frame.as_json:
        frame.out.json("forget", {**answer, "not_covered": list(NOT_COVERED)})
    else:
        _tell(frame, answer)
    return _exit_code(answer)


def _tell(frame: Frame, answer: Mapping[str, Any]) -> None:
    out, people = frame.out, answer["people"]
    days = forgotten.KEEP.days
    out.line(
        f"{plural(people, 'id')} to be forgotten: no list and no event brings them "
        f"back for {days} days.",
        style="bold",
    )
    if answer["refused"]:
        left_out = sum(answer["refused"].values())
        why = ", ".join(sorted(answer["refused"]))
        out.line(f"  {plural(left_out, 'id')} left out, never taken in either: {why}")
    if answer["syncs"]:
        out.table(_COLUMNS, [_row(each) for each in answer["syncs"]])
    for each in answer["elsewhere"]:
        _say_elsewhere(out, each["sync"], each["people"])
    _say_hints(frame, answer["syncs"])
    if any(each["kept"] for each in answer["elsewhere"]):
        out.line("The store keeps their ids until the sync is on again, or detached.")
    elif _is_done(answer["syncs"]):
        gone = "The store holds nothing of them any more"
        rest = "" if answer["rewritten"] else "; its file is written anew within a day"
        out.line(f"{gone}{rest}.")
    else:
        out.line("The daemon goes on with the rest: syncd forget --status")
    _say_not_covered(out)


def _row(each: Mapping[str, Any]) -> list[Any]:
    from rich.text import Text

    state = each["state"]
    if state == "removed":
        what = f"{number(each['removed'])} removed, run {each['run'][-8:]}"
    else:
        what = _TOLD[state]
        if each["message"]:
            what = f"{what}: {each['message']}"
    return [each["sync"], Text(state, style=_STYLES[state]), what]


def _say_hints(frame: Frame, syncs: Sequence[Mapping[str, Any]]) -> None:
    for each in syncs:
        if each["state"] in ("held", "waits", "failed") and each["hint"]:
            frame.out.line(f"Next for {each['sync']}: {each['hint']}")


def _say_elsewhere(out: Output, sync: str, people: int) -> None:
    out.line(
        f"  {plural(people, 'id')} at a target of {sync} that no enabled sync writes "
        "to: remove them there by hand, or enable the sync",
        style="yellow",
    )


def _say_not_covered(out: Output) -> None:
    out.line()
    out.line("Not covered:")
    for each in NOT_COVERED:
        sentence(out, f"- {each}")


def _is_done(syncs: Sequence[Mapping[str, Any]]) -> bool:
    return all(each["state"] in ("clean", "removed") for each in syncs)


def _exit_code(answer: Mapping[str, Any]) -> ExitCode:
    syncs = answer["syncs"]
    if any(each["state"] == "held" for each in syncs):
        return ExitCode.HELD
    kept = any(each["kept"] for each in answer["elsewhere"])
    return ExitCode.OK if _is_done(syncs) and not kept else ExitCode.PARTIAL


# ---- --status ----------------------------------------------------------------


def _status(frame: Frame) -> ExitCode:
    """What still waits; reads the store alone. Exit code as of the command itself."""
    settings = load(frame).settings
    names = [sync.name for sync in settings.syncs if sync.enabled]
    with opened(settings) as database, database.read() as connection:
        frame = on_its_clock(frame, connection)
        kept = forgotten.count(connection)
        newest = forgotten.position(connection)
        rewritten = forgotten.is_rewritten(connection, newest)
        left = forgetting.waiting(connection, names, frame.clock.now())
    if frame.as_json:
        documents = [
            {"sync": each.sync, "people": each.people, "reachable": each.reachable}
            for each in left
        ]
        frame.out.json(
            "forget",
            {"remembered": kept, "waiting": documents, "rewritten": rewritten},
        )
    else:
        _tell_status(frame, kept, left, rewritten=rewritten)
    return ExitCode.PARTIAL if any(each.reachable for each in left) else ExitCode.OK


def _tell_status(
    frame: Frame,
    kept: int,
    left: Sequence[forgetting.Waiting],
    *,
    rewritten: bool,
) -> None:
    out = frame.out
    if not kept:
        out.line("Nobody is to be forgotten.")
        return
    out.line(f"{plural(kept, 'id')} remembered as forgotten.", style="bold")
    for each in left:
        if not each.reachable:
            _say_elsewhere(out, each.sync, each.people)
            continue
        what = (
            f"{plural(each.people, 'id')} to be removed" if each.people else "erasing"
        )
        out.line(f"  {each.sync}: {what}  Next: syncd status {each.sync}")
    if not any(each.reachable for each in left):
        rest = "" if rewritten else "; the file is written anew within a day"
        out.line(f"Every sync has let them go{rest}.")
    _say_not_covered(out)
