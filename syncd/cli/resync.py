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
from syncd.config.settings import FromCohort, Loaded, Settings, SyncSettings
from syncd.errors import SourceUnavailable, SyncdError
from syncd.report.words import number
from syncd.store import acknowledged, bindings, unsettled
from syncd.sync.adopting import ADOPTED
from syncd.sync.replacing import strangers
from syncd.sync.vouching import HEARD


class NotAgreed(SyncdError):
    """Nobody said yes."""

    code = "resync.unconfirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is stored about the target of a sync."""

    name: str = "its target"
    external_id: str | None = None
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
@click.option(
    "--heard",
    "how",
    flag_value="heard",
    help="Your word, after a failover, that nothing pushed to it is missing.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="With --push: first one upload that replaces all members of a cohort.",
)
@click.option(
    "--read-back",
    is_flag=True,
    help="With --replace: count who would leave by a download instead of the list.",
)
@click.option("--reason", required=True, help="Why; kept in the audit trail.")
def resync(
    frame: Frame,
    name: str,
    how: str | None,
    replace: bool,
    read_back: bool,
    reason: str,
) -> ExitCode | None:
    """Begin anew with the target of SYNC: for a store that was lost or restored.

    --adopt reads the cohort back (one download, the reserve excepted) and takes who is
    there as acknowledged, whoever put them there; a trait or a partner's list cannot
    be read, so today's source list is believed to be there. Nothing is sent, also
    while the sync is paused; `syncd plan` shows what the next run would do.

    --push sends everybody once more, as a plan that guards judge as ever: members stay
    members, and whoever is stored as a member and no longer listed is removed.

    --push --replace begins with one upload of at most 100,000 people in the place of
    all members of a cohort, those of others included: how many these are is said first,
    and more than that are held for an approval.

    --heard is for a sync that is pushed to, after the database failed over: its sender
    sent everybody again, or nothing was under way. Nothing is read or sent.
    """
    _require_meaning(how, reason, replace=replace, read_back=read_back)
    loaded = load(frame)
    plan = _Asked(
        loaded=loaded,
        sync=_one(loaded.settings, name),
        how=how or "",
        replace=replace,
        read_back=read_back,
    )
    known = _known(loaded.settings, plan.sync, frame)
    for line in _what_it_means(plan, known):
        frame.out.message(line)
    body = {"sync": plan.sync.name, "how": plan.how, "reason": reason, **me()}
    if replace:
        body["strangers"] = str(_strangers(frame, plan, known))
    _agree(frame, plan)
    with asking(frame, loaded) as ask:
        ended = dict(ask("resync", body)["run"])
    return _told(frame, ended, plan.how)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the command line asks for."""

    loaded: Loaded
    sync: SyncSettings
    how: str
    replace: bool
    read_back: bool

    @property
    def flags(self) -> str:
        """As they were given."""
        more = " --replace" if self.replace else ""
        return f"--{self.how}{more}{' --read-back' if self.read_back else ''}"

    @property
    def unreadable(self) -> str:
        """Why nobody can say who is at the target; empty where one can."""
        return why_unreadable(self.loaded.settings, self.sync)


def _require_meaning(
    how: str | None, reason: str, *, replace: bool, read_back: bool
) -> None:
    if how is None:
        raise click.UsageError("Give one of --adopt, --push and --heard.")
    if replace and how != "push":
        raise click.UsageError("--replace is for --push.")
    if read_back and not replace:
        raise click.UsageError("--read-back is for --replace; --adopt always does.")
    if not reason.strip():
        raise click.UsageError("Give a reason: it is what others see.")


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
                external_id=binding.external_id,
                acknowledged=acknowledged.count(connection, binding, now),
                uncertain=unsettled.uncertain_count(connection, binding.id),
            )
    except NoStore:
        return _Known()


# ---- before -------------------------------------------------------------------------


def _what_it_means(plan: _Asked, known: _Known) -> Iterator[str]:
    doubt = f", {number(known.uncertain)} without a proven answer"
    yield (
        f"{plan.sync.name}: {number(known.acknowledged)} acknowledged in {known.name}"
        f"{doubt if known.uncertain else ''}"
    )
    if plan.how == "push":
        yield "  everybody whom the source lists is sent again; guards judge who leaves"
    elif plan.how == "heard":
        yield (
            "  what was pushed to it counts as complete: who left in the moments that "
            "were lost stays a member, unless its sender says so again"
        )
    elif plan.unreadable:
        yield f"  {plan.unreadable}: today's source list is believed to be there"
    else:
        yield (
            "  whoever is in the cohort counts as acknowledged, people of others too; "
            "nothing is sent"
        )


def _strangers(frame: Frame, plan: _Asked, known: _Known) -> int:
    """Say how many people of others an upload may put out, and return that.

    Counted by a download where that was asked for, else by the free list: what it
    counts beyond those whom we know.
    """
    if plan.unreadable:
        raise SyncdError(
            f"{plan.sync.name}: {plan.unreadable}, and none that replaces all of them",
            code="resync.no_replace",
            hint=f"syncd resync {plan.sync.name} --push",
        )
    others = _ghosts(frame, plan) if plan.read_back else _uncounted(frame, plan, known)
    frame.out.message(
        f"  the upload replaces all members: up to {_count(others)} whom others put "
        "there would leave"
    )
    return others


def _ghosts(frame: Frame, plan: _Asked) -> int:
    with asking(frame, plan.loaded) as ask:
        found = ask("verify", {"sync": plan.sync.name, **me()})
    if found["state"] == "postponed":
        raise SourceUnavailable(found["message"], code="source.quota")
    return int(found["ghosts"])


def _uncounted(frame: Frame, plan: _Asked, known: _Known) -> int:
    with closing(Vendors(plan.loaded.settings, frame.clock)) as vendors:
        listed = vendors.downloads(plan.sync.target.connection).cohorts()
    sizes = [each.size for each in listed if each.id == known.external_id]
    if known.external_id is None:
        return 0  # there is no cohort yet, which the run says
    if not sizes or sizes[0] is None:
        again = f"syncd resync {plan.sync.name} {plan.flags} --read-back"
        raise NotAgreed(
            "The free list does not say how many are in the cohort.", hint=again
        )
    return strangers(sizes[0], known.acknowledged)


def _agree(frame: Frame, plan: _Asked) -> None:
    """Raise `NotAgreed` unless a person or `--yes` agrees."""
    words = {
        "adopt": "take over what is there",
        "push": "send everybody again",
        "heard": "take what was pushed for complete",
    }
    told = words[plan.how] + (" after an upload" if plan.replace else "")
    told += _cost(frame, plan)
    if frame.confirm(f"This will {told}. Continue?"):
        return
    again = f'syncd resync {plan.sync.name} {plan.flags} --reason "..." --yes'
    raise NotAgreed(f"This would {told}.", hint=again + frame.config_flags())


def _cost(frame: Frame, plan: _Asked) -> str:
    """The download it may need, and how many are left where that can be asked."""
    reads = plan.sync.source
    if plan.how == "adopt" and not plan.unreadable:
        connection = plan.sync.target.connection
    elif isinstance(reads, FromCohort) and reads.events is None:
        connection = reads.connection
    else:
        return ""
    with closing(Vendors(plan.loaded.settings, frame.clock)) as vendors:
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
    adopted, heard = ended["reason"] == ADOPTED, ended["reason"] == HEARD
    if frame.as_json:
        frame.out.json("resync", {"how": how, "run": ended})
    elif adopted:
        _tell_adopted(frame.out, ended)
    elif heard:
        frame.out.line(f"{ended['sync']}: {ended['message']}; nothing was sent")
    else:
        tell(frame.out, ended)
    return ExitCode.OK if adopted or heard else exit_code([dict(ended)])


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
