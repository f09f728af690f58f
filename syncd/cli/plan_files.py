"""The files that a plan of cohorts needs: their cost, a yes to it, asking for them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from syncd.app.cohorts import State, view
from syncd.app.preview import Look, PaidFile
from syncd.app.reading import amplitude_of
from syncd.cli.engine import Ask, asking, me
from syncd.cli.frame import Frame
from syncd.clients.amplitude_answers import Cohort
from syncd.config.settings import FromCohort, Loaded, SyncSettings
from syncd.errors import SourceUnavailable, SourceUntrusted, SyncdError
from syncd.report.words import plural


class NotAgreed(SyncdError):
    """The plan would cost downloads, and nobody said yes."""

    code = "plan.costs"


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing needs to be read."""

    why: str


@dataclass(frozen=True, slots=True)
class Costs:
    """A download is needed first."""

    connection: str
    cohort_id: str


Prepared = Settled | PaidFile | Costs | SyncdError
"""A `PaidFile` may be read for nothing."""


def fetch_missing(
    frame: Frame, loaded: Loaded, look: Look, syncs: Sequence[SyncSettings], agreed: int
) -> Mapping[str, SyncdError]:
    """Have the missing files asked for by whoever owns the store: by sync, what failed.

    Raises `NotAgreed` when downloads are needed and neither a person nor `agreed`,
    their number, says yes; nothing is spent then.
    """
    costs = {
        name: each
        for name, each in prepared(look, syncs).items()
        if isinstance(each, Costs)
    }
    if not costs:
        return {}
    _agree(frame, look, set(costs.values()), agreed)
    with asking(frame, loaded) as ask:
        failed = {name: _fetch(ask, name) for name in costs}
    return {name: error for name, error in failed.items() if error is not None}


def prepared(look: Look, syncs: Sequence[SyncSettings]) -> dict[str, Prepared]:
    """By sync that downloads a cohort: its file, its price, or why there is neither."""
    listed: dict[str, tuple[Cohort, ...] | SyncdError] = {}
    found: dict[str, Prepared] = {}
    for sync in syncs:
        if not isinstance(sync.source, FromCohort) or sync.source.events is not None:
            continue
        name = sync.source.connection
        if name not in listed:
            listed[name] = _list(look, name)
        cohorts = listed[name]
        if isinstance(cohorts, SyncdError):
            found[sync.name] = cohorts
        else:
            found[sync.name] = _state(look, sync, sync.source, cohorts)
    return found


def _list(look: Look, connection: str) -> tuple[Cohort, ...] | SyncdError:
    try:
        return look.vendors.downloads(connection).cohorts()
    except SyncdError as error:
        return error


def _state(
    look: Look, sync: SyncSettings, source: FromCohort, cohorts: Sequence[Cohort]
) -> Prepared:
    cohort = next((each for each in cohorts if each.id == source.cohort_id), None)
    if cohort is None:
        return SourceUnavailable(
            f"{source.connection} lists no cohort {source.cohort_id}",
            code="source.not_found",
            hint="correct from.cohort_id, then: syncd check",
        )
    connection = amplitude_of(look.settings, source.connection)
    with look.database.read() as store:
        seen = view(store, look.settings, connection, cohort, sync, look.clock.now())
    match seen.state:
        case State.UNCHANGED:
            return Settled(seen.words)
        case State.FREE if seen.fetch is not None:
            return PaidFile(seen.fetch, cohort.size)
        case State.FREE | State.CHANGED:
            return Costs(source.connection, source.cohort_id)
        case State.NEVER_COMPUTED | State.REFUSED:
            return SourceUntrusted(seen.words, code=f"source.{seen.state}")


def _agree(frame: Frame, look: Look, costs: Collection[Costs], agreed: int) -> None:
    """Raise `NotAgreed` unless a flag or a person agrees to the downloads."""
    if len(costs) <= agreed:
        return
    left = _left(look, next(iter(costs)).connection)
    words = f"download {plural(len(costs), 'Amplitude cohort')} ({left})."
    if not agreed and frame.confirm(f"This will {words} Continue?"):
        return
    hint = f"syncd plan --max-downloads {len(costs)}"
    raise NotAgreed(f"This would {words}", hint=hint)


def _left(look: Look, connection: str) -> str:
    try:
        usage = look.vendors.downloads(connection).usage()
    except SyncdError:
        usage = None
    if usage is None:
        return "how many are left this month is not known"
    return f"{max(usage.limit - usage.used, 0):,} are left this month"


def _fetch(ask: Ask, sync: str) -> SyncdError | None:
    try:
        answer = ask("fetch", {"sync": sync, **me()})
    except SyncdError as error:
        return error
    if answer["state"] == "postponed":
        return SourceUnavailable(answer["message"], code="source.quota")
    return None
