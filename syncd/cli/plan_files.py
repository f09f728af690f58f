"""The files that a plan of cohorts needs: their cost, a yes to it, asking for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncd.app.cohorts import look as look_at
from syncd.app.cohorts import readable
from syncd.app.preview import Look
from syncd.app.reading import amplitude_of
from syncd.cli.engine import Ask, asking, me
from syncd.cli.frame import Frame
from syncd.cli.words import plural
from syncd.clients.amplitude_answers import Cohort
from syncd.config.forecast import project_key
from syncd.config.settings import FromCohort, Loaded, SyncSettings
from syncd.errors import SourceUnavailable, SourceUntrusted, SyncdError
from syncd.sources.amplitude_download.gate import State
from syncd.store import fetches


class NotAgreed(SyncdError):
    """The plan would cost downloads, and nobody said yes."""

    code = "plan.costs"


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing needs to be read."""

    why: str


@dataclass(frozen=True, slots=True)
class File:
    """A file that may be read for nothing."""

    request_id: str


@dataclass(frozen=True, slots=True)
class _Costs:
    """A download is needed first."""

    sync: SyncSettings
    source: FromCohort


Prepared = Settled | File | SyncdError


def prepare(
    frame: Frame,
    loaded: Loaded,
    look: Look,
    syncs: Sequence[SyncSettings],
    agreed: int | None,
) -> Mapping[str, Prepared]:
    """By sync that reads a cohort: its file, why none is needed, or what is wrong.

    Raises `NotAgreed` when downloads are needed and neither a person nor a flag says
    yes; nothing is spent then.
    """
    found = _found(look, syncs)
    costs = [each for each in found.values() if isinstance(each, _Costs)]
    if costs:
        _agree(frame, look, costs, agreed)
        with asking(frame, loaded) as ask:
            for each in costs:
                found[each.sync.name] = _fetched(look, ask, each)
    return {name: each for name, each in found.items() if not isinstance(each, _Costs)}


def _found(look: Look, syncs: Sequence[SyncSettings]) -> dict[str, Prepared | _Costs]:
    listed: dict[str, tuple[Cohort, ...] | SyncdError] = {}
    found: dict[str, Prepared | _Costs] = {}
    for sync in syncs:
        if not isinstance(sync.source, FromCohort):
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
) -> Prepared | _Costs:
    cohort = next((each for each in cohorts if each.id == source.cohort_id), None)
    if cohort is None:
        return SourceUnavailable(
            f"{source.connection} lists no cohort {source.cohort_id}",
            code="source.not_found",
            hint="correct from.cohort_id, then: syncd check",
        )
    connection = amplitude_of(look.settings, source.connection)
    with look.database.read() as store:
        seen = look_at(store, look.settings, connection, cohort, sync, look.clock.now())
    match seen.state:
        case State.UNCHANGED:
            return Settled(seen.words)
        case State.FREE if seen.fetch is not None and seen.fetch.request_id:
            return File(seen.fetch.request_id)
        case State.FREE | State.CHANGED:
            return _Costs(sync, source)
        case State.NEVER_COMPUTED | State.REFUSED:
            return SourceUntrusted(seen.words, code=f"source.{seen.state}")


def _agree(
    frame: Frame, look: Look, costs: Sequence[_Costs], agreed: int | None
) -> None:
    """Raise `NotAgreed` unless a flag or a person agrees to the downloads."""
    count = len({(each.source.connection, each.source.cohort_id) for each in costs})
    if agreed is not None and count <= agreed:
        return
    words = (
        f"This will download {plural(count, 'Amplitude cohort')} "
        f"({_left(look, costs[0].source.connection)})."
    )
    if agreed is None and frame.confirm(f"{words} Continue?"):
        return
    raise NotAgreed(
        words.replace("This will", "This would"),
        hint=f"syncd plan --max-downloads {count}",
    )


def _left(look: Look, connection: str) -> str:
    try:
        usage = look.vendors.downloads(connection).usage()
    except SyncdError:
        usage = None
    if usage is None:
        return "how many are left this month is not known"
    return f"{max(usage.limit - usage.used, 0):,} are left this month"


def _fetched(look: Look, ask: Ask, each: _Costs) -> Prepared:
    """Have the download asked for by whoever owns the store, then find its file."""
    try:
        answer = ask("fetch", {"sync": each.sync.name, **me()})
    except SyncdError as error:
        return error
    if answer["state"] == "postponed":
        return SourceUnavailable(answer["message"], code="source.quota")
    project = project_key(amplitude_of(look.settings, each.source.connection))
    with look.database.read() as store:
        history = fetches.of_cohort(store, project, each.source.cohort_id)
    fetch = readable(history)
    if fetch is None or fetch.request_id is None:
        return SourceUnavailable("the download was not made", code="source.quota")
    return File(fetch.request_id)
