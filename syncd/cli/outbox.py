"""`syncd outbox`: the batches that are not settled, and a person's word on them."""

from collections.abc import Sequence
from datetime import datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import click

from syncd.cli.configured import chosen, load
from syncd.cli.engine import asking, me
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, common_flags, verb
from syncd.cli.output import Column
from syncd.cli.run import exit_code, tell
from syncd.cli.store import on_its_clock, opened
from syncd.config.settings import Loaded, Settings
from syncd.model import BatchState
from syncd.report.words import number, plural, relative
from syncd.store.unsettled import Standing, Unsettled, unsettled

COLUMNS = (
    Column(title="SYNC"),
    Column(title="BATCH", right=True),
    Column(title="STATE"),
    Column(title="WHAT", drop=1),
    Column(title="IDS", right=True),
    Column(title="TRIES", right=True, drop=3),
    Column(title="SINCE", drop=4),
    Column(title="NEXT", drop=2),
    Column(title="WHY", drop=5),
)
_WHY = 48
"""Characters of a failure in a table; `--json` has all of it."""

_REASON = click.option("--reason", required=True, help="Why; kept in the audit trail.")


@click.group("outbox", invoke_without_command=True)
@common_flags
@click.pass_context
def outbox(ctx: click.Context) -> ExitCode | None:
    """Batches that wait, are held or are dead; send them again, or give them up."""
    if ctx.invoked_subcommand is not None:
        return None
    answer: ExitCode | None = ctx.invoke(list_)
    return answer


@verb("list", reads=True)
@click.argument("names", metavar="[SYNC]...", nargs=-1)
def list_(frame: Frame, names: tuple[str, ...] = ()) -> None:
    """List the batches that are not settled: ready, retrying, used up, held, dead."""
    settings = load(frame).settings
    syncs = [sync.name for sync in chosen(settings, names)]
    with opened(settings) as database, database.read() as connection:
        frame = on_its_clock(frame, connection)
        found = unsettled(connection, syncs)
    now = frame.clock.now()
    if frame.as_json:
        frame.out.json("outbox", {"batches": [_document(each) for each in found]})
    elif not found:
        frame.out.line("Nothing waits: every batch is settled.")
    else:
        frame.out.table(COLUMNS, [_row(each, now) for each in found])
        _say_next(frame, found)


@verb("retry", reads=True)
@click.argument("which", metavar="[SYNC|BATCH]...", nargs=-1)
@_REASON
def retry(frame: Frame, which: tuple[str, ...], reason: str) -> ExitCode | None:
    """Send open and dead batches again at once, with all their attempts.

    Of the named syncs all of them, or the batches of these numbers; without a name all
    there are. They go as they stand: no source is read.
    """
    loaded = load(frame)
    waiting = [
        each for each in _named(loaded, which) if each.state is not BatchState.HELD
    ]
    if not waiting and not any(name.isdigit() for name in which):
        frame.out.line("Nothing to send again.")
        return None
    ended = []
    with asking(frame, loaded) as ask:
        for sync, batches in _by_sync(which, _named(loaded, which)).items():
            body = {"sync": sync, "batches": batches, "reason": reason, **me()}
            run = dict(ask("outbox-retry", body)["run"])
            ended.append(run)
            tell(frame.out, run)
    if frame.as_json:
        frame.out.json("outbox", {"runs": ended})
    return exit_code(ended)


@verb("drop")
@click.argument("which", metavar="BATCH...", nargs=-1, required=True, type=int)
@_REASON
def drop(frame: Frame, which: tuple[int, ...], reason: str) -> None:
    """Give open batches up: they are dead then, and the next run plans anew.

    Nobody is forgotten: whether they were sent is not known, so the next run asserts
    each of their ids as the source says it then.
    """
    loaded = load(frame)
    names = tuple(str(key) for key in which)
    with asking(frame, loaded) as ask:
        for sync, batches in _by_sync(names, _named(loaded, names)).items():
            body = {"sync": sync, "batches": batches, "reason": reason, **me()}
            for each in ask("outbox-drop", body)["batches"]:
                frame.out.line(
                    f"batch {each['id']} of {sync} ({each['operation']}, "
                    f"{plural(each['n'], 'id')}) is dead: it is not sent, and the next "
                    "run plans its ids anew."
                )
            frame.out.line(f"undo: syncd outbox retry {batches.replace(',', ' ')} …")


