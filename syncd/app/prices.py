"""What a plan of a cohort needs: its file, its price, or nothing at all.

Asking costs only free calls; a file that was paid for may be read for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from syncd.app.cohorts import State, view
from syncd.app.preview import Look, PaidFile, Preview, nothing_new, preview
from syncd.app.reading import amplitude_of
from syncd.clients.amplitude_answers import Cohort
from syncd.config.settings import FromCohort, SyncSettings
from syncd.errors import SourceUnavailable, SourceUntrusted, SyncdError


class CostsDownload(SyncdError):
    """The plan would cost a download, and nobody said yes to it."""

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


def planned(look: Look, sync: SyncSettings, list_: Prepared | None) -> Preview:
    """The plan of one sync, read for nothing. Raises `SyncdError` where it cannot be.

    `list_` is None for a sync that downloads no cohort.
    """
    match list_:
        case None:
            return preview(look, sync)
        case SyncdError():
            raise list_
        case Costs():
            raise SourceUnavailable("its cohort changed again: plan once more")
        case Settled(why):
            return nothing_new(look, sync, why)
        case PaidFile():
            return preview(look, sync, list_)
        case _:
            assert_never(list_)


def planned_for_free(look: Look, sync: SyncSettings) -> Preview:
    """The same, where nothing is to be spent. Raises `CostsDownload`."""
    list_ = prepared(look, [sync]).get(sync.name)
    if isinstance(list_, Costs):
        raise CostsDownload(
            f"the cohort of {sync.name} changed: to plan it would cost a download",
            hint=f"syncd plan {sync.name} --max-downloads 1",
        )
    return planned(look, sync, list_)
