"""`syncd resync`: let a sync begin anew with its target, after a store was lost.

It says first what is stored, what would count or be sent, and what that costs; nothing
is spent or changed before somebody agrees.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import click

from syncd.app.reading_back import why_unreadable
from syncd.app.vendors import Vendors
from syncd.cli.configured import chosen, load
from syncd.cli.engine import asking, me
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Output
from syncd.cli.run import exit_code, tell
from syncd.cli.store import NoStore, opened
from syncd.config.settings import FromCohort, Settings, SyncSettings
from syncd.errors import SyncdError
from syncd.report.words import number
from syncd.store import acknowledged, bindings, outbox
from syncd.sync.resync import ADOPTED


class NotAgreed(SyncdError):
    """Nobody said yes."""

    code = "resync.unconfirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is stored about the target of a sync."""

    name: str = "its target"
    acknowledged: int = 0
    uncertain: int = 0


@verb("resync", reads=True)
@click.argument("name", metavar="SYNC")
@click.option(
    "--adopt",
    "how",
    flag_value="adopt",
    help="Take what is there today as acknowledged; send nothing.",
)
@click.option(
    "--push",
    "how",
    flag_value="push",
    help="Send everybody again, remove who is known and not listed.",
)
@click.option("--reason", required=True, help="Why; kept in the audit trail.")
def resync(frame: Frame, name: str, how: str | None, reason: str) -> ExitCode | None:
    """Begin anew with the target of SYNC: for a store that was lost or restored.

    --adopt reads the cohort back (one download, the reserve excepted) and takes who is
    there as acknowledged; a trait or a partner's list cannot be read, so today's
    source list is believed to be there. Nothing is sent, also while the sync is
    paused; `syncd plan` shows what the next run would do.

    --push sends everybody once more, as a plan that guards judge as ever: members stay
    members, and whoever is stored as a member and no longer listed is removed.
    """
    if how is None:
        raise click.UsageError("Give one of --adopt and --push.")
    if not reason.strip():
        raise click.UsageError("Give a reason: it is what others see.")
    loaded = load(frame)
    sync = _one(loaded.settings, name)
    known = _known(loaded.settings, sync, frame)
    for line in _what_it_means(loaded.settings, sync, how, known):
        frame.out.message(line)
    _agree(frame, loaded.settings, sync, how)
    with asking(frame, loaded) as ask:
        body = {"sync": sync.name, "how": how, "reason": reason, **me()}
        ended = dict(ask("resync", body)["run"])
    return _told(frame, ended, how)


def _one(settings: Settings, name: str) -> SyncSettings:
    """The sync that is meant: exactly one, since each is a decision."""
    found = chosen(settings, [name])
    if len(found) != 1:
        raise click.UsageError(f"'{name}' means {len(found)} syncs; name one.")
    if not found[0].enabled:
        raise click.UsageError(f"{found[0].name} is off (enabled: false).")
    return found[0]


def _known(settings: Settings, sync: SyncSettings, frame: Frame) -> _Known:
    """Nothing, where the store was lost."""
    try:
        with opened(settings) as database, database.read() as connection:
            binding = bindings.current(connection, sync.name)
            if binding is None:
                return _Known()
            now = frame.clock.now()
            return _Known(
                name=binding.external_name or binding.target.partition(":")[2],
                acknowledged=acknowledged.count(connection, binding, now),
                uncertain=outbox.uncertain_count(connection, binding.id),
            )
    except NoStore:
        return _Known()


# ---- before -------------------------------------------------------------------------


def _what_it_means(
    settings: Settings, sync: SyncSettings, how: str, known: _Known
) -> Iterator[str]:
    doubt = f", {number(known.uncertain)} without a proven answer"
    yield (
        f"{sync.name}: {number(known.acknowledged)} acknowledged in {known.name}"
        f"{doubt if known.uncertain else ''}"
    )
    unreadable = why_unreadable(settings, sync)
    if how == "push":
        yield "  everybody whom the source lists is sent again; guards judge who leaves"
    elif unreadable:
        yield f"  {unreadable}: today's source list is believed to be there"
    else:
        yield "  whoever is in the cohort counts as acknowledged; nothing is sent"


def _agree(frame: Frame, settings: Settings, sync: SyncSettings, how: str) -> None:
    """Raise `NotAgreed` unless a person or `--yes` agrees."""
    words = {"adopt": "take over what is there", "push": "send everybody again"}[how]
    cost = _cost(frame, settings, sync, how)
    if frame.confirm(f"This will {words}{cost}. Continue?"):
        return
    again = f'syncd resync {sync.name} --{how} --reason "..." --yes'
    raise NotAgreed(f"This would {words}{cost}.", hint=again + frame.config_flags())


def _cost(frame: Frame, settings: Settings, sync: SyncSettings, how: str) -> str:
    """The download it may need, and how many are left where that can be asked."""
    reads_target = how == "adopt" and not why_unreadable(settings, sync)
    reads = sync.source
    if reads_target:
        connection = sync.target.connection
    elif isinstance(reads, FromCohort) and reads.events is None:
        connection = reads.connection
    else:
        return ""
    with closing(Vendors(settings, frame.clock)) as vendors:
        try:
            usage = vendors.downloads(connection).usage()
        except SyncdError:
            usage = None
    if usage is None:
        return " and cost up to 1 download (how many are left is not known)"
    left = number(max(usage.limit - usage.used, 0))
    return f" and cost up to 1 download ({left} are left this month)"


# ---- after --------------------------------------------------------------------------


def _told(frame: Frame, ended: Mapping[str, Any], how: str) -> ExitCode:
    adopted = ended["reason"] == ADOPTED
    if frame.as_json:
        frame.out.json("resync", {"how": how, "run": ended})
    elif adopted:
        _tell_adopted(frame.out, ended)
    else:
        tell(frame.out, ended)
    return ExitCode.OK if adopted else exit_code([dict(ended)])


def _tell_adopted(out: Output, ended: Mapping[str, Any]) -> None:
    sync, found = ended["sync"], ended["adopted"]
    believed = (
        "as its source lists them today; what the destination holds was not seen"
        if found["from"] == "source"
        else "as they are in the cohort now"
    )
    people = _count(found["members"])
    out.line(f"{sync}: {people} count as acknowledged, {believed}")
    out.line(
        f"  {number(found['new'])} of them were not known, "
        f"{number(found['gone'])} that were known are not among them"
    )
    out.line(f"  nothing was sent.  Next: syncd plan {sync}")


def _count(people: int) -> str:
    return "1 person" if people == 1 else f"{number(people)} people"