for each_verb in (list_, retry, drop):
    outbox.add_command(each_verb)


# --- which ones -----------------------------------------------------------------------


def _named(loaded: Loaded, which: Sequence[str]) -> list[Unsettled]:
    """The batches that the names and numbers mean; all of them if none is given.

    Raises `click.UsageError` for what means none.
    """
    settings = loaded.settings
    enabled = [sync.name for sync in settings.syncs if sync.enabled]
    with opened(settings) as database, database.read() as connection:
        known = unsettled(connection, enabled)
    found: dict[int, Unsettled] = {}
    for name in which or ("*",):
        meant = [each for each in known if _means(name, each)]
        if not meant:
            _require_a_sync(settings, name)
        found |= {each.id: each for each in meant}
    return list(found.values())


def _means(name: str, batch: Unsettled) -> bool:
    if name.isdigit():
        return batch.id == int(name)
    return fnmatchcase(batch.sync, name)


def _require_a_sync(settings: Settings, name: str) -> None:
    if name == "*":
        return
    if name.isdigit():
        raise click.UsageError(f"No batch {name} waits. syncd outbox list shows them.")
    names = [sync.name for sync in settings.syncs]
    if not any(fnmatchcase(each, name) for each in names):
        near = get_close_matches(name, names, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise click.UsageError(f"No sync '{name}' in the configuration.{hint}")


def _by_sync(which: Sequence[str], batches: Sequence[Unsettled]) -> dict[str, str]:
    """Sync -> its batches as `12,15`; empty where the sync itself was named."""
    told: dict[str, str] = {}
    for each in batches:
        by_number = [name for name in which if name.isdigit() and _means(name, each)]
        by_name = [name for name in which or ("*",) if not name.isdigit()]
        if any(fnmatchcase(each.sync, name) for name in by_name):
            if each.state is not BatchState.HELD:
                told[each.sync] = ""
        elif by_number:
            others = told.get(each.sync)
            told[each.sync] = f"{others},{each.id}" if others else str(each.id)
    return told


# --- how they look --------------------------------------------------------------------


def _row(batch: Unsettled, now: datetime) -> tuple[str, ...]:
    return (
        batch.sync,
        str(batch.id),
        batch.standing.replace("_", " "),
        batch.operation.value.upper(),
        number(batch.n),
        number(batch.attempts),
        relative(batch.since, now) if batch.since is not None else "",
        _next(batch, now),
        _why(batch),
    )


def _next(batch: Unsettled, now: datetime) -> str:
    match batch.standing:
        case Standing.HELD:
            return "approve or reject"
        case Standing.DEAD:
            return "planned anew"
        case Standing.RETRYING if batch.retry_at is not None and batch.retry_at > now:
            return relative(batch.retry_at, now)
        case _:
            return "next run"


def _why(batch: Unsettled) -> str:
    words = " ".join(
        part
        for part in (batch.error_type, " ".join((batch.error or "").split()))
        if part
    )
    return words if len(words) <= _WHY else words[: _WHY - 1] + "…"


def _say_next(frame: Frame, found: Sequence[Unsettled]) -> None:
    flags = frame.config_flags()
    frame.out.line()
    held = {each.run_id[-8:] for each in found if each.state is BatchState.HELD}
    for short in sorted(held):
        frame.out.line(f"held: syncd show {short}{flags}")
    if len(held) < len({each.run_id[-8:] for each in found}):
        command = f'syncd outbox retry SYNC{flags} --reason "..."'
        frame.out.line(f"to send again at once: {command}")


def _document(batch: Unsettled) -> dict[str, Any]:
    return {
        "sync": batch.sync,
        "id": batch.id,
        "state": batch.standing,
        "operation": batch.operation,
        "ids": batch.n,
        "attempts": batch.attempts,
        "since": batch.since,
        "next_attempt_at": batch.retry_at if batch.state is BatchState.OPEN else None,
        "error_type": batch.error_type,
        "reason": batch.error,
        "run": batch.run_id,
    }
